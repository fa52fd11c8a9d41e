"""get, ack and rollback: one consumer's place in one partition's store.

    acked and gone │ handed out: batch 4, batch 5, batch 6 │ still to get . . .
                  ack                                    get                   put

A batch is a run of records between two boundaries (a place where no transaction of the batch is open). Acks go in order,
a rollback moves get back. `Cursor` decides; what it has decided becomes durable in two steps that the server makes for
many cursors at once: `unsaved` goes to meta, then `settle` moves the ring's ack.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import msgpack

from engine._scan import PIECE, SEAM, WHOLE, Scanner
from engine.counters import ConsumerCounter
from engine.errors import Refused
from engine.position import Identity
from engine.ring import READER_NOTE_BYTES, Reader

REMEMBERED_ROLLBACKS = 100_000  # numbers of rolled back batches that a session tells from acked ones

# Python 3.11 looks an enum's member up slowly
_ROWS_SENT, _BATCHES_SENT = ConsumerCounter.ROWS_SENT, ConsumerCounter.BATCHES_SENT
_ROWS_ACKED, _BATCHES_ACKED = ConsumerCounter.ROWS_ACKED, ConsumerCounter.BATCHES_ACKED
_ACKED_TIME_US = ConsumerCounter.ACKED_TIME_US

OpenTransactions = dict[int, str | None]  # source number → GTID of its open transaction, None where it has none


@dataclass(slots=True)
class StoreBatch:
    """A batch as it was handed out: `start` and `end` are sequences of the ring, `pieces` its records in shared memory."""

    number: int
    start: int
    end: int
    pieces: list[memoryview]  # let go of them when they are sent; they stay as they are until the batch is acked
    rows: int
    records: int
    bytes: int
    open: bool  # ends inside a transaction
    torn: bool  # holds the end of a transaction that will not go on
    time_us: int  # commit time of its last record
    tables: list[tuple[int, int]]  # (table key, number of the source where it stands first), each key once
    transactions: OpenTransactions  # open before its first record
    open_before: OpenTransactions  # open at `start`, from where on records may be left out that were acked in an earlier life
    open_after: OpenTransactions
    positions: dict[int, Identity]  # source number → its last record here

    @property
    def sources(self) -> set[int]:
        return {*self.positions, *self.transactions, *self.open_after}


class BatchNumbers:
    """Numbers of the batches of one session, from 1, over all its partitions."""

    def __init__(self) -> None:
        self._last = 0
        self._rolled_back: OrderedDict[int, None] = OrderedDict()
        self._forgotten = 0  # of numbers up to here nobody knows any more whether they were rolled back

    def next(self) -> int:
        self._last += 1
        return self._last

    def roll_back(self, number: int) -> None:
        self._rolled_back[number] = None
        if len(self._rolled_back) > REMEMBERED_ROLLBACKS:
            self._forgotten = self._rolled_back.popitem(last=False)[0]

    def was_acked(self, number: int) -> bool:
        """Of a number that is not outstanding."""
        return self._forgotten < number <= self._last and number not in self._rolled_back


@dataclass(slots=True)
class Unsettled:
    """What has been acked since `settle`."""

    to: int
    open_after: OpenTransactions
    positions: dict[int, Identity] = field(default_factory=dict)
    rows: int = 0
    batches: int = 0
    time_us: int = 0


class Cursor:
    """The place of one consumer in one partition, from its last ack on; owns the ring's reader until `close`.

    capacity: of the ring, in bytes. acked: what meta has kept, source number → Identity; records up to there are not
    handed out again, although the ring may hold them still (after a restart, when other consumers are further behind).
    """

    def __init__(self, reader: Reader, capacity: int, acked: dict[int, Identity], numbers: BatchNumbers | None = None) -> None:
        reader.open()
        self.reader = reader
        self.outstanding: dict[int, StoreBatch] = {}  # in order
        self.held_back = False  # the last next_batch has seen records, and has left them for later
        self.seen_put = reader.get  # how far the last next_batch could see; wait for more than that
        self._numbers = numbers or BatchNumbers()
        self._scanner = Scanner(acked)
        self._counters = reader.counters
        self._capacity = capacity
        self._noted = self._open = _read_note(reader.note())
        self._unsettled: Unsettled | None = None

    @property
    def drained(self) -> bool:
        """Everything that the last next_batch could see has been handed out."""
        return self.reader.get == self.seen_put

    def next_batch(
        self, max_rows: int, max_bytes: int, *, only_full: bool = False, patience_over: bool = False
    ) -> StoreBatch | None:
        """Hand out what comes next, or None: nothing yet.

        A transaction that isn't completely there yet is held back, unless it is larger than the limits, or the ring is
        filling up and might never hold the rest, or `patience_over`. With `only_full`, so is a batch that the limits
        would let grow. A change larger than max_bytes makes a batch of its own.
        """
        while True:
            view = self.reader.view()
            self.seen_put = self.reader.get + len(view)
            self.held_back = False
            if not view:
                return None
            how = PIECE if self._is_pressed() else SEAM if patience_over else WHOLE
            scanner = self._scanner
            if not scanner.scan(view, self._open, max_rows, max_bytes, how, self.reader.get):
                self.held_back = True
                return None
            if scanner.telling:
                if only_full and not scanner.full and how == WHOLE:
                    self.held_back = True
                    return None
                return self._hand_out(view)
            self._pass_over(scanner.end)

    def ack(self, number: int) -> bool:
        """Ack this batch and those handed out before it. True: it had been acked before, and nothing happens.

        Raises:
            Refused: the batch was never handed out or was rolled back; nothing happens.
        """
        if number not in self.outstanding:
            if self._numbers.was_acked(number):
                return True
            raise _unknown(number)
        for earlier in list(self.outstanding):
            self._settle_later(self.outstanding.pop(earlier))
            if earlier == number:
                break
        return False

    def rollback(self, number: int | None = None) -> None:
        """Hand out again from this batch on, or everything that isn't acked.

        Raises:
            Refused: the batch isn't outstanding; nothing happens.
        """
        if number is not None and number not in self.outstanding:
            raise _unknown(number)
        back: StoreBatch | None = None
        for later in reversed(list(self.outstanding)):
            back = self.outstanding.pop(later)
            self._numbers.roll_back(later)
            if later == number:
                break
        if back is not None:
            self.reader.rollback(back.start)
            self._open = back.open_before
            self._counters[ConsumerCounter.ROLLBACKS] += 1

    @property
    def unsaved(self) -> dict[int, Identity] | None:
        """Positions to be kept in meta before `settle`; None: nothing has been acked since the last one."""
        return None if self._unsettled is None else self._unsettled.positions

    def take_unsettled(self) -> Unsettled | None:
        """What has been acked and isn't settled yet, for meta that takes its time: `settle` it then; later acks count anew."""
        acked, self._unsettled = self._unsettled, None
        return acked

    def settle(self, acked: Unsettled | None = None) -> None:
        """What was acked is kept in meta: free it in the ring. acked: what `take_unsettled` gave; None: all of it.

        After `close` nothing happens: the next cursor passes over it.
        """
        acked = acked or self.take_unsettled()
        if acked is None or not self.reader.reading:
            return
        if acked.open_after != self._noted:
            self.reader.set_note(_pack_note(acked.open_after), acked.to)
            self._noted = acked.open_after
        self.reader.ack_to(acked.to)
        counters = self._counters
        counters[_ROWS_ACKED] += acked.rows
        counters[_BATCHES_ACKED] += acked.batches
        counters[_ACKED_TIME_US] = max(acked.time_us, counters[_ACKED_TIME_US])

    def count_session(self) -> None:
        self._counters[ConsumerCounter.SESSIONS] += 1

    def close(self) -> None:
        """Roll back what isn't acked and give the reader up; `settle` first, or the last acks count for nothing.

        Closing twice is harmless.
        """
        if not self.reader.reading:
            return
        self.rollback()
        self._counters.release()
        self.reader.release()

    def _is_pressed(self) -> bool:
        """The writer may be waiting for room that only our acks can give: better an open batch than none."""
        return self.reader.held_bytes > self._capacity // 2

    def _hand_out(self, view: memoryview) -> StoreBatch:
        scanner, start = self._scanner, self.reader.get
        batch = StoreBatch(
            number=self._numbers.next(),
            start=start,
            end=start + scanner.end,
            pieces=[view[begin:end] for begin, end in scanner.pieces()],
            rows=scanner.rows,
            records=scanner.records,
            bytes=scanner.bytes,
            open=scanner.open,
            torn=scanner.torn,
            time_us=scanner.time_us,
            tables=scanner.table_keys(),
            transactions=scanner.open_at_first(),
            open_before=self._open,
            open_after=scanner.open_after(),
            positions=scanner.positions(),
        )
        self.reader.advance(scanner.end)
        self.outstanding[batch.number] = batch
        self._open = batch.open_after
        self._counters[_ROWS_SENT] += batch.rows
        self._counters[_BATCHES_SENT] += 1
        return batch

    def _pass_over(self, n_bytes: int) -> None:
        """Nothing there that must be sent: part of the batch before it, or else acked as it is."""
        scanner = self._scanner
        self.reader.advance(n_bytes)
        self._open = scanner.open_after()
        if self.outstanding:
            before = next(reversed(self.outstanding.values()))
            before.end += n_bytes
            before.positions |= scanner.positions()
            before.open_after = self._open
        else:
            acked = self._later()
            acked.to = self.reader.get
            acked.positions |= scanner.positions()
            acked.open_after = self._open
            acked.time_us = scanner.time_us

    def _settle_later(self, batch: StoreBatch) -> None:
        acked = self._later()
        acked.to = batch.end
        acked.positions |= batch.positions
        acked.open_after = batch.open_after
        acked.rows += batch.rows
        acked.batches += 1
        acked.time_us = batch.time_us

    def _later(self) -> Unsettled:
        if self._unsettled is None:
            self._unsettled = Unsettled(self.reader.ack, {})
        return self._unsettled


def _unknown(number: int) -> Refused:
    return Refused(
        "no such batch is outstanding in this session", batch=number,
        remedy="ack and roll back only what was handed out and not rolled back since; nothing was changed",
    )  # fmt: skip


def _pack_note(transactions: OpenTransactions) -> bytes:
    """For the next server: what is open at the ack. GTIDs that don't fit go as None, from the longest on."""
    kept = dict(transactions)
    for source in sorted(kept, key=lambda source: len(kept[source] or ""), reverse=True):
        if len(msgpack.packb(kept)) <= READER_NOTE_BYTES:
            break
        kept[source] = None
    while len(note := msgpack.packb(kept)) > READER_NOTE_BYTES:
        kept.popitem()
    return note


def _read_note(note: bytes | None) -> OpenTransactions:
    return {} if not note else msgpack.unpackb(note, strict_map_key=False)
