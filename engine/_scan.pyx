"""Finds where a batch ends: one pass over the heads of the records that a consumer may get next.

A *boundary* is a place after a record where every transaction that has a record in the batch is complete. A *seam* is a
place inside a transaction, but not inside a fragmented change. A batch ends at the last boundary within the limits; where
there is none because the transaction is larger than the limits, at a seam.
"""

import msgpack

from engine.errors import InternalError
from engine.position import Identity

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset
from engine._record cimport (
    RECORD_BEGIN, RECORD_COMMIT, RECORD_DELETE, RECORD_EVENT_AT, RECORD_FILE_AT, RECORD_FLAGS_AT, RECORD_FRAGMENT,
    RECORD_HEAD_BYTES, RECORD_HEARTBEAT, RECORD_KIND_AT, RECORD_LENGTH_AT, RECORD_ROW_AT, RECORD_SCHEMA,
    RECORD_SOURCE_AT, RECORD_START_AT, RECORD_TABLE_AT, RECORD_TIME_AT, RECORD_TORN, record_u16, record_u32, record_u64,
)


cdef extern from *:
    void __builtin_prefetch(const void *p) noexcept nogil


WHOLE = _WHOLE  # up to a boundary, or up to a seam when the limits leave no boundary
SEAM = _SEAM  # up to a seam, although the transaction goes on: it has kept its consumer waiting for too long
PIECE = _PIECE  # also a part of a fragmented change: the ring is filling up

cdef enum:
    FOUND = 1
    NOTHING = 0
    NOT_A_RECORD = -1
    NO_MEMORY = -2
    RESCAN = -3
    NO_SOURCE = 0x10000
    MAX_RUNS_AT_FIRST = 16
    MAX_TABLES_AT_FIRST = 256


cdef uint64_t NO_START = <uint64_t>-1  # of data that isn't part of a ring
cdef object _new_tuple = tuple.__new__  # what a NamedTuple's own, in Python, comes to

cdef inline bint _acked_before(const source_t *source, const uint8_t *p) noexcept nogil:
    cdef uint64_t mine = record_u32(p + RECORD_FILE_AT), theirs = source.file
    if mine == theirs:
        mine = record_u64(p + RECORD_START_AT)
        theirs = source.start
        if mine == theirs:
            mine = record_u32(p + RECORD_EVENT_AT)
            theirs = source.event
            if mine == theirs:
                return record_u32(p + RECORD_ROW_AT) <= source.row
    return mine < theirs


cdef inline uint64_t _small_number(const uint8_t **p) noexcept nogil:
    """A msgpack unsigned integer at *p, which moves behind it."""
    cdef uint8_t first = p[0][0]
    cdef uint64_t value = first
    p[0] += 1
    if first == 0xCC:
        value = p[0][0]
        p[0] += 1
    elif first == 0xCD:
        value = record_u16(p[0])
        p[0] += 2
    elif first == 0xCE:
        value = record_u32(p[0])
        p[0] += 4
    elif first == 0xCF:
        value = record_u64(p[0])
        p[0] += 8
    return value


cdef inline bint _is_last_fragment(const uint8_t *record, uint32_t length) noexcept nogil:
    """By `before`, which is [index, count, total bytes]."""
    cdef const uint8_t *p = record + RECORD_HEAD_BYTES + 1
    if length < RECORD_HEAD_BYTES + 20:  # the numbers take up to 27 bytes; a real fragment is far longer
        return True
    cdef uint64_t index = _small_number(&p)
    return index + 1 >= _small_number(&p)


