"""Deflate streams, for native code."""

from libc.stdint cimport uint8_t


# Unpacks n bytes of a zlib stream, or (raw) a deflate stream without zlib's frame, that holds exactly out_bytes. 0: it doesn't.
# Takes the GIL: a stream's worth of work is large beside that.
cdef int inflate(const uint8_t *at, size_t n, uint8_t *out, size_t out_bytes, int raw) noexcept nogil
