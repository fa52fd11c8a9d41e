"""Row images to msgpack: what the event decoder cimports. The work is in _image.h and the headers that it includes."""

from libc.stdint cimport int64_t, uint8_t, uint64_t


cdef extern from "_image.h" nogil:
    # The plan of one table version; for one thread at a time. Only _rows knows its fields.
    ctypedef struct row_plan_t:
        pass

    # Room that one row image needs at dst, given that it has at most source_bytes; ROW_SLACK for whole-word stores included.
    # Text converted from other character sets takes up to 3 bytes for one, JSON up to 6, everything else 1 beside a constant.
    # What MariaDB's COMPRESSED columns inflate to comes on top.
    uint64_t row_bound(const row_plan_t *plan, uint64_t source_bytes) noexcept


cdef extern from "_row_key.h" nogil:
    ctypedef struct row_key_t:
        uint64_t hash


ctypedef struct names_t:  # of a table, in UTF-8
    const char *schema
    const char *table
    Py_ssize_t schema_bytes
    Py_ssize_t table_bytes


cdef class RowPlan:
    cdef row_plan_t *plan
    cdef object _schema          # TableSchema; None: not made yet
    cdef tuple _names            # schema and table
    cdef readonly int columns
    cdef int end_slot            # see row_key_t; 0: the table isn't versioned
    cdef bint compressed         # some column is one of MariaDB's COMPRESSED ones
    cdef void *_steps            # one for each column, and their memos; not this plan's own if it has a _like
    cdef RowPlan _like
    cdef list _kept              # bytes objects that the steps point into

    cdef int _plan_name(self, str schema, str table) except -1
    cdef int _plan_columns(self, tuple columns, int hidden) except -1


# The plan of another table with the very same columns and key, as long as the first one's RowPlan is there.
cdef void plan_as(RowPlan like, row_plan_t *to, const names_t *names) noexcept

# Text is str if it is valid UTF-8 (or can be converted to it), otherwise bin with the column's own bytes; see _text.h.
#
# Decodes ONE row image: NULL bits + values. `present`: the event's bitmap of (columns + 7) / 8 bytes, NULL: it holds all
# columns (row_image only); the event's column count must be the plan's. Writes one msgpack array (all table columns; ext type
# 1, empty, where not present) at dst, and sets *dst_end. Never reads at or behind src_end. Room at dst: row_bound() bytes, and
# those up to where *dst_end points when called, which COMPRESSED columns may use; where they need more, ROW_ERROR_ROOM.
# key: receives the primary-key hash of this image (docs/protocol.md, "The key hash"), the key's columns in the key's order;
# those that the image doesn't hold are taken from `before`, the key of an update's first image; hash 0 if they aren't there.
# Returns the bytes consumed from src (>= 0), or a negative ROW_ERROR_*; *bad_column is then the column, -1 for the NULL bits.
cdef int64_t row_image(const row_plan_t *plan, const uint8_t *present, const uint8_t *src, const uint8_t *src_end,
                       uint8_t *dst, uint8_t **dst_end, row_key_t *key, const row_key_t *before, int *bad_column) noexcept nogil

# The second image of PARTIAL_UPDATE_ROWS (_partial.h); `first`: where the first one has been written.
cdef int64_t row_image_partial(const row_plan_t *plan, const uint8_t *present, const uint8_t *src, const uint8_t *src_end,
                               uint8_t *dst, uint8_t **dst_end, row_key_t *key, const row_key_t *before, const uint8_t *first,
                               int *bad_column) noexcept nogil

# From here on this thread's large values in [from, to) are given back to the system as they are copied (_spent.h); NULL: none.
cdef void row_spend(const uint8_t *start, const uint8_t *end) noexcept nogil

cdef str row_error_text(int64_t code)
