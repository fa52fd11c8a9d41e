"""Frames on their way to one peer: sent from where they lie, as fast as the peer takes them."""

import os
from collections import deque

from engine.server.tls import TlsSocket

cimport cython
from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.errno cimport EAGAIN, EBADF, EINTR, errno
from libc.string cimport memset

from engine.server._inbox cimport CLOSED, TLS

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_NOSIGNAL
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    ssize_t sendmsg(int fd, const msghdr *message, int flags)

cdef enum:
    BUFFERS_A_CALL = 128  # sendmsg takes up to 1024
    NOTHING_NOW = -1


@cython.final
@cython.freelist(16)
cdef class Frame:
    """What is left of it."""


@cython.final
cdef class Outbox:
    """Never blocks, and copies nothing: a batch goes from shared memory straight to the socket.

    progress: clock of the last moment when the peer took something; set by the owner's calls of `flush`.
    """

    def __init__(self, sock, double now):
        self.progress = now
        self.sock = sock
        self.fd = TLS if isinstance(sock, TlsSocket) else sock.fileno()
        self.frames = deque()

    def __len__(self):
        """Frames that are not wholly sent."""
        return len(self.frames)

    cpdef add(self, list parts, bint from_store=False):
        """One frame. from_store: some parts lie in shared memory, which stays as it is only while the batch is unacked."""
        cdef Frame frame = Frame.__new__(Frame)
        frame.parts = parts
        frame.from_store = from_store
        self.frames.append(frame)

    cpdef bint flush(self, double now) except -1:
        """Send what the socket takes. True: everything is sent.

        Raises:
            OSError: the connection is dead.
        """
        cdef Py_ssize_t offered, sent
        while self.frames:
            sent = self._send(&offered)
            if sent == NOTHING_NOW:
                return False
            if sent:
                self.progress = now
            self._forget(sent)
            if sent < offered:
                return False
        return self.fd != TLS or self.sock.drain()

    def let_go(self):
        """Keep nothing in shared memory: batches not begun are dropped, the rest of one that is begun is copied."""
        cdef Frame frame
        kept = deque()
        for frame in self.frames:
            if frame.from_store:
                if not frame.at and not frame.sent:
                    continue
                rest = b"".join([part for part in frame.parts if part is not None])
                frame.parts, frame.sent = [rest[frame.sent:]], 0
                frame.at = 0
                frame.from_store = False
            kept.append(frame)
        self.frames = kept

    def close(self):
        """Before the socket is: its number may be another's then. What is left isn't sent."""
        self.frames.clear()
        self.fd = CLOSED

    cdef Py_ssize_t _send(self, Py_ssize_t *offered) except? -2:
        """How much of the first buffers, which are `offered` bytes, the socket takes; or NOTHING_NOW."""
        cdef Py_buffer[BUFFERS_A_CALL] buffers
        cdef iovec[BUFFERS_A_CALL] vectors
        cdef msghdr message
        cdef Py_ssize_t i, sent, at
        cdef Py_ssize_t n = 0
        cdef int failed
        cdef Frame frame
        offered[0] = 0
        try:
            for frame in self.frames:
                for at in range(frame.at, len(frame.parts)):
                    if n == BUFFERS_A_CALL:
                        break
                    PyObject_GetBuffer(frame.parts[at], &buffers[n], PyBUF_SIMPLE)
                    sent = frame.sent if at == frame.at else 0
                    vectors[n].iov_base = <char *>buffers[n].buf + sent
                    vectors[n].iov_len = buffers[n].len - sent
                    offered[0] += buffers[n].len - sent
                    n += 1
                if n == BUFFERS_A_CALL:
                    break
            if self.fd == CLOSED:
                raise OSError(EBADF, "the connection is closed")
            if self.fd == TLS:
                return self._send_tls(n, vectors)
            memset(&message, 0, sizeof(msghdr))
            message.msg_iov, message.msg_iovlen = vectors, n
            with nogil:
                sent = sendmsg(self.fd, &message, MSG_NOSIGNAL)
                failed = errno
        finally:
            for i in range(n):
                PyBuffer_Release(&buffers[i])
        if sent < 0:
            if failed != EAGAIN and failed != EINTR:
                raise OSError(failed, os.strerror(failed))
            return NOTHING_NOW
        return sent

    cdef Py_ssize_t _send_tls(self, Py_ssize_t n, iovec *vectors) except? -2:
        parts = [PyMemoryView_FromMemory(<char *>vectors[i].iov_base, vectors[i].iov_len, PyBUF_READ) for i in range(n)]
        try:
            return self.sock.sendmsg(parts)
        except (BlockingIOError, InterruptedError):
            return NOTHING_NOW

    cdef int _forget(self, Py_ssize_t sent) except -1:
        cdef Frame frame
        cdef Py_ssize_t rest
        while self.frames:
            frame = self.frames[0]
            rest = len(frame.parts[frame.at]) - frame.sent
            if sent < rest:
                frame.sent += sent
                return 0
            sent -= rest
            frame.parts[frame.at] = None
            frame.at += 1
            frame.sent = 0
            if frame.at == len(frame.parts):
                self.frames.popleft()
        return 0
