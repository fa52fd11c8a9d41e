from typing import final

import numpy as np
from numpy.typing import NDArray

from engine.sink._heads import Heads

EVERYWHERE: int
PART_OF_ALL: int

@final
class Selector:
    lanes: int
    @property
    def needs_begin(self) -> list[bool]: ...
    def __new__(cls, lanes: int) -> Selector: ...
    def select(
        self,
        heads: Heads,
        a: int,
        b: int,
        lanes: NDArray[np.uint16],
        is_open: list[bool],
        marked: NDArray[np.uint8] | None = None,
        second: NDArray[np.uint16] | None = None,
    ) -> None: ...
    def indices(self, lane: int) -> NDArray[np.int64]: ...

@final
class Targets:
    unknown: int
    def __new__(cls, unknown: int) -> Targets: ...
    def __getitem__(self, key: int) -> int: ...
    def __setitem__(self, key: int, target: int) -> None: ...
    def look_up(self, heads: Heads, a: int, b: int) -> tuple[NDArray[np.uint16], bool]: ...

def spread(
    heads: Heads, a: int, targets: NDArray[np.uint16], by_hash: int, lanes: NDArray[np.uint16]
) -> tuple[NDArray[np.uint16], int]: ...
