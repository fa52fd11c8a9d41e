"""The sink: reads source rings, keeps what its destination wants, and puts it into the stores it owns.

    source rings ─▶ intake (heads as arrays) ─▶ merge (which next) ─▶ filter, route (NumPy) ─▶ lanes ─▶ store rings
                                             └▶ of one source, nothing unusual in view: all of it natively (_turn.pyx) ─▶

Dying at any moment loses nothing and repeats nothing: a store's note, valid with the publish that it belongs to, says how
far each source has come in that store; a source ring is acked only when all stores have its records.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.counters import SinkCounter
from engine.errors import StoreError
from engine.instance import Instance
from engine.meta.open import open_meta
from engine.record import Kind
from engine.ring import Reader, Ring, wait_any
from engine.sink._selection import Selector
from engine.sink._turn import NOT_ORDINARY, Turn
from engine.sink.checkpointer import Checkpointer
from engine.sink.filter import BY_HASH, NOWHERE, TableTargets
from engine.sink.intake import Intake
from engine.sink.lane import Lane
from engine.sink.merge import Merge, Round, of_one
from engine.sink.route import Router, Selection, select
from engine.stage import IDLE_NS, LONG_IDLE_NS, NOW_AND_THEN_NS
from engine.table_filter import TableFilter

if TYPE_CHECKING:
    from engine.config import Config, DestinationConfig

log = logging.getLogger("engine.sink")

SCHEMA = Kind.SCHEMA
TOUCH_AHEAD_BYTES = 256 << 20  # of all stores of a sink


def build(config: Config, destination: str, sink: int, instance: Instance) -> SinkStage:
    """The stage of sink number `sink` of a destination. Its rings, and its readers in the source rings, exist already."""
    meta = open_meta(config.server.meta, instance, config.cluster)
    settings = config.destinations[destination]
    return SinkStage(
        f"sink {destination} #{sink}",
        settings,
        source_rings={source: instance.source_ring(source) for source in config.sources_of(destination)},
        store_rings={
            partition: instance.store_ring(destination, partition)
            for partition in range(sink, settings.partitions, settings.sinks)
        },
        reader=instance.sink_reader(destination, sink),
        packed_schema=meta.packed_schema,
        numbers={number: history.source for number, history in meta.histories().items()},
        on_close=meta.close,
    )


class SinkStage:
    """See engine.stage.Stage.

    source_rings: source → name of its ring; store_rings: partition → name of its store, for the partitions of this sink;
    reader: name of this sink's reader in each source ring; packed_schema: table key → schema, for keys whose schema record
    came before this sink; numbers: source numbers given out up to now → source; checkpointer: for each store in a file.
    """

    def __init__(
        self,
        role_name: str,
        settings: DestinationConfig,
        *,
        source_rings: dict[str, str],
        store_rings: dict[int, str],
        reader: str,
        packed_schema: Callable[[int], bytes | None],
        numbers: dict[int, str],
        checkpointer: Callable[[Ring, float], Checkpointer] = Checkpointer,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.role_name = role_name
        self.idle_ns = LONG_IDLE_NS
        self.resting = False  # see Stage
        self._settings = settings
        self._source_rings = source_rings
        self._store_rings = store_rings
        self._reader_name = reader
        self._spin_ns = settings.spin_us * 1000
        self._numbers_of = numbers
        self._make_checkpointer = checkpointer
        self._checkpointers: list[Checkpointer] = []
        self.trouble: StoreError | None = None  # a store can't be written for the moment: nothing is put until it can
        self._on_close = on_close
        self._rings: list[Ring] = []
        self._intakes: list[Intake] = []
        self._selectors: list[Selector] = []  # of each intake
        self._lanes: list[Lane] = []
        self._router = Router(settings.partitions, settings.partition_by, list(store_rings), self._count_whole_table)
        table_filter = TableFilter(list(settings.include), list(settings.exclude))
        self._tables = TableTargets(table_filter, self._router.place, packed_schema)
        self._round: Round | None = None
        self._numbers: list[int] = []  # of the round's pieces: which source
        self._full: Lane | None = None
        self._merge: Merge | None = None  # of several sources
        self._turn: Turn | None = None  # of a single one
        self._readers: list[Reader] = []
        self._may_touch = True
        self._now_and_then_ns = 0  # when it is time again for beats and heartbeats

    def on_start(self) -> None:
        for source, name in self._source_rings.items():
            ring = self._attach(name)
            reader = ring.reader(self._reader_name)
            reader.open()
            numbers = [number for number, name in self._numbers_of.items() if name == source]
            self._intakes.append(Intake(source, ring, reader, numbers))
            self._selectors.append(Selector(len(self._store_rings)))
        for partition, name in self._store_rings.items():
            ring = self._attach(name)
            ring.open_writer()
            lane = Lane(partition, ring)
            lane.restart(self._intakes, time.monotonic_ns())
            self._lanes.append(lane)
            if ring.data_path:
                lane.checkpointer = self._make_checkpointer(ring, self._settings.store.sync_s)
                self._checkpointers.append(lane.checkpointer)
        for number, intake in enumerate(self._intakes):
            intake.cuts = sorted({lane.tracks[number].done for lane in self._lanes})
            inside = [i for i, lane in enumerate(self._lanes) if lane.tracks[number].inside]
            intake.rest_lane = inside[0] if inside else NOWHERE
        self._readers = [intake.reader for intake in self._intakes]
        if len(self._intakes) == 1:
            self._turn = Turn(
                self._intakes[0], self._selectors[0], self._tables.targets, [lane.ring for lane in self._lanes],
                [lane.tracks for lane in self._lanes], 0, self._router.lanes, BY_HASH, self._router.by_columns,
            )  # fmt: skip
        else:
            self._merge = Merge(self._intakes, self._settings.order, self._settings.merge_wait_s)

    def _attach(self, name: str) -> Ring:
        ring = Ring.attach(name)
        self._rings.append(ring)
        return ring

    def do_work(self, now_ns: int) -> int:
        self.resting = False
        heartbeats = 0
        if self._checkpointers and not self._store_is_sound():
            self._beat(now_ns)
            return 0
        if now_ns >= self._now_and_then_ns:
            self._now_and_then_ns = now_ns + NOW_AND_THEN_NS
            self._beat(now_ns)
            if self._round is None:
                heartbeats = sum(lane.send_heartbeats(self._intakes, now_ns) for lane in self._lanes)
        if self._round is None:
            if self._turn is not None:
                work = self._turn.take()
                if work != NOT_ORDINARY:
                    if work:
                        self._nudge()
                    self.resting = work > 0
                    return work + heartbeats
                self._round = of_one(self._intakes[0], self._intakes[0].heads.count)
            else:
                assert self._merge is not None
                self._round = self._merge.next_round(now_ns)
            if self._round is None:
                return heartbeats
            self._plan(self._round)
        return self._copy(self._round)

    def _beat(self, now_ns: int) -> None:
        for reader in self._readers:
            reader.beat(now_ns)
        for lane in self._lanes:
            lane.ring.beat(now_ns)

    def _store_is_sound(self) -> bool:
        """Whether all file stores can be written; raises what can't mend itself."""
        self.trouble = None
        for checkpointer in self._checkpointers:
            self.trouble = self.trouble or checkpointer.trouble
            checkpointer.check()
        return self.trouble is None

    def _plan(self, now: Round) -> None:
        """Decide what of a round goes into which store."""
        self._numbers = [self._intakes.index(piece.intake) for piece in now.pieces]
        planned = [self._select(piece.intake, number, piece.start, piece.end)
                   for piece, number in zip(now.pieces, self._numbers, strict=True)]  # fmt: skip
        for i, lane in enumerate(self._lanes):
            lane.begin_round(now, self._numbers, [selections[i] for selections in planned])

    def _select(self, intake: Intake, number: int, a: int, b: int) -> list[Selection]:
        heads, lanes = intake.heads, self._lanes
        wanted_schemas: dict[int, bool] = {}
        if heads.described:
            marks, kinds, _ = intake.marks(a, b)
            for index in marks[kinds == SCHEMA].tolist():
                wanted_schemas[index] = self._tables.wants_schema(heads.record(index), int(heads.table[index]))
        targets = self._tables.look_up(heads, a, b)
        targets, splits, intake.rest_lane = self._router.route(heads, a, b, targets, intake.rest_lane)
        return select(
            self._selectors[number], heads, a, b, targets, splits, [lane.tracks[number].open for lane in lanes],
            lambda index, kind: wanted_schemas[index] if kind == SCHEMA else self._tables.wants_ddl(heads.record(index)),
        )  # fmt: skip

    def _copy(self, now: Round) -> int:
        """Put as much of the round as there is room for; ack it when all stores have it."""
        full: Lane | None = None
        work = 0
        for lane in self._lanes:
            if not lane.fill(now, self._numbers):
                full = full or lane
                if lane is not self._full:
                    lane.ring.add(SinkCounter.STORE_FULL, 1)
            work += lane.publish(now, self._numbers)
        self._full = full
        self._nudge()
        if full is not None:
            return work
        for lane in self._lanes:
            lane.finish_round(now, self._numbers)
        for piece in now.pieces:
            piece.intake.finish(piece.end)
        self._round = None
        self.resting = self._merge is None  # what several have in view may not all be taken
        return work + sum(piece.end - piece.start for piece in now.pieces)

    def _nudge(self) -> None:
        """Tell the checkpointers that there may be something to sync."""
        for lane in self._lanes if self._checkpointers else ():
            if lane.checkpointer is not None:
                lane.checkpointer.nudge(hungry=lane is self._full)

    def idle(self, timeout_ns: int) -> None:
        if self.trouble is not None:
            time.sleep(min(timeout_ns, IDLE_NS) / 1e9)
            return
        if self._full is not None:
            self._full.ring.wait_writable(self._full.wanted_bytes, timeout_ns)
            return
        if self._may_touch:
            if any(lane.touch_ahead(TOUCH_AHEAD_BYTES // len(self._lanes)) for lane in self._lanes):
                return
            self._may_touch = any(lane.may_touch for lane in self._lanes)
        readers = self._readers
        if self._merge is not None:
            readers = [intake.reader for intake in self._merge.waiting_for if not intake.ring.writer_finished]
            if self._merge.wait_ns is not None:
                timeout_ns = min(timeout_ns, self._merge.wait_ns)
        elif self._intakes[0].ring.writer_finished:
            readers = []
        if readers:
            wait_any(readers, timeout_ns, self._spin_ns)
        else:  # nothing more will come, but the stores stay open
            time.sleep(min(timeout_ns, IDLE_NS) / 1e9)

    def on_close(self) -> None:
        for checkpointer in self._checkpointers:
            checkpointer.close()
        for intake in self._intakes:
            if intake.reader.reading:
                intake.reader.release()
        for ring in self._rings:
            ring.close()
        self._on_close()

    def _count_whole_table(self) -> None:
        for lane in self._lanes:
            lane.ring.add(SinkCounter.TABLES_WHOLE, 1)
