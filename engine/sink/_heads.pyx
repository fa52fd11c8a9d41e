"""What a sink sees of a source ring: heads of records as NumPy arrays, and hashes of their columns.

    source ring   │ begin │ change │ change │ schema │ change │ commit │ ...
                      └─ Heads.scan: one pass ─▶ offset[] kind[] flags[] table[] transaction[] key_hash[]  mark[] mark_time[]

Nothing here decides where a record goes. Bytes are those of docs/protocol.md, Record.
"""

import numpy

from engine.errors import InternalError

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from engine._ring cimport Reader, ring_ack_load_acquire, ring_put_load_acquire, ring_t
from engine._record cimport (
    RECORD_BEGIN, RECORD_DDL, RECORD_DELETE, RECORD_FLAGS_AT, RECORD_FNV_BASIS, RECORD_FRAGMENT, RECORD_HASH_AT,
    RECORD_HEAD_BYTES, RECORD_HISTORY, RECORD_INSERT, RECORD_KIND_AT, RECORD_LENGTH_AT, RECORD_SCHEMA, RECORD_STATEMENT,
    RECORD_TABLE_AT, RECORD_TIME_AT, record_hash_add, record_hash_finish, record_u32, record_u64,
)


cdef enum:
    LEAST_RECORD = RECORD_HEAD_BYTES + 2  # before and after take at least a byte each
    PREFETCH_BYTES = 2048                 # about a dozen records ahead

cdef enum:  # answers of hash_row
    HASHED = 0
    MALFORMED = 1
    ABSENT = 2


@cython.final
cdef class Heads:
    """The heads of the records in a view of one reader's ring, as arrays in native byte order.

    Of `count` records: offset (uint32, bytes from `start`; one more entry for the end), kind (uint8), flags (uint8),
    table (uint32), transaction (uint32: begins up to and with this record), key_hash (uint64). Of the `marks` records that
    are no change or fragment: mark (int64, index of the record), mark_time (uint64, µs since 1970). The arrays keep their
    length; slice them. What a view shows stays in place until the reader acks it.
    """

    def __init__(self, Reader reader not None, Py_ssize_t capacity=65536):
        self.reader = reader
        self.capacity = capacity
        self._offset = self.offset = numpy.zeros(capacity + 1, numpy.uint32)
        self._kind = self.kind = numpy.zeros(capacity, numpy.uint8)
        self._flags = self.flags = numpy.zeros(capacity, numpy.uint8)
        self._table = self.table = numpy.zeros(capacity, numpy.uint32)
        self._transaction = self.transaction = numpy.zeros(capacity, numpy.uint32)
        self._key_hash = self.key_hash = numpy.zeros(capacity, numpy.uint64)
        self._mark = self.mark = numpy.zeros(capacity, numpy.int64)
        self._mark_time = self.mark_time = numpy.zeros(capacity, numpy.uint64)

    cpdef Py_ssize_t scan(self, uint64_t start, uint64_t limit, uint64_t max_bytes) except -1:
        """Reads the heads from sequence `start` up to what is put, to `limit` or to max_bytes; returns how many.

        At least one record is read if there is one before `limit`, which is the sequence of a record.
        """
        cdef ring_t *ring = &self.reader.ring.ring
        cdef const uint8_t *data
        cdef const uint8_t *p
        cdef uint64_t put, n, at = 0, length
        cdef uint32_t table, transaction = 0, max_table = 0
        cdef Py_ssize_t count = 0, marks = 0, described = 0
        cdef uint64_t time, max_time = 0
        cdef uint8_t kind
        self.reader.check()
        put = ring_put_load_acquire(ring)
        if not ring_ack_load_acquire(self.reader.slot) <= start <= put:
            raise InternalError("heads of what the reader doesn't hold", reader=self.reader.name, sequence=start, put=put)
        n = min(put, limit) - start if limit > start else 0
        data = ring.data + start % ring.capacity
        with nogil:
            while at < n and count < self.capacity:
                p = data + at
                record_prefetch(p + PREFETCH_BYTES)
                record_prefetch(p + PREFETCH_BYTES + 64)  # most heads lie in two lines
                length = record_u32(p + RECORD_LENGTH_AT)
                if length < LEAST_RECORD or length > n - at:
                    break
                if at + length > max_bytes and count:
                    break
                kind = p[RECORD_KIND_AT]
                table = record_u32(p + RECORD_TABLE_AT)
                if table > max_table:
                    max_table = table
                if kind > RECORD_DELETE and kind != RECORD_FRAGMENT and kind != RECORD_HISTORY:
                    transaction += kind == RECORD_BEGIN
                    described += kind == RECORD_DDL or kind == RECORD_SCHEMA or kind == RECORD_STATEMENT
                    time = record_u64(p + RECORD_TIME_AT)
                    max_time = time if time > max_time else max_time
                    self._mark[marks] = count
                    self._mark_time[marks] = time
                    marks += 1
                else:
                    described += table == 0
                self._offset[count] = <uint32_t>at
                self._kind[count] = kind
                self._flags[count] = p[RECORD_FLAGS_AT + 1]
                self._table[count] = table
                self._transaction[count] = transaction
                self._key_hash[count] = record_u64(p + RECORD_HASH_AT)
                count += 1
                at += length
            self._offset[count] = <uint32_t>at
        self.start, self.end, self.data = start, start + at, data
        self.count, self.marks, self.max_table = count, marks, max_table
        self.described, self.max_time = described, max_time
        if count == 0 and n:
            raise InternalError("ring holds bytes that are no record", ring=self.reader.ring.name, sequence=start,
                                bytes=(<const char *>data)[:16].hex())
        return count

    cdef int check(self, int64_t index) except -1:
        if not 0 <= index < self.count:
            raise InternalError("no such record in this view", index=index, records=self.count)
        self.reader.check()
        return 0

    def sequence_of(self, int64_t index):
        """Source sequence of a record; of `count`, the view's end."""
        if not 0 <= index <= self.count:
            raise InternalError("no such record in this view", index=index, records=self.count)
        return self.start + self._offset[index]

    def record(self, int64_t index):
        """A copy of one record."""
        self.check(index)
        return (<const char *>self.data + self._offset[index])[:self._offset[index + 1] - self._offset[index]]

    def head(self, int64_t index):
        """A copy of the first 61 bytes of one record."""
        self.check(index)
        return (<const char *>self.data + self._offset[index])[:RECORD_HEAD_BYTES]

    def fragment_place(self, int64_t index):
        """(index, count) of the fragment that this record is."""
        cdef uint32_t number, count
        self.check(index)
        if fragment_numbers(self.data + self._offset[index], self.data + self._offset[index + 1], &number, &count) == NULL:
            raise InternalError("not a fragment", sequence=self.start + self._offset[index])
        return number, count

    def hash_rows(self, const int64_t[::1] indices, bint new, const uint64_t[::1] seed, const int32_t[::1] first,
                  const int32_t[::1] number, const int32_t[::1] columns, uint64_t[::1] out):
        """Writes the hash of chosen columns of the records `indices` to `out`.

        seed, first and number are indexed by table key: the hash state after the table's name, and which of `columns`
        are hashed, in that order. new: of an update's after image, with before where after lacks the column; otherwise of
        before, or of after in an insert. A first fragment counts as the change it begins.
        Returns -1, or the index of the first record whose image doesn't hold a column.
        """
        cdef Py_ssize_t i, n = indices.shape[0]
        cdef int64_t failed = -1
        cdef int answer = HASHED
        cdef uint32_t table
        for i in range(n):
            self.check(indices[i])
        with nogil:
            for i in range(n):
                failed = indices[i]
                table = self._table[failed]
                answer = hash_change(self.data + self._offset[failed], self.data + self._offset[failed + 1], new, seed[table],
                                     &columns[first[table]], number[table], &out[i])
                if answer != HASHED:
                    break
        if answer == MALFORMED:
            raise InternalError("record is not what docs/protocol.md says", sequence=self.start + self._offset[failed])
        return failed if answer == ABSENT else -1


# ---- reading msgpack -----------------------------------------------------------------------------------------------


cdef inline uint64_t big_endian(const uint8_t *p, int n) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(n):
        value = value << 8 | p[i]
    return value


cdef const uint8_t *skip(const uint8_t *p, const uint8_t *end) noexcept nogil:
    """The byte after the value at p; NULL: it is not msgpack, or goes beyond the end."""
    cdef uint64_t pending = 1, n
    cdef uint8_t b
    while pending:
        if p >= end:
            return NULL
        pending -= 1
        b = p[0]
        n = 1
        if b <= 0x7F or b >= 0xE0 or b == 0xC0 or b == 0xC2 or b == 0xC3:
            pass
        elif b <= 0x8F:
            pending += 2 * (b & 15)
        elif b <= 0x9F:
            pending += b & 15
        elif b <= 0xBF:
            n += b & 31
        elif b == 0xC1:
            return NULL
        elif b <= 0xC6 or 0xD9 <= b <= 0xDB:  # bin, str: length of 1, 2, 4 bytes
            n += 1 << ((b - 0xC4) if b <= 0xC6 else (b - 0xD9))
            if <uint64_t>(end - p) < n:
                return NULL
            n += big_endian(p + 1, <int>n - 1)
        elif b <= 0xC9:  # ext: length of 1, 2, 4 bytes, type
            n += 1 << (b - 0xC7)
            if <uint64_t>(end - p) < n:
                return NULL
            n += 1 + big_endian(p + 1, <int>n - 1)
        elif b <= 0xCB:  # float32, float64
            n += 4 << (b - 0xCA)
        elif b <= 0xD3:  # uint, int of 1, 2, 4, 8 bytes
            n += 1 << ((b - 0xCC) & 3)
        elif b <= 0xD8:  # ext of 1 to 16 bytes
            n += 1 + (1 << (b - 0xD4))
        else:  # array, map: count of 2 (0xdc, 0xde) or 4 bytes (0xdd, 0xdf)
            n += 2 << (b & 1)
            if <uint64_t>(end - p) < n:
                return NULL
            pending += big_endian(p + 1, <int>n - 1) << (b >= 0xDE)
        if <uint64_t>(end - p) < n:
            return NULL
        p += n
    return p


