"""Table of contents of the event loop."""

from libc.stdint cimport uint64_t


cdef class Call:
    cdef object function        # None: cancelled
    cdef tuple arguments


cdef class Loop:
    cdef int epoll, waker
    cdef dict readers, writers  # descriptor → Call
    cdef list ready             # calls of the next turn
    cdef list timers            # a heap: (when, number, Call)
    cdef uint64_t n_timers
    cdef bint stopping
    cdef object on_error

    cdef void _close(self) noexcept
    cpdef double time(self)
    cdef Call _at(self, double when, function, tuple arguments)
    cdef int _register(self, int fd, dict calls, Call call) except -1
    cdef int _unregister(self, int fd, dict calls) except -1
    cdef int _control(self, int operation, int fd) except -1
    cdef int _turn(self) except -1
