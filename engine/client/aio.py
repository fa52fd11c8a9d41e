"""`engine.aio.connect`: the same consumer for asyncio (and uvloop). Reads go straight into the frame buffer."""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from types import TracebackType
from typing import Any

from engine.client import batch as batches
from engine.client import stream as streams
from engine.client.address import Address
from engine.client.core import ClientCore, State
from engine.client.dialing import not_connected
from engine.client.servers import Servers
from engine.client.sync import CLOSE_S
from engine.errors import Disconnected, EngineError
from engine.wire import StatusAnswer


class Batch(batches.Batch):
    """A batch of an asyncio stream. Reading it doesn't wait; acking it does no more than to send."""

    __slots__ = ("_stream",)

    _stream: Stream

    async def ack(self) -> None:
        """This batch, and all before it in its partition, are done with. Doesn't wait for the answer: `durable` says
        when it is kept, close() and `Stream.flush` wait for that, and an error in it raises at the next call.

        Of a `stale` batch it does nothing: the session that had handed it out is over, and it comes again.
        """
        if not self.stale:
            self._stream._core.ack(self)
            self._stream._send()

    async def rollback(self) -> None:
        """Hand out this batch, and those after it in its partition, again; a `stale` one comes again anyway.

        Raises:
            Refused: it has been acked or rolled back already.
        """
        if not self.stale:
            self._stream._core.rollback(self)
            self._stream._send()

    @property
    def stale(self) -> bool:
        """See the blocking stream's."""
        return self._stream._is_stale(self)


class _Wire(asyncio.BufferedProtocol):
    """Moves bytes from the transport to the core and wakes whoever waits."""

    def __init__(self, core: ClientCore[Batch]) -> None:
        self.core = core
        self.arrived = asyncio.Event()
        self.closed = asyncio.Event()

    def get_buffer(self, size_hint: int) -> memoryview:
        return self.core.get_buffer(size_hint)

    def buffer_updated(self, count: int) -> None:
        self.core.filled(count)
        self.core.receive()
        self.arrived.set()

    def connection_lost(self, error: Exception | None) -> None:
        if error is None:
            self.core.end()
        else:
            self.core.lost(error)
        self.arrived.set()
        self.closed.set()


