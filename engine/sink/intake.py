"""One source ring as the sink reads it: where it is, what is in view, and which transaction is open."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from engine.record import Kind
from engine.ring import Reader, Ring
from engine.sink._turn import Front

BEGIN, COMMIT = Kind.BEGIN, Kind.COMMIT  # Python 3.11 looks an enum's member up slowly


class Intake(Front):
    """The records of one source ring, from where the sink's reader stands; see Front."""

    def __init__(self, name: str, ring: Ring, reader: Reader, numbers: Collection[int] = ()) -> None:
        super().__init__(reader)
        self.name = name
        self.numbers = numbers  # that this source has had, as far as they were known at the start
        self.ring = ring
        self.rest_lane = 0  # where the rest of a fragmented change goes, see Router.route
        self.silent_since_ns: int | None = None  # since when there is nothing to take

    def marks(self, a: int, b: int) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint64]]:
        """Index, kind and time of the records [a, b) that are no changes."""
        heads = self.heads
        first, last = np.searchsorted(heads.mark[: heads.marks], (a, b))
        marks = heads.mark[first:last]
        return marks, heads.kind[marks], heads.mark_time[first:last]

    def last_boundary(self) -> int:
        """Index after the last whole transaction in view; the whole view if there is none."""
        marks, kinds, _ = self.marks(self.next, self.heads.count)
        limits = np.flatnonzero((kinds == BEGIN) | (kinds == COMMIT))
        if len(limits) and kinds[limits[-1]] == BEGIN and marks[limits[-1]] > self.next:
            return int(marks[limits[-1]])
        return self.heads.count

    def first_commit(self) -> int:
        """Index after the first commit in view; the whole view if there is none."""
        marks, kinds, _ = self.marks(self.next, self.heads.count)
        commits = marks[kinds == COMMIT]
        return int(commits[0]) + 1 if len(commits) else self.heads.count
