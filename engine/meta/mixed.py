"""Meta in ZooKeeper whose acks are kept on this machine first, and in ZooKeeper a moment later.

An ack returns once SQLite has it, also while ZooKeeper is away, and goes to ZooKeeper with all others of the same `flush_ms`.
When the machine is lost in between, the next owner doesn't know of these last acks and delivers their changes again.

The file here counts only for the lease under which it was begun (`take_over`): what it has of an older lease is behind what the
owners since have kept, unless there was none.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import EngineError, LeaseLost, MetaAway
from engine.ha.session import PATIENCE_S
from engine.instance import Instance
from engine.meta import Place
from engine.meta.file import FileMeta
from engine.meta.zookeeper import ZooKeeperMeta
from engine.position import Identity

if TYPE_CHECKING:
    from engine.config import ClusterConfig

log = logging.getLogger("engine.meta")

CLOSE_S = 1.0  # to bring the last acks to ZooKeeper at the end
_HELD = "CREATE TABLE IF NOT EXISTS held (destination TEXT PRIMARY KEY, epoch INTEGER NOT NULL) STRICT, WITHOUT ROWID"


class LocalAcks(FileMeta):
    """The file of this machine: acked positions, and for each destination the epoch that they belong to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with self._errors_named(), self._transaction():
            self._db.execute(_HELD)

    def epoch(self, destination: str) -> int:
        """0: nothing was ever kept of it."""
        with self._errors_named():
            row = self._db.execute("SELECT epoch FROM held WHERE destination = ?", (destination,)).fetchone()
        return row[0] if row else 0

    def held(self) -> dict[str, int]:
        with self._errors_named():
            return dict(self._db.execute("SELECT destination, epoch FROM held").fetchall())

    def begin(self, destination: str, epoch: int, acked: dict[Place, Identity]) -> None:
        """From now on these positions, of this lease."""
        with self._errors_named(), self._transaction():
            self._db.execute("DELETE FROM acked WHERE destination = ?", (destination,))
            rows = [(*place, *identity) for place, identity in acked.items()]
            self._db.executemany("INSERT INTO acked VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._db.execute("INSERT OR REPLACE INTO held VALUES (?, ?)", (destination, epoch))


class MixedMeta(ZooKeeperMeta):
    """The contract of engine.meta.Meta; see above for what is different about acks.

    An outsider, without an instance that holds a lease, reads and writes ZooKeeper alone.
    """

    def __init__(self, cluster: ClusterConfig, instance: Instance, patience_s: float = PATIENCE_S) -> None:
        super().__init__(cluster, instance, patience_s)
        self._cluster = cluster
        self._flush_s = cluster.flush_ms / 1000
        self._local = LocalAcks(instance.data_dir / "mixed.sqlite")
        self._pending: dict[Place, Identity] = {}
        self._changed = threading.Condition()  # of _pending, _flushing and _closing
        self._flushing = False
        self._closing = False
        self._flusher: threading.Thread | None = None

    def take_over(self, destination: str, epoch: int) -> None:
        """At the beginning of a lease, whose grant this engine has already: what ZooKeeper knows counts from now on.

        Raises:
            LeaseLost, MetaAway, MetaError
        """
        before, own = self._local.epoch(destination), self._local.acked(destination)
        kept = super().acked(destination)
        ahead = {place: at for place, at in own.items() if at > kept.get(place, Identity(0, 0, 0, 0))}
        if ahead and before in (epoch - 1, epoch):  # nobody has owned it in between
            super().ack(ahead)
            kept = super().acked(destination)
        elif ahead:
            log.warning(
                "%s: %d positions that were acked here last under epoch %d did not reach ZooKeeper before another engine took"
                " over; what they acked has been delivered again", destination, len(ahead), before,
            )  # fmt: skip
        self._local.begin(destination, epoch, kept)

    def ack(self, positions: dict[Place, Identity]) -> None:
        ours = {destination for destination in {place.destination for place in positions} if self._holds(destination)}
        if len(ours) < len({place.destination for place in positions}):
            super().ack(positions)
            return
        self._local.ack(positions)
        with self._changed:
            self._pending |= positions
            if self._flusher is None:
                self._flusher = threading.Thread(target=self._flush_for_ever, name="acks to ZooKeeper", daemon=True)
                self._flusher.start()
            self._changed.notify_all()

    def _holds(self, destination: str) -> bool:
        """Whether the file here is that of the lease which this engine has."""
        epoch = self._epoch(destination)
        return epoch is not None and self._local.epoch(destination) == epoch

    def acked(self, destination: str | None = None) -> dict[Place, Identity]:
        if destination is not None:
            return self._local.acked(destination) if self._holds_quietly(destination) else super().acked(destination)
        held = [name for name in self._local.held() if self._holds_quietly(name)]
        own = {place: at for name in held for place, at in self._local.acked(name).items()}
        if held and not self.session.connected:
            return own  # a stage of ours starts again while ZooKeeper is away
        return {place: at for place, at in super().acked().items() if place.destination not in held} | own

    def _holds_quietly(self, destination: str) -> bool:
        try:
            return self._holds(destination)
        except LeaseLost:
            return False

    def forget_consumer(self, destination: str, consumer: str) -> None:
        super().forget_consumer(destination, consumer)
        self._local.forget_consumer(destination, consumer)

    def replace_acked(self, destination: str, positions: dict[str, dict[tuple[int, int], Identity]]) -> None:
        super().replace_acked(destination, positions)
        self._local.replace_acked(destination, positions)

    def flush(self, within_s: float) -> bool:
        """Whether everything acked so far is in ZooKeeper, or has been refused there."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending and not self._flushing, within_s)

    def _flush_for_ever(self) -> None:
        while True:
            began = time.monotonic()
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closing)
                if not self._pending:
                    return
                pending, self._pending, self._flushing = self._pending, {}, True
            back = self._flush(pending)
            with self._changed:
                self._pending = back | self._pending
                self._flushing = False
                self._changed.notify_all()
                if self._closing and back:
                    return
                rest_s = self._flush_s - (time.monotonic() - began)
                self._changed.wait_for(lambda: self._closing, max(rest_s, 0.0))

    def _flush(self, pending: dict[Place, Identity]) -> dict[Place, Identity]:
        """What could not be flushed and may be tried again."""
        back: dict[Place, Identity] = {}
        for destination in {place.destination for place in pending}:
            positions = {place: at for place, at in pending.items() if place.destination == destination}
            try:
                super().ack(positions)
            except MetaAway:
                back |= positions
            except LeaseLost as error:
                log.warning("%s: late acks were refused: %s", destination, error)
            except EngineError as error:
                log.error("%s: acks can't be brought to ZooKeeper: %s", destination, error)
        return back

    def close(self) -> None:
        """Brings what is pending to ZooKeeper, if it is there. Closing twice is harmless."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._flusher is not None:
            self._flusher.join(CLOSE_S)
        super().close()
        self._local.close()