@cython.final
cdef class Scanner:
    """Scans for one consumer in one partition.

    After `scan` has answered True these describe the batch: `end` (bytes of the scanned data it takes, skipped records
    included), `rows`, `records`, `bytes` (of what is handed out), `open`, `full` (the limits ended it), `telling` (False:
    nothing in it that a consumer must get), `time_us` (of its last record).
    """

    def __cinit__(self):
        self.open_before = {}
        self.room_runs = MAX_RUNS_AT_FIRST
        self.room_tables = MAX_TABLES_AT_FIRST
        self.runs = <run_t *>calloc(self.room_runs, sizeof(run_t))
        self.tables = <table_t *>calloc(self.room_tables, sizeof(table_t))
        self.slots = <uint32_t *>calloc(2 * self.room_tables, sizeof(uint32_t))
        self.stamps = <uint32_t *>calloc(2 * self.room_tables, sizeof(uint32_t))
        if not (self.runs and self.tables and self.slots and self.stamps):
            raise MemoryError

    def __dealloc__(self):
        free(self.sources)
        free(self.runs)
        free(self.tables)
        free(self.slots)
        free(self.stamps)

    def __init__(self, dict acked):
        """acked: source number → Identity; records up to there are skipped."""
        cdef source_t *source
        for number, identity in acked.items():
            source = self._source(number)
            if source is NULL:
                raise MemoryError
            source.has_acked = True
            source.file, source.start, source.event, source.row = identity

    def scan(self, const uint8_t[::1] data, dict open_before, uint64_t max_rows, uint64_t max_bytes, int how=_WHOLE,
             uint64_t start=NO_START):
        """Find the next batch at the start of `data`; False: there is none yet.

        open_before: source number → GTID or None of the transactions that are open where `data` starts. start: sequence of
        the first byte. Called again with the same one, a scan that came to the end of the data goes on from there.

        Raises:
            InternalError: the data are not records.
        """
        return data.shape[0] > 0 and self.find(&data[0], data.shape[0], open_before, max_rows, max_bytes, how, start)

    cdef bint find(self, const uint8_t *data, uint64_t n, dict open_before, uint64_t max_rows, uint64_t max_bytes, int how,
                   uint64_t start) except -1:
        """As `scan`, of n > 0 bytes that stay until what was found has been asked for."""
        cdef source_t *source
        cdef int found
        cdef bint full
        if not (self.progress.on and self.progress.start == start and self.now.end <= n and self.open_before is open_before
                and self.progress.max_rows == max_rows and self.progress.max_bytes == max_bytes):
            self.progress.on = False
            for number in open_before:
                if self._source(number) is NULL:
                    raise MemoryError
            for i in range(self.n_sources):
                source = &self.sources[i]
                source.open_before = source.number in open_before
            self.open_before = open_before
        self.data = data
        with nogil:
            found = self._scan(n, max_rows, max_bytes, how)
            if found == RESCAN:  # the seam is not where the scan has stopped; what is beyond it must not count
                full = self.is_full
                found = self._scan(self.now.end, max_rows, max_bytes, _SEAM)
                self.progress.on = False
                self.is_full = full
        self.progress.on = self.progress.on and start != NO_START
        self.progress.start, self.progress.max_rows, self.progress.max_bytes = start, max_rows, max_bytes
        if found == NO_MEMORY:
            raise MemoryError
        if found == NOT_A_RECORD:
            raise InternalError("the store holds bytes that are no record", offset=self.now.end, available=n,
                                bytes=data[self.now.end:min(self.now.end + 16, n)].hex())
        return found == FOUND

    cdef source_t *_source(self, uint32_t number) noexcept nogil:
        cdef int i
        cdef source_t *grown
        for i in range(self.n_sources):
            if self.sources[i].number == number:
                return &self.sources[i]
        if self.n_sources == self.room_sources:
            i = 2 * self.room_sources + 4
            grown = <source_t *>realloc(self.sources, i * sizeof(source_t))
            if grown is NULL:
                return NULL
            self.sources = grown
            self.room_sources = i
        grown = &self.sources[self.n_sources]
        memset(grown, 0, sizeof(source_t))
        grown.number = number
        self.n_sources += 1
        return grown

    cdef void _start_over(self) noexcept nogil:
        cdef int i
        cdef source_t *source
        memset(&self.now, 0, sizeof(totals_t))
        memset(&self.at_end, 0, sizeof(totals_t))
        self.n_runs = 0
        self.is_open = self.is_full = False
        self.stamp += 1
        if self.stamp == 0:  # old stamps could be mistaken for this scan's
            for i in range(2 * self.room_tables):
                self.stamps[i] = 0
            self.stamp = 1
        for i in range(self.n_sources):
            source = &self.sources[i]
            source.skipping = source.has_acked
            source.here = source.in_change = source.dirty = False
            source.open = source.end_open = source.open_before
            source.begin = source.last = source.end_begin = source.end_last = 0

    cdef void _keep_end(self, source_t *last_one, int n_dirty) noexcept nogil:
        """What has been counted up to now is what the batch would hold if it ended here."""
        cdef int i
        cdef source_t *source = last_one
        self.at_end = self.now
        for i in range(self.n_sources if n_dirty > 1 else 1):
            if n_dirty > 1:
                source = &self.sources[i]
            source.end_open = source.open
            source.end_begin = source.begin
            source.end_last = source.last
            source.dirty = False

    cdef int _add_run(self, uint64_t start) noexcept nogil:
        cdef run_t *grown
        if self.n_runs == self.room_runs:
            grown = <run_t *>realloc(self.runs, 2 * self.room_runs * sizeof(run_t))
            if grown is NULL:
                return NO_MEMORY
            self.runs = grown
            self.room_runs *= 2
        self.runs[self.n_runs].start = start
        self.runs[self.n_runs].end = start
        self.n_runs += 1
        return 0

    cdef int _add_table(self, uint32_t key, uint16_t source) noexcept nogil:
        cdef uint32_t mask = 2 * self.room_tables - 1
        cdef uint32_t slot = (key * <uint32_t>0x9E3779B1) & mask
        while self.stamps[slot] == self.stamp:
            if self.tables[self.slots[slot] - 1].key == key:
                return 0
            slot = (slot + 1) & mask
        if self.now.tables == self.room_tables:
            if self._grow_tables() < 0:
                return NO_MEMORY
            return self._add_table(key, source)
        self.tables[self.now.tables] = table_t(key=key, source=source)
        self.now.tables += 1
        self.stamps[slot] = self.stamp
        self.slots[slot] = self.now.tables
        return 0

    cdef int _grow_tables(self) noexcept nogil:
        cdef int i, n = self.now.tables, room = 2 * self.room_tables
        cdef uint32_t slot, mask = 2 * room - 1
        cdef table_t *tables = <table_t *>realloc(self.tables, room * sizeof(table_t))
        if tables is not NULL:
            self.tables = tables
        cdef uint32_t *slots = <uint32_t *>calloc(2 * room, sizeof(uint32_t))
        cdef uint32_t *stamps = <uint32_t *>calloc(2 * room, sizeof(uint32_t))
        if not (tables and slots and stamps):
            free(slots)
            free(stamps)
            return NO_MEMORY
        free(self.slots)
        free(self.stamps)
        self.slots = slots
        self.stamps = stamps
        self.room_tables = room
        for i in range(n):
            slot = (self.tables[i].key * <uint32_t>0x9E3779B1) & mask
            while stamps[slot] == self.stamp:
                slot = (slot + 1) & mask
            stamps[slot] = self.stamp
            slots[slot] = i + 1
        return 0

    cdef int _scan(self, uint64_t n, uint64_t max_rows, uint64_t max_bytes, int how) noexcept nogil:
        cdef const uint8_t *data = self.data
        cdef const uint8_t *p
        cdef totals_t *now = &self.now
        cdef source_t *source = NULL
        cdef uint32_t length, number, key, last_key = 0, last_number = NO_SOURCE
        cdef uint8_t kind
        cdef bint is_change, ends_change, was_unfinished, in_run = False
        cdef progress_t *progress = &self.progress
        cdef int unfinished = 0, in_change = 0, n_dirty = 0
        cdef uint64_t seam = 0

        if progress.on:
            in_run, unfinished, in_change, n_dirty = progress.in_run, progress.unfinished, progress.in_change, progress.n_dirty
            seam = progress.seam
        else:
            self._start_over()
        progress.on = False
        while now.end < n:
            p = data + now.end
            if n - now.end < RECORD_HEAD_BYTES:
                return NOT_A_RECORD
            length = record_u32(p + RECORD_LENGTH_AT)
            if p[0] != 0x9D or length < RECORD_HEAD_BYTES or length > n - now.end:
                return NOT_A_RECORD
            __builtin_prefetch(p + 12 * length)  # past the end it does nothing
            __builtin_prefetch(p + 12 * length + 64)  # most heads lie in two lines
            kind = p[RECORD_KIND_AT]
            number = record_u16(p + RECORD_SOURCE_AT)
            if number != last_number:
                source = self._source(number)
                if source is NULL:
                    return NO_MEMORY
                last_number = number
            is_change = kind <= RECORD_DELETE or kind == RECORD_FRAGMENT
            ends_change = kind != RECORD_FRAGMENT or _is_last_fragment(p, length)

            if source.skipping and _acked_before(source, p):
                in_run = False
                if kind == RECORD_BEGIN:
                    source.open = True
                    source.begin = now.end + 1
                elif kind == RECORD_COMMIT:
                    source.open = False
            else:
                source.skipping = False
                # A commit is never held back: it is small, has no row, and closes what a limit would leave open.
                if kind != RECORD_COMMIT and now.records and (
                        now.bytes + length > max_bytes or (is_change and now.rows + ends_change > max_rows)):
                    self.is_full = True
                    if self.at_end.end:
                        return FOUND
                    if seam == now.end:
                        self._keep_all()
                        return FOUND
                    if seam:
                        now.end = seam
                        return RESCAN
                    # else the first change alone is larger than the limits
                if not in_run:
                    if self._add_run(now.end) < 0:
                        return NO_MEMORY
                    in_run = True
                self.runs[self.n_runs - 1].end = now.end + length
                was_unfinished = source.here and (source.open or source.in_change)
                if not source.here:
                    source.here = True
                    source.first_open = source.open
                    source.first_begin = source.begin
                if kind == RECORD_BEGIN:
                    source.open = True
                    source.begin = now.end + 1
                elif kind == RECORD_COMMIT:
                    source.open = False
                    now.torn |= (record_u16(p + RECORD_FLAGS_AT) & RECORD_TORN) != 0
                if source.in_change == ends_change:
                    in_change += -1 if ends_change else 1
                    source.in_change = not ends_change
                unfinished += (source.open or source.in_change) - was_unfinished
                now.records += 1
                now.bytes += length
                now.telling += kind != RECORD_SCHEMA and kind != RECORD_HEARTBEAT
                now.rows += is_change and ends_change
                key = record_u32(p + RECORD_TABLE_AT)
                if key != last_key and key != 0:
                    last_key = key
                    if self._add_table(key, number) < 0:
                        return NO_MEMORY
            now.time_us = record_u64(p + RECORD_TIME_AT)
            if ends_change:
                source.last = now.end + 1
            if not source.dirty:
                source.dirty = True
                n_dirty += 1
            now.end += length
            if unfinished == 0:
                self._keep_end(source, n_dirty)
                n_dirty = 0
                if now.rows >= max_rows or now.bytes >= max_bytes:
                    self.is_full = True
                    return FOUND
            elif in_change == 0 and now.rows:
                seam = now.end

        if self.at_end.end or how == _WHOLE:
            progress.on = True
            progress.in_run, progress.unfinished, progress.in_change, progress.n_dirty = in_run, unfinished, in_change, n_dirty
            progress.seam = seam
            return FOUND if self.at_end.end else NOTHING
        if seam == now.end or how == _PIECE:
            self._keep_all()
            return FOUND
        if seam:
            now.end = seam
            return RESCAN
        return NOTHING

    cdef void _keep_all(self) noexcept nogil:
        """End the batch here, in the middle of a transaction."""
        cdef int i
        cdef source_t *source
        self.at_end = self.now
        self.is_open = True
        for i in range(self.n_sources):
            source = &self.sources[i]
            source.end_open = source.open
            source.end_begin = source.begin
            source.end_last = source.last

    # ---- what was found

    @property
    def end(self):
        return self.at_end.end

    @property
    def rows(self):
        return self.at_end.rows

    @property
    def records(self):
        return self.at_end.records

    @property
    def bytes(self):
        return self.at_end.bytes

    @property
    def telling(self):
        return self.at_end.telling != 0

    @property
    def time_us(self):
        return self.at_end.time_us

    @property
    def open(self):
        return self.is_open

    @property
    def torn(self):
        return self.at_end.torn

    @property
    def full(self):
        return self.is_full

    cpdef list pieces(self):
        """[(start, end)] of what is handed out; more than one where records between them were acked before."""
        return [
            (self.runs[i].start, min(self.runs[i].end, self.at_end.end))
            for i in range(self.n_runs)
            if self.runs[i].start < self.at_end.end
        ]

    cpdef list table_keys(self):
        """[(table key, number of the source where it stood first)], each once."""
        return [(self.tables[i].key, self.tables[i].source) for i in range(self.at_end.tables)]

    cpdef dict positions(self):
        """Source number → Identity of its last record in the batch that ends a change; nothing for a source without one."""
        cdef const uint8_t *p
        found = {}
        for i in range(self.n_sources):
            if self.sources[i].end_last:
                p = self.data + self.sources[i].end_last - 1
                found[self.sources[i].number] = _new_tuple(Identity, (
                    record_u32(p + RECORD_FILE_AT), record_u64(p + RECORD_START_AT),
                    record_u32(p + RECORD_EVENT_AT), record_u32(p + RECORD_ROW_AT)))
        return found

    cpdef dict open_at_first(self):
        """Source number → GTID or None of the transactions open before the first record of the batch that is handed out.

        Not always open_before: a transaction's begin record may be among those that were acked before.
        """
        found = dict(self.open_before)
        for i in range(self.n_sources):
            if self.sources[i].here:
                number = self.sources[i].number
                begin = self.sources[i].first_begin
                found.pop(number, None)
                if self.sources[i].first_open:
                    found[number] = self._gtid(begin - 1) if begin else self.open_before.get(number)
        return found

    cpdef dict open_after(self):
        """Source number → GTID or None of the transactions that are open where the batch ends, as open_before was."""
        found = {}
        for i in range(self.n_sources):
            if self.sources[i].end_open:
                number = self.sources[i].number
                begin = self.sources[i].end_begin
                found[number] = self._gtid(begin - 1) if begin else self.open_before.get(number)
        return found

    cdef _gtid(self, uint64_t at):
        """Of the begin record there, whose `after` is [gtid or nil, nil]."""
        cdef const uint8_t *p = self.data + at
        unpacker = msgpack.Unpacker()
        unpacker.feed(p[RECORD_HEAD_BYTES:record_u32(p + RECORD_LENGTH_AT)])
        unpacker.skip()
        return unpacker.unpack()[0]
