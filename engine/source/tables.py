"""From a TABLE_MAP to what the decoder needs: is the table wanted, its key, its schema, its plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from engine.errors import EngineError, SourceError
from engine.source._rows import RowPlan
from engine.source.events import DAMAGED
from engine.source.table_map import parse_table_map, table_schema


class TableVersion(NamedTuple):
    """One version of one table. plan None: nobody wants the table, and nothing else is known of it."""

    name: str
    key: int = 0
    packed: bytes = b""
    plan: RowPlan | None = None


class TableVersions:
    """Asked once for each TABLE_MAP that the decoder has not seen.

    wants: `schema.table` -> does any destination take it. key_of: TableSchema.pack() -> table key.
    """

    def __init__(self, source: str, wants: Callable[[str], bool], key_of: Callable[[bytes], int]) -> None:
        self._source = source
        self._wants = wants
        self._key_of = key_of

    def version(self, body: bytes, post_header_bytes: int, mariadb: bool, fail: Callable[..., SourceError]) -> TableVersion:
        """body: the event without header and checksum; mariadb: whose it is; `fail` makes an error with file, offset and event.

        Raises:
            BinlogError, ServerSetupError: the map can't be read, or doesn't name the columns (binlog_row_metadata).
        """
        name = _table_name(body, post_header_bytes, fail)
        if not self._wants(name):
            return TableVersion(name)
        try:
            table_map = parse_table_map(body, post_header_bytes, mariadb)
            schema = table_schema(self._source, table_map)
            if len(set(schema.primary_key)) != len(schema.primary_key):
                raise ValueError("the primary key names a column twice")
            plan = RowPlan(schema, table_map)
        except EngineError as error:
            facts = {key: value for key, value in error.facts.items() if key not in ("source", "file", "offset", "event")}
            kind = type(error) if isinstance(error, SourceError) else SourceError
            raise fail(error.what, kind=kind, remedy=error.remedy, **{"table": name, **facts}) from error
        except (ArithmeticError, LookupError, ValueError) as error:
            raise fail(f"TABLE_MAP can't be read: {error}", table=name, remedy=DAMAGED) from error
        packed = schema.pack()
        return TableVersion(name, self._key_of(packed), packed, plan)


def _table_name(body: bytes, post_header_bytes: int, fail: Callable[..., SourceError]) -> str:
    """`schema.table`, which follow the post header as length, bytes and 0 each; no length there reaches 251."""
    at, names = post_header_bytes, []
    for _ in range(2):
        length = body[at] if at < len(body) else 251
        if length > 250 or at + 1 + length >= len(body):
            raise fail("TABLE_MAP ends too early")
        names.append(body[at + 1 : at + 1 + length].decode("utf-8", "replace"))
        at += length + 2
    return ".".join(names)


class SourceName(NamedTuple):
    """What a source number stands for: the source's name, and the base name of its binlog files."""

    name: str
    binlog: str


class MemoryKeys:
    """Table keys and source numbers for one process that keeps nothing: `decode`, benches and tests."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._keys: dict[bytes, int] = {}
        self._numbers: dict[str, int] = {}
        self.sources: dict[int, SourceName] = {}

    def table_key(self, packed: bytes) -> int:
        return self._keys.setdefault(packed, len(self._keys) + 1)

    def source_number(self, base: str) -> int:
        number = self._numbers.setdefault(base, len(self._numbers) + 1)
        self.sources[number] = SourceName(self._source, base)
        return number
