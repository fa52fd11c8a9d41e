"""Acks kept in ZooKeeper: beside the loop, so that nobody waits but the answers.

Of each destination one write is under way at a time. What is acked meanwhile goes with the next, which begins `pause_s` after the
last at the earliest. While ZooKeeper is away the write is tried again and again: acks wait, and nothing is confirmed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from engine.errors import LeaseLost, MetaAway
from engine.meta import Meta, Place
from engine.position import Identity
from engine.server._loop import Call, Loop
from engine.store import Cursor, Unsettled

log = logging.getLogger("engine.server")

THREADS = 4  # destinations whose writes are under way at once
RETRY_S = 0.05

Answer = Callable[[], None]


@dataclass
class _Write:
    """What is on its way to meta."""

    positions: dict[Place, Identity]
    taken: list[tuple[Cursor, Unsettled]]
    answers: list[Answer]


@dataclass
class _Lane:
    """One destination's acks. acked: all its positions, those on their way too."""

    acked: dict[Place, Identity]
    dirty: dict[Cursor, tuple[str, int]] = field(default_factory=dict)  # consumer and partition
    answers: list[Answer] = field(default_factory=list)
    write: _Write | None = None
    next_at: float = 0.0  # loop time
    timer: Call | None = None


class LateAckKeeper:
    """What engine.server.acks.AckKeeper is, for a meta whose acks take time. The order is the same: meta, ring, answer."""

    def __init__(self, loop: Loop, meta: Meta, pause_s: float) -> None:
        self._loop = loop
        self._meta = meta
        self._pause_s = pause_s
        self._lanes: dict[str, _Lane] = {}
        self._pool = ThreadPoolExecutor(THREADS, "acks")

    def acked(self, destination: str) -> dict[Place, Identity]:
        """The destination's positions. Only its owner writes them, so they are read once in a lease."""
        if destination not in self._lanes:
            self._lanes[destination] = _Lane(self._meta.acked(destination))
        return self._lanes[destination].acked

    def forget(self, destination: str, consumer: str) -> None:
        """A new consumer begins: what an earlier one of its name had acked doesn't count."""
        if destination in self._lanes:
            lane = self._lanes[destination]
            lane.acked = {place: at for place, at in lane.acked.items() if place.consumer != consumer}

    def keep(self, cursor: Cursor, destination: str, consumer: str, partition: int) -> None:
        """Save what this cursor has acked, and settle it then."""
        lane = self._lanes[destination]
        lane.dirty[cursor] = (consumer, partition)
        self._soon(lane)

    def then(self, answer: Answer, destination: str) -> None:
        """Call this once everything acked so far in this destination is durable; never, if it can't be any more."""
        lane = self._lanes[destination]
        lane.answers.append(answer)
        self._soon(lane)

    def flush(self) -> None:
        """Take over what the cursors have acked, before one is closed. It is written when its turn comes."""
        for destination, lane in self._lanes.items():
            for cursor, (consumer, partition) in lane.dirty.items():
                for source, identity in (cursor.unsaved or {}).items():
                    place = Place(destination, consumer, partition, source)
                    lane.acked[place] = max(lane.acked.get(place, identity), identity)

    def let_go(self, destination: str, within_s: float) -> None:
        """The lease ends: bring what is acked to meta, if that is possible in time."""
        lane = self._lanes.pop(destination, None)
        if lane is None:
            return
        deadline = self._loop.time() + within_s
        if lane.timer is not None:
            lane.timer.cancel()
        while (lane.write or lane.dirty or lane.answers) and (rest_s := deadline - self._loop.time()) > 0:
            write = lane.write or self._take(destination, lane)
            lane.write = None
            try:
                self._pool.submit(self._meta.ack, write.positions).result(rest_s)
            except LeaseLost as error:
                log.warning("%s: late acks were refused: %s", destination, error)
                return
            except (MetaAway, TimeoutError):
                continue
            self._settle(write)

    def close(self) -> None:
        for destination in list(self._lanes):
            self.let_go(destination, 1.0)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _soon(self, lane: _Lane) -> None:
        if lane.timer is None and lane.write is None:
            lane.timer = self._loop.call_at(max(lane.next_at, self._loop.time()), self._start, lane)

    def _start(self, lane: _Lane) -> None:
        lane.timer = None
        destination = next((name for name, other in self._lanes.items() if other is lane), None)
        if destination is None or lane.write is not None:
            return
        lane.next_at = self._loop.time() + self._pause_s
        self._submit(destination, lane, self._take(destination, lane))

    def _take(self, destination: str, lane: _Lane) -> _Write:
        self.flush()
        write = _Write({}, [], lane.answers)
        for cursor, (consumer, partition) in lane.dirty.items():
            taken = cursor.take_unsettled()
            if taken is not None:
                write.taken.append((cursor, taken))
                for source, identity in taken.positions.items():
                    write.positions[Place(destination, consumer, partition, source)] = identity
        lane.dirty, lane.answers = {}, []
        return write

    def _submit(self, destination: str, lane: _Lane, write: _Write) -> None:
        lane.write = write
        if not write.positions:
            self._done(destination, lane, None)
            return
        future = self._pool.submit(self._meta.ack, write.positions)
        future.add_done_callback(lambda done: self._report(destination, lane, done))

    def _report(self, destination: str, lane: _Lane, done: Future[None]) -> None:
        """In the pool's thread."""
        if not done.cancelled() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._done, destination, lane, done.exception())

    def _done(self, destination: str, lane: _Lane, error: BaseException | None) -> None:
        write = lane.write
        if write is None or self._lanes.get(destination) is not lane:
            return  # let_go has seen to it
        if isinstance(error, MetaAway):
            self._loop.call_later(RETRY_S, self._again, destination, lane, write)
            return
        lane.write = None
        if isinstance(error, LeaseLost):  # its sessions are told by who watches the lease
            log.warning("%s: late acks were refused: %s", destination, error)
            return
        if error is not None:
            raise error
        self._settle(write)
        if lane.dirty or lane.answers:
            self._soon(lane)

    def _again(self, destination: str, lane: _Lane, write: _Write) -> None:
        if lane.write is write and self._lanes.get(destination) is lane:
            self._submit(destination, lane, write)

    @staticmethod
    def _settle(write: _Write) -> None:
        for cursor, taken in write.taken:
            cursor.settle(taken)
        for answer in write.answers:
            answer()
