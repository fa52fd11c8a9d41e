"""The memory of a ring: a file (or none), mapped so that the data appears twice, back to back."""

from libc.stdint cimport uint8_t


cdef class Mapping:
    cdef uint8_t *start          # header, data, data again; NULL: not mapped
    cdef readonly str path       # "": no file
    cdef int fd
    cdef int data_fd             # of the writer of data in a file of their own; -1: not open
    cdef uint8_t *stage          # beside it
    cdef size_t mapped_bytes
    cdef Py_ssize_t pins         # views and waits that still need it
    cdef bint closing            # unmap when the last pin goes

    cdef int map(self, size_t header_bytes, size_t data_bytes, bint prefault, data) except -1
    cdef int open_data(self, path, size_t data_bytes, size_t stage_bytes) except -1
    cdef void close_data(self) noexcept
    cdef void close(self) noexcept
    cdef void unmap(self) noexcept
    cdef void pin(self) noexcept
    cdef void unpin(self) noexcept
    cdef int lock(self) except -1
    cdef object export(self, void *start, Py_ssize_t items, Py_ssize_t item_bytes, bint readonly)


cdef Mapping create_file(name, directory, size_t header_bytes, size_t data_bytes, bint prefault, data)
cdef Mapping open_file(name, directory)
cdef int unlink_file(name, directory) except -1
