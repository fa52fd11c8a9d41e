from collections.abc import Callable
from typing import Any, final

from engine.errors import SourceError
from engine.schema import TableSchema
from engine.source._rows import RowPlan
from engine.source.history.definition import TableDefinition
from engine.source.history.history import Moment, SchemaHistory
from engine.source.table_map import TableMap

@final
class TableVersion:
    name: str
    key: int
    packed: bytes | None
    plan: RowPlan | None

@final
class Shape:
    mariadb: bool
    table_map: TableMap
    schema: TableSchema | None
    def __init__(self, mariadb: bool, rest: bytes, table_map: TableMap, schema: TableSchema | None = None) -> None: ...
    def planned(self, known: TableDefinition | None, plan: RowPlan, packed_columns: bytes) -> None: ...

class Versions:
    unsynced: bool
    def __init__(self, source: str, wants: Callable[[str], bool], keys: Any, history: SchemaHistory) -> None: ...
    def version(
        self,
        body: bytes,
        post_header_bytes: int,
        mariadb: bool,
        moment: Callable[[], Moment],
        fail: Callable[..., SourceError],
    ) -> TableVersion: ...
    def keep_shape(self, shape: Shape) -> None: ...
