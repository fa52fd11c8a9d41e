"""What comes from the server as it nearly always does: soon, and a batch whose head is packed as usual. For clients."""

import os

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject_GenericSetAttr
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint64_t

from engine._clock cimport monotonic_s
from engine._packed cimport take, take_number

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_DONTWAIT
    ssize_t recv(int fd, void *into, size_t n, int flags)

cdef extern from "<poll.h>" nogil:
    enum:
        POLLIN
    struct pollfd:
        int fd
        short events
    int poll(pollfd *fds, unsigned long n, int timeout_ms)

cdef enum:
    LONGEST_MS = 3_600_000

NOTHING = -1  # came in time


def receive(int fd, room, double timeout_s):
    """Read what is there, or wait for it: the number of bytes, 0 at the end of the connection, or NOTHING.

    Raises:
        OSError: the connection is lost.
    """
    cdef Py_buffer into
    cdef pollfd waiting
    cdef double deadline = 0, left
    cdef ssize_t count
    cdef int found, error
    waiting.fd, waiting.events = fd, POLLIN
    PyObject_GetBuffer(room, &into, PyBUF_WRITABLE)
    try:
        while True:
            with nogil:
                count = recv(fd, into.buf, into.len, MSG_DONTWAIT)
                error = errno
            if count >= 0:
                return count
            if error != EAGAIN and error != EINTR:
                raise OSError(error, os.strerror(error))
            left = timeout_s if not deadline else deadline - monotonic_s()
            deadline = deadline or monotonic_s() + timeout_s
            with nogil:
                found = poll(&waiting, 1, <int>min(max(left, 0.0) * 1000 + 0.999, <double>LONGEST_MS))
            if found == 0 and left < LONGEST_MS / 1000:
                return NOTHING
            PyErr_CheckSignals()
    finally:
        PyBuffer_Release(&into)


@cython.final
cdef class HeadReader:
    """Reads the head of a batch frame without looking its keys up: they stand in the order in which they are packed.

    kind: wire.BatchHead, all of whose fields are set here; keys: its packed_keys.
    """

    cdef object kind, new
    cdef list keys

    def __init__(self, kind, list keys):
        self.kind, self.keys = kind, keys
        self.new = object.__new__

    def read(self, payload):
        """(head, where the records begin); None: this is another message, or not as usual, and every key has to be checked."""
        cdef Py_buffer buffer
        cdef const uint8_t *p
        cdef const uint8_t *end
        cdef uint64_t number, partition, rows, records, n_bytes
        cdef bint is_open
        PyObject_GetBuffer(payload, &buffer, PyBUF_SIMPLE)
        try:
            p = <const uint8_t *>buffer.buf
            end = p + buffer.len
            if not (take(&p, end, self.keys[0]) and take_number(&p, end, &number) and number
                    and take(&p, end, self.keys[1]) and take_number(&p, end, &partition) and partition < 1 << 16
                    and take(&p, end, self.keys[2]) and take_number(&p, end, &rows)
                    and take(&p, end, self.keys[3]) and take_number(&p, end, &records)
                    and take(&p, end, self.keys[4]) and take_number(&p, end, &n_bytes)
                    and take(&p, end, self.keys[5]) and end - p > 0 and (p[0] == 0xC2 or p[0] == 0xC3)):
                return None
            is_open = p[0] == 0xC3
            p += 1
            # Inside no transaction, and no torn one in it.
            if not (take(&p, end, self.keys[6]) and take(&p, end, b"\x80")
                    and take(&p, end, self.keys[7]) and take(&p, end, b"\xc2") and <uint64_t>(end - p) == n_bytes):
                return None
            at = buffer.len - (end - p)
        finally:
            PyBuffer_Release(&buffer)
        head = self.new(self.kind)
        PyObject_GenericSetAttr(head, "batch", number)
        PyObject_GenericSetAttr(head, "partition", partition)
        PyObject_GenericSetAttr(head, "rows", rows)
        PyObject_GenericSetAttr(head, "records", records)
        PyObject_GenericSetAttr(head, "bytes", n_bytes)
        PyObject_GenericSetAttr(head, "open", is_open)
        PyObject_GenericSetAttr(head, "transactions", {})
        PyObject_GenericSetAttr(head, "torn", False)
        return head, at
