from typing import Any, Final

from typing_extensions import Buffer

MORE: Final[int]
END: Final[int]
OTHER: Final[int]
ODD: Final[int]

class TupleWalk:
    def __init__(self, records: Buffer, views: dict[int, Any], sources: dict[int, Any], gtids: dict[int, str | None]) -> None: ...
    @property
    def answer(self) -> int: ...
    @property
    def at(self) -> int: ...
    def take(self, most: int) -> list[tuple[Any, ...]]: ...
    def step(self) -> bytes: ...
