"""N→1: which source's records come next.

arrival       what is there, whole transactions of one source after another; the sources take turns
commit_time   transactions of all sources by commit time; a source that is silent holds the others back, but not for long

In the middle of a transaction only its own source goes on, until it too has been silent for merge_wait_s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.record import Kind
from engine.sink.intake import Intake


class Piece(NamedTuple):
    """Records [start, end) of a source's view."""

    intake: Intake
    start: int
    end: int


@dataclass
class Round:
    """What is put into the stores next: pieces, and in which order their records go: (number of the piece, up to index)."""

    pieces: list[Piece]
    runs: list[tuple[int, int]]


class Units(NamedTuple):
    """The transactions, and records outside of any, that a view shows: index after each, and its time (never falling)."""

    ends: NDArray[np.int64]
    times: NDArray[np.uint64]
    whole: bool  # the last one's commit is in view


class Merge:
    """Chooses rounds of several sources; a round must be finished before the next is asked for.

    After None, `waiting_for` names the intakes whose records would help, and `wait_ns` how long that may be waited for
    (None: until there are some).
    """

    def __init__(self, intakes: list[Intake], order: Literal["arrival", "commit_time"], merge_wait_s: float) -> None:
        self._intakes = intakes
        self._by_time = order == "commit_time"
        self._wait_ns = int(merge_wait_s * 1e9)
        self._turn = 0
        self.waiting_for = intakes
        self.wait_ns: int | None = None

    def next_round(self, now_ns: int) -> Round | None:
        """The next records to put, or None: nothing (yet)."""
        self.waiting_for, self.wait_ns = self._intakes, None
        begun = [intake for intake in self._intakes if intake.begin is not None]
        for intake in begun:
            if intake.look():
                intake.silent_since_ns = None
                return of_one(intake, intake.first_commit() if self._by_time else intake.last_boundary())
        patience_ns = [left_ns for intake in begun if (left_ns := self._silence_left(intake, now_ns)) > 0]
        if patience_ns:
            self.waiting_for, self.wait_ns = begun, min(patience_ns)
            return None
        return self._next_by_time(now_ns) if self._by_time else self._next_in_turn()

    def _silence_left(self, intake: Intake, now_ns: int) -> int:
        """How much longer an intake without records may hold back the others, ns."""
        if intake.silent_since_ns is None:
            intake.silent_since_ns = now_ns
        return intake.silent_since_ns + self._wait_ns - now_ns

    def _next_in_turn(self) -> Round | None:
        for i in range(len(self._intakes)):
            number = (self._turn + i) % len(self._intakes)
            intake = self._intakes[number]
            if intake.look():
                intake.silent_since_ns = None
                self._turn = number + 1
                return of_one(intake, intake.last_boundary())
        return None

    def _next_by_time(self, now_ns: int) -> Round | None:
        ready: list[tuple[Intake, Units]] = []
        silent: list[Intake] = []
        patience_ns: list[int] = []
        until = np.uint64(2**64 - 1)  # what is later may still be preceded by a record not yet seen
        for intake in self._intakes:
            units = _units(intake)
            if units is not None:
                intake.silent_since_ns = None
                ready.append((intake, units))
                until = min(until, units.times[-1])
                continue
            silent.append(intake)
            if (left_ns := self._silence_left(intake, now_ns)) > 0:
                patience_ns.append(left_ns)
                until = min(until, np.uint64(intake.time_us))
        counts = [int(np.searchsorted(units.times, until, "right")) for _, units in ready]
        whole = [min(n, len(units.ends) - (not units.whole)) for n, (_, units) in zip(counts, ready, strict=True)]
        if any(whole):
            return _interleave([(intake, units, n) for n, (intake, units) in zip(whole, ready, strict=True) if n])
        begun = [(units.times[0], number) for number, (n, (_, units)) in enumerate(zip(counts, ready, strict=True)) if n]
        if begun:  # only transactions whose end is not in view yet: begin the earliest and stay with it
            intake = ready[min(begun)[1]][0]
            return of_one(intake, intake.heads.count)
        self.waiting_for, self.wait_ns = silent, min(patience_ns) if ready else None
        return None


def of_one(intake: Intake, end: int) -> Round:
    """What one source has in view, up to `end`."""
    return Round([Piece(intake, intake.next, end)], [(0, end)])


def _units(intake: Intake) -> Units | None:
    """What is left of an intake's view, seen anew where that may show more; None: nothing is there."""
    heads = intake.heads
    if intake.next < heads.count:
        units = _units_in_view(intake)
        if len(units.ends) > 1 or units.whole:
            return units
    return _units_in_view(intake) if intake.look() else None


def _units_in_view(intake: Intake) -> Units:
    marks, kinds, times = intake.marks(intake.next, intake.heads.count)
    limits = kinds[(kinds == Kind.BEGIN) | (kinds == Kind.COMMIT)]
    begins = (kinds == Kind.BEGIN) | (kinds == Kind.DDL) | (kinds == Kind.HEARTBEAT)
    if len(begins):
        begins[0] = True  # whatever comes first begins one
    starts, times = marks[begins], times[begins]
    if not len(starts):  # the rest of a transaction whose source was silent for too long
        starts, times = np.array([intake.next], np.int64), np.array([intake.time_us], np.uint64)
    ends = np.append(starts[1:], intake.heads.count)
    return Units(ends, np.maximum.accumulate(times), not len(limits) or bool(limits[-1] == Kind.COMMIT))


def _interleave(chosen: list[tuple[Intake, Units, int]]) -> Round:
    """The first n units of each, by time; at equal times in the order of the config."""
    numbers = np.concatenate([np.full(n, number) for number, (_, _, n) in enumerate(chosen)])
    times = np.concatenate([units.times[:n] for _, units, n in chosen])
    ends = np.concatenate([units.ends[:n] for _, units, n in chosen])
    order = np.lexsort((numbers, times))
    numbers, ends = numbers[order], ends[order]
    last = np.append(numbers[1:] != numbers[:-1], True)  # of its run
    runs = list(zip(numbers[last].tolist(), ends[last].tolist(), strict=True))
    return Round([Piece(intake, intake.next, int(units.ends[n - 1])) for intake, units, n in chosen], runs)
