"""A tiny server for the client's tests: a thread per connection, one partition per list of batches, all in memory.

It keeps the promises of docs/protocol.md in the plainest way, so that it serves as a second opinion on the real server.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from engine import wire
from engine.errors import ProtocolError
from engine.record import CHANGES, Kind, unpack_head
from tests.client import streams

Records = list[bytes]


class Session:
    """One accepted connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._frames = wire.FrameReader(1 << 20)
        self._messages: list[Any] = []

    def receive(self) -> Any:
        """The next message of the client; None at the end of the connection."""
        while not self._messages:
            try:
                data = self.connection.recv(65536)
            except OSError:
                return None
            if not data:
                return None
            self._frames.feed(data)
            self._messages += [wire.parse_client_message(payload) for payload in self._frames.frames()]
        return self._messages.pop(0)

    def send(self, message: wire.Message, records: bytes = b"") -> None:
        self.connection.sendall(message.pack_prefix(len(records)) + records)

    def welcome(self, hello: wire.Hello, partitions: int = 1) -> None:
        self.send(
            wire.Welcome(wire.PROTOCOL, "0.1.0", hello.destination, hello.consumer, list(range(partitions)), streams.SOURCES)
        )


class Peer:
    """Listens until the `with` ends; `behave(session)` runs in a thread for each connection."""

    def __init__(self, behave: Callable[[Session], None], unix: Path | None = None) -> None:
        self._behave = behave
        if unix:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(unix))
            self._listener.listen()
            self.url = f"unix://{unix}?destination=orders"
        else:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}/orders"
        self._threads: list[threading.Thread] = []
        self._sessions: list[Session] = []

    def __enter__(self) -> Peer:
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for session in self._sessions:
            session.connection.close() if session.connection.fileno() < 0 else _shut(session.connection)
        for thread in self._threads:
            thread.join(10)

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            session = Session(connection)
            self._sessions.append(session)
            self._start(self._serve, session)

    def _serve(self, session: Session) -> None:
        with session.connection:
            try:
                self._behave(session)
            except OSError:
                return  # the client is gone
            except ProtocolError as error:
                session.send(wire.Error(wire.PROTOCOL_FAULT, str(error), fatal=True))


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        connection.close()


class Store:
    """What the peer serves: partitions, each a list of batches of records; acks are kept over sessions, per consumer."""

    def __init__(self, *partitions: list[Records]) -> None:
        self.partitions = partitions
        self.acked: dict[str, list[int]] = {}
        self.received: list[Any] = []

    def __call__(self, session: Session) -> None:
        hello = session.receive()
        if hello is None:
            return
        if hello.destination != "orders":
            session.send(wire.Error(wire.UNKNOWN_DESTINATION, f"no destination {hello.destination}", fatal=True))
            return
        session.welcome(hello, len(self.partitions))
        acked = self.acked.setdefault(hello.consumer, [0] * len(self.partitions))
        at = list(acked)  # the next batch to hand out, per partition
        given: dict[int, tuple[int, int]] = {}  # number → (partition, index)
        credit, number, schemas_sent = 0, 0, False
        while (message := session.receive()) is not None:
            self.received.append(message)
            match message:
                case wire.Credit(batches=batches):
                    credit += batches
                case wire.Get():
                    if not any(index < len(p) for index, p in zip(at, self.partitions, strict=True)):
                        session.send(wire.Empty())
                    else:
                        credit += 1
                case wire.Ack(batch=batch):
                    if batch not in given:
                        session.send(wire.Error(wire.UNKNOWN_BATCH, "no such batch", batch=batch))
                    else:
                        partition, index = given[batch]
                        again = index < acked[partition]
                        acked[partition] = max(acked[partition], index + 1)
                        session.send(wire.Acked(batch, again))
                case wire.Rollback(batch=None):
                    at = list(acked)
                    given = {n: (p, i) for n, (p, i) in given.items() if i < acked[p]}
                    session.send(wire.RolledBack(None))
                case wire.Rollback(batch=batch):
                    partition, index = given[batch]
                    at[partition] = index
                    given = {n: (p, i) for n, (p, i) in given.items() if p != partition or i < index}
                    session.send(wire.RolledBack(batch))
                case wire.Status():
                    held = sum(len(p) for p in self.partitions)
                    session.send(wire.StatusAnswer(held, 0, len(given), {partition: {} for partition in range(len(at))}))
                case wire.Bye():
                    return
            for partition, batches in enumerate(self.partitions):
                while credit and at[partition] < len(batches):
                    if not schemas_sent:
                        session.send(wire.Schemas(), streams.schema_record())
                        schemas_sent = True
                    number, credit = number + 1, credit - 1
                    given[number] = (partition, at[partition])
                    session.send(*batch_of(batches, at[partition], number, partition))
                    at[partition] += 1


def batch_of(batches: list[Records], index: int, number: int, partition: int) -> tuple[wire.BatchHead, bytes]:
    """The frame of one batch, with what it has to say of the transaction that was open before it."""
    open_gtid: list[str | None] | None = None
    for record in (record for batch in batches[:index] for record in batch):
        kind = unpack_head(record).kind
        if kind == Kind.BEGIN:
            open_gtid = [streams.GTID]
        elif kind == Kind.COMMIT:
            open_gtid = None
    records = batches[index]
    last = unpack_head(records[-1]).kind if records else Kind.COMMIT
    body = b"".join(records)
    rows = sum(unpack_head(record).kind in CHANGES for record in records)
    head = wire.BatchHead(
        number,
        partition,
        rows,
        len(records),
        len(body),
        open=last not in (Kind.COMMIT, Kind.DDL, Kind.HEARTBEAT),
        transactions={1: open_gtid} if open_gtid else {},
    )
    return head, body
