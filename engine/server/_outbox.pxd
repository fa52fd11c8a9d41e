"""Table of contents of the outbox."""

from posix.uio cimport iovec


cdef class Frame:
    cdef list parts            # bytes and memoryviews; None: sent
    cdef Py_ssize_t at         # the first that isn't wholly sent
    cdef Py_ssize_t sent       # bytes of it that are
    cdef bint from_store


cdef class Outbox:
    cdef readonly double progress
    cdef object sock           # socket or TlsSocket
    cdef int fd                # of a plain socket; TLS, which is asked in Python; or CLOSED
    cdef object frames         # deque of Frame

    cpdef add(self, list parts, bint from_store=*)
    cpdef bint flush(self, double now) except -1
    cdef Py_ssize_t _send(self, Py_ssize_t *offered) except? -2
    cdef Py_ssize_t _send_tls(self, Py_ssize_t n, iovec *vectors) except? -2
    cdef int _forget(self, Py_ssize_t sent) except -1
