"""How long a session's time-out is that ZooKeeper has granted, and since when, read off the connection: kazoo tells it nobody.

ZooKeeper answers a connection's first request with a ConnectResponse; what comes first on each connection is thus

    0   4   length of the answer
    4   4   protocol version
    8   4   the session's time-out, ms; 0 or less: the session is over
    ...

(big-endian; org.apache.zookeeper.proto.ConnectResponse in zookeeper.jute). kazoo lets a client name the handler that makes its
connections (`KazooClient(handler=)`), which is all of kazoo that this relies on.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

from kazoo.handlers.threading import SequentialThreadingHandler

from engine.ha.grant import boot_ns

_ANSWER = struct.Struct(">iii")  # length, protocol version, time-out


class _Overheard(socket.socket):
    """A connection whose first bytes are looked at as they are received."""

    def __init__(self, connected: socket.socket, begun_ns: int, granted: Callable[[int, int], None]) -> None:
        super().__init__(fileno=connected.detach())
        self._begin = b""
        self._begun_ns = begun_ns
        self._granted = granted

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        received = super().recv(size, flags)
        if len(self._begin) < _ANSWER.size:
            self._begin += received[: _ANSWER.size - len(self._begin)]
            if len(self._begin) == _ANSWER.size:
                self._granted(_ANSWER.unpack(self._begin)[2], self._begun_ns)
        return received


class GrantedTimeout(SequentialThreadingHandler):
    """kazoo's own handler of connections, which also notes what each new one was granted.

    ms, begun_ns (CLOCK_BOOTTIME): of the newest connection that was answered, before kazoo says that it is connected; 0: nothing
    is known. ZooKeeper's leader has been asked about the session after it had begun.
    """

    ms = begun_ns = 0

    def create_connection(self, *args: Any, **kwargs: Any) -> socket.socket:
        begun_ns = boot_ns()
        return _Overheard(super().create_connection(*args, **kwargs), begun_ns, self._note)

    def _note(self, ms: int, begun_ns: int) -> None:
        self.ms, self.begun_ns = max(ms, 0), begun_ns
