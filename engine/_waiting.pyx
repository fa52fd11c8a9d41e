"""Waiting for the first of several rings to have something, asleep or by the bell; and what is done meanwhile."""

import os

from engine._ring import SPIN_NS
from engine.errors import RingError

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy
from posix.mman cimport madvise
from engine._ring cimport (
    Reader, Ring, RING_BELL_PATH_BYTES, RING_WAIT_ANY, ring_bell_when, ring_get_load_relaxed, ring_put_load_acquire, ring_t,
    ring_wait_any,
)

cdef enum:
    MADV_POPULATE_WRITE = 23  # Linux 5.14
    PAGE = 4096  # or a part of one

cdef int64_t _SPIN_NS = SPIN_NS


def wait_any(list readers, int64_t timeout_ns, int64_t spin_ns=_SPIN_NS):
    """Waits until any reader has something to get. False: time is up, a signal came, or a writer has finished."""
    cdef ring_t[RING_WAIT_ANY] rings  # copies, as in wait_writable
    cdef uint64_t[RING_WAIT_ANY] sequences
    cdef int found, n = 0
    cdef Reader reader
    if not 0 < len(readers) <= RING_WAIT_ANY:
        raise RingError("wait_any takes 1 to 128 readers", readers=len(readers))
    readers = readers[:]  # another thread may change the caller's while the GIL is away
    for reader in readers:
        reader.check()
        rings[n] = reader.ring.ring
        sequences[n] = ring_get_load_relaxed(reader.slot)
        if ring_put_load_acquire(&rings[n]) > sequences[n]:
            return True
        n += 1
    for reader in readers:
        reader.ring._mapping.pin()
    with nogil:
        found = ring_wait_any(rings, sequences, n, timeout_ns, spin_ns)
    for reader in readers:
        reader.ring._mapping.unpin()
    if found < 0:
        PyErr_CheckSignals()
    return found > 0


def hang_bell(Ring ring not None, path):
    """The FIFO that `bell_when` has the ring's writer ring. A ring has one."""
    cdef bytes name = os.fsencode(path)
    ring.check_open()
    if len(name) >= RING_BELL_PATH_BYTES:
        raise RingError("path too long for a ring's bell", path=path, most=RING_BELL_PATH_BYTES - 1)
    memcpy(ring.ring.header.bell_path, <const char *>name, len(name) + 1)


def bell_when(Ring ring not None, uint64_t sequence):
    """Have the writer write a byte to the bell, once, when put passes the sequence. True: it has passed it already."""
    ring.check_open()
    return bool(ring_bell_when(&ring.ring, sequence))


def touch(Ring ring not None, uint64_t sequence, uint64_t n_bytes):
    """Take the ring's memory for [sequence, sequence + n_bytes) from the kernel, which then costs no page fault when it is
    written. Its content stays as it is, whoever writes it meanwhile.

    Returns the sequence up to which that is done: at most where the ring's memory begins anew. `sequence`: this kernel can't.
    """
    cdef uint64_t at = sequence % ring.capacity // PAGE * PAGE, end = min(sequence % ring.capacity + n_bytes, ring.capacity)
    cdef uint8_t *start = ring.ring.data + at
    cdef int failed
    ring.check_open()
    ring._mapping.pin()
    with nogil:
        failed = madvise(start, end - at, MADV_POPULATE_WRITE)
    ring._mapping.unpin()
    return sequence if failed else sequence - sequence % ring.capacity + end
