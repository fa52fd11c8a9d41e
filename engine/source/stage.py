"""The source stage: binlog in, records into the source's ring; finds its place again after every kind of death."""

from __future__ import annotations

import logging
import time
from collections.abc import Container, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Protocol

from engine.counters import SourceCounter
from engine.errors import BinlogError, ConfigError, ConnectionLost, EngineError, ServerSetupError, SourceError
from engine.instance import Instance
from engine.meta import Meta
from engine.meta.open import open_meta
from engine.position import Identity, parse_start, split_file_name
from engine.ring import Ring, touch
from engine.source._binlog import ENDED, NEED_INPUT, RING_FULL, Decoder
from engine.source.files import MAGIC, FileFeed, find_files
from engine.source.history.history import Moment, SchemaHistory
from engine.source.history.snapshot import ServerTables
from engine.source.ledger import Ledger
from engine.source.live import LiveFeed
from engine.source.note import ResumePoint, unpack_note
from engine.source.probe import Probe
from engine.source.resume import least_reached, resume_point
from engine.source.retries import Retries
from engine.source.server_errors import DUPLICATE_ID, TRUNCATED
from engine.source.servers import Servers
from engine.source.tables import TableVersions
from engine.source.xa import PreparedGroups
from engine.stage import NOW_AND_THEN_NS
from engine.store_note import store_positions
from engine.table_filter import TableFilter, wanted_by_any

if TYPE_CHECKING:
    from engine.config import Config, SourceConfig

log = logging.getLogger("engine.source")

RECEIVED_NS, BINLOG_BYTES = SourceCounter.RECEIVED_NS, SourceCounter.BINLOG_BYTES  # Python 3.11 looks members up slowly
STEP_BYTES = 1 << 20  # of events, between two looks at the clock
WORK_BYTES = 4 << 20  # of one do_work
WORK_NS = 20_000_000
TOUCH_BYTES = 64 << 20  # of the ring, before the server is asked: some 0.5 ms for each MiB
# Of a server that can't go on with a history: another one of the source's may, or this one later.
MAY_PASS_ELSEWHERE = {"server_behind", "position_purged", "gtids_unknown", "server_changed", "binlog_reset"}
SWITCH_LOOK_NS = 500_000_000
PROBE_FAILED, SWITCHED = "probe_failed", "switched"
LOOK_AT_END_NS = 500_000_000
SETTLED_NS = 500_000_000  # a connection that has lasted so long counts as a good one
HEARTBEAT_NS = 1_000_000_000  # without a record for so long, or
HEARTBEAT_BYTES = 64 << 20  # so much binlog: say how far the source has come


class Feed(Protocol):
    """Where the bytes come from. `fill` answers with bytes brought in, 0: none now, or (finished) none any more.

    drained: what the last `fill` brought was most likely all there is; `wait` says if it wasn't.
    """

    @property
    def finished(self) -> bool: ...

    @property
    def drained(self) -> bool: ...

    def open(self, base: str, number: int, offset: int) -> None: ...

    def fill(self) -> int: ...

    def wait(self, timeout_ns: int) -> None: ...

    def choose_server_id(self) -> bool: ...

    def has_file(self, base: str, number: int) -> bool: ...

    def files(self) -> list[tuple[str, int]]: ...

    def reread(self, base: str, number: int, offset: int, whole: Container[int] = ...) -> Iterator[tuple[int, memoryview]]: ...

    def close(self) -> None: ...


def build(config: Config, source_name: str, instance: Instance) -> SourceStage:
    """The stage of one source; on_start attaches its ring, which has to be there."""
    return SourceStage(config, source_name, instance)


