"""Table of contents: a sink's place in a source ring, and its ordinary turn."""

from libc.stdint cimport uint8_t, uint16_t, uint64_t

from engine._record cimport RECORD_HEAD_BYTES
from engine._ring cimport Reader
from engine.sink._heads cimport Heads
from engine.sink._selection cimport Selector, Targets


cdef class Front:
    cdef readonly Reader reader
    cdef readonly Heads heads
    cdef public Py_ssize_t next
    cdef public uint64_t sequence
    cdef readonly uint64_t boundary_sequence
    cdef readonly uint64_t time_us
    cdef readonly bytes begin
    cdef public list cuts
    cdef uint8_t[RECORD_HEAD_BYTES] boundary_head
    cdef bint has_boundary
    cdef bint noted                   # the reader's note holds a begin

    cpdef bint look(self) except? False
    cpdef int finish(self, Py_ssize_t end) except -1


cdef class Turn:
    cdef Front front
    cdef Selector selector
    cdef Targets targets
    cdef list rings                   # of each lane
    cdef list tracks                  # of each lane, one for each source
    cdef int number
    cdef const uint16_t[::1] lanes
    cdef uint16_t by_hash
    cdef bint by_columns
    cdef uint16_t *found              # lanes of the records in view