class Stream(streams.Stream):
    """The sessions of one consumer, one after the other; `async for batch in stream` goes on for ever. For one task at a time."""

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
        self._address: Address | None = None
        self._protocol = _Wire(self._core)
        self._transport: asyncio.Transport | None = None

    async def _open_first(self) -> None:
        deadline = time.monotonic() + self._timeout
        try:
            await self._open()
        except EngineError as error:
            await self._open_again(error, deadline)

    async def _open(self) -> None:
        """A session on the next server."""
        loop = asyncio.get_running_loop()
        servers = self._servers
        address = await loop.run_in_executor(None, servers.next) if servers.asks_zookeeper else servers.next()
        patience_s = servers.patience_s(self._timeout)
        if self._core.state is not State.OPENING:
            self._core = self._new_core()
        self._address = address
        protocol = self._protocol = _Wire(self._core)
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        try:
            async with asyncio.timeout(patience_s):
                if address.family != "unix":
                    tls = self._tls if address.family == "tls" else None
                    self._transport, _ = await loop.create_connection(lambda: protocol, address.host, address.port, ssl=tls)
                else:
                    self._transport, _ = await loop.create_unix_connection(lambda: protocol, address.path)
        except OSError as error:  # TimeoutError is one
            raise not_connected(address, error) from None
        try:
            self._send()
            while self._core.welcome is None:
                self._core.check()
                if await self._arrival(patience_s):
                    patience_s = self._timeout
            self._core.check()
        except BaseException:
            self._transport.abort()
            self._core.end()
            raise
        servers.settled()

    async def _open_again(self, error: EngineError, deadline: float = math.inf) -> None:
        """Try until a session is open; see the blocking stream's."""
        while True:
            pause_s = self._pause_after(error)
            if time.monotonic() + pause_s > deadline:
                raise self._servers.summed_up(error)
            await asyncio.sleep(pause_s)
            try:
                return await self._open()
            except EngineError as next_error:
                error = next_error

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self

    async def __anext__(self) -> Batch:
        """The next batch, however long it takes; when the session is lost, that of the next one. Raises as the blocking
        stream does."""
        while True:
            try:
                while (batch := self._core.next_batch()) is None:
                    self._send()
                    await self._arrival(self._timeout)
                return self._handed(batch)
            except EngineError as error:
                await self._open_again(error)

    async def get(self, wait_ms: int = 0, *, rows: int | None = None, bytes: int | None = None) -> Batch | None:
        """One batch, or None if there is none within `wait_ms`; see the blocking stream's."""
        deadline = time.monotonic() + wait_ms / 1000
        while True:
            try:
                return await self._get(max(int((deadline - time.monotonic()) * 1000), 0), rows, bytes)
            except EngineError as error:
                await self._open_again(error)

    async def _get(self, wait_ms: int, rows: int | None, bytes: int | None) -> Batch | None:
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
                await self._arrival(self._timeout + wait_ms / 1000)
            elif not await self._arrival(by_credit - time.monotonic(), silence_is_death=False):
                return None

    def _handed(self, batch: Batch) -> Batch:
        batch._stream, batch.core = self, self._core
        if not self._core.may_wait_for_ack:
            self._send()
        return batch

    async def rollback(self) -> None:
        """Hand out again all that is unacked."""
        if not self._is_between:
            self._core.rollback()
            self._send()

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until the server has said of every ack that it is kept.

        Raises:
            Disconnected: it did not within `timeout` seconds (that of `connect` by default).
        """
        await self._until(lambda: not self._core.outstanding_acks, timeout)

    async def status(self) -> StatusAnswer:
        """How far this consumer is, in bytes."""
        while True:
            try:
                self._core.ask_status()
                self._send()
                while (answer := self._core.take_status()) is None:
                    await self._arrival(self._timeout)
                return answer
            except EngineError as error:
                await self._open_again(error)

    async def close(self) -> None:
        """Wait, for a few seconds at most, until every ack is kept; then end the session. Closing twice is harmless.

        Raises:
            Disconnected: the server didn't answer all acks: the last batches may come again.
            Refused: one of them was refused.
        """
        self._closed = True
        if self._transport is None:
            return
        core, transport, self._transport = self._core, self._transport, None
        try:
            deadline = time.monotonic() + min(CLOSE_S, self._timeout)
            core.leave()
            transport.write(core.take_output())
            while core.state is not State.ENDED and (left := deadline - time.monotonic()) > 0:
                await self._arrival(left, silence_is_death=False)
            core.raise_unanswered()
        finally:
            core.end(Disconnected("the stream is closed", remedy="connect again"))
            transport.abort()
            await self._protocol.closed.wait()

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except EngineError:
            if error is None:
                raise

    def __repr__(self) -> str:
        return f"<aio.Stream {self._address}/{self._servers.destination} {self._core.state.value}>"

    def _send(self) -> None:
        output = self._core.take_output()
        if output and self._transport is not None:
            self._transport.write(output)

    async def _until(self, reached: Callable[[], bool], timeout: float | None = None) -> None:
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        self._send()
        while not reached():
            self._core.check()
            await self._arrival(deadline - time.monotonic())
        self._core.check()

    async def _arrival(self, timeout: float, *, silence_is_death: bool = True) -> bool:
        """Wait until something comes; whether it did. The server sends heartbeats, so silence is death."""
        self._protocol.arrived.clear()
        if self._core.state is State.ENDED:
            return True
        try:
            async with asyncio.timeout(max(0.0, timeout)):
                await self._protocol.arrived.wait()
        except TimeoutError:
            if silence_is_death:
                self._core.lost(TimeoutError(f"nothing came from the server for {timeout:.1f} s"))
            return False
        return True


class Connecting:
    """What `connect` returns: `await` it for the stream, or use it with `async with`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __await__(self) -> Generator[Any, None, Stream]:
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Stream:
        await self._stream._open_first()
        return self._stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stream.__aexit__(kind, error, traceback)


def connect(
    url: str | Sequence[str],
    consumer: str = "default",
    *,
    destination: str | None = None,
    timeout: float = 30.0,
    reconnect: bool = True,
    tls_ca: streams.Trusted = None,
    **options: Any,
) -> Connecting:
    """`async with engine.aio.connect("tcp://127.0.0.1:7411/orders", consumer="cache") as stream: ...`

    Arguments and errors are those of `engine.connect`.
    """
    servers = Servers(url, destination)
    new_core = functools.partial(ClientCore, Batch, servers.destination, consumer, **options)
    return Connecting(Stream(servers, new_core, timeout, reconnect, tls_ca))
