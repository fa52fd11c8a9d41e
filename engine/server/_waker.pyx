"""Wakes the event loop when a store gets new records: a thread that sleeps on futexes and writes to an eventfd.

The thread holds no Python object and never asks for the GIL. It watches only while it is armed, and one wake-up disarms
it: stores that nobody waits for cost their sinks no system call.
"""

import os

from engine.errors import InternalError

cimport cython
from libc.stdint cimport uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset
from posix.unistd cimport write

from engine._ring cimport (
    RING_WAIT_ANY, Ring, ring_claim, ring_header_t, ring_publish, ring_put_load_acquire, ring_t, ring_wait_any,
)


cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_t:
        pass
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_create(pthread_t *thread, void *attributes, void *(*start)(void *) noexcept nogil, void *argument)
    int pthread_join(pthread_t thread, void **result)
    int pthread_mutex_init(pthread_mutex_t *mutex, void *attributes)
    int pthread_mutex_lock(pthread_mutex_t *mutex)
    int pthread_mutex_unlock(pthread_mutex_t *mutex)
    int pthread_mutex_destroy(pthread_mutex_t *mutex)

cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass
    enum:
        SIG_SETMASK
    int sigfillset(sigset_t *signals)
    int pthread_sigmask(int how, const sigset_t *signals, sigset_t *before)

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **memory, size_t alignment, size_t size)


MOST_RINGS = RING_WAIT_ANY - 1  # of one waker: the bell takes a place
cdef int _MOST_RINGS = RING_WAIT_ANY - 1

cdef enum:
    HOUR_NS = 3_600_000_000_000


cdef struct watch_t:
    pthread_mutex_t mutex    # guards everything below but the bell's header, which is atomic
    bint stopping
    uint64_t armed           # serial of the arming that `rings` belongs to
    int n                    # rings[0] is the bell
    ring_t[RING_WAIT_ANY] rings
    uint64_t[RING_WAIT_ANY] sequences
    int event_fd


cdef void *_watch(void *argument) noexcept nogil:
    cdef watch_t *watch = <watch_t *>argument
    cdef ring_t[RING_WAIT_ANY] rings
    cdef uint64_t[RING_WAIT_ANY] sequences
    cdef uint64_t armed, one = 1
    cdef int i, n
    cdef bint stopping, found
    while True:
        pthread_mutex_lock(&watch.mutex)
        stopping = watch.stopping
        armed = watch.armed
        n = watch.n
        memcpy(rings, watch.rings, n * sizeof(ring_t))
        memcpy(sequences, watch.sequences, n * sizeof(uint64_t))
        pthread_mutex_unlock(&watch.mutex)
        if stopping:
            return NULL
        ring_wait_any(rings, sequences, n, HOUR_NS, 0)
        found = False
        for i in range(1, n):
            found = found or ring_put_load_acquire(&rings[i]) > sequences[i]
        if found:
            pthread_mutex_lock(&watch.mutex)
            if watch.armed == armed:
                watch.n = 1
            pthread_mutex_unlock(&watch.mutex)
            write(watch.event_fd, &one, sizeof(one))


@cython.final
cdef class Waker:
    """`fd` becomes readable when one of the armed rings gets records; read it with os.eventfd_read.

    Close it before the rings.
    """

    cdef readonly int fd
    cdef watch_t watch
    cdef pthread_t thread
    cdef bint running
    cdef set kept  # every ring that was ever armed: the thread may look at it until close

    def __cinit__(self):
        cdef void *header = NULL
        cdef sigset_t all_signals, before
        cdef int failed
        self.fd = -1
        self.kept = set()
        if posix_memalign(&header, 64, sizeof(ring_header_t)) != 0:
            raise MemoryError
        memset(header, 0, sizeof(ring_header_t))
        self.watch.rings[0].header = <ring_header_t *>header  # a ring in name only, to wake the thread by
        self.watch.n = 1
        pthread_mutex_init(&self.watch.mutex, NULL)
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.watch.event_fd = self.fd
        sigfillset(&all_signals)
        pthread_sigmask(SIG_SETMASK, &all_signals, &before)  # signals are for the main thread
        failed = pthread_create(&self.thread, NULL, _watch, &self.watch)
        pthread_sigmask(SIG_SETMASK, &before, NULL)
        if failed:
            os.close(self.fd)
            raise InternalError("no thread for the server's waker", error=os.strerror(failed))
        self.running = True

    def __dealloc__(self):
        if self.running:
            self._stop()
        pthread_mutex_destroy(&self.watch.mutex)
        free(self.watch.rings[0].header)

    def arm(self, list rings, list sequences):
        """Watch these rings, instead of those before: wake when put passes its sequence in any. At most MOST_RINGS."""
        cdef int i, n = len(rings)
        cdef Ring ring
        if n > _MOST_RINGS or len(sequences) != n:
            raise InternalError("a waker can't watch so many rings", rings=n, most=_MOST_RINGS)
        for ring in rings:
            ring.check_open()
        self.kept.update(rings)
        pthread_mutex_lock(&self.watch.mutex)
        for i in range(n):
            ring = rings[i]
            self.watch.rings[i + 1] = ring.ring
            self.watch.sequences[i + 1] = sequences[i]
        self.watch.n = n + 1
        self._unlock_and_ring_the_bell()

    def close(self):
        """Closing twice is harmless."""
        if self.running:
            self._stop()

    cdef void _unlock_and_ring_the_bell(self) noexcept:
        """The thread isn't woken to wait for a mutex."""
        self.watch.armed += 1
        ring_claim(&self.watch.rings[0], 1)
        self.watch.sequences[0] = self.watch.rings[0].claim
        pthread_mutex_unlock(&self.watch.mutex)
        ring_publish(&self.watch.rings[0])

    cdef _stop(self):
        self.running = False
        pthread_mutex_lock(&self.watch.mutex)
        self.watch.stopping = True
        self._unlock_and_ring_the_bell()
        with nogil:
            pthread_join(self.thread, NULL)
        os.close(self.fd)
