"""Table of contents: record heads as arrays, and how msgpack is passed over."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from engine._ring cimport Reader


cdef extern from * nogil:
    """
    #define record_prefetch(p) __builtin_prefetch(p)
    """
    void record_prefetch(const void *p) noexcept


cdef class Heads:
    cdef readonly Reader reader
    cdef readonly Py_ssize_t capacity  # most records of one view
    cdef readonly Py_ssize_t count     # records of this view
    cdef readonly Py_ssize_t marks     # of them no changes
    cdef readonly Py_ssize_t described  # of them about tables or statements: ddl, schema, statement, or fragments of one
    cdef readonly uint64_t max_time    # latest time of the marks
    cdef readonly uint64_t start       # sequence of the first record
    cdef readonly uint64_t end         # sequence after the last one
    cdef readonly uint32_t max_table   # highest table key
    cdef readonly object offset, kind, flags, table, transaction, key_hash, mark, mark_time  # NumPy arrays of `capacity`
    cdef const uint8_t *data           # of the first record
    cdef uint32_t[::1] _offset, _table, _transaction
    cdef uint8_t[::1] _kind, _flags
    cdef uint64_t[::1] _key_hash, _mark_time
    cdef int64_t[::1] _mark

    cpdef Py_ssize_t scan(self, uint64_t start, uint64_t limit, uint64_t max_bytes) except -1
    cdef int check(self, int64_t index) except -1


cdef const uint8_t *skip(const uint8_t *p, const uint8_t *end) noexcept nogil
cdef const uint8_t *fragment_numbers(const uint8_t *p, const uint8_t *end, uint32_t *number, uint32_t *count) noexcept nogil
