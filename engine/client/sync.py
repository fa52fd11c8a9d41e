"""`engine.connect`: a consumer on a blocking socket."""

from __future__ import annotations

import functools
import math
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

from engine.client import batch as batches
from engine.client import stream as streams
from engine.client.address import Address
from engine.client.core import ClientCore, State
from engine.client.dialing import not_connected
from engine.client.servers import Servers
from engine.errors import Disconnected, EngineError
from engine.wire import StatusAnswer

try:
    from engine import _arriving
except ImportError:  # not compiled here
    _arriving = None  # type: ignore[assignment]

CLOSE_S = 5.0  # how long close() waits for the answers to the last acks


class Batch(batches.Batch):
    """A batch of a blocking stream."""

    __slots__ = ("_stream",)

    _stream: Stream

    def ack(self) -> None:
        """This batch, and all before it in its partition, are done with. Doesn't wait: `durable` says when it is kept,
        close() and `Stream.flush` wait for that, and an error in the answer raises at the next call.

        Of a `stale` batch it does nothing: the session that had handed it out is over, and it comes again.
        """
        if not self.stale:
            self._stream._ack(self)

    def rollback(self) -> None:
        """Hand out this batch, and those after it in its partition, again; a `stale` one comes again anyway.

        Raises:
            Refused: it has been acked or rolled back already.
        """
        if not self.stale:
            self._stream._rollback(self)

    @property
    def stale(self) -> bool:
        """Its session is over: it can't be acked any more, and what it holds comes again, with the same identities."""
        return self._stream._is_stale(self)


