"""Differences of a JSON document, for native code."""

from libc.stdint cimport int64_t, uint8_t, uint64_t


# Applies `diffs` (see json_diff.py) to a document's text; writes the new text at `out`. Its length; -1: it is longer than room;
# -2: these are no differences of that document. Takes the GIL.
cdef int64_t patch(const uint8_t *text, uint64_t text_bytes, const uint8_t *diffs, uint64_t diff_bytes, uint8_t *out,
                   uint64_t room) noexcept nogil
