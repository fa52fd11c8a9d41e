"""Table of contents: what one store has of one source."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from engine.sink._heads cimport Heads
from engine._ring cimport Ring

cdef enum:
    PLACE_BYTES = 26  # of engine/store_note.py


cdef class Track:
    cdef public uint64_t done         # source sequence; what stands before it is done with in this store
    cdef public uint64_t noted
    cdef public uint64_t put
    cdef public uint64_t ring_id
    cdef public uint32_t fragments    # of the record at `done` that the store holds already
    cdef public uint32_t parts
    cdef public bint open             # the store holds the begin of the source's transaction, and not yet its commit
    cdef public bint inside           # the store holds the first fragments of a change, and not yet its last one
    cdef public bytes known
    cdef uint8_t[PLACE_BYTES] at_place
    cdef readonly Py_ssize_t at       # how many of the selected are in the store
    cdef readonly Py_ssize_t selected
    cdef const int64_t *selection
    cdef object owner                 # of the memory where the selection is

    cdef void take(self, const int64_t *selection, Py_ssize_t selected, object owner) noexcept
    cpdef int move(self, Heads heads, Py_ssize_t a, Py_ssize_t b) except -1


cpdef bint copy(Ring ring, Heads heads, Track track, Py_ssize_t until) except? False
cpdef int write_note(Ring ring, list tracks) except -1
