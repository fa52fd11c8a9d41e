"""The stores that sessions read from, and which session has which of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from engine.errors import EngineError, Refused, RingError
from engine.ha.grant import Grant
from engine.instance import Instance
from engine.lookback import back_to_whole_change, start_at
from engine.meta import Meta
from engine.ring import Reader, Ring
from engine.server._flow import Lane, Store
from engine.store import BatchNumbers, Cursor
from engine.wire import CONSUMER_BUSY, EXPIRED, TAKEN_OVER, TOO_MANY_SESSIONS, UNKNOWN_PARTITION, UNKNOWN_START, Hello

if TYPE_CHECKING:
    from engine.config import DestinationConfig
    from engine.server.acks import AckKeeper
    from engine.server.late_acks import LateAckKeeper
    from engine.server.session import Session


class SessionRefused(Refused):
    """A session can't be opened, or not go on; `code` is one of docs/protocol.md.

    elsewhere: the address of the server that has the destination, if another one has it.
    """

    def __init__(self, code: str, what: str, *, elsewhere: str | None = None, remedy: str = "", **facts: Any) -> None:
        super().__init__(what, remedy=remedy, reason=code, **facts)
        self.code = code
        self.elsewhere = elsewhere


class Destination:
    """A named stream: its stores, one cursor per consumer and partition at a time.

    grant: in a cluster, up to when it may be served here. epoch: of the lease that it is served under, and under no other.
    """

    def __init__(
        self, name: str, settings: DestinationConfig, sources: list[str], instance: Instance, grant: Grant | None = None
    ) -> None:
        self.name = name
        self.settings = settings
        self.sources = sources
        self.grant = grant
        self.epoch = grant.epoch if grant is not None else None
        self.stores: list[Store] = []
        self._claims: dict[tuple[str, int], Session] = {}
        self._line: list[tuple[Session, Hello]] = []  # who stands by until the sessions before them are over
        try:
            for partition in range(settings.partitions):
                self.stores.append(Store(partition, Ring.attach(instance.store_ring(name, partition))))
        except RingError:
            self.close()
            raise

    def may_serve(self) -> bool:
        """Whether it is ours at this moment; asked before a batch goes out and before an ack is confirmed."""
        return self.grant is None or (self.grant.holds() and self.grant.epoch == self.epoch)

    def let_go(self) -> None:
        """Served no longer, and its acks are kept: whoever is to have it next may."""
        if self.grant is not None and self.epoch is not None:
            self.grant.say_let_go(self.epoch)

    def close(self) -> None:
        for store in self.stores:
            store.ring.close()
        if self.grant is not None:
            self.grant.close()

    def is_new(self, consumer: str) -> bool:
        return any(consumer not in store.ring.readers() for store in self.stores)

    def comes_back(self, hello: Hello, meta: Meta) -> bool:
        """The consumer had been dropped, since it was away for too long, and begins anew.

        Raises:
            SessionRefused: it doesn't say that it knows.
        """
        seen = meta.presence(self.name).get(hello.consumer) if self.is_new(hello.consumer) else None
        if seen is None or not seen.expired_at:
            return False
        if hello.start is None:
            since = datetime.fromtimestamp(seen.expired_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            raise SessionRefused(
                EXPIRED, "this consumer was away for too long and was dropped: changes are lost to it",
                destination=self.name, consumer=hello.consumer, dropped_at=since, away_s=round(seen.away_s),
                remedy='build its copy anew, then say hello with start "oldest"; consumer_expiry says how long it may be away',
            )  # fmt: skip
        return True

    def add_consumer(self, consumer: str) -> None:
        """A consumer that isn't there yet starts at the oldest record held, in all partitions.

        Raises:
            RingError: a ring has no place for another reader.
        """
        added = []
        try:
            for store in self.stores:
                if consumer not in store.ring.readers():
                    store.ring.add_reader(consumer)
                    added.append(store)
        except RingError:
            for store in added:
                store.ring.drop_reader(consumer)
            raise

    def _begin_at(self, consumer: str, start: str, meta: Meta) -> None:
        """Move a new consumer, in all partitions, to where it wants to begin."""
        histories = {number: history for number, history in meta.histories().items() if history.source in self.sources}
        executed = [sets[-1][1] for number in histories if (sets := meta.gtid_sets(number))]
        try:
            for store in self.stores:
                reader = store.ring.reader(consumer)
                reader.open()
                try:
                    start_at(store.ring, reader, start, histories, executed)
                finally:
                    reader.release()
        except EngineError as error:
            for store in self.stores:
                store.ring.drop_reader(consumer)
            facts: dict[str, Any] = {name: error.facts.get(name) for name in ("lacking", "oldest", "oldest_time", "oldest_gtid")}
            raise SessionRefused(
                UNKNOWN_START, f"this consumer can't begin there: {error.what}", remedy=error.remedy, destination=self.name,
                consumer=consumer, start=repr(start[:100]),
                **facts,
            ) from None  # fmt: skip

    def stand_by(self, session: Session, hello: Hello) -> int:
        """Wait for the partitions that a hello asks for; how many sessions are before this one. 0: they are free."""
        before = {*self._holders(hello), *(other for other, wanted in self._line if _overlap(wanted, hello))}
        if before:
            self._line.append((session, hello))
        return len(before)

    def call_next(self) -> None:
        """A session is over: those who waited for it, and now for nobody, open theirs, in the order in which they came."""
        for session, hello in list(self._line):
            ahead = self._line[: self._line.index((session, hello))]
            if not self._holders(hello) and not any(_overlap(wanted, hello) for _, wanted in ahead):
                self._line.remove((session, hello))
                session.proceed(self, hello)

    def _holders(self, hello: Hello) -> set[Session]:
        partitions = hello.partitions if hello.partitions is not None else range(len(self.stores))
        claims = ((hello.consumer, partition) for partition in partitions)
        return {self._claims[claim] for claim in claims if claim in self._claims}

    def claim(self, session: Session, hello: Hello, acks: AckKeeper | LateAckKeeper, meta: Meta) -> list[Lane]:
        """The partitions that a session asks for, from their last acks on; ends an older session that has them.

        Raises:
            SessionRefused: unknown partition, consumer busy, or too many consumers.
        """
        if hello.start is not None and not self.is_new(hello.consumer):
            raise SessionRefused(
                UNKNOWN_START, "only a new consumer may say where it begins", destination=self.name, consumer=hello.consumer,
                start=repr(hello.start[:100]), remedy="name a new consumer; binlog-engine position set moves others",
            )  # fmt: skip
        partitions = sorted(hello.partitions if hello.partitions is not None else range(len(self.stores)))
        if partitions[-1] >= len(self.stores):
            raise SessionRefused(
                UNKNOWN_PARTITION, "no such partition", destination=self.name, partition=partitions[-1],
                remedy=f"this destination has the partitions 0 to {len(self.stores) - 1}",
            )  # fmt: skip
        older = self._holders(hello)
        if older and not hello.takeover:
            raise SessionRefused(
                CONSUMER_BUSY, "another session of this consumer is open", destination=self.name, consumer=hello.consumer,
                peers=", ".join(sorted(other.peer for other in older)),
                remedy="close it, name another consumer, or say hello with takeover",
            )  # fmt: skip
        for other in older:
            other.fail(TAKEN_OVER, f"a newer session of this consumer took over: {session.peer}")
        acks.flush()  # of what the older sessions have acked
        if self.is_new(hello.consumer):
            acks.forget(self.name, hello.consumer)
        try:
            self.add_consumer(hello.consumer)
        except RingError as error:
            raise SessionRefused(
                TOO_MANY_SESSIONS, f"this destination can't have another consumer: {error.what}", destination=self.name,
                consumer=hello.consumer, remedy="name one of those that exist, or forget one that is no longer needed",
            ) from None  # fmt: skip
        if hello.start is not None:
            self._begin_at(hello.consumer, hello.start, meta)
        numbers = BatchNumbers()
        kept = acks.acked(self.name)
        lanes = []
        for partition, reader in zip(partitions, self._take(hello.consumer, partitions), strict=True):
            ring = self.stores[partition].ring
            acked = {
                place.source: identity
                for place, identity in kept.items()
                if (place.consumer, place.partition) == (hello.consumer, partition)
            }
            back_to_whole_change(ring, reader)
            cursor = Cursor(reader, ring.capacity, acked, numbers)
            cursor.count_session()
            lanes.append(Lane(self.stores[partition], cursor))
            self._claims[hello.consumer, partition] = session
        return lanes

    def _take(self, consumer: str, partitions: list[int]) -> list[Reader]:
        """The consumer's readers, ours from now on.

        Raises:
            SessionRefused: a command moves or drops the consumer at this moment.
        """
        readers = []
        try:
            for partition in partitions:
                reader = self.stores[partition].ring.reader(consumer)
                reader.open()
                readers.append(reader)
        except RingError as error:
            for reader in readers:
                reader.release()
            raise SessionRefused(
                CONSUMER_BUSY, f"a command moves or drops this consumer: {error.what}", destination=self.name,
                consumer=consumer, remedy="connect again when it is done",
            ) from None  # fmt: skip
        return readers

    def release(self, session: Session, lanes: list[Lane]) -> None:
        """The session is over; what it hasn't acked is rolled back. Its acks have been flushed. Then `call_next`."""
        self._line = [(other, hello) for other, hello in self._line if other is not session]
        for lane in lanes:
            lane.store.waiting.pop(session, None)
            lane.cursor.close()
        self._claims = {claim: other for claim, other in self._claims.items() if other is not session}


def _overlap(one: Hello, other: Hello) -> bool:
    """They ask for a partition of the same consumer."""
    if one.consumer != other.consumer:
        return False
    return one.partitions is None or other.partitions is None or bool({*one.partitions} & {*other.partitions})
