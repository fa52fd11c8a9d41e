"""Table of contents of the scan: what it keeps, and what a cursor asks it for without Python between."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef enum:  # how much of what is there may be handed out
    _WHOLE
    _SEAM
    _PIECE


cdef struct source_t:
    uint32_t number
    bint has_acked       # positions up to `acked` were acked in an earlier life
    uint32_t file, event, row
    uint64_t start
    bint open_before     # its transaction is open where this scan starts
    # during a scan
    bint skipping        # everything so far was acked before
    bint here            # has a record in the batch
    bint open
    bint in_change       # inside a fragmented change
    bint dirty           # changed since the last boundary
    bint first_open      # its transaction was open before its first record that is handed out
    uint64_t first_begin  # `begin` at that record
    uint64_t begin       # offset + 1 of the begin record of the open transaction, 0: before this scan
    uint64_t last        # offset + 1 of the last record that ends a change, 0: none
    # as of the last boundary
    bint end_open
    uint64_t end_begin
    uint64_t end_last


cdef struct run_t:       # of records that are handed out
    uint64_t start
    uint64_t end


cdef struct table_t:
    uint32_t key
    uint16_t source


cdef struct progress_t:  # of a scan that has come to the end of the data, for the next one with more
    bint on              # there is one
    uint64_t start       # sequence of the data's first byte
    uint64_t max_rows
    uint64_t max_bytes
    bint in_run
    int unfinished
    int in_change
    int n_dirty
    uint64_t seam        # the last one, 0: none yet


cdef struct totals_t:    # of the records up to `end`
    uint64_t end
    uint64_t rows
    uint64_t records
    uint64_t bytes
    uint64_t telling     # records that a consumer must get: all but schemas and heartbeats
    uint64_t time_us
    int tables
    bint torn            # a commit among them is marked so


cdef class Scanner:
    cdef source_t *sources
    cdef int n_sources, room_sources
    cdef run_t *runs
    cdef int n_runs, room_runs
    cdef table_t *tables         # of the batch, in order of appearance
    cdef int room_tables
    cdef uint32_t *slots         # hash table: index + 1 into `tables`, valid where the stamp is this scan's
    cdef uint32_t *stamps
    cdef uint32_t stamp
    cdef totals_t now, at_end
    cdef bint is_open, is_full
    cdef progress_t progress
    cdef const uint8_t *data
    cdef dict open_before

    cdef bint find(self, const uint8_t *data, uint64_t n, dict open_before, uint64_t max_rows, uint64_t max_bytes, int how,
                   uint64_t start) except -1
    cpdef list pieces(self)
    cpdef list table_keys(self)
    cpdef dict positions(self)
    cpdef dict open_at_first(self)
    cpdef dict open_after(self)
    cdef source_t *_source(self, uint32_t number) noexcept nogil
    cdef void _start_over(self) noexcept nogil
    cdef void _keep_end(self, source_t *last_one, int n_dirty) noexcept nogil
    cdef int _add_run(self, uint64_t start) noexcept nogil
    cdef int _add_table(self, uint32_t key, uint16_t source) noexcept nogil
    cdef int _grow_tables(self) noexcept nogil
    cdef int _scan(self, uint64_t n, uint64_t max_rows, uint64_t max_bytes, int how) noexcept nogil
    cdef void _keep_all(self) noexcept nogil
    cdef _gtid(self, uint64_t at)
