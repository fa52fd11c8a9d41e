from typing import Any, Final, Self, final

from typing_extensions import Buffer

MORE: Final[int]
END: Final[int]
OTHER: Final[int]
ODD: Final[int]

def has_fragments(records: Buffer) -> bool: ...

@final
class ChangeKind:
    def __new__(cls, type: type, unread: dict[str, Any]) -> Self: ...

@final
class RecordWalk:
    def __new__(
        cls,
        records: Buffer,
        views: dict[int, Any],
        sources: dict[int, Any],
        gtids: dict[int, str | None],
        partial: dict[int, Any],
        kind: ChangeKind | None = None,
        absent: bool = True,
        marks: bool = False,
    ) -> Self: ...
    @property
    def answer(self) -> int: ...
    @property
    def at(self) -> int: ...
    def take(self, most: int) -> list[Any]: ...
    def step(self) -> bytes: ...
