"""How long a session's time-out is that ZooKeeper has granted, read off the connection itself: kazoo tells it nobody.

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

_ANSWER = struct.Struct(">iii")  # length, protocol version, time-out


class _Overheard(socket.socket):
    """A connection whose first bytes are looked at as they are received."""

    def __init__(self, connected: socket.socket, granted: Callable[[int], None]) -> None:
        super().__init__(fileno=connected.detach())
        self._begin = b""
        self._granted = granted

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        received = super().recv(size, flags)
        if len(self._begin) < _ANSWER.size:
            self._begin += received[: _ANSWER.size - len(self._begin)]
            if len(self._begin) == _ANSWER.size:
                self._granted(_ANSWER.unpack(self._begin)[2])
        return received


class GrantedTimeout(SequentialThreadingHandler):
    """kazoo's own handler of connections, which also notes what each new one was granted.

    ms: of the newest connection that was answered, before kazoo says that it is connected; 0: nothing is known.
    """

    ms = 0

    def create_connection(self, *args: Any, **kwargs: Any) -> socket.socket:
        return _Overheard(super().create_connection(*args, **kwargs), self._note)

    def _note(self, ms: int) -> None:
        self.ms = max(ms, 0)
