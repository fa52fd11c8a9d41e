from typing import Final, Self, final

from typing_extensions import Buffer

SEEN: Final[int]
INT: Final[int]
UINT: Final[int]
FLOAT: Final[int]
DOUBLE: Final[int]
STR: Final[int]
BIN: Final[int]
FLOATS: Final[int]
END: Final[int]
OTHER: Final[int]
TABLE: Final[int]
ODD: Final[int]

@final
class TableColumns:
    def __new__(cls, kinds: bytes, likely: tuple[int, ...] | None = None, share: float = 1.0) -> Self: ...
    @property
    def used(self) -> tuple[int, ...]: ...
    def __len__(self) -> int: ...
    def take(self, index: int) -> tuple[int, int, Buffer | None, Buffer | None, Buffer | None]: ...

@final
class ColumnWalk:
    def __new__(cls, records: Buffer, sources: list[tuple[int, str, str, str | None]], before: bool) -> Self: ...
    def go(self) -> int: ...
    def add_whole(self, record: bytes) -> int: ...
    @property
    def key(self) -> int: ...
    def put_table(self, key: int, columns: TableColumns | None) -> None: ...
    def step(self) -> bytes: ...
