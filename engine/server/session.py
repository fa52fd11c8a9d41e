"""One consumer's connection: its messages in, its batches and answers out. Callbacks of the event loop, never blocking.

greeting ──hello──▶ [waiting ──▶] open ──bye, fault, takeover──▶ leaving ──all sent, or time is up──▶ closed
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import engine
from engine.errors import EngineError, MetaAway, MetaError, MetaFull, PeerError, ProtocolError, Refused
from engine.meta import Meta
from engine.server._loop import Call, Loop
from engine.server.acks import AckKeeper
from engine.server.destinations import Destination, Lane, SessionRefused
from engine.server.late_acks import LateAckKeeper
from engine.server.listener import has_vanished
from engine.server.outbox import Outbox
from engine.server.rights import Rights
from engine.server.schemas import Catalogue
from engine.server.tls import TlsSocket
from engine.store import StoreBatch
from engine.wire import (
    IDLE,
    INTERNAL,
    NOT_ACTIVE,
    PROTOCOL,
    PROTOCOL_FAULT,
    UNKNOWN_BATCH,
    UNKNOWN_DESTINATION,
    VERSION_MISMATCH,
    Ack,
    Acked,
    BatchHead,
    Bye,
    ClientMessage,
    Credit,
    Empty,
    Error,
    FrameReader,
    Get,
    Heartbeat,
    Hello,
    Message,
    Rollback,
    RolledBack,
    Schemas,
    Sources,
    Status,
    StatusAnswer,
    Waiting,
    Welcome,
    parse_client_message,
)

if TYPE_CHECKING:
    from engine.config import ServerConfig

log = logging.getLogger("engine.server")

HEARTBEAT_S = 5.0  # of silence
LEAVE_S = 5.0  # for the peer to take the last answers
PATIENCE_S = 5.0  # for the rest of a transaction: then its source is taken for dead, and the others must go on
MOST_ANSWERS = 1000  # frames not taken by the peer, beyond which nothing more is read from it
MESSAGES_PER_TURN = 16  # then other sessions have their turn: a consumer that reads is not to wait for one that only asks
BATCHES_PER_TURN = 8
_LISTENING = ("greeting", "waiting", "open")  # states in which what comes in counts
ROOM_BYTES = 4096  # for what comes in at once: messages are small, and thousands of peers may send nothing but a byte
FILL_STEPS = 8  # looks at a filling batch during batch_wait_ms


class Hub(Protocol):
    """What a session needs of the server."""

    loop: Loop
    meta: Meta
    acks: AckKeeper | LateAckKeeper
    catalogue: Catalogue
    destinations: dict[str, Destination]  # served here
    elsewhere: dict[str, str | None]  # the config's others, and the address of the server that has them, if it is known
    settings: ServerConfig
    rights: Rights
    work: int

    def watch_stores(self) -> None: ...

    def session_left(self, session: Session) -> None:
        """It takes part no longer, and is only being ended. Called once for each."""

    def session_closed(self, session: Session) -> None: ...


@dataclass(slots=True)
class _Limits:
    rows: int | None = None
    bytes: int | None = None


@dataclass(slots=True)
class _Get(_Limits):
    deadline: float = 0.0


class Session:
    """Owns the socket and, once open, the claim on its consumer's partitions.

    address: what the sessions of one peer are counted by; None: they aren't.
    """

    def __init__(self, hub: Hub, sock: socket.socket | TlsSocket, peer: str, address: str | None = None) -> None:
        now = hub.loop.time()
        self.peer = peer
        self.address = address
        self.state = "greeting"
        self._hub = hub
        self._sock = sock
        self._frames = FrameReader(hub.settings.max_frame, ROOM_BYTES)
        self._outbox = Outbox(sock, now)
        self._writing = False  # waiting until the socket takes more
        self._reading = False
        self._since = self._received = self._begun = now  # of the state; of any bytes; of the frame that is coming
        self._destination: Destination | None = None
        self._consumer = ""
        self._lanes: deque[Lane] = deque()  # the next to be asked comes first
        self._known_tables: set[int] = set()
        self._known_sources: set[int] = set()
        self._gets: deque[_Get] = deque()
        self._credit = 0
        self._credit_limits = _Limits()
        self._last_credit: tuple[bytes, Credit] | None = None  # most consumers say the same for each batch
        self._timer: Call | None = None
        self._acked: dict[int, Acked] = {}  # what confirms acks, sent together; an answer is for the acks before it, too
        self._stalled = False  # as many batches as may be are outstanding: only acks let more go out
        if isinstance(sock, TlsSocket):
            sock.on_more = self._on_readable
        self._read(True)

    # -- what comes in ---------------------------------------------------------------------------------------------

    def _read(self, wanted: bool) -> None:
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                self._hub.loop.add_reader(self._sock, self._on_readable)
            else:
                self._hub.loop.remove_reader(self._sock)

    def _on_readable(self) -> None:
        try:
            room = self._frames.get_buffer() if self.state != "leaving" else memoryview(bytearray(1 << 16))
            count = self._sock.recv_into(room)
        except (BlockingIOError, InterruptedError):
            self._flush()  # what TLS has to say by itself
            return
        except ProtocolError as error:
            self.fail(PROTOCOL_FAULT, str(error))
            return
        except OSError:
            count = 0
        if count == 0:
            self.close()
        elif self.state != "leaving":
            self._received = self._hub.loop.time()
            if not self._frames.pending_bytes:
                self._begun = self._received
            self._frames.filled(count)
            self._work_through()

    def _work_through(self) -> None:
        """Handle the messages received; when there are very many, the others' turn comes in between."""
        if self.state not in _LISTENING:
            return
        handled = 0
        try:
            for payload in islice(self._frames.frames(), MESSAGES_PER_TURN):
                handled += 1
                if self._last_credit is not None and payload == self._last_credit[0]:
                    self._on_credit(self._last_credit[1])
                else:
                    self._handle(parse_client_message(payload), payload)
                if self.state not in _LISTENING:
                    break
        except ProtocolError as error:
            self.fail(PROTOCOL_FAULT, str(error))
        except SessionRefused as error:
            self.fail(error.code, str(error), error.elsewhere)
        except Refused as error:
            self._send(Error(UNKNOWN_BATCH, str(error), batch=int(str(error.facts["batch"]))))
            self._hub.loop.call_soon(self._work_through)
        except (MetaAway, MetaFull) as error:  # it may be over soon, and those who are there already can go on
            self.fail(INTERNAL, f"not now: {error}", retryable=True)
        except MetaError:
            raise  # no session can go on
        except Exception as error:
            self._blame_ourselves(error)
        self._hub.work += handled
        if handled:
            self._begun = self._received
        if self.state in _LISTENING:
            self._read(handled < MESSAGES_PER_TURN and len(self._outbox) < MOST_ANSWERS)
            if handled == MESSAGES_PER_TURN and len(self._outbox) < MOST_ANSWERS:
                self._hub.loop.call_soon(self._work_through)
            self._expire_gets()

    def _handle(self, message: ClientMessage, payload: memoryview) -> None:
        if isinstance(message, Hello):
            self._on_hello(message)
        elif self.state == "greeting":
            raise ProtocolError("the first message must be hello", type=message.type)
        elif self.state == "waiting" and not isinstance(message, Bye | Heartbeat):
            raise ProtocolError("nothing but bye may come before welcome", type=message.type)
        elif isinstance(message, Ack):
            self._on_ack(message)
        elif isinstance(message, Credit):
            self._last_credit = bytes(payload), message
            self._on_credit(message)
        elif isinstance(message, Get):
            self._on_get(message)
        elif isinstance(message, Rollback):
            self._on_rollback(message)
        elif isinstance(message, Status):
            self._on_status()
        elif isinstance(message, Bye):
            self._on_bye()

    def _on_hello(self, hello: Hello) -> None:
        if self.state != "greeting":
            raise ProtocolError("hello comes only once in a session")
        if hello.protocol != PROTOCOL:
            raise SessionRefused(
                VERSION_MISMATCH, "the server speaks another version of the protocol", client=hello.protocol,
                server=PROTOCOL, remedy="use a client of this engine's version",
            )  # fmt: skip
        token = self._hub.rights.check(hello)
        destination = self._hub.destinations.get(hello.destination)
        if destination is None and hello.destination in self._hub.elsewhere:
            address = self._hub.elsewhere[hello.destination]
            raise SessionRefused(
                NOT_ACTIVE, "this server doesn't serve the destination now", elsewhere=address,
                destination=hello.destination, active=address, remedy="connect to the active server, or try again soon",
            )  # fmt: skip
        if destination is None:
            raise SessionRefused(
                UNKNOWN_DESTINATION, "no such destination", destination=repr(hello.destination[:100]),
                remedy=f"this server has {', '.join(sorted({*self._hub.destinations, *self._hub.elsewhere}))}",
            )  # fmt: skip
        self._destination, self._consumer = destination, hello.consumer
        log.info("%s: open%s", self, f", by the token {token}" if token else "")
        if hello.wait and (place := destination.stand_by(self, hello)):
            self.state = "waiting"
            self._send(Waiting(place))
            return
        self.proceed(destination, hello)

    def proceed(self, destination: Destination, hello: Hello) -> None:
        """Open the session, at once or when its turn has come."""
        try:
            comes_back = destination.comes_back(hello, self._hub.meta)
            lanes = destination.claim(self, hello, self._hub.acks, self._hub.meta)
        except SessionRefused as error:
            self.fail(error.code, str(error), error.elsewhere)
            return
        if comes_back:
            self._hub.meta.keep_presence(destination.name, {hello.consumer: None})
        self._lanes, self.state = deque(lanes), "open"
        sources = self._hub.catalogue.sources(destination.sources)
        self._known_sources = set(sources)
        partitions = [lane.store.partition for lane in self._lanes]
        about = (PROTOCOL, engine.__version__, destination.name, hello.consumer, partitions, sources)
        self._send(Welcome(*about, epoch=destination.epoch))

    def _on_ack(self, message: Ack) -> None:
        batch, answered_by = message.batch, ~message.batch  # one that had been acked before is answered by itself
        for lane in self._lanes:
            if batch in lane.cursor.outstanding:
                lane.cursor.ack(batch)
                self._keep(lane)
                answered_by = lane.store.partition
                break
        else:
            self._lanes[0].cursor.ack(batch)  # says whether it was ever handed out
        assert self._destination is not None
        self._hub.acks.then(lambda: self._on_durable(batch, answered_by), self._destination.name)

    @property
    def destination(self) -> str | None:
        """Its name, while the session is open."""
        return self._destination.name if self._destination else None

    def _on_durable(self, batch: int, answered_by: int) -> None:
        if self.state == "open" and self._destination is not None and self._destination.may_serve():
            if not self._acked:
                self._hub.loop.call_soon(self._confirm)
            self._acked.pop(answered_by, None)
            self._acked[answered_by] = Acked(batch, answered_by < 0)

    def _confirm(self) -> None:
        """Send what is durable, all in one go."""
        if self._acked:
            wait_for_us = self._stalled or bool(self._outbox)  # batches that pump has not sent
            self._outbox.add(self._take_acked())
            self._hub.work += 1
            self._flush()
            if wait_for_us:
                self.pump()

    def _take_acked(self) -> bytes:
        frames = b"".join(acked.pack() for acked in self._acked.values())
        self._acked.clear()
        return frames

    def _on_credit(self, message: Credit) -> None:
        limits = _Limits(message.rows, message.bytes)
        waits = self._credit > 0 and limits == self._credit_limits  # what lets the next batch go out will call pump
        self._credit += message.batches
        self._credit_limits = limits
        if not waits:
            self.pump()

    def _on_get(self, message: Get) -> None:
        get = _Get(message.rows, message.bytes, self._hub.loop.time() + message.wait_ms / 1000)
        self._gets.append(get)
        self.pump()
        if message.wait_ms and get in self._gets:
            self._hub.loop.call_at(get.deadline, self._expire_gets)

    def _on_rollback(self, message: Rollback) -> None:
        if message.batch is None:
            for lane in self._lanes:
                lane.cursor.rollback()
        else:
            holding = [lane for lane in self._lanes if message.batch in lane.cursor.outstanding]
            (holding or self._lanes)[0].cursor.rollback(message.batch)
        self._send(RolledBack(message.batch))
        self.pump()

    def _on_status(self) -> None:
        partitions = {
            lane.store.partition: {
                "held_bytes": lane.cursor.reader.held_bytes,
                "lag_bytes": lane.cursor.reader.lag_bytes,
                "outstanding": len(lane.cursor.outstanding),
            }
            for lane in sorted(self._lanes, key=lambda lane: lane.store.partition)
        }
        held, lag, outstanding = (sum(numbers) for numbers in zip(*map(dict.values, partitions.values()), strict=True))
        self._send(StatusAnswer(held, lag, outstanding, partitions))

    def _on_bye(self) -> None:
        self._hub.acks.flush()
        self._confirm()
        while self._gets:
            self._gets.popleft()
            self._send(Empty())
        self._leave()

    # -- what goes out ---------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Send batches as far as the consumer wants any, and takes them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            for _ in range(BATCHES_PER_TURN):
                if not self._may_send():
                    return
                found = self._next_batch()
                if found is None:
                    self._wait_for_more()
                    return
                self._send_batch(*found)
                if len(self._lanes) == 1 and found[0].cursor.drained:  # a look would find nothing
                    if self._may_send():
                        self._wait_for_more()
                    return
            self._hub.loop.call_soon(self.pump)
        except MetaError:
            raise
        except Exception as error:
            self._blame_ourselves(error)

    def _may_send(self) -> bool:
        if self.state != "open" or self._outbox or not (self._credit > 0 or self._gets):
            return False
        outstanding = 0
        for lane in self._lanes:
            outstanding += len(lane.cursor.outstanding)
        self._stalled = outstanding >= self._hub.settings.max_outstanding
        return not self._stalled and self._destination is not None and self._destination.may_serve()

    def _next_batch(self) -> tuple[Lane, StoreBatch] | None:
        assert self._destination is not None
        settings, now = self._destination.settings, self._hub.loop.time()
        limits = self._gets[0] if self._gets else self._credit_limits
        max_rows = min(settings.batch_rows, limits.rows or settings.batch_rows)
        max_bytes = min(settings.batch_bytes, limits.bytes or settings.batch_bytes)
        fill_s = settings.batch_wait_ms / 1000
        if isinstance(limits, _Get) and limits.deadline <= now:
            fill_s = 0.0
        for _ in range(len(self._lanes)):
            lane = self._lanes[0]
            self._lanes.rotate(-1)
            held_s = now - lane.held_since if lane.held_since is not None else 0.0
            before = lane.cursor.unsaved
            batch = lane.cursor.next_batch(max_rows, max_bytes, only_full=held_s < fill_s, patience_over=held_s >= PATIENCE_S)
            if before is None and lane.cursor.unsaved is not None:  # passed over what needs no consumer
                self._keep(lane)
            if batch is not None:
                lane.held_since = None
                return lane, batch
            if not lane.cursor.held_back:
                lane.held_since = None
            elif lane.held_since is None:
                lane.held_since = now
        return None

    def _wait_for_more(self) -> None:
        assert self._destination is not None
        filling = any(lane.held_since is not None for lane in self._lanes)
        fill_s = self._destination.settings.batch_wait_ms / 1000
        if filling and fill_s:
            self._timer = self._hub.loop.call_later(max(fill_s / FILL_STEPS, 0.001), self.pump)
        for lane in self._lanes:
            if lane.held_since is None or not fill_s:
                lane.store.waiting[self] = lane.cursor.seen_put
        self._hub.watch_stores()

    def _send_batch(self, lane: Lane, batch: StoreBatch) -> None:
        if self._gets:
            self._gets.popleft()
        else:
            self._credit -= 1
        assert self._destination is not None
        if not batch.sources <= self._known_sources:
            sources = self._hub.catalogue.sources(self._destination.sources)
            self._known_sources = batch.sources | set(sources)
            self._outbox.add(Sources(sources).pack())
        unseen = [(table, source) for table, source in batch.tables if table not in self._known_tables]
        if unseen:
            records = self._hub.catalogue.schema_records(unseen)
            self._outbox.add(Schemas().pack_prefix(sum(map(len, records))), *records)
            self._known_tables.update(table for table, _ in unseen)
        head = BatchHead(
            batch.number, lane.store.partition, batch.rows, batch.records, batch.bytes, batch.open,
            {source: [gtid] for source, gtid in batch.transactions.items()}, batch.torn,
        )  # fmt: skip
        self._outbox.add(head.pack_prefix(batch.bytes), *batch.pieces, from_store=True)
        batch.pieces = []
        self._hub.work += 1
        self._flush()

    def _expire_gets(self) -> None:
        if self.state != "open" or self._outbox or not self._gets:
            return
        now = self._hub.loop.time()
        if self._gets and self._gets[0].deadline <= now:
            self.pump()  # what was held back to fill up goes now
        while self._gets and self._gets[0].deadline <= now and not self._outbox:
            self._gets.popleft()
            self._send(Empty())

    def _send(self, message: Message) -> None:
        self._outbox.add(message.pack())
        self._flush()

    def _flush(self) -> None:
        try:
            done = self._outbox.flush(self._hub.loop.time())
        except OSError:
            self.close()
            return
        if done == self._writing:
            self._writing = not done
            if done:
                self._hub.loop.remove_writer(self._sock)
            else:
                self._hub.loop.add_writer(self._sock, self._on_writable)

    def _on_writable(self) -> None:
        self._hub.work += 1
        self._flush()
        if self._writing:
            return
        if self.state == "leaving":
            self._say_no_more()
        elif self.state != "closed":
            self.pump()
            self._work_through()

    # -- time, faults and the end ----------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Called about twice a second."""
        limits = self._hub.settings
        if self.state == "leaving":
            if now - self._since > LEAVE_S:
                self.close()
        elif now - self._received > limits.session_timeout_s and self._has_vanished():
            log.warning("%s: has vanished: its machine has answered nothing for %g s", self, limits.session_timeout_s)
            self.close()
        elif self.state == "greeting" and now - self._since > limits.hello_timeout_s:
            self.fail(PROTOCOL_FAULT, f"no hello within {limits.hello_timeout_s:g} s")
        elif self._frames.pending_bytes and self._reading and now - self._begun > limits.session_timeout_s:
            self.fail(PROTOCOL_FAULT, f"the rest of a frame did not come within {limits.session_timeout_s:g} s")
        elif limits.idle_timeout_s and now - self._received > limits.idle_timeout_s:
            self.fail(IDLE, f"the peer said nothing for {limits.idle_timeout_s:g} s, not even to heartbeats")
        elif self.state == "waiting":
            if not self._outbox and now - self._outbox.progress > HEARTBEAT_S:
                self._send(Heartbeat())
        elif self.state == "open":
            for lane in self._lanes:
                lane.cursor.reader.beat(int(now * 1e9))
            self.pump()
            if self.state == "open" and not self._outbox and now - self._outbox.progress > HEARTBEAT_S:
                self._send(Heartbeat())

    def fail(self, code: str, message: str, address: str | None = None, *, retryable: bool = False) -> None:
        """Tell the peer why, and where to go if that is known, or whether to come again; and end the session."""
        if self.state in _LISTENING:
            log.info("%s: %s: %s", self, code, message)
            self._leave(Error(code, message, fatal=True, address=address, retryable=retryable).pack())

    def close(self) -> None:
        """The connection is over. Closing twice is harmless."""
        if self.state == "closed":
            return
        self._release()
        if self.state != "leaving":
            self._hub.session_left(self)
        self.state = "closed"
        self._read(False)
        if self._writing:
            self._hub.loop.remove_writer(self._sock)
        self._outbox.clear()
        self._acked.clear()
        self._sock.close()
        self._hub.session_closed(self)

    def _leave(self, *last_frames: bytes) -> None:
        """Give the claim up, send what is due, and read on (unseen): closing at once might destroy what is on its way."""
        self._release()
        if self.state == "closed":
            return
        self.state = "leaving"
        self._hub.session_left(self)
        self._since = self._hub.loop.time()
        for frame in (self._take_acked(), *last_frames):
            if frame:
                self._outbox.add(frame)
        self._read(True)
        self._flush()
        if self.state == "leaving" and not self._writing:
            self._say_no_more()

    def _say_no_more(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._destination is not None:
            destination, self._destination = self._destination, None
            self._hub.acks.flush()
            self._outbox.let_go()
            destination.release(self, list(self._lanes))
            self._hub.loop.call_soon(destination.call_next)  # not before whoever ends us has what it wants
            self._lanes.clear()
            self._gets.clear()
            self._credit = 0

    def _has_vanished(self) -> bool:
        try:
            return has_vanished(self._sock, self._hub.settings.session_timeout_s)
        except OSError:
            return True

    def _keep(self, lane: Lane) -> None:
        assert self._destination is not None
        self._hub.acks.keep(lane.cursor, self._destination.name, self._consumer, lane.store.partition)

    def _blame_ourselves(self, error: Exception) -> None:
        if isinstance(error, PeerError) or not isinstance(error, EngineError):
            log.exception("%s: a bug", self)
        else:
            log.error("%s: %s", self, error)
        self.fail(INTERNAL, f"the server failed: {error}", retryable=isinstance(error, EngineError) and error.retryable)

    def __str__(self) -> str:
        destination = self._destination.name if self._destination else "-"
        return f"session {self.peer} {destination}/{self._consumer or '-'}"
