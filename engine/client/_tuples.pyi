from typing import Any, Final, Self, final

from typing_extensions import Buffer

MORE: Final[int]
END: Final[int]
OTHER: Final[int]
ODD: Final[int]

def has_fragments(records: Buffer) -> bool: ...

@final
class TupleWalk:
    def __new__(cls, records: Buffer, views: dict[int, Any], sources: dict[int, Any], gtids: dict[int, str | None]) -> Self: ...
    @property
    def answer(self) -> int: ...
    @property
    def at(self) -> int: ...
    def take(self, most: int) -> list[tuple[Any, ...]]: ...
    def step(self) -> bytes: ...
