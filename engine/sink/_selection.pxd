"""Table of contents: which records of a view go into which store."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from engine.sink._heads cimport Heads


cdef class Selector:
    cdef readonly Py_ssize_t lanes
    cdef object arrays                # per lane, what `indices` gives slices of
    cdef Py_ssize_t room              # records that an array holds
    cdef list kept                    # the arrays' memoryviews, so that `out` stays valid
    cdef int64_t **out                # per lane, where its array begins
    cdef Py_ssize_t *count            # per lane, how many it takes
    cdef int64_t *joined              # per lane, the last transaction that it has a part in
    cdef uint8_t *open                # per lane, whether it holds the begin of the transaction that is open before the records
    cdef uint8_t *needs               # per lane, see needs_begin

    cdef int make_room(self, Py_ssize_t records) except -1
    cdef int choose(self, Heads heads, Py_ssize_t a, Py_ssize_t b, const uint16_t *lanes, const uint8_t *marked,
                    const uint16_t *second) except -1


cdef class Targets:
    cdef readonly uint16_t unknown
    cdef Py_ssize_t size
    cdef object array
    cdef uint16_t[::1] _targets       # of `size` table keys

    cdef int grow(self, uint32_t key) except -1
    cdef bint find(self, Heads heads, Py_ssize_t a, Py_ssize_t b, uint16_t *out) except? True


cdef uint8_t spread_out(Heads heads, Py_ssize_t a, Py_ssize_t n, uint16_t by_hash, const uint16_t *lanes, uint64_t partitions,
                        uint16_t *targets) noexcept
