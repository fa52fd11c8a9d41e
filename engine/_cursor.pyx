"""One consumer's place in one partition's store: what `engine.store` is about."""

from collections import OrderedDict

import msgpack

from engine.counters import ConsumerCounter
from engine.errors import Refused
from engine.ring import READER_NOTE_BYTES

cimport cython
from libc.stdint cimport uint8_t, uint64_t

from engine._ring cimport (
    Reader,
    ring_ack_load_acquire,
    ring_get_load_relaxed,
    ring_get_store_relaxed,
    ring_put_load_acquire,
    ring_t,
)
from engine._scan cimport _PIECE, _SEAM, _WHOLE, Scanner

REMEMBERED_ROLLBACKS = 100_000  # numbers of rolled back batches that a session tells from acked ones

cdef int ROWS_SENT = ConsumerCounter.ROWS_SENT
cdef int ROWS_ACKED = ConsumerCounter.ROWS_ACKED
cdef int BATCHES_SENT = ConsumerCounter.BATCHES_SENT
cdef int BATCHES_ACKED = ConsumerCounter.BATCHES_ACKED
cdef int ROLLBACKS = ConsumerCounter.ROLLBACKS
cdef int SESSIONS = ConsumerCounter.SESSIONS
cdef int ACKED_TIME_US = ConsumerCounter.ACKED_TIME_US


@cython.final
@cython.freelist(16)
cdef class StoreBatch:
    """A batch as it was handed out; _cursor.pxd says what is in it."""

    def __init__(self):
        raise TypeError("a cursor makes batches")

    @property
    def sources(self):
        """The numbers of all that have a record or an open transaction here."""
        return {*self.positions, *self.transactions, *self.open_after}


@cython.final
cdef class BatchNumbers:
    """Numbers of the batches of one session, from 1, over all its partitions."""

    def __cinit__(self):
        self.rolled_back = OrderedDict()

    def next(self):
        self.last += 1
        return self.last

    def roll_back(self, uint64_t number):
        self.rolled_back[number] = None
        if len(self.rolled_back) > REMEMBERED_ROLLBACKS:
            self.forgotten = self.rolled_back.popitem(last=False)[0]

    def was_acked(self, number):
        """Of a number that is not outstanding."""
        return self.forgotten < number <= self.last and number not in self.rolled_back


@cython.final
cdef class Unsettled:
    """What has been acked since `settle`."""


