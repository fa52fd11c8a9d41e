"""Partial updates of JSON: between the row images of _partial.h and json_diff.py."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from engine.source._json cimport json_text

from engine.source.json_diff import apply_differences


cdef int64_t patch(const uint8_t *text, uint64_t text_bytes, const uint8_t *diffs, uint64_t diff_bytes, uint8_t *out,
                   uint64_t room) noexcept nogil:
    with gil:
        return patched(text, text_bytes, diffs, diff_bytes, out, room)


cdef int64_t patched(const uint8_t *text, uint64_t text_bytes, const uint8_t *diffs, uint64_t diff_bytes, uint8_t *out,
                     uint64_t room) noexcept:
    cdef bytes new
    try:
        new = apply_differences(
            PyBytes_FromStringAndSize(<const char *>text, text_bytes),
            PyBytes_FromStringAndSize(<const char *>diffs, diff_bytes), binary_to_text,
        )
    except (TypeError, ValueError, LookupError, RecursionError, MemoryError):
        return -2
    if <uint64_t>len(new) > room:
        return -1
    memcpy(out, <const uint8_t *>new, len(new))
    return len(new)


def binary_to_text(bytes document not None):
    """The text of a document of MySQL's binary JSON. ValueError: it is none."""
    cdef uint64_t room = 6 * <uint64_t>len(document) + 256
    cdef uint8_t *out = <uint8_t *>malloc(room)
    cdef uint8_t *end
    if out == NULL:
        raise MemoryError
    try:
        end = json_text(<const uint8_t *>document, len(document), out, out + room)
        if end == NULL:
            raise ValueError("not binary JSON")
        return PyBytes_FromStringAndSize(<char *>out, end - out)
    finally:
        free(out)
