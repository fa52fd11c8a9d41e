"""Table of contents: which records of a view go into which store."""

from libc.stdint cimport int64_t


cdef class Selector:
    cdef readonly Py_ssize_t lanes
    cdef readonly list needs_begin    # per lane, after `select`: its begin came before the view
    cdef object arrays                # per lane, what `indices` gives slices of
    cdef Py_ssize_t room              # records that an array holds
    cdef list kept                    # the arrays' memoryviews, so that `out` stays valid
    cdef int64_t **out                # per lane, where its array begins
    cdef Py_ssize_t *count            # per lane, how many it takes
    cdef int64_t *joined              # per lane, the last transaction that it has a part in

    cdef int make_room(self, Py_ssize_t records) except -1
