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
from engine.sink._heads cimport Heads
from engine._record cimport RECORD_BEGIN, RECORD_COMMIT, RECORD_DELETE, RECORD_FRAGMENT, RECORD_HISTORY


cdef enum:  # what a record is that concerns all lanes, as bits
    GOES_EVERYWHERE = 1
    TAKES_PART = 2
    LEAST_ROOM = 64

EVERYWHERE = GOES_EVERYWHERE
PART_OF_ALL = TAKES_PART


cdef inline void join(Selector to, Py_ssize_t lane, int64_t transaction, int64_t begin) noexcept nogil:
    """The lane takes part: its begin goes before what it has taken since, such as the schema records after the begin."""
    cdef int64_t *out = to.out[lane]
    cdef Py_ssize_t at = to.count[lane]
    if to.joined[lane] == transaction:
        return
    to.joined[lane] = transaction
    if begin < 0:
        to.needs[lane] = 1
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
        self.open = <uint8_t *>calloc(lanes, 1)
        self.needs = <uint8_t *>calloc(lanes, 1)
        if self.out is NULL or self.count is NULL or self.joined is NULL or self.open is NULL or self.needs is NULL:
            raise MemoryError
        self.make_room(LEAST_ROOM)

    def __dealloc__(self):
        free(self.out)
        free(self.count)
        free(self.joined)
        free(self.open)
        free(self.needs)

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
        cdef Py_ssize_t lane
        cdef bint has_marks = marked is not None and b > a, has_second = second is not None and b > a
        if not 0 <= a <= b <= heads.count or lanes.shape[0] != b - a or len(is_open) != self.lanes:
            raise InternalError("no such records to choose from", start=a, end=b, records=heads.count)
        if (has_marks and marked.shape[0] != b - a) or (has_second and second.shape[0] != b - a):
            raise InternalError("marks and second lanes are those of the records", start=a, end=b)
        for lane in range(self.lanes):
            self.open[lane] = bool(is_open[lane])
        self.choose(heads, a, b, &lanes[0] if b > a else NULL, &marked[0] if has_marks else NULL,
                    &second[0] if has_second else NULL)

    cdef int choose(self, Heads heads, Py_ssize_t a, Py_ssize_t b, const uint16_t *lanes, const uint8_t *marked,
                    const uint16_t *second) except -1:
        """The same, with `open` set and arrays of b - a entries (marked and second may be NULL)."""
        cdef Py_ssize_t i, lane, number = self.lanes
        cdef int64_t begin = -1, transaction = 0
        cdef uint8_t kind, mark
        self.make_room(min(2 * (b - a), heads.capacity) if b - a > self.room else 0)
        for lane in range(number):
            self.count[lane] = self.needs[lane] = 0
            self.joined[lane] = 0 if self.open[lane] else -1
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
                if marked is not NULL and marked[i - a]:
                    mark = marked[i - a]
                    for lane in range(number):
                        if mark & TAKES_PART:
                            join(self, lane, transaction, begin)
                        if mark & GOES_EVERYWHERE:
                            take(self, lane, i)
                    continue
                if kind > RECORD_DELETE and kind != RECORD_FRAGMENT and kind != RECORD_HISTORY:
                    continue
                lane = lanes[i - a]
                if lane < number:
                    join(self, lane, transaction, begin)
                    take(self, lane, i)
                if second is not NULL and second[i - a] < number:
                    lane = second[i - a]
                    join(self, lane, transaction, begin)
                    take(self, lane, i)
        return 0

    @property
    def needs_begin(self):
        """Per lane, whether the begin of what it takes came before the records chosen from, and isn't in it yet."""
        return [bool(self.needs[lane]) for lane in range(self.lanes)]

    def indices(self, Py_ssize_t lane):
        """The records that a lane takes, ascending (int64)."""
        if not 0 <= lane < self.lanes:
            raise InternalError("no such lane", lane=lane, lanes=self.lanes)
        return self.arrays[lane][:self.count[lane]]


@cython.final
cdef class Targets:
    """A target for each table key, `unknown` unless it is set."""

    def __cinit__(self, uint16_t unknown):
        self.unknown = unknown
        self.grow(1023)

    cdef int grow(self, uint32_t key) except -1:
        """So that the key has a place."""
        if key < self.size:
            return 0
        more = numpy.full(max(<Py_ssize_t>key + 1, 2 * self.size), self.unknown, numpy.uint16)
        if self.size:
            more[:self.size] = self.array
        self.array, self._targets, self.size = more, more, len(more)
        return 0

    def __getitem__(self, uint32_t key):
        return self._targets[key] if key < self.size else self.unknown

    def __setitem__(self, uint32_t key, uint16_t target):
        self.grow(key)
        self._targets[key] = target

    def look_up(self, Heads heads not None, Py_ssize_t a, Py_ssize_t b):
        """The targets of the records [a, b), and whether `unknown` is among them."""
        if not 0 <= a <= b <= heads.count:
            raise InternalError("no such records to look up", start=a, end=b, records=heads.count)
        array = numpy.empty(b - a, numpy.uint16)
        cdef uint16_t[::1] out = array
        return array, bool(b > a and self.find(heads, a, b, &out[0]))

    cdef bint find(self, Heads heads, Py_ssize_t a, Py_ssize_t b, uint16_t *out) except? True:
        """The same, into `out`."""
        cdef Py_ssize_t i
        cdef uint16_t target
        cdef bint found = False
        self.grow(heads.max_table)
        with nogil:
            for i in range(b - a):
                target = self._targets[heads._table[a + i]]
                found |= target == self.unknown
                out[i] = target
        return found


def spread(Heads heads not None, Py_ssize_t a, targets not None, uint16_t by_hash, const uint16_t[::1] lanes not None):
    """The targets of the records from `a` on, with the lane of the partition that its key hash names where one is `by_hash`.

    lanes: of each partition. Returns them, and the or of the flags of the records that went by their hash.
    """
    array = targets.copy()
    cdef uint16_t[::1] out = array
    cdef Py_ssize_t n = out.shape[0]
    if not 0 <= a <= a + n <= heads.count or not lanes.shape[0]:
        raise InternalError("no such records to spread", start=a, end=a + n, records=heads.count)
    return array, spread_out(heads, a, n, by_hash, &lanes[0], lanes.shape[0], &out[0]) if n else 0


cdef uint8_t spread_out(Heads heads, Py_ssize_t a, Py_ssize_t n, uint16_t by_hash, const uint16_t *lanes, uint64_t partitions,
                        uint16_t *targets) noexcept:
    """The same, in place."""
    cdef Py_ssize_t i
    cdef uint64_t mask = partitions - 1, key_hash
    cdef bint is_power = partitions & mask == 0  # a division takes several times as long
    cdef uint8_t flags = 0
    with nogil:
        for i in range(n):
            if targets[i] == by_hash:
                key_hash = heads._key_hash[a + i]
                targets[i] = lanes[key_hash & mask if is_power else key_hash % partitions]
                flags |= heads._flags[a + i]
    return flags
