"""One session as a state machine: frames in, frames out, no socket and no clock. `sync` and `aio` only move its bytes.

    opening ──welcome──▶ open ──leave()──▶ leaving ──end of the connection──▶ ended
       └───────────── fatal error, protocol fault, lost connection ────────────▶

Asking (`ack`, `rollback`, `want_batch` …) appends frames to the output; `receive` takes the answers in. An answer that
is an error raises at the next call, since nobody waits for it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import Generic, TypeVar

from engine import wire
from engine.client.batch import Batch, Handed
from engine.client.change import ChangeReader
from engine.client.torn import without_torn
from engine.errors import ConfigError, Disconnected, EngineError, InternalError, ProtocolError, Refused

log = logging.getLogger("engine.client")

PULL_WAIT_MS = 5000  # of each `get` that iteration without credit sends
CHUNK_BYTES = 256 << 10  # room for one read from the socket; a larger frame gets the room it needs

BatchType = TypeVar("BatchType", bound=Batch)


class State(Enum):
    OPENING = "opening"
    OPEN = "open"
    LEAVING = "leaving"
    ENDED = "ended"


class ClientCore(Generic[BatchType]):
    """One consumer's session.

    Args:
        batch_type: what to make of a batch frame; called as Batch is.
        partitions: None: all. takeover: end an older session of this consumer. standby: wait until there is none.
        start: where to begin, instead of at what is unacked.
        token: the secret that a server with tokens wants.
        batch_rows, batch_bytes: lower the destination's limits.
        prefetch: batches that the server may send ahead while streaming; 0: each is asked for when it is wanted.
        ddl, transactions, history: iterating a batch yields Ddl; Begin and Commit; History.

    Raises:
        ConfigError: an argument that the protocol doesn't allow.
    """

    def __init__(
        self,
        batch_type: type[BatchType],
        destination: str,
        consumer: str = "default",
        *,
        partitions: Iterable[int] | None = None,
        takeover: bool = True,
        standby: bool = False,
        token: str | None = None,
        batch_rows: int | None = None,
        batch_bytes: int | None = None,
        prefetch: int = 2,
        ddl: bool = False,
        transactions: bool = False,
        history: bool = False,
        start: str | None = None,
    ) -> None:
        numbers = None if partitions is None else list(partitions)
        hello = wire.Hello(wire.PROTOCOL, destination, consumer, numbers, takeover, wait=standby, start=start, token=token)
        self._limits = {"rows": batch_rows, "bytes": batch_bytes}
        self._prefetch = prefetch
        try:
            for message in (hello, wire.Credit(prefetch, **self._limits) if prefetch else wire.Get(0, **self._limits)):
                wire.parse_client_message(message.pack()[wire.PREFIX_BYTES :])
        except (ProtocolError, TypeError, OverflowError) as error:
            raise ConfigError(f"connect: not what the protocol allows: {error}") from None
        self.state = State.OPENING
        self.welcome: wire.Welcome | None = None
        self._batch_type = batch_type
        self._marks = {"ddl": ddl, "transactions": transactions, "history": history}
        self._frames = wire.FrameReader(chunk_bytes=CHUNK_BYTES)
        self._output = bytearray(hello.pack())
        self._reader = ChangeReader({})
        self._ready: deque[BatchType] = deque()  # received, not handed out
        self._credit = 0  # batches that the server may still send by itself
        self._untold_credit = 0  # of these, what stands in the output only
        self._credit_frames: dict[int, bytes] = {}  # by how many batches, since most are for one
        self._streaming = False  # has been iterated: credit is kept open
        self._asked = False  # a `get` waits for its answer
        self._empty = False  # the last `get` was answered with `empty`
        self._acks: dict[int, BatchType] = {}  # sent, not yet answered, by number
        self.confirmed = False  # an ack has been: this session has brought its consumer on
        self._rollbacks: deque[tuple[int | None, int | None]] = deque()  # likewise: (batch, partition)
        self._statuses: deque[wire.StatusAnswer] = deque()
        self._partial: dict[int, Batch | dict] = {}  # per partition: changes come in part before its next batch
        self._out: dict[int, deque[Handed]] = {}  # per partition: handed out, neither acked nor rolled back
        self._faults: deque[EngineError] = deque()
        self._ended_by: EngineError | None = None

    # Bytes.

    def get_buffer(self, size_hint: int = -1) -> memoryview:
        """Room for the next bytes from the server; then call `filled` and `receive`."""
        return self._frames.get_buffer(size_hint)

    @property
    def missing_bytes(self) -> int:
        """How much of a frame that has begun to come is still on its way."""
        return self._frames.missing_bytes

    def filled(self, count: int) -> None:
        self._frames.filled(count)

    def receive(self) -> None:
        """Take in what has come. Faults are kept for the next `check`."""
        try:
            for payload in self._frames.frames():
                if self.state is State.ENDED:
                    return
                self._handle(*wire.parse_server_message(payload))
        except ProtocolError as error:
            self.end(error)

    def take_output(self) -> bytes:
        """What is to be sent; the caller sends all of it."""
        if not self._output:
            return b""
        output = bytes(self._output)
        self._output.clear()
        self._untold_credit = 0
        return output

    @property
    def may_wait_for_ack(self) -> bool:
        """With a batch handed out: the server may send another one without hearing from us, so what there is to say can go
        along with the ack, or before the next wait. Otherwise it had better go at once."""
        return self._credit > self._untold_credit and not self._ready

    def end(self, reason: EngineError | None = None) -> None:
        """The connection is gone: by the server (None), or for a reason."""
        if self.state is State.ENDED:
            return
        if reason is None and self.state is not State.LEAVING:
            where = "in the middle of a frame" if self._frames.pending_bytes else "by the server"
            reason = Disconnected(f"the connection was ended {where}", remedy="connect again: unacked batches come again")
        self.state = State.ENDED
        self._ended_by = reason
        self._ready.clear()

    def lost(self, error: Exception) -> None:
        """The connection broke; `error` says how."""
        self.end(Disconnected("the connection is lost", error=error, remedy="connect again: unacked batches come again"))

    def raise_unanswered(self) -> None:
        """At the very end: raise what would otherwise be lost, an error answer or acks that were not confirmed."""
        if self._faults:
            raise self._faults.popleft()
        if self._acks:
            raise self._ended_by or Disconnected(
                "the server didn't confirm all acks", batches=sorted(self._acks), remedy="these batches may come again"
            )

    def check(self) -> None:
        """Raise what went wrong since the last call: an error answer, or the end of the session."""
        if self._faults:
            raise self._faults.popleft()
        if self.state is State.ENDED:
            raise self._ended_by or Disconnected("the stream is closed", remedy="connect again")

    # Asking.

    def next_batch(self) -> BatchType | None:
        """The next batch of the stream, None until one has come; keeps `prefetch` batches on their way from now on."""
        self._streaming = self._prefetch > 0
        batch = self._pop()
        if batch is None and not self._prefetch:
            self.want_batch(PULL_WAIT_MS)
        self._top_up()
        return batch

    def want_batch(self, wait_ms: int, rows: int | None = None, bytes: int | None = None) -> None:
        """Ask for one batch (of so many rows and bytes at most), unless one is here or on its way already."""
        self.check()
        self._empty = False
        self._top_up()
        if not self._ready and not self._credit and not self._asked:
            limits = {"rows": rows or self._limits["rows"], "bytes": bytes or self._limits["bytes"]}
            self._output += wire.Get(wait_ms, **limits).pack()
            self._asked = True

    def take_batch(self) -> tuple[bool, BatchType | None]:
        """(True, batch) once `want_batch` is answered, with None if the server had none; (False, None) until then."""
        batch = self._pop()
        self._top_up()
        return batch is not None or self._empty, batch

    def _top_up(self) -> None:
        missing = self._prefetch - self._credit - len(self._ready)
        if missing > 0 and self._streaming and not self._asked and self.state is State.OPEN:
            if missing not in self._credit_frames:
                self._credit_frames[missing] = wire.Credit(missing, **self._limits).pack()
            self._output += self._credit_frames[missing]
            self._credit += missing
            self._untold_credit += missing

    def _pop(self) -> BatchType | None:
        self.check()
        if not self._ready:
            return None
        batch = self._ready.popleft()
        partition = batch.partition
        before = self._partial.pop(partition, {})
        partial = before.partial_after() if isinstance(before, Batch) else before
        self._out.setdefault(partition, deque()).append(batch.hand_out(partial))
        if batch.open:
            self._partial[partition] = batch
        return batch

    def ack(self, batch: BatchType) -> None:
        """Ack it and what was handed out before it in its partition. Acking twice is harmless: the answer says so.

        Raises:
            Refused: it has been rolled back: what it holds is handed out again.
        """
        self.check()
        if batch.handed.state == "void":
            raise _gone("rolled back", batch)
        self._output += wire.pack_ack(batch.number)
        self._acks[batch.number] = batch
        out = self._out.get(batch.partition, ())
        while out and out[0].number <= batch.number:
            out.popleft().state = "acked"

    def rollback(self, batch: Batch | None = None) -> None:
        """What is handed out, or on its way, from `batch` on (None: all that is unacked) is void from now on.

        Raises:
            Refused: it has been acked, or rolled back before.
        """
        self.check()
        if batch is not None and batch.handed.state != "out":
            raise _gone("rolled back" if batch.handed.state == "void" else "acked", batch)
        number, only = (None, None) if batch is None else (batch.number, batch.partition)
        self._output += wire.Rollback(number).pack()
        self._rollbacks.append((number, only))
        self._ready = deque(ready for ready in self._ready if only is not None and ready.partition != only)
        for partition, out in self._out.items():
            if only is None or partition == only:
                while out and out[-1].number >= (number or 0):
                    void = out.pop()
                    void.state = "void"
                    self._partial[partition] = void.partial

    def ask_status(self) -> None:
        self.check()
        self._output += wire.Status().pack()

    def take_status(self) -> wire.StatusAnswer | None:
        self.check()
        return self._statuses.popleft() if self._statuses else None

    def leave(self) -> None:
        """Say bye; the server answers what is outstanding and ends the connection."""
        if self.state is State.OPEN:
            self._output += wire.Bye().pack()
            self.state = State.LEAVING
            self._ready.clear()
        elif self.state is State.OPENING:
            self.end(Disconnected("the stream is closed"))

    @property
    def session(self) -> wire.Welcome:
        """What the server said of the session when it opened."""
        if self.welcome is None:
            raise Disconnected("the session isn't open")
        return self.welcome

    @property
    def asked(self) -> bool:
        """A `get` waits for its answer."""
        return self._asked

    @property
    def outstanding_acks(self) -> int:
        """Acks that the server has not answered yet."""
        return len(self._acks)

    # Answers.

    def _handle(self, message: wire.ServerMessage, records: memoryview) -> None:
        if self.welcome is None and not isinstance(message, wire.Welcome | wire.Waiting | wire.Heartbeat | wire.Error):
            raise ProtocolError(f"{message.type} before welcome", remedy="is this a binlog-engine server?")
        match message:
            case wire.BatchHead():
                self._handle_batch(message, records)
            case wire.Schemas():
                self._reader.learn(records)
            case wire.Acked():
                self._handle_acked(message)
            case wire.RolledBack():
                self._rollbacks = _without_first(self._rollbacks, message.batch)
            case wire.Empty():
                self._asked, self._empty = False, True
            case wire.Welcome():
                if message.protocol != wire.PROTOCOL:
                    raise ProtocolError("another protocol version", server=message.protocol, client=wire.PROTOCOL)
                self.welcome = message
                self._know(message.sources)
                self.state = State.OPEN if self.state is State.OPENING else self.state
            case wire.Sources():
                self._know(message.sources)
            case wire.StatusAnswer():
                self._statuses.append(message)
            case wire.Error():
                self._handle_error(message)
            case wire.Heartbeat():
                self._output += wire.Heartbeat().pack()  # goes out when we are next called: that we wait is all it says
            case wire.Waiting():
                pass

    def _know(self, sources: dict[int, dict[str, str]]) -> None:
        self._reader.know({number: (about["name"], about["binlog"]) for number, about in sources.items()})

    def _handle_batch(self, head: wire.BatchHead, records: memoryview) -> None:
        if head.torn:
            head, records = without_torn(head, records)
        asked, self._asked = self._asked, False
        if asked:
            pass
        elif self._credit:
            self._credit -= 1
        else:
            raise ProtocolError("a batch that nobody asked for", batch=head.batch)
        void = any(only is None or only == head.partition for _, only in self._rollbacks)
        if void or self.state is State.LEAVING:
            self._empty = asked
            return  # it was on its way when we rolled back or left; it is handed out again
        reader = self._reader.at({source: about[0] for source, about in head.transactions.items()}, {})
        batch = self._batch_type(head, records, reader, self._marks)
        if not self._marks["transactions"]:  # who asked for them meets the commit
            for end in batch.torn:
                log.warning("what earlier batches had of this transaction is void, see Batch.torn: %r", end)
        self._ready.append(batch)

    def _handle_acked(self, message: wire.Acked) -> None:
        named = self._acks.get(message.batch)
        if named is None:
            return  # covered by the answer to a later one
        named.again = message.again
        self.confirmed = True
        for number, batch in list(self._acks.items()):
            if batch.partition == named.partition and number <= message.batch:
                batch.durable = True
                del self._acks[number]

    def _handle_error(self, message: wire.Error) -> None:
        error = _error_of(message)
        if message.fatal or self.welcome is None:
            self.end(error)
            return
        if message.code == wire.UNKNOWN_BATCH and self._acks.pop(message.batch or 0, None) is None and self._rollbacks:
            self.end(error)  # a rollback, for which batches were thrown away here, didn't happen there
            return
        self._faults.append(error)


def _without_first(rollbacks: deque[tuple[int | None, int | None]], batch: int | None) -> deque:
    place = next((place for place, entry in enumerate(rollbacks) if entry[0] == batch), len(rollbacks))
    return deque(entry for at, entry in enumerate(rollbacks) if at != place)


def _gone(how: str, batch: Batch) -> Refused:
    return Refused(f"the batch has been {how} already; nothing was done", batch=batch.number, partition=batch.partition)


def _error_of(message: wire.Error) -> EngineError:
    if message.code == wire.PROTOCOL_FAULT:
        return ProtocolError(message.message, code=message.code)
    if message.code == wire.SHUTTING_DOWN:
        return Disconnected(message.message, code=message.code, reason=message.code)
    if message.code == wire.INTERNAL:
        error = InternalError(message.message, code=message.code)
        error.retryable = message.retryable
        return error
    return Refused(message.message, code=message.code, reason=message.code, address=message.address)
