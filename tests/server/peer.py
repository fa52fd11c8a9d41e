"""A consumer made of nothing but a socket and the protocol."""

from __future__ import annotations

import socket

from engine.wire import BatchHead, FrameReader, Hello, Message, Welcome, parse_server_message

WAIT_S = 10.0


class Peer:
    """Sends messages; hands out what comes, as (message, records)."""

    def __init__(self, address) -> None:
        self.sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.sock.settimeout(WAIT_S)
        self.sock.connect(address)
        self._frames = FrameReader()
        self._received: list[tuple[Message, bytes]] = []

    def send(self, *messages: Message) -> None:
        self.sock.sendall(b"".join(message.pack() for message in messages))

    def receive(self) -> tuple[Message, bytes]:
        """The next frame; an error if the connection ends or nothing comes."""
        while not self._received:
            data = self.sock.recv(1 << 20)
            if not data:
                raise ConnectionError("the server has closed the connection")
            self._frames.feed(data)
            for payload in self._frames.frames():
                message, records = parse_server_message(payload)
                self._received.append((message, bytes(records)))
        return self._received.pop(0)

    def expect(self, kind: type[Message]):
        """The next frame, which must be of this type."""
        message, _ = self.receive()
        assert isinstance(message, kind), message
        return message

    def batch(self) -> tuple[BatchHead, bytes]:
        message, records = self.receive()
        assert isinstance(message, BatchHead), message
        return message, records

    def hello(self, destination: str = "orders", consumer: str = "default", **keys) -> Welcome:
        self.send(Hello(1, destination, consumer, **keys))
        return self.expect(Welcome)

    def at_end(self) -> bool:
        """Nothing more came, and the server has closed its side."""
        try:
            return not self._received and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.sock.close()