class Stream(streams.Stream):
    """The sessions of one consumer, one after the other; iterating it yields batches for ever. For one thread at a time."""

    _core: ClientCore[Batch]

    def __init__(
        self,
        servers: Servers,
        new_core: Callable[[], ClientCore[Batch]],
        timeout: float,
        reconnect: bool,
        tls_ca: streams.Trusted,
    ) -> None:
        super().__init__(servers, new_core, timeout, reconnect, tls_ca)
        self._socket = socket.socket()  # until there is a connection
        self._address: Address | None = None
        deadline = time.monotonic() + timeout
        try:
            self._open()
        except EngineError as error:
            try:
                self._open_again(error, deadline)
            finally:
                if self._core.state is not State.OPEN:
                    self._socket.close()

    def _open(self) -> None:
        """A session on the next server."""
        address = self._servers.next()
        patience_s = self._servers.patience_s(self._timeout)
        connection = self._dial(address, patience_s)
        self._socket.close()
        self._socket, self._address = connection, address
        if self._core.state is not State.OPENING:
            self._core = self._new_core()
        core = self._core
        connection.setblocking(False)
        self._readable = select.poll()
        self._readable.register(connection, select.POLLIN)
        try:
            self._send()
            while core.welcome is None:
                core.check()
                if self._receive(patience_s):
                    patience_s = self._timeout
            core.check()
        except BaseException:
            connection.close()
            core.end()
            raise
        self._servers.settled()

    def _dial(self, address: Address, patience_s: float) -> socket.socket:
        try:
            if address.family == "unix":
                return _connect_unix(address.path, patience_s)
            tls = self._tls if address.family == "tls" else None
            connection = socket.create_connection((address.host, address.port), patience_s)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                return tls.wrap_socket(connection, server_hostname=address.host)  # which closes it if it fails
            return connection
        except OSError as error:
            raise not_connected(address, error) from None

    def _open_again(self, error: EngineError, deadline: float = math.inf) -> None:
        """Try until a session is open.

        Raises:
            EngineError: what is in the way, if trying again makes no sense or the time is up.
        """
        while True:
            pause_s = self._pause_after(error)
            if time.monotonic() + pause_s > deadline:
                raise self._servers.summed_up(error)
            time.sleep(pause_s)
            try:
                return self._open()
            except EngineError as next_error:
                error = next_error

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """The next batch, however long it takes; when the session is lost, that of the next one.

        Raises:
            Refused: a newer session took over, or an earlier ack or rollback was refused.
            ProtocolError: what came is not the protocol.
            Disconnected: with reconnect=False: the connection ended, or the server was silent for `timeout`.
        """
        while True:
            try:
                while (batch := self._core.next_batch()) is None:
                    self._send()
                    self._receive(self._timeout)
                return self._handed(batch)
            except EngineError as error:
                self._open_again(error)

    def get(self, wait_ms: int = 0, *, rows: int | None = None, bytes: int | None = None) -> Batch | None:
        """One batch, or None if there is none within `wait_ms`; of at most so many changes and bytes of records.

        Once the stream has been iterated, batches are prefetched for `get` too, within the limits given to `connect`;
        before that, each `get` is a round trip. A session that is lost meanwhile is followed by the next one, which may take
        longer than `wait_ms`.
        Raises as iteration does.
        """
        deadline = time.monotonic() + wait_ms / 1000
        while True:
            try:
                return self._get(max(int((deadline - time.monotonic()) * 1000), 0), rows, bytes)
            except EngineError as error:
                self._open_again(error)

    def _get(self, wait_ms: int, rows: int | None, bytes: int | None) -> Batch | None:
        core = self._core
        core.want_batch(wait_ms, rows, bytes)
        self._send()
        by_credit = time.monotonic() + wait_ms / 1000  # while streaming, the wait is ours, otherwise the server's
        while True:
            answered, batch = core.take_batch()
            if batch is not None:
                return self._handed(batch)
            self._send()
            if answered:
                return None
            if core.asked:
                self._receive(self._timeout + wait_ms / 1000)
            elif not self._receive(by_credit - time.monotonic(), silence_is_death=False):
                return None

    def rollback(self) -> None:
        """Hand out again all that is unacked."""
        if not self._is_between:
            self._rollback(None)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until the server has said of every ack that it is kept.

        Raises:
            Disconnected: it did not within `timeout` seconds (that of `connect` by default).
        """
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        while self._core.outstanding_acks:
            self._core.check()
            self._receive(deadline - time.monotonic())
        self._core.check()

    def status(self) -> StatusAnswer:
        """How far this consumer is, in bytes."""
        while True:
            try:
                self._core.ask_status()
                self._send()
                while (answer := self._core.take_status()) is None:
                    self._receive(self._timeout)
                return answer
            except EngineError as error:
                self._open_again(error)

    def close(self) -> None:
        """Wait, for a few seconds at most, until every ack is kept; then end the session. Closing twice is harmless.

        Raises:
            Disconnected: the server didn't answer all acks: the last batches may come again.
            Refused: one of them was refused.
        """
        core = self._core
        self._closed = True
        if self._socket.fileno() < 0:
            return
        try:
            deadline = time.monotonic() + min(CLOSE_S, self._timeout)
            core.leave()
            self._send()
            while core.state is not State.ENDED and (left := deadline - time.monotonic()) > 0:
                self._receive(left, silence_is_death=False)
            core.raise_unanswered()
        finally:
            core.end(Disconnected("the stream is closed", remedy="connect again"))
            self._socket.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            self.close()
        except EngineError:
            if error is None:
                raise

    def __repr__(self) -> str:
        return f"<Stream {self._address}/{self._servers.destination} {self._core.state.value}>"

    def _handed(self, batch: Batch) -> Batch:
        batch._stream, batch.core = self, self._core
        if not self._core.may_wait_for_ack:
            self._send()
        return batch

    def _ack(self, batch: Batch) -> None:
        self._core.ack(batch)
        self._send()

    def _rollback(self, batch: Batch | None) -> None:
        self._core.rollback(batch)
        self._send()

    def _send(self) -> None:
        output = self._core.take_output()
        if output:
            try:
                sent = self._send_some(output)
                if sent < len(output):
                    self._socket.settimeout(self._timeout)
                    self._socket.sendall(output[sent:])
                    self._socket.setblocking(False)
            except OSError as error:
                self._core.lost(error)

    def _send_some(self, output: bytes) -> int:
        """What the socket takes without waiting, nearly always everything."""
        try:
            return self._socket.send(output)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0

    def _receive(self, timeout: float, *, silence_is_death: bool = True) -> bool:
        """Read what is there, or wait for it; whether something came. The server sends heartbeats, so silence is death."""
        core = self._core
        try:
            count = self._read(core.get_buffer(), timeout)
        except BlockingIOError:  # something, but no byte of ours
            return True
        except OSError as error:
            core.lost(error)
            return True
        if count < 0:
            if silence_is_death:
                core.lost(TimeoutError(f"nothing came from the server for {timeout:.1f} s"))
            return False
        if count:
            core.filled(count)
            core.receive()
        else:
            core.end()
        return True

    def _read(self, room: memoryview, timeout: float) -> int:
        """Bytes read; 0: the connection is at its end; -1: nothing came."""
        if _arriving is not None and not isinstance(self._socket, ssl.SSLSocket):
            return _arriving.receive(self._socket.fileno(), room, timeout)
        try:
            return self._socket.recv_into(room)
        except BlockingIOError:
            if not self._readable.poll(max(0.0, timeout) * 1000):
                return -1
            return self._socket.recv_into(room)


def connect(
    url: str | Sequence[str],
    consumer: str = "default",
    *,
    destination: str | None = None,
    timeout: float = 30.0,
    reconnect: bool = True,
    tls_ca: streams.Trusted = None,
    **options: Any,
) -> Stream:
    """Open a stream: `with engine.connect("tcp://127.0.0.1:7411/orders", consumer="cache") as stream: ...`

    Args:
        url: `tcp://host:port/destination` or `unix:///path/to.sock?destination=orders`; a list of them, of which one serves the
            destination at a time; or `zk://host1,host2/destination`, where ZooKeeper says who does.
        consumer: whose acks these are. Each consumer of a destination gets every change.
        destination: instead of in the URL.
        timeout: seconds to wait for an answer, and of silence after which the server counts as dead (it sends
            heartbeats every few seconds). Of several servers each has a share of it to open a session.
        reconnect: when the session is lost, go on with another one, on the same server or the next, for as long as it takes:
            the application sees nothing of it but that unacked batches come again. At the start, try for `timeout`
            seconds. False: raise Disconnected, or Refused with the active server's address.
        tls_ca: for `tls://host:port/destination`: the PEM file of the authority that signed the server's certificate; None: the
            system's; or an ssl.SSLContext of your own.
        token: the secret that a server with tokens wants; give it only over TLS or a unix socket.
        partitions: only these; all by default.
        takeover: end an older session of this consumer (the default); False: be refused while it lives.
        standby: wait in line, for however long, until no older session of this consumer is open.
        start: begin there, and not at what is unacked: "oldest", "latest", "binlog.000012:4" or a time; only a
            new consumer may, as far as the store still holds it; see docs/protocol.md, hello.
        batch_rows, batch_bytes: smaller batches than the destination's own limits.
        prefetch: batches that the server may send ahead while the stream is iterated, 2 by default; 0: none.
        ddl: iterating a batch yields `Ddl` too. transactions: `Begin` and `Commit` too. history: `History` too, past
            versions of the rows of system-versioned tables.

    Raises:
        ConfigError: a wrong URL or argument.
        Disconnected: no server can be reached, or none answers; retryable.
        Refused: it has no such destination, or refuses this session.
        InternalError: the server failed; of several, after some tries, with what each of them had to say.
        ProtocolError: what answers isn't a binlog-engine server.
    """
    servers = Servers(url, destination)
    new_core = functools.partial(ClientCore, Batch, servers.destination, consumer, **options)
    return Stream(servers, new_core, timeout, reconnect, tls_ca)


def _connect_unix(path: str, timeout: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection
