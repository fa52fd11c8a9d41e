from typing import final

import numpy as np
from numpy.typing import NDArray

from engine._ring import Ring
from engine.sink._heads import Heads

@final
class Track:
    done: int
    noted: int
    put: int
    ring_id: int
    fragments: int
    parts: int
    open: bool
    inside: bool
    known: bytes | None
    at: int
    selected: int
    @property
    def place(self) -> bytes: ...
    def __init__(
        self,
        done: int = 0,
        fragments: int = 0,
        open: bool = False,
        inside: bool = False,
        *,
        ring_id: int = 0,
        parts: int = 0,
        place: bytes = ...,
        known: bytes | None = None,
    ) -> None: ...
    def select(self, indices: NDArray[np.int64]) -> None: ...
    def move(self, heads: Heads, a: int, b: int) -> int: ...

def copy(ring: Ring, heads: Heads, track: Track, until: int) -> bool: ...
def copy_half(ring: Ring, heads: Heads, track: Track, kind: int, key_hash: int) -> bool: ...
def write_note(ring: Ring, tracks: list[Track]) -> int: ...
