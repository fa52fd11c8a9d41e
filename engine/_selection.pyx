"""The sink's choice, natively: of a view's records, each with its lane, what each store takes.

    lane of each record  │  -  0  1  -  -  0  -      kinds: begin insert insert commit begin insert commit
    lane 0               │  0  1     3  4  5  6      begin and commit go where a change of theirs goes
    lane 1               │  0     2  3

One pass, whatever the number of records: a turn of one row costs no more calls than one of 65,536.
"""

import numpy

from engine.errors import InternalError

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t
from libc.stdlib cimport calloc, free
from engine._heads cimport Heads


cdef extern from "_record.h" nogil:
    enum:
        RECORD_DELETE
        RECORD_BEGIN
        RECORD_COMMIT
        RECORD_DDL
        RECORD_FRAGMENT
        RECORD_HEARTBEAT
        RECORD_HISTORY
        RECORD_SOURCE_AT
        RECORD_FILE_AT
        RECORD_HASH_AT

cdef enum:  # what a record is that concerns all lanes, as bits
    GOES_EVERYWHERE = 1
    TAKES_PART = 2
    LEAST_ROOM = 64

EVERYWHERE = GOES_EVERYWHERE
PART_OF_ALL = TAKES_PART


cdef inline void join(Selector to, Py_ssize_t lane, int64_t transaction, int64_t begin, uint8_t *needs_begin) noexcept nogil:
    """The lane takes part: its begin goes before what it has taken since, such as the schema records after the begin."""
    cdef int64_t *out = to.out[lane]
    cdef Py_ssize_t at = to.count[lane]
    if to.joined[lane] == transaction:
        return
    to.joined[lane] = transaction
    if begin < 0:
        needs_begin[lane] = 1
        return
    while at and out[at - 1] > begin:
        out[at] = out[at - 1]
        at -= 1
    out[at] = begin
    to.count[lane] += 1


cdef inline void take(Selector to, Py_ssize_t lane, int64_t index) noexcept nogil:
    to.out[lane][to.count[lane]] = index
    to.count[lane] += 1


@cython.final
cdef class Selector:
    """For one intake: what `select` finds stays until it is called again, since its arrays are the same ones."""

    def __cinit__(self, Py_ssize_t lanes):
        self.lanes = lanes
        self.out = <int64_t **>calloc(lanes, sizeof(int64_t *))
        self.count = <Py_ssize_t *>calloc(lanes, sizeof(Py_ssize_t))
        self.joined = <int64_t *>calloc(lanes, sizeof(int64_t))
        if self.out is NULL or self.count is NULL or self.joined is NULL:
            raise MemoryError
        self.make_room(LEAST_ROOM)

    def __dealloc__(self):
        free(self.out)
        free(self.count)
        free(self.joined)

    cdef int make_room(self, Py_ssize_t records) except -1:
        cdef int64_t[::1] array
        cdef Py_ssize_t lane
        if records <= self.room:
            return 0
        self.arrays = [numpy.empty(records, numpy.int64) for _ in range(self.lanes)]
        self.kept = []
        for lane in range(self.lanes):
            array = self.arrays[lane]
            self.kept.append(array)
            self.out[lane] = &array[0]
        self.room = records
        return 0

    def select(self, Heads heads not None, Py_ssize_t a, Py_ssize_t b, const uint16_t[::1] lanes not None, list is_open not None,
               const uint8_t[::1] marked=None, const uint16_t[::1] second=None):
        """Chooses among the records [a, b).

        lanes: of each its lane; a number that is none goes nowhere. is_open: per lane, whether it holds the begin of the
        transaction that is open at `a`. marked: of each, EVERYWHERE and PART_OF_ALL as bits. second: another lane of each.
        """
        cdef Py_ssize_t i, lane, number = self.lanes
        cdef int64_t begin = -1, transaction = 0
        cdef uint8_t kind, mark
        cdef bint has_marks = marked is not None, has_second = second is not None
        if not 0 <= a <= b <= heads.count or lanes.shape[0] != b - a or len(is_open) != number:
            raise InternalError("no such records to choose from", start=a, end=b, records=heads.count)
        if (has_marks and marked.shape[0] != b - a) or (has_second and second.shape[0] != b - a):
            raise InternalError("marks and second lanes are those of the records", start=a, end=b)
        self.make_room(min(2 * (b - a), heads.capacity) if b - a > self.room else 0)
        cdef bytearray needed = bytearray(number)
        cdef uint8_t *needs_begin = needed
        for lane in range(number):
            self.count[lane] = 0
            self.joined[lane] = 0 if is_open[lane] else -1
        with nogil:
            for i in range(a, b):
                kind = heads._kind[i]
                if kind == RECORD_BEGIN:
                    begin = i
                    transaction += 1
                    continue
                if kind == RECORD_COMMIT:
                    for lane in range(number):
                        if self.joined[lane] == transaction:
                            take(self, lane, i)
                    continue
                if has_marks and marked[i - a]:
                    mark = marked[i - a]
                    for lane in range(number):
                        if mark & TAKES_PART:
                            join(self, lane, transaction, begin, needs_begin)
                        if mark & GOES_EVERYWHERE:
                            take(self, lane, i)
                    continue
                if kind > RECORD_DELETE and kind != RECORD_FRAGMENT and kind != RECORD_HISTORY:
                    continue
                lane = lanes[i - a]
                if lane < number:
                    join(self, lane, transaction, begin, needs_begin)
                    take(self, lane, i)
                if has_second and second[i - a] < number:
                    lane = second[i - a]
                    join(self, lane, transaction, begin, needs_begin)
                    take(self, lane, i)
        self.needs_begin = [bool(flag) for flag in needed]

    def indices(self, Py_ssize_t lane):
        """The records that a lane takes, ascending (int64)."""
        if not 0 <= lane < self.lanes:
            raise InternalError("no such lane", lane=lane, lanes=self.lanes)
        return self.arrays[lane][:self.count[lane]]


