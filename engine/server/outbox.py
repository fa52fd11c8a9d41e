"""Frames on their way to one peer: sent from where they lie, as fast as the peer takes them."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterable
from itertools import chain, islice

from engine.server.tls import TlsSocket

BUFFERS_A_CALL = 256  # sendmsg takes up to 1024


class _Frame:
    __slots__ = ("begun", "from_store", "parts")

    def __init__(self, parts: Iterable[bytes | memoryview], from_store: bool) -> None:
        self.parts = deque(parts)
        self.begun = False
        self.from_store = from_store


class Outbox:
    """Never blocks, and copies nothing: a batch goes from shared memory straight to the socket.

    progress: clock of the last moment when the peer took something; set by the owner's calls of `flush`.
    """

    def __init__(self, sock: socket.socket | TlsSocket, now: float) -> None:
        self.progress = now
        self._sock = sock
        self._tls = sock if isinstance(sock, TlsSocket) else None
        self._frames: deque[_Frame] = deque()

    def __len__(self) -> int:
        """Frames that are not wholly sent."""
        return len(self._frames)

    def add(self, *parts: bytes | memoryview, from_store: bool = False) -> None:
        """One frame. from_store: some parts lie in shared memory, which stays as it is only while the batch is unacked."""
        self._frames.append(_Frame(parts, from_store))

    def flush(self, now: float) -> bool:
        """Send what the socket takes. True: everything is sent.

        Raises:
            OSError: the connection is dead.
        """
        frames = self._frames
        while frames:
            if len(frames) == 1 and len(frames[0].parts) <= BUFFERS_A_CALL:
                buffers = list(frames[0].parts)
            else:
                buffers = list(islice(chain.from_iterable(frame.parts for frame in frames), BUFFERS_A_CALL))
            try:
                sent = self._sock.sendmsg(buffers)
            except (BlockingIOError, InterruptedError):
                return False
            if sent:
                self.progress = now
            took_all = sent == sum(map(len, buffers))
            if took_all and len(frames) == 1 and len(buffers) == len(frames[0].parts):
                frames.popleft()
                break
            self._forget(sent)
            if not took_all:
                return False
        return self._tls is None or self._tls.drain()

    def let_go(self) -> None:
        """Keep nothing in shared memory: batches not begun are dropped, the rest of one that is begun is copied."""
        for frame in self._frames:
            if frame.from_store and frame.begun:
                frame.parts = deque([b"".join(frame.parts)])
                frame.from_store = False
        self._frames = deque(frame for frame in self._frames if not frame.from_store)

    def clear(self) -> None:
        self._frames.clear()

    def _forget(self, sent: int) -> None:
        while sent:
            frame = self._frames[0]
            frame.begun = True
            part = frame.parts[0]
            if sent < len(part):
                frame.parts[0] = memoryview(part)[sent:]
                return
            sent -= len(part)
            frame.parts.popleft()
            if not frame.parts:
                self._frames.popleft()