cdef const uint8_t *elements(const uint8_t *p, const uint8_t *end, uint32_t *count) noexcept nogil:
    """The first element of the array at p, and how many there are; NULL: no array."""
    if p < end and p[0] & 0xF0 == 0x90:
        count[0] = p[0] & 15
        return p + 1
    if end - p >= 3 and p[0] == 0xDC:
        count[0] = <uint32_t>big_endian(p + 1, 2)
        return p + 3
    if end - p >= 5 and p[0] == 0xDD:
        count[0] = <uint32_t>big_endian(p + 1, 4)
        return p + 5
    return NULL


cdef const uint8_t *column(const uint8_t *row, const uint8_t *end, uint32_t index) noexcept nogil:
    """The value of one column in a row; NULL: the row has none such."""
    cdef uint32_t count
    cdef const uint8_t *p = elements(row, end, &count)
    if p is NULL or index >= count:
        return NULL
    while index and p is not NULL:
        p = skip(p, end)
        index -= 1
    return p


cdef inline bint is_absent(const uint8_t *p, const uint8_t *end) noexcept nogil:
    """Ext type 1, empty: the image doesn't hold the column."""
    return end - p >= 3 and p[0] == 0xC7 and p[1] == 0 and p[2] == 1


cdef const uint8_t *fragment_numbers(const uint8_t *p, const uint8_t *end, uint32_t *number, uint32_t *count) noexcept nogil:
    """Index and count of a fragment; returns where its `after` begins, NULL: not a fragment."""
    cdef uint32_t fields
    cdef uint64_t[2] value
    cdef const uint8_t *next
    cdef int i
    if p[RECORD_KIND_AT] != RECORD_FRAGMENT:
        return NULL
    p = elements(p + RECORD_HEAD_BYTES, end, &fields)
    if p is NULL or fields != 3:
        return NULL
    for i in range(2):
        next = skip(p, end)
        if next is NULL or (p[0] > 0x7F and not 0xCC <= p[0] <= 0xCF):
            return NULL
        value[i] = p[0] if p[0] <= 0x7F else big_endian(p + 1, <int>(next - p) - 1)
        p = next
    number[0], count[0] = <uint32_t>value[0], <uint32_t>value[1]
    return skip(p, end)


cdef int hash_change(const uint8_t *p, const uint8_t *end, bint new, uint64_t seed, const int32_t *columns, int32_t number,
                     uint64_t *out) noexcept nogil:
    """The hash of chosen columns of one change; see Heads.hash_rows."""
    cdef const uint8_t *after
    cdef const uint8_t *row
    cdef const uint8_t *other = NULL
    cdef const uint8_t *start
    cdef const uint8_t *value
    cdef const uint8_t *next
    cdef uint32_t fragment, count
    cdef uint64_t h = seed
    cdef int32_t i, at
    cdef bint cut = p[RECORD_KIND_AT] == RECORD_FRAGMENT
    if cut:  # its chunk begins with the change's own head
        p = fragment_numbers(p, end, &fragment, &count)
        if p is NULL or fragment != 0 or end - p < 5 or p[0] != 0xC6 and p[0] != 0xC5:
            return MALFORMED
        p += 5 if p[0] == 0xC6 else 3
        if end - p < LEAST_RECORD:
            return MALFORMED
    row = p + RECORD_HEAD_BYTES
    if p[RECORD_KIND_AT] == RECORD_INSERT or new or (p[RECORD_KIND_AT] == RECORD_HISTORY and row[0] == 0xC0):
        after = skip(row, end)
        if after is NULL:
            return ABSENT if cut else MALFORMED
        other, row = (row if row[0] != 0xC0 else NULL), after
    start = elements(row, end, &count)
    if start is NULL:
        return ABSENT if cut else MALFORMED
    at, value = 0, start
    for i in range(number):
        if columns[i] < 0 or <uint32_t>columns[i] >= count:
            return ABSENT
        if columns[i] < at:  # keys need not name their columns in the table's order
            at, value = 0, start
        while at < columns[i]:
            value = skip(value, end)
            if value is NULL:
                return ABSENT if cut else MALFORMED
            at += 1
        next = skip(value, end)
        if next is NULL:
            return ABSENT if cut else MALFORMED
        if not is_absent(value, end):
            h = record_hash_add(h, value, next - value)
        else:
            if other is NULL:
                return ABSENT
            value = column(other, end, columns[i])
            if value is NULL or is_absent(value, end):
                return ABSENT
            h = record_hash_add(h, value, skip(value, end) - value)
        value = next
        at += 1
    out[0] = record_hash_finish(h)
    return HASHED


def table_seed(str schema not None, str table not None):
    """The state of the key hash after a table's name (docs/protocol.md, The key hash)."""
    cdef bytes name = schema.encode() + b"\0" + table.encode() + b"\0"
    return record_hash_add(RECORD_FNV_BASIS, <const uint8_t *><const char *>name, len(name))


def finish_hash(uint64_t state):
    """The hash of what the state has seen."""
    return record_hash_finish(state)
