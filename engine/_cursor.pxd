"""Table of contents of the cursor: what the server's sessions use without Python between."""

from libc.stdint cimport uint64_t

from engine._ring cimport Reader
from engine._scan cimport Scanner


cdef class StoreBatch:
    cdef readonly uint64_t number
    cdef readonly uint64_t start, end      # sequences of the ring
    cdef public list pieces                # its records in shared memory. Let go of them when they are sent; they stay as they
    #                                        are until the batch is acked
    cdef readonly uint64_t rows, records, bytes
    cdef readonly bint open                # ends inside a transaction
    cdef readonly bint torn                # holds the end of a transaction that will not go on
    cdef readonly uint64_t time_us         # commit time of its last record
    cdef readonly list tables              # (table key, number of the source where it stands first), each key once
    cdef readonly dict transactions        # open before its first record
    cdef readonly dict open_before         # open at `start`; records behind it may be left out, as acked in an earlier life
    cdef readonly dict open_after
    cdef readonly dict positions           # source number → its last record here


cdef class Unsettled:
    cdef readonly uint64_t to, rows, batches, time_us
    cdef readonly dict open_after, positions


cdef class BatchNumbers:
    cdef uint64_t last
    cdef uint64_t forgotten                # of numbers up to here nobody knows any more whether they were rolled back
    cdef object rolled_back                # numbers, in order


cdef class Cursor:
    cdef readonly Reader reader
    cdef readonly dict outstanding         # number → StoreBatch, in order
    cdef readonly bint held_back           # the last next_batch has seen records, and has left them for later
    cdef readonly uint64_t seen_put        # how far the last next_batch could see; wait for more than that
    cdef readonly Scanner _scanner
    cdef BatchNumbers numbers
    cdef uint64_t capacity
    cdef dict noted                        # what the ring's note says
    cdef dict open                         # transactions that are open at `get`
    cdef readonly Unsettled unsettled

    cdef bint has_had_all(self) except -1
    cdef StoreBatch take(self, uint64_t max_rows, uint64_t max_bytes, bint only_full, bint patience_over)
    cdef StoreBatch _hand_out(self, uint64_t start)
    cdef int _pass_over(self, uint64_t start) except -1
    cdef int _settle_later(self, StoreBatch batch) except -1
    cdef Unsettled _later(self)
