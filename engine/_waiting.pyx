"""Waiting for the first of several rings to have something."""

from engine._ring import SPIN_NS
from engine.errors import RingError

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint64_t
from engine._ring cimport Reader, RING_WAIT_ANY, ring_get_load_relaxed, ring_put_load_acquire, ring_t, ring_wait_any

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
