from typing import final

import numpy as np
from numpy.typing import NDArray

from engine._ring import Reader

@final
class Heads:
    reader: Reader
    capacity: int
    count: int
    marks: int
    described: int
    max_time: int
    start: int
    end: int
    max_table: int
    offset: NDArray[np.uint32]
    kind: NDArray[np.uint8]
    flags: NDArray[np.uint8]
    table: NDArray[np.uint32]
    transaction: NDArray[np.uint32]
    key_hash: NDArray[np.uint64]
    mark: NDArray[np.int64]
    mark_time: NDArray[np.uint64]
    def __init__(self, reader: Reader, capacity: int = 65536) -> None: ...
    def scan(self, start: int, limit: int, max_bytes: int) -> int: ...
    def sequence_of(self, index: int) -> int: ...
    def record(self, index: int) -> bytes: ...
    def head(self, index: int) -> bytes: ...
    def fragment_place(self, index: int) -> tuple[int, int]: ...
    def hash_rows(
        self,
        indices: NDArray[np.int64],
        new: bool,
        seed: NDArray[np.uint64],
        first: NDArray[np.int32],
        number: NDArray[np.int32],
        columns: NDArray[np.int32],
        out: NDArray[np.uint64],
    ) -> int: ...

def table_seed(schema: str, table: str) -> int: ...
def finish_hash(state: int) -> int: ...