def look_up(Heads heads not None, Py_ssize_t a, Py_ssize_t b, const uint16_t[::1] targets not None, uint16_t unknown):
    """Of the records [a, b) what `targets` has for their table keys, and whether `unknown` is among them."""
    cdef Py_ssize_t i
    cdef uint16_t target
    cdef bint found = False
    if not 0 <= a <= b <= heads.count or heads.max_table >= targets.shape[0]:
        raise InternalError("no such records to look up", start=a, end=b, records=heads.count, most=heads.max_table)
    array = numpy.empty(b - a, numpy.uint16)
    cdef uint16_t[::1] out = array
    with nogil:
        for i in range(b - a):
            target = targets[heads._table[a + i]]
            found |= target == unknown
            out[i] = target
    return array, found


def spread(Heads heads not None, Py_ssize_t a, const uint16_t[::1] targets not None, uint16_t by_hash,
           const uint16_t[::1] lanes not None):
    """The targets of the records from `a` on, with the lane of the partition that its key hash names where one is `by_hash`.

    lanes: of each partition. Returns them, and the or of the flags of the records that went by their hash.
    """
    cdef Py_ssize_t i, n = targets.shape[0]
    cdef uint64_t partitions = lanes.shape[0], mask = partitions - 1, key_hash
    cdef bint is_power = partitions & mask == 0  # a division takes several times as long
    cdef uint8_t flags = 0
    if not 0 <= a <= a + n <= heads.count or not partitions:
        raise InternalError("no such records to spread", start=a, end=a + n, records=heads.count)
    array = numpy.empty(n, numpy.uint16)
    cdef uint16_t[::1] out = array
    with nogil:
        for i in range(n):
            out[i] = targets[i]
            if targets[i] == by_hash:
                key_hash = heads._key_hash[a + i]
                out[i] = lanes[key_hash & mask if is_power else key_hash % partitions]
                flags |= heads._flags[a + i]
    return array, flags


def ends(Heads heads not None, Py_ssize_t a, Py_ssize_t b):
    """Of the records [a, b): index of the last begin or commit, whether it is a begin, index of the last record after which no
    transaction is open. -1: there is none."""
    cdef Py_ssize_t low = 0, high = heads.marks, middle, at
    cdef int64_t limit = -1, boundary = -1, index
    cdef bint is_begin = False
    cdef uint8_t kind
    with nogil:
        while low < high:  # the first mark that isn't before b
            middle = (low + high) // 2
            if heads._mark[middle] < b:
                low = middle + 1
            else:
                high = middle
        for at in range(low - 1, -1, -1):
            index = heads._mark[at]
            if index < a or (limit >= 0 and boundary >= 0):
                break
            kind = heads._kind[index]
            if limit < 0 and (kind == RECORD_BEGIN or kind == RECORD_COMMIT):
                limit, is_begin = index, kind == RECORD_BEGIN
            if boundary < 0 and (kind == RECORD_COMMIT or kind == RECORD_DDL or kind == RECORD_HEARTBEAT):
                boundary = index
    return limit, is_begin, boundary


def last_place(Heads heads not None, Py_ssize_t a, Py_ssize_t b):
    """Source number and identity, as they stand in the head, of the last of the records [a, b) that ends a change or is none.

    Returns them (None: there is no such record) and how many fragments of an incomplete change come after it.
    """
    cdef Py_ssize_t i
    cdef const char *p
    parts = 0
    for i in range(b - 1, a - 1, -1):
        heads.check(i)
        if heads._kind[i] == RECORD_FRAGMENT:
            number, count = heads.fragment_place(i)
            if number + 1 < count:
                parts = parts or number + 1
                continue
        p = <const char *>heads.data + heads._offset[i]
        return p[RECORD_SOURCE_AT:RECORD_SOURCE_AT + 2] + p[RECORD_FILE_AT - 1:RECORD_HASH_AT - 1], parts
    return None, parts