@cython.final
cdef class Cursor:
    """The place of one consumer in one partition, from its last ack on; owns the ring's reader until `close`.

    capacity: of the ring, in bytes. acked: what meta has kept, source number → Identity; records up to there are not
    handed out again, although the ring may hold them still (after a restart, when other consumers are further behind).
    """

    def __init__(self, Reader reader, uint64_t capacity, dict acked, BatchNumbers numbers=None):
        reader.open()
        self.reader = reader
        self.outstanding = {}
        self.seen_put = reader.get
        self.numbers = numbers or BatchNumbers()
        self._scanner = Scanner(acked)
        self.capacity = capacity
        self.noted = self.open = _read_note(reader.note())

    @property
    def drained(self):
        """Everything that the last next_batch could see has been handed out."""
        return self.has_had_all()

    cdef bint has_had_all(self) except -1:
        self.reader.check()
        return ring_get_load_relaxed(self.reader.slot) == self.seen_put

    def next_batch(self, uint64_t max_rows, uint64_t max_bytes, *, bint only_full=False, bint patience_over=False):
        """Hand out what comes next, or None: nothing yet.

        A transaction that isn't completely there yet is held back, unless it is larger than the limits, or the ring is
        filling up and might never hold the rest, or `patience_over`. With `only_full`, so is a batch that the limits
        would let grow. A change larger than max_bytes makes a batch of its own.
        """
        return self.take(max_rows, max_bytes, only_full, patience_over)

    cdef StoreBatch take(self, uint64_t max_rows, uint64_t max_bytes, bint only_full, bint patience_over):
        cdef Reader reader = self.reader
        cdef Scanner scanner = self._scanner
        cdef ring_t *ring = &reader.ring.ring
        cdef uint64_t get
        cdef int how
        cdef bint found
        reader.check()
        while True:
            get = ring_get_load_relaxed(reader.slot)
            self.seen_put = ring_put_load_acquire(ring)
            self.held_back = False
            if self.seen_put == get:
                return None
            # In a ring that fills up the writer may be waiting for room that only our acks give: better an open batch than none.
            if self.seen_put - ring_ack_load_acquire(reader.slot) > self.capacity // 2:
                how = _PIECE
            else:
                how = _SEAM if patience_over else _WHOLE
            reader.ring._mapping.pin()
            try:
                found = scanner.find(ring.data + get % ring.capacity, self.seen_put - get, self.open, max_rows, max_bytes, how,
                                     get)
            finally:
                reader.ring._mapping.unpin()
            if not found or (scanner.at_end.telling and only_full and not scanner.is_full and how == _WHOLE):
                self.held_back = True
                return None
            if scanner.at_end.telling:
                return self._hand_out(get)
            self._pass_over(get)

    def ack(self, number):
        """Ack this batch and those handed out before it. True: it had been acked before, and nothing happens.

        Raises:
            Refused: the batch was never handed out or was rolled back; nothing happens.
        """
        if number not in self.outstanding:
            if self.numbers.was_acked(number):
                return True
            raise _unknown(number)
        for earlier in list(self.outstanding):
            self._settle_later(self.outstanding.pop(earlier))
            if earlier == number:
                break
        return False

    def rollback(self, number=None):
        """Hand out again from this batch on, or everything that isn't acked.

        Raises:
            Refused: the batch isn't outstanding; nothing happens.
        """
        cdef StoreBatch back = None
        if number is not None and number not in self.outstanding:
            raise _unknown(number)
        for later in reversed(list(self.outstanding)):
            back = self.outstanding.pop(later)
            self.numbers.roll_back(later)
            if later == number:
                break
        if back is not None:
            self.reader.rollback(back.start)
            self.open = back.open_before
            self.reader.slot.counters[ROLLBACKS] += 1

    @property
    def unsaved(self):
        """Positions to be kept in meta before `settle`; None: nothing has been acked since the last one."""
        return None if self.unsettled is None else self.unsettled.positions

    def take_unsettled(self):
        """What has been acked and isn't settled yet, for meta that takes its time: `settle` it then; later acks count anew."""
        acked, self.unsettled = self.unsettled, None
        return acked

    def settle(self, Unsettled acked=None):
        """What was acked is kept in meta: free it in the ring. acked: what `take_unsettled` gave; None: all of it.

        After `close` nothing happens: the next cursor passes over it.
        """
        cdef uint64_t *counters
        if acked is None:
            acked, self.unsettled = self.unsettled, None
        if acked is None or not self.reader.reading:
            return
        if acked.open_after != self.noted:
            self.reader.set_note(_pack_note(acked.open_after), acked.to)
            self.noted = acked.open_after
        self.reader.ack_to(acked.to)
        counters = self.reader.slot.counters
        counters[ROWS_ACKED] += acked.rows
        counters[BATCHES_ACKED] += acked.batches
        counters[ACKED_TIME_US] = max(acked.time_us, counters[ACKED_TIME_US])

    def count_session(self):
        self.reader.check_reading()
        self.reader.slot.counters[SESSIONS] += 1

    def close(self):
        """Roll back what isn't acked and give the reader up; `settle` first, or the last acks count for nothing.

        Closing twice is harmless.
        """
        if self.reader.reading:
            self.rollback()
            self.reader.release()

    cdef StoreBatch _hand_out(self, uint64_t start):
        cdef Reader reader = self.reader
        cdef Scanner scanner = self._scanner
        cdef StoreBatch batch = StoreBatch.__new__(StoreBatch)
        cdef const uint8_t *data = reader.ring.ring.data + start % reader.ring.ring.capacity
        cdef uint64_t begin, end
        reader.check_reading()
        number = self.numbers.next()
        batch.number = number
        batch.start = start
        batch.end = start + scanner.at_end.end
        batch.pieces = []
        for i in range(scanner.n_runs):
            begin, end = scanner.runs[i].start, min(scanner.runs[i].end, scanner.at_end.end)
            if begin < end:
                batch.pieces.append(reader.ring._mapping.export(<void *>(data + begin), end - begin, 1, True))
        batch.rows = scanner.at_end.rows
        batch.records = scanner.at_end.records
        batch.bytes = scanner.at_end.bytes
        batch.open = scanner.is_open
        batch.torn = scanner.at_end.torn
        batch.time_us = scanner.at_end.time_us
        batch.tables = scanner.table_keys()
        batch.transactions = scanner.open_at_first()
        batch.open_before = self.open
        batch.open_after = scanner.open_after()
        batch.positions = scanner.positions()
        ring_get_store_relaxed(reader.slot, batch.end)
        self.outstanding[number] = batch
        self.open = batch.open_after
        reader.slot.counters[ROWS_SENT] += batch.rows
        reader.slot.counters[BATCHES_SENT] += 1
        return batch

    cdef int _pass_over(self, uint64_t start) except -1:
        """Nothing there that must be sent: part of the batch before it, or else acked as it is."""
        cdef Scanner scanner = self._scanner
        cdef StoreBatch before
        cdef Unsettled acked
        self.reader.advance(scanner.at_end.end)
        self.open = scanner.open_after()
        if self.outstanding:
            before = next(reversed(self.outstanding.values()))
            before.end += scanner.at_end.end
            before.positions |= scanner.positions()
            before.open_after = self.open
        else:
            acked = self._later()
            acked.to = start + scanner.at_end.end
            acked.positions |= scanner.positions()
            acked.open_after = self.open
            acked.time_us = scanner.at_end.time_us
        return 0

    cdef int _settle_later(self, StoreBatch batch) except -1:
        cdef Unsettled acked = self._later()
        acked.to = batch.end
        acked.positions |= batch.positions
        acked.open_after = batch.open_after
        acked.rows += batch.rows
        acked.batches += 1
        acked.time_us = batch.time_us
        return 0

    cdef Unsettled _later(self):
        if self.unsettled is None:
            self.unsettled = Unsettled.__new__(Unsettled)
            self.unsettled.to = self.reader.ack
            self.unsettled.open_after, self.unsettled.positions = {}, {}
        return self.unsettled


def _unknown(number):
    return Refused(
        "no such batch is outstanding in this session", batch=number,
        remedy="ack and roll back only what was handed out and not rolled back since; nothing was changed",
    )


def _pack_note(dict transactions):
    """For the next server: what is open at the ack. GTIDs that don't fit go as None, from the longest on."""
    kept = dict(transactions)
    for source in sorted(kept, key=lambda source: len(kept[source] or ""), reverse=True):
        if len(msgpack.packb(kept)) <= READER_NOTE_BYTES:
            break
        kept[source] = None
    while len(note := msgpack.packb(kept)) > READER_NOTE_BYTES:
        kept.popitem()
    return note


def _read_note(note):
    return {} if not note else msgpack.unpackb(note, strict_map_key=False)
