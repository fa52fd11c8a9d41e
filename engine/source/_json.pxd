"""MySQL's binary JSON to JSON text."""

from libc.stdint cimport uint8_t, uint64_t


# Writes the n bytes of binary JSON at `at` as JSON text at `out`, never at or behind `limit`. Returns the text's end, or NULL
# where the bytes are no binary JSON (offsets outside, unknown types, deeper than the server's 100 levels), or where the text
# would not fit: a document made by a server needs at most 6 * n + 32 bytes (a control character becomes \u00XX).
cdef uint8_t *json_text(const uint8_t *at, uint64_t n, uint8_t *out, uint8_t *limit) noexcept nogil
