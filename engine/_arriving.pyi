from typing import Final, Generic, TypeVar, final

from typing_extensions import Buffer

_Head = TypeVar("_Head")

NOTHING: Final[int]

def receive(fd: int, room: Buffer, timeout_s: float) -> int: ...

@final
class HeadReader(Generic[_Head]):
    def __init__(self, kind: type[_Head], keys: list[bytes]) -> None: ...
    def read(self, payload: Buffer) -> tuple[_Head, int] | None: ...
