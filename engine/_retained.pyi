from typing import NamedTuple

from engine._ring import Reader, Ring

class ReaderState(NamedTuple):
    name: str
    ack: int
    note: bytes | None

class RingState(NamedTuple):
    put: int
    note: bytes | None
    tail: int
    slowest: int
    places: list[int]
    readers: list[ReaderState]

def places(ring: Ring) -> list[int]: ...
def move_to(reader: Reader, sequence: int) -> None: ...
def state_of(ring: Ring) -> RingState: ...
def restore(ring: Ring, ring_id: int, floor: int, state: RingState) -> None: ...
def raise_floor(ring: Ring, floor: int) -> None: ...
def view(ring: Ring, start: int, end: int) -> memoryview: ...
def sync_failed(ring: Ring, failed: int | None = None) -> int: ...
