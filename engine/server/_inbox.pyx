"""What comes from one peer, cut into frames. Clients' messages are small, and read before more is received."""

from engine.frames import PREFIX_BYTES as _PREFIX_BYTES
from engine.frames import too_large
from engine.server.tls import TlsSocket

cimport cython
from cpython.buffer cimport PyBUF_WRITE
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t
from libc.string cimport memmove

from engine._record cimport record_u32

cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int fd, void *into, size_t n, int flags)

cdef enum:
    DISCARDED_BYTES = 65_536  # at once
    PREFIX_BYTES = 4

assert PREFIX_BYTES == _PREFIX_BYTES


@cython.final
cdef class Inbox:
    """room_bytes: what it holds unless a larger frame comes; thousands of peers may send nothing but a byte.

    The room grows with what has really arrived, so a peer cannot make us allocate by only announcing a large frame.
    """

    def __init__(self, sock, Py_ssize_t max_frame, Py_ssize_t room_bytes):
        self.sock = sock
        self.fd = TLS if isinstance(sock, TlsSocket) else sock.fileno()
        self.room = bytearray(room_bytes)
        self.usual = room_bytes
        self.max_frame = max_frame

    @property
    def pending_bytes(self):
        """Bytes received that no frame was made of yet."""
        return self.end - self.start

    def close(self):
        """Before the socket is: its number may be another's then. Nothing comes any more."""
        self.fd = CLOSED

    cdef Py_ssize_t receive(self) except? -2:
        """How many bytes have come; NOTHING_YET, or 0: nothing more will."""
        self._make_room()
        cdef Py_ssize_t count = self._read(PyByteArray_AS_STRING(self.room) + self.end, len(self.room) - self.end)
        if count > 0:
            self.end += count
        return count

    cdef Py_ssize_t discard(self) except? -2:
        """As `receive`, but nothing is kept."""
        cdef char[DISCARDED_BYTES] into
        return self._read(into, DISCARDED_BYTES)

    cdef bytes next(self):
        """The payload of the next whole frame; None: it hasn't come yet.

        Raises:
            ProtocolError: it is larger than `max_frame`.
        """
        cdef Py_ssize_t have = self.end - self.start, length
        cdef const uint8_t *data = <const uint8_t *>PyByteArray_AS_STRING(self.room) + self.start
        if have < PREFIX_BYTES:
            return None
        length = record_u32(data)
        if length > self.max_frame:
            raise too_large(length, self.max_frame)
        if have < PREFIX_BYTES + length:
            return None
        self.start += PREFIX_BYTES + length
        return (<const char *>data)[PREFIX_BYTES:PREFIX_BYTES + length]

    cdef Py_ssize_t _read(self, char *into, Py_ssize_t n) except? -2:
        cdef Py_ssize_t count
        if self.fd >= 0:
            count = recv(self.fd, into, n, 0)
            if count >= 0:
                return count
            return NOTHING_YET if errno == EAGAIN or errno == EINTR else 0
        if self.fd == CLOSED:
            return 0
        try:
            return self.sock.recv_into(PyMemoryView_FromMemory(into, n, PyBUF_WRITE))
        except (BlockingIOError, InterruptedError):
            return NOTHING_YET
        except OSError:
            return 0

    cdef int _make_room(self) except -1:
        """For a byte at least."""
        cdef char *data = PyByteArray_AS_STRING(self.room)
        cdef Py_ssize_t have = self.end - self.start, whole
        if have == 0:
            self.start = self.end = 0
            if len(self.room) > self.usual:
                self.room = bytearray(self.usual)
        elif self.end == len(self.room):
            memmove(data, data + self.start, have)
            self.start, self.end = 0, have
            if have == len(self.room):
                whole = record_u32(<const uint8_t *>data)  # not larger than max_frame: `next` has seen it
                whole += PREFIX_BYTES
                self.room.extend(bytes(min(max(whole - have, self.usual), 3 * have)))
        return 0