class SourceStage:
    """Reads one source into its ring. Tries for ever to reach a server that went away; other errors end it."""

    def __init__(self, config: Config, name: str, instance: Instance) -> None:
        self.role_name = f"source {name}"
        self.resting = False  # see Stage
        self.trouble: EngineError | None = None  # why there is no connection now
        self._cause: EngineError | None = None  # why there was none at first
        self._config = config
        self._source: SourceConfig = config.sources[name]
        self._name = name
        self._instance = instance
        self._destinations = [d for d in config.destinations if name in config.sources_of(d)]
        self._ring: Ring | None = None
        self._counters = memoryview(b"")  # of the ring
        self._meta: Meta | None = None
        self._server: ServerTables | None = None
        self._point: ResumePoint | None = None  # where to go on, as far as it was known at the start
        self._keeps_first = False  # the place it all begins at is known, and kept
        self._live = config.sources[name].files is None
        self._now_and_then_ns = 0  # when it is time again for a beat and the probe, and
        self._look_ns = 0  # when to look for a switch
        self._moving = ""  # why the history is left for another server, and
        self._moving_reason = ""  # the same in one word
        self._left = 0  # number of the history that was left then
        self._ring_is_new = False  # and what the consumers had was in another one
        self._running = False  # the feed is open
        self._proven = False  # and what came from it counts as a success
        self._ended_file = 0  # number of a file whose end a crash of the server cut off: the next one goes on
        self._full = False
        self._done = False
        self._retries = Retries()
        self._retry_ns = 0
        self._look_at_end_ns = 0
        self._probe = Probe(self._source, name) if self._source.probe else None
        self._probed_at = -1  # which of the urls it is about
        self._received_ns = 0
        self._opened_ns = 0
        self._opened_at = ("", 0, 0)
        self._records = 0
        self._record_ns = 0
        self._record_bytes = 0  # BINLOG_BYTES at the last record

    # ---- start ---------------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        self._ring = Ring.attach(self._instance.source_ring(self._name))
        self._ring.open_writer()
        self._counters = self._ring.counters
        touch(self._ring, 0, TOUCH_BYTES)  # or the first rows take twice as long, a page fault for each page
        self._meta = open_meta(self._config.server.meta, self._instance, self._config.cluster)
        meta = self._meta
        destinations = map(self._config.destinations.__getitem__, self._destinations)
        wants = wanted_by_any([TableFilter(each.include, each.exclude) for each in destinations])
        servers = Servers(self._source)
        self._server = None if self._source.files else ServerTables(servers.in_use, self._name)
        self._history = SchemaHistory(meta, self._server, wants)
        tables = TableVersions(self._name, wants, meta, self._history)
        self._ledger = Ledger(
            meta, self._name, lambda: least_reached(meta, self._config, self._name, self._destinations, self._held),
            self._destinations,
        )  # fmt: skip
        number_of = self._ledger.number_of if self._live else lambda base: meta.source_number(self._name, base)
        self._decoder = Decoder(self._ring, tables, source=self._name, packets=self._live, number_of=number_of)
        self._feed: Feed
        if self._source.files:
            self._feed = FileFeed(self._decoder, find_files(self._source.files), self._name)
        else:
            self._ledger.attach(self._decoder)
            self._feed = LiveFeed(self._decoder, self._source, self._name, self._ledger, servers)
        self._decoder.prepared = PreparedGroups(self._feed, self._name)
        self._point = resume_point(meta, self._config, self._name, self._destinations, self._held, self._ring.note())
        self._keeps_first = self._point is not None
        self._ring_is_new = self._keeps_first and self._ring.note() is None
        if self._point is not None and self._live:
            self._recall(self._point)
        if self._point is not None:
            log.info("%s goes on after %s", self._name, self._point.after)

    def _recall(self, point: ResumePoint) -> None:
        """The history that goes on, what was executed in it, and the server that it was read from last."""
        assert self._ring is not None
        self._ledger.go_on(point.source)
        self._ledger.restore(point.source, point.gtids)
        self._ledger.estimated = point.estimated
        self._decoder.know_origin(point.origin_us)
        newest = self._ledger.turn(max(self._ledger.histories(), default=0))
        if newest is not None:
            self._live_feed.servers.choose(newest.where)
        if point.left:
            self._moving, self._moving_reason = "it was left for another server", "left"

    @property
    def _live_feed(self) -> LiveFeed:
        assert isinstance(self._feed, LiveFeed)
        return self._feed

    def _held(self, destination: str, partition: int) -> dict[int, Identity]:
        """How far a store in a file has come, by source number: its consumers get the rest from there."""
        with closing(Ring.attach(self._instance.store_ring(destination, partition))) as store:
            return store_positions(store)

    # ---- work ----------------------------------------------------------------------------------------------------

    def do_work(self, now_ns: int) -> int:
        assert self._ring is not None
        self.resting = False
        if self._done:
            return 0
        if now_ns >= self._now_and_then_ns:
            self._now_and_then_ns = now_ns + NOW_AND_THEN_NS
            self._ring.beat(now_ns)
            if self._probe is not None and (failure := self._probed()):
                self._lost(now_ns, ConnectionLost(f"the probe fails: {failure}", reason=PROBE_FAILED, source=self._name))
        if not self._running and now_ns < self._retry_ns:
            return 0
        try:
            if self._live and now_ns >= self._look_ns:
                self._look_for_switch(now_ns)
            if not self._running:
                self._open(now_ns)
            return self._read(now_ns)
        except SourceError as error:
            if not self._passing(error):
                raise
            self._lost(now_ns, error)
            return 0

    def _probed(self) -> str:
        """What is wrong with the server in use, as the probe finds it."""
        assert self._probe is not None
        if self._live_feed.servers.at != self._probed_at:
            self._probed_at = self._live_feed.servers.at
            self._probe.watch(self._live_feed.servers.in_use())
        return self._probe.failure()

    def _look_for_switch(self, now_ns: int) -> None:
        """Whether an operator wants another server."""
        self._look_ns = now_ns + SWITCH_LOOK_NS
        request = self._instance.switch_file(self._name)
        if not request.exists():
            return
        where = request.read_text().strip()
        request.unlink()
        turn = self._ledger.turn(self._ledger.number)
        if turn is not None and turn.where != where and self._live_feed.servers.choose(where):
            self._moving, self._moving_reason = "an operator switched it", SWITCHED
            self._running = False
            self._feed.close()

    def _passing(self, error: SourceError) -> bool:
        """Whether to connect again after it: not where the config or the binlog is at fault."""
        if self._source.files:
            return False
        if isinstance(error, BinlogError):  # perhaps the network's fault
            return self._running and self._retries.may_reread(self._decoder.position)
        if error.reason == DUPLICATE_ID:
            return self._feed.choose_server_id()
        if error.reason == TRUNCATED:  # by a crash; the server rolled back what it had half written, and began a new file
            self._ended_file = self._decoder.position[1]
            return self._feed.has_file(*self._decoder.position[:1], self._ended_file + 1)
        if self._live_feed.servers.several and error.reason in MAY_PASS_ELSEWHERE and not self._running:
            return True
        refused = isinstance(error, ServerSetupError) and not self._running
        return isinstance(error, ConnectionLost) or (refused and self._keeps_first)  # it once let us in

    def _open(self, now_ns: int) -> None:
        """Open the feed where the ring's content ends; the first time, where the resume point or the config says."""
        if takes_over := bool(self._moving or not self._at_its_server()):
            self._take_over()
        else:
            self._open_here()
        self._running = True
        self._proven = self._full = False
        self._received_ns = self._opened_ns = now_ns
        self._set(SourceCounter.CONNECTED, 1)
        self._set(SourceCounter.CONNECTED_NS, time.monotonic_ns())
        self._add(SourceCounter.CONNECTS, 1)
        base, file, offset = self._opened_at = self._decoder.position
        if not self._keeps_first and base:
            first = Identity(file, offset, 0, 0)
            if self._source.start == "latest" and not takes_over:
                self._history.begin(Moment(self._decoder.number, base, first))
            self._keep_first(first)

    def _open_here(self) -> None:
        point = self._point
        if self._keeps_first:  # otherwise nothing was read yet, and it begins as the config says
            point = self._decoder.resume_point() or self._point
        if point is None:
            self._feed.open(*self._configured_start())
            return
        assert self._meta is not None
        if point.file == self._ended_file:
            point = point._replace(file=point.file + 1, offset=len(MAGIC))
        self._decoder.resume(point)
        if self._live:
            self._ledger.go_on(point.source)
        self._feed.open(self._meta.histories()[point.source].binlog, point.file, point.offset)

    def _at_its_server(self) -> bool:
        """Whether the server in use is the one that the history was read from."""
        return not self._live or not self._keeps_first or self._live_feed.serves(self._ledger.turn(self._ledger.number))

    def _take_over(self) -> None:
        """Go on at another server, by GTID or time. Until it is known to be able to, the history stays where it is."""
        if not self._moving and self._point is not None and self._decoder.resume_point() is None:
            self._decoder.resume(self._point)  # so that what is torn in the ring is known
        if not self._decoder.settle():
            raise ConnectionLost("the ring is full; the next server waits", source=self._name)
        # what consumers had acked since the set that is known was kept comes again
        plan = self._live_feed.plan_takeover(again=self._ring_is_new and not self._decoder.records)
        why, reason = self._why_moving()
        left = self._ledger.turn(self._ledger.number)
        if not self._decoder.leave():
            raise ConnectionLost("the ring is full; the next server waits", source=self._name)
        self._moving, self._moving_reason = why, reason
        self._left = self._number_in_ring() or self._left
        self._live_feed.take_over(plan, self._left, why, reason)
        # by GTID no place is known until a transaction, or the binlog's end: another try is by GTID again
        self._point, self._keeps_first = None, False
        log.warning(
            "source name=%s event=failover from=%s to=%s by=%s reason=%s why=%r", self._name, left.where if left else "-",
            self._live_feed.servers.where, plan.by, reason, why,
        )  # fmt: skip

    def _number_in_ring(self) -> int:
        """Of the history that its last record belongs to, or would if it had one; 0: not known."""
        assert self._ring is not None
        note = self._ring.note()
        return unpack_note(note).source if note is not None else self._point.source if self._point is not None else 0

    def _why_moving(self) -> tuple[str, str]:
        """For people, and in one word: of this move, while the one before may still be without a place."""
        if self._cause is not None and self._moving_reason != SWITCHED:
            return str(self._cause), self._cause.reason
        return self._moving or "the server in use is another one", self._moving_reason or "configured"

    def _configured_start(self) -> tuple[str, int, int]:
        """Files begin with the first, unless the config names one; a server is asked."""
        start = parse_start(self._source.start)
        if not self._source.files or start.kind in ("latest", "earliest"):
            return "", 0, 0
        if start.kind != "file":
            raise ConfigError(
                "files can't be read from this start", source=self._name, start=self._source.start,
                remedy='use "earliest" or a place such as "binlog.000012:4"',
            )  # fmt: skip
        return (*split_file_name(start.file), start.offset)

    def _keep_first(self, first: Identity) -> None:
        """So that "latest" means the same after a restart, though nothing has been acked yet."""
        assert self._meta is not None
        self._meta.first_position(self._decoder.number, first)
        self._keeps_first = True
        self._moving = self._moving_reason = ""

    def _read(self, now_ns: int) -> int:
        got, spent = self._decode(now_ns)
        if spent:
            if not self._proven:
                self._prove(now_ns)
            self._counters[RECEIVED_NS] = now_ns
        if not self._keeps_first and self._decoder.first_start is not None:  # a start by GTID: only now a place is known
            self._keep_first(self._decoder.first_start)
        if self._live and self._keeps_first and now_ns >= self._ledger.due_ns:
            self._ledger.turn_of_work(now_ns)
        if not spent and self._live and not self._keeps_first and now_ns >= self._look_at_end_ns:
            self._look_at_end(now_ns)
        work = spent + self._note_progress(now_ns, caught_up=got == 0 and not self._full)
        if work:
            return work
        if self._feed.finished:
            self._finish()
        elif not self._full and now_ns - self._received_ns > self._source.read_timeout_s * 1e9 and not self._source.files:
            raise ConnectionLost(
                "the server has been silent, without even a heartbeat", source=self._name,
                seconds=self._source.read_timeout_s,
            )  # fmt: skip
        return 0

    def _prove(self, now_ns: int) -> None:
        """Bytes have come; what a server sends before it throws us out is no success."""
        self._proven = self._decoder.position != self._opened_at or now_ns - self._opened_ns >= SETTLED_NS
        if self._proven:
            self._retries.worked()
            self.trouble = self._cause = None
            if self._live:
                self._live_feed.servers.worked()

    def _decode(self, now_ns: int) -> tuple[int, int]:
        """Bytes that the last look at the feed brought, and bytes worked through. New tables go to meta together, at the end."""
        decoder, feed = self._decoder, self._feed
        got = spent = 0
        drained = False
        deadline_ns = now_ns + WORK_NS
        try:
            while spent < WORK_BYTES:
                progress = decoder.advance(STEP_BYTES, True)
                self._full = progress == RING_FULL
                if self._full:
                    self._received_ns = now_ns  # the server isn't silent, we don't listen
                    break
                if progress == ENDED:
                    raise ConnectionLost("the server ended the dump", source=self._name)
                if progress == NEED_INPUT:
                    got = 0 if drained else feed.fill()
                    if got == 0:
                        self.resting = drained
                        break
                    drained = feed.drained
                    self._received_ns = now_ns
                spent += got or STEP_BYTES
                if time.monotonic_ns() >= deadline_ns:
                    break
        finally:
            decoder.release()
        return got, spent

    def _look_at_end(self, now_ns: int) -> None:
        """After a start by GTID: where there is nothing more to come, the server's heartbeat has told the place."""
        self._look_at_end_ns = now_ns + LOOK_AT_END_NS
        _, file, offset = self._decoder.position
        # the record comes first: the ring must not go on to speak of the history before
        if self._live_feed.is_at_end() and self._decoder.heartbeat(time.time_ns() // 1000):
            self._keep_first(Identity(file, offset, 0, 0))

    def _note_progress(self, now_ns: int, *, caught_up: bool) -> int:
        """Records written since the last look; a heartbeat where there were none for a while."""
        written = self._decoder.records - self._records
        # before the first transaction of a start by GTID the place is not known that a heartbeat would name
        if (
            not written
            and (self._keeps_first or not self._live)
            and (now_ns - self._record_ns >= HEARTBEAT_NS or self._counters[BINLOG_BYTES] - self._record_bytes >= HEARTBEAT_BYTES)
        ):
            # what is read from long ago is not now, whatever the clock says
            time_us = time.time_ns() // 1000 if caught_up and not self._source.files else self._decoder.commit_time_us
            if time_us and self._decoder.heartbeat(time_us):
                written = self._decoder.records - self._records
        if written:
            self._records += written
            self._record_ns = now_ns
            self._record_bytes = self._counters[BINLOG_BYTES]
        return written

    def _finish(self) -> None:
        assert self._ring is not None
        self._done = True
        self._set(SourceCounter.CONNECTED, 0)
        self._ring.close_writer(finished=True)

    def _lost(self, now_ns: int, error: SourceError) -> None:
        self._running = False
        self._feed.close()
        self._set(SourceCounter.CONNECTED, 0)
        pause_s = self._retries.pause_s(refused=isinstance(error, ServerSetupError))
        if self._live:
            servers = self._live_feed.servers
            left = servers.where
            over = servers.failed(now_ns)
            if error.reason == PROBE_FAILED and not over:
                servers.give_up()
                over = True
            if over:
                log.warning(
                    "source name=%s event=next_server from=%s to=%s reason=%s", self._name, left, servers.where, error.reason
                )
            pause_s = 0.0 if over else min(pause_s, servers.retry_within_s(now_ns))
        self._retry_ns = now_ns + int(pause_s * 1e9)
        self.trouble = error
        self._cause = self._cause or error
        log.warning("%s; next try in %.1f s", error, pause_s)

    def idle(self, timeout_ns: int) -> None:
        assert self._ring is not None
        if self._done or not self._running:
            pause_ns = timeout_ns if self._done else min(timeout_ns, max(self._retry_ns - time.monotonic_ns(), 0))
            time.sleep(pause_ns / 1e9)
        elif self._full:
            self._ring.wait_writable(self._ring.max_record, timeout_ns)
        else:
            self._feed.wait(timeout_ns)

    # ---- end -----------------------------------------------------------------------------------------------------

    def on_close(self) -> None:
        if self._probe is not None:
            self._probe.close()
        if hasattr(self, "_feed"):
            self._feed.close()
        if self._server is not None:
            self._server.close()
        if self._ring is not None:
            if self._ring.writing:
                self._set(SourceCounter.CONNECTED, 0)
                self._ring.close_writer()
            self._counters.release()
            self._ring.close()
        if self._meta is not None:
            if self._live and self._running:
                self._ledger.keep()
            self._meta.close()

    def _set(self, counter: SourceCounter, value: int) -> None:
        self._counters[counter] = value

    def _add(self, counter: SourceCounter, n: int) -> None:
        assert self._ring is not None
        self._ring.add(counter, n)
