from typing import final

import numpy as np
from numpy.typing import NDArray

from engine._heads import Heads

EVERYWHERE: int
PART_OF_ALL: int

@final
class Selector:
    lanes: int
    needs_begin: list[bool]
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

def look_up(heads: Heads, a: int, b: int, targets: NDArray[np.uint16], unknown: int) -> tuple[NDArray[np.uint16], bool]: ...
def spread(
    heads: Heads, a: int, targets: NDArray[np.uint16], by_hash: int, lanes: NDArray[np.uint16]
) -> tuple[NDArray[np.uint16], int]: ...
def ends(heads: Heads, a: int, b: int) -> tuple[int, bool, int]: ...
def last_place(heads: Heads, a: int, b: int) -> tuple[bytes | None, int]: ...
