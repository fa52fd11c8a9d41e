import socket
from typing import final

from engine.server.tls import TlsSocket

@final
class Inbox:
    def __init__(self, sock: socket.socket | TlsSocket, max_frame: int, room_bytes: int) -> None: ...
    @property
    def pending_bytes(self) -> int: ...
    def close(self) -> None: ...
