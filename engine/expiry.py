"""Consumers that stay away: after a while they no longer hold the stores back.

Counted is the time in which the destination ran here and the consumer had no session, by CLOCK_MONOTONIC, and kept in meta:
neither an engine that was down nor a clock that jumps makes a consumer older. Those of the config never expire.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING

from engine.counters import ConsumerCounter
from engine.errors import EngineError, RingError
from engine.instance import Instance
from engine.meta import Meta, Presence
from engine.meta.open import open_meta
from engine.ring import Reader, Ring

if TYPE_CHECKING:
    from engine.config import Config

log = logging.getLogger("engine.supervisor")

LOOK_S = 10.0  # from one look to the next; sessions that came and went in between are seen by their counter
PATIENCE_S = 0.5  # for a ZooKeeper that may be away: the supervisor has other things to do
SAVE_S = 60.0  # how much of an absence may be forgotten at a kill


def drop_consumer(config: Config, instance: Instance, meta: Meta, destination: str, consumer: str, mark: Presence | None) -> None:
    """The consumer no longer holds anything, and its positions are forgotten. mark: what meta keeps of it; None: nothing.

    Raises:
        RingError: it has a session; nothing was changed.
    """
    with ExitStack() as opened:
        taken: list[tuple[Ring, Reader]] = []
        for partition in range(config.destinations[destination].partitions):
            with suppress(RingError):  # where no engine runs there is none
                ring = opened.enter_context(closing(Ring.attach(instance.store_ring(destination, partition))))
                if consumer in ring.readers():
                    taken.append((ring, ring.reader(consumer)))
        try:
            for _, reader in taken:
                reader.open()  # all of them first: a session that begins now is refused, one that is open refuses us
        except RingError:
            for _, reader in taken:
                if reader.reading:
                    reader.release()
            raise
        meta.keep_presence(destination, {consumer: mark})  # before its positions go: it must never come back as a new one
        meta.forget_consumer(destination, consumer)
        for ring, _ in taken:
            ring.drop_reader(consumer)


class Expiry:
    """Looks after the consumers of the destinations that run here. Owned by the supervisor."""

    def __init__(self, config: Config, instance: Instance) -> None:
        self._config = config
        self._instance = instance
        self._meta: Meta | None = None
        self._looked = time.monotonic()
        self._saved = self._looked
        self._away: dict[tuple[str, str], float] = {}  # seconds
        self._sessions: dict[tuple[str, str], int] = {}

    def look(self, running: Iterable[str]) -> None:
        """Now and then; what goes wrong is logged and tried again."""
        now = time.monotonic()
        elapsed_s = now - self._looked
        if elapsed_s < LOOK_S:
            return
        self._looked = now
        save = now - self._saved >= SAVE_S
        self._saved = now if save else self._saved
        for destination in running:
            if (limit_s := self._config.destinations[destination].consumer_expiry) is not None:
                try:
                    self._look_after(destination, limit_s, min(elapsed_s, 2 * LOOK_S), save=save)
                except EngineError as error:
                    log.warning("%s: can't look after consumers that are away: %s", destination, error)

    def _look_after(self, destination: str, limit_s: float, elapsed_s: float, *, save: bool) -> None:
        if self._meta is None:
            self._meta = open_meta(self._config.server.meta, self._instance, self._config.cluster, PATIENCE_S)
        seen = self._seen(destination)
        kept = self._meta.presence(destination) if save or any((destination, name) not in self._away for name in seen) else {}
        changed: dict[str, Presence | None] = {}
        for consumer, is_here in seen.items():
            key = destination, consumer
            before = self._away.get(key, kept.get(consumer, Presence(0.0)).away_s)
            away_s = self._away[key] = 0.0 if is_here else before + elapsed_s
            if away_s > limit_s:
                self._drop(destination, consumer, away_s)
                del self._away[key]
            elif save or (before and not away_s):
                changed[consumer] = Presence(away_s)
        if changed:
            self._meta.keep_presence(destination, changed)

    def _seen(self, destination: str) -> dict[str, bool]:
        """The consumers that may expire, and whether each has a session or has had one since the last look."""
        settings = self._config.destinations[destination]
        found: dict[str, bool] = {}
        sessions: dict[str, int] = {}
        for partition in range(settings.partitions):
            with closing(Ring.attach(self._instance.store_ring(destination, partition))) as ring:
                for name in ring.readers():
                    if name not in settings.consumers:
                        reader = ring.reader(name)
                        with reader.counters as counters:
                            sessions[name] = sessions.get(name, 0) + counters[ConsumerCounter.SESSIONS]
                        found[name] = found.get(name, False) or reader.owner_alive()
        for name, count in sessions.items():
            before = self._sessions.get((destination, name))
            found[name] = found[name] or (before is not None and count != before)
            self._sessions[destination, name] = count
        return found

    def _drop(self, destination: str, consumer: str, away_s: float) -> None:
        assert self._meta is not None
        with suppress(RingError):  # it came back just now
            drop_consumer(self._config, self._instance, self._meta, destination, consumer, Presence(away_s, time.time()))
            log.warning(
                "%s/%s was away for %.0f s and no longer holds anything back; when it comes back it has to say where it starts",
                destination, consumer, away_s,
            )  # fmt: skip

    def close(self) -> None:
        if self._meta is not None:
            self._meta.close()
