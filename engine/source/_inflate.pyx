"""Deflate streams of MariaDB's compressed events and columns, by way of a library for Python."""

from cpython.buffer cimport PyBUF_READ
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

try:
    from zlib_ng import zlib_ng as zlib
except ImportError:  # slower, and always there
    import zlib

cdef int WINDOW_BITS = 15


cdef int inflate(const uint8_t *at, size_t n, uint8_t *out, size_t out_bytes, int raw) noexcept nogil:
    with gil:
        return unpacked(at, n, out, out_bytes, raw)


cdef int unpacked(const uint8_t *at, size_t n, uint8_t *out, size_t out_bytes, int raw) noexcept:
    cdef bytes plain
    try:
        stream = zlib.decompressobj(-WINDOW_BITS if raw else WINDOW_BITS)
        plain = stream.decompress(PyMemoryView_FromMemory(<char *>at, n, PyBUF_READ), out_bytes + 1)
        if not stream.eof or len(plain) != out_bytes:
            return 0
    except (zlib.error, MemoryError):
        return 0
    memcpy(out, <const uint8_t *>plain, out_bytes)
    return 1
