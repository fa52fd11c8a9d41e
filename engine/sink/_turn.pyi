from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from engine._ring import Reader, Ring
from engine.sink._heads import Heads
from engine.sink._selection import Selector, Targets
from engine.sink._track import Track

VIEW_BYTES: int
VIEW_RECORDS: int
NOT_ORDINARY: Final = -1

class Front:
    reader: Reader
    heads: Heads
    next: int
    sequence: int
    boundary_sequence: int
    time_us: int
    begin: bytes | None
    cuts: list[int]
    @property
    def boundary(self) -> bytes | None: ...
    def __init__(self, reader: Reader) -> None: ...
    def look(self) -> bool: ...
    def finish(self, end: int) -> int: ...

@final
class Turn:
    def __new__(
        cls,
        front: Front,
        selector: Selector,
        targets: Targets,
        rings: list[Ring],
        tracks: list[list[Track]],
        number: int,
        lanes: NDArray[np.uint16],
        by_hash: int,
        by_columns: bool,
    ) -> Turn: ...
    def take(self) -> int: ...
