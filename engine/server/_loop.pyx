"""The server's event loop: descriptors, timers and calls, one after the other in one thread.

It does what asyncio's does for callbacks, in the same order, and nothing else: no tasks, no contexts. Each batch takes the loop
through a turn or two, and there asyncio's, in Python, took a fifth of all that the server does for a batch that comes alone.
"""

import os
from heapq import heappop, heappush

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EINTR
from libc.errno cimport errno as c_errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from posix.unistd cimport close, read, write

from engine._clock cimport monotonic_s

cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
        EPOLL_CTL_MOD
        EPOLL_CLOEXEC
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int most, int timeout_ms)

cdef extern from "<sys/eventfd.h>" nogil:
    enum:
        EFD_CLOEXEC
        EFD_NONBLOCK
    int eventfd(unsigned int count, int flags)

cdef enum:
    EVENTS_A_TURN = 128
    LONGEST_MS = 3_600_000


@cython.final
cdef class Call:
    """What is to be called: once, at a time, or whenever a descriptor is ready. `cancel` takes it back."""

    def cancel(self):
        """Twice, or after it was called, is harmless."""
        self.function = self.arguments = None


cdef Call _call(function, tuple arguments):
    cdef Call call = Call.__new__(Call)
    call.function = function
    call.arguments = arguments
    return call


@cython.final
cdef class Loop:
    """on_error: called with each exception that a callback raises; the loop goes on."""

    def __cinit__(self, on_error):
        self.epoll = self.waker = -1
        self.readers, self.writers, self.ready, self.timers = {}, {}, [], []
        self.on_error = on_error

    def __init__(self, on_error):
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        self.waker = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if self.epoll < 0 or self.waker < 0:
            raise OSError(c_errno, os.strerror(c_errno))
        self.add_reader(self.waker, self._hush)

    def __dealloc__(self):
        self._close()

    cdef void _close(self) noexcept:
        if self.waker >= 0:
            close(self.waker)
        if self.epoll >= 0:
            close(self.epoll)
        self.epoll = self.waker = -1

    def close(self):
        """What was to be called never is. Closing twice is harmless."""
        self._close()
        self.readers.clear()
        self.writers.clear()
        self.timers.clear()
        self.ready.clear()

    def is_closed(self):
        return self.epoll < 0

    cpdef double time(self):
        """Seconds, CLOCK_MONOTONIC, as time.monotonic() has it."""
        return monotonic_s()

    # ---- what to call

    def call_soon(self, function, *arguments):
        """In the next turn, in the order of the asking."""
        cdef Call call = _call(function, arguments)
        self.ready.append(call)
        return call

    def call_soon_threadsafe(self, function, *arguments):
        """For other threads and signal handlers: the loop doesn't wait any longer. One that is closed calls nothing."""
        cdef Call call = _call(function, arguments)
        cdef uint64_t one = 1
        if self.epoll >= 0:
            self.ready.append(call)
            write(self.waker, &one, 8)  # with the GIL, under which it is closed, too
        return call

    def call_later(self, double delay_s, function, *arguments):
        return self._at(self.time() + delay_s, function, arguments)

    def call_at(self, double when, function, *arguments):
        """At this `time`, or in the turn after it."""
        return self._at(when, function, arguments)

    cdef Call _at(self, double when, function, tuple arguments):
        cdef Call call = _call(function, arguments)
        self.n_timers += 1
        heappush(self.timers, (when, self.n_timers, call))
        return call

    def add_reader(self, file, function, *arguments):
        """Call it in each turn in which the descriptor is readable, or its peer is gone; in place of what was to be called."""
        self._register(_fd(file), self.readers, _call(function, arguments))

    def add_writer(self, file, function, *arguments):
        self._register(_fd(file), self.writers, _call(function, arguments))

    def remove_reader(self, file):
        """To be called before the descriptor is closed; one that isn't watched is left alone."""
        self._unregister(_fd(file), self.readers)

    def remove_writer(self, file):
        self._unregister(_fd(file), self.writers)

    cdef int _register(self, int fd, dict calls, Call call) except -1:
        cdef bint known = fd in self.readers or fd in self.writers
        before = calls.get(fd)
        calls[fd] = call
        if before is not None:
            (<Call>before).cancel()
            return 0
        try:
            self._control(EPOLL_CTL_MOD if known else EPOLL_CTL_ADD, fd)
        except OSError:
            del calls[fd]
            raise
        return 0

    cdef int _unregister(self, int fd, dict calls) except -1:
        call = calls.pop(fd, None)
        if call is not None:
            (<Call>call).cancel()  # also if its event has been seen in this turn
            self._control(EPOLL_CTL_MOD if fd in self.readers or fd in self.writers else EPOLL_CTL_DEL, fd)
        return 0

    cdef int _control(self, int operation, int fd) except -1:
        cdef epoll_event event
        event.events = (EPOLLIN if fd in self.readers else 0) | (EPOLLOUT if fd in self.writers else 0)
        event.data.fd = fd
        if epoll_ctl(self.epoll, operation, fd, &event) < 0:
            raise OSError(c_errno, os.strerror(c_errno))
        return 0

    # ---- turns

    def stop(self):
        """Have run_forever come back at the end of this turn; before it is called: after one turn without waiting."""
        self.stopping = True

    def run_forever(self):
        """Turns until `stop`."""
        while True:
            self._turn()
            if self.stopping:
                self.stopping = False
                return

    cdef int _turn(self) except -1:
        """What was asked for before, then what has become ready, then the timers; what these ask for comes in the next turn."""
        cdef epoll_event[EVENTS_A_TURN] events
        cdef int i, found, timeout_ms = LONGEST_MS, epoll = self.epoll
        cdef double now, first
        cdef list calls
        if self.stopping or self.ready:
            timeout_ms = 0
        elif self.timers:
            first = self.timers[0][0]
            now = self.time()
            timeout_ms = 0 if first <= now else min(<int64_t>((first - now) * 1000) + 1, LONGEST_MS)
        PyErr_CheckSignals()
        with nogil:
            found = epoll_wait(epoll, events, EVENTS_A_TURN, timeout_ms)
        if found < 0:
            if c_errno != EINTR:
                raise OSError(c_errno, os.strerror(c_errno))
            PyErr_CheckSignals()
        calls, self.ready = self.ready, []
        for i in range(found):
            if events[i].events & ~<uint32_t>EPOLLOUT and (call := self.readers.get(events[i].data.fd)) is not None:
                calls.append(call)
            if events[i].events & ~<uint32_t>EPOLLIN and (call := self.writers.get(events[i].data.fd)) is not None:
                calls.append(call)
        if self.timers:
            now = self.time()
            while self.timers and <double>self.timers[0][0] <= now:
                calls.append(heappop(self.timers)[2])
        for i in range(len(calls)):
            function = (<Call>calls[i]).function
            if function is not None:
                try:
                    function(*(<Call>calls[i]).arguments)
                except Exception as error:
                    self.on_error(error)
                except BaseException:
                    self.ready = calls[i + 1:] + self.ready
                    raise
        return 0

    def _hush(self):
        cdef uint64_t count
        read(self.waker, &count, 8)


cdef int _fd(file) except? -1:
    return file if isinstance(file, int) else file.fileno()
