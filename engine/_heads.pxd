"""Table of contents: record heads as arrays, and what the sink copies natively."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from engine._ring cimport Reader


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

    cdef int check(self, int64_t index) except -1


cdef class Track:
    cdef public uint64_t done         # source sequence; what stands before it is done with in this store
    cdef public uint32_t fragments    # of the record at `done` that the store holds already
    cdef public bint open             # the store holds the begin of the source's transaction, and not yet its commit
    cdef public bint inside           # the store holds the first fragments of a change, and not yet its last one
    cdef readonly Py_ssize_t at       # how many of the selected are in the store
    cdef readonly Py_ssize_t selected
    cdef int64_t[::1] _selection
