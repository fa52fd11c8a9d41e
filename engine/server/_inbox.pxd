"""Table of contents of the inbox."""


cdef class Inbox:
    cdef object sock           # socket or TlsSocket
    cdef int fd                # of a plain socket; TLS, which is asked in Python; or CLOSED
    cdef bytearray room
    cdef Py_ssize_t start, end  # of what no frame was made of yet
    cdef Py_ssize_t usual      # bytes of room
    cdef Py_ssize_t max_frame

    cdef Py_ssize_t receive(self) except? -2
    cdef Py_ssize_t discard(self) except? -2
    cdef bytes next(self)
    cdef Py_ssize_t _read(self, char *into, Py_ssize_t n) except? -2
    cdef int _make_room(self) except -1


cdef enum:
    NOTHING_YET = -1
    TLS = -1
    CLOSED = -2
