"""Acks become durable together: one write to meta for all that came in one turn of the loop, then the answers.

Where they come one after the other, many a millisecond, a write begins PAUSE_S after the last one at the earliest, and later
where writing takes long, so that it has a small share of the loop's time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from engine.errors import MetaFull
from engine.meta import Meta, Place
from engine.position import Identity
from engine.server._loop import Loop
from engine.store import Cursor

log = logging.getLogger("engine.server")

FIRST_RETRY_S, LONGEST_RETRY_S = 0.1, 5.0  # before a full disk is tried again
PAUSE_S, LONGEST_PAUSE_S = 0.005, 0.01
PAUSE_FOR_TIME = 20  # times what the last write took


@runtime_checkable
class FlushedLater(Protocol):
    """A meta that keeps acks here at once, and where the others find them a moment later (engine.meta.mixed)."""

    def flush(self, within_s: float) -> bool: ...


class AckKeeper:
    """In this order: meta, the ring's ack, the answer. A death in between costs a repetition at most, never a loss.

    trouble: the disk is full, and nothing is confirmed until it has room again; it is tried now and then.
    """

    def __init__(self, loop: Loop, meta: Meta) -> None:
        self._loop = loop
        self._meta = meta
        self._dirty: dict[Cursor, tuple[str, str, int]] = {}
        self._answers: list[Callable[[], None]] = []
        self._scheduled = False
        self._next_at = 0.0  # loop time
        self.trouble: MetaFull | None = None
        self._retry_s = FIRST_RETRY_S

    def keep(self, cursor: Cursor, destination: str, consumer: str, partition: int) -> None:
        """Save and settle what this cursor has acked, within LONGEST_PAUSE_S."""
        self._dirty[cursor] = (destination, consumer, partition)
        if not self._scheduled:
            self._schedule()

    def then(self, answer: Callable[[], None], destination: str) -> None:
        """Call this once everything acked so far in this destination is durable."""
        self._answers.append(answer)
        if not self._scheduled:
            self._schedule()

    def acked(self, destination: str) -> dict[Place, Identity]:
        """The destination's positions."""
        return self._meta.acked(destination)

    def forget(self, destination: str, consumer: str) -> None:
        """Nothing is remembered here of a consumer that was forgotten."""

    def let_go(self, destination: str, within_s: float) -> None:
        """This engine serves the destination no longer."""
        self.flush()
        if isinstance(self._meta, FlushedLater):
            self._meta.flush(within_s)

    def close(self) -> None:
        self.flush()
        if self._dirty:
            log.error("the last acks are not kept, since the disk is full: what they acked is delivered again")

    def flush(self) -> None:
        """Do it now, if there is room for it.

        Raises:
            MetaError: the positions can't be kept; nothing is freed or answered, then or later.
        """
        dirty, self._dirty = self._dirty, {}
        answers, self._answers = self._answers, []
        if dirty:
            positions = {
                Place(*whose, source): identity
                for cursor, whose in dirty.items()
                for source, identity in (cursor.unsaved or {}).items()
            }
            begun = self._loop.time()
            try:
                self._meta.ack(positions)
            except MetaFull as error:
                self._dirty, self._answers = dirty, answers
                self._wait_for_room(error)
                return
            self._go_on()
            for cursor in dirty:
                cursor.settle()
            now = self._loop.time()
            self._next_at = now + min(max(PAUSE_S, PAUSE_FOR_TIME * (now - begun)), LONGEST_PAUSE_S)
        for answer in answers:
            answer()

    def _wait_for_room(self, error: MetaFull) -> None:
        if self.trouble is None:
            log.error("acks are not confirmed for the moment: %s", error)
            self.trouble = error
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_later(self._retry_s, self._flush_scheduled)
            self._retry_s = min(2 * self._retry_s, LONGEST_RETRY_S)

    def _go_on(self) -> None:
        if self.trouble is not None:
            log.info("the disk has room again, acks are confirmed")
            self.trouble, self._retry_s = None, FIRST_RETRY_S

    def _schedule(self) -> None:
        self._scheduled = True
        if self._loop.time() >= self._next_at:
            self._loop.call_soon(self._flush_scheduled)
        else:
            self._loop.call_at(self._next_at, self._flush_scheduled)

    def _flush_scheduled(self) -> None:
        self._scheduled = False
        self.flush()
