"""One consumer's connection: its messages in, its batches and answers out. Callbacks of the event loop, never blocking.

greeting ──hello──▶ [waiting ──▶] open ──bye, fault, takeover──▶ leaving ──all sent, or time is up──▶ closed
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import engine
from engine.errors import EngineError, PeerError, ProtocolError, Refused
from engine.meta import Meta
from engine.server._flow import LISTENING, Flow, Watch
from engine.server._loop import Loop
from engine.server.acks import AckKeeper
from engine.server.destinations import Destination, SessionRefused
from engine.server.late_acks import LateAckKeeper
from engine.server.listener import has_vanished
from engine.server.rights import Rights
from engine.server.schemas import Catalogue
from engine.server.tls import TlsSocket
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
    Bye,
    ClientMessage,
    Credit,
    Empty,
    Error,
    Get,
    Heartbeat,
    Hello,
    Rollback,
    RolledBack,
    Status,
    StatusAnswer,
    Waiting,
    Welcome,
)

if TYPE_CHECKING:
    from engine.config import ServerConfig

log = logging.getLogger("engine.server")

HEARTBEAT_S = 5.0  # of silence
LEAVE_S = 5.0  # for the peer to take the last answers


class Hub(Protocol):
    """What a session needs of the server."""

    loop: Loop
    watch: Watch
    meta: Meta
    acks: AckKeeper | LateAckKeeper
    catalogue: Catalogue
    destinations: dict[str, Destination]  # served here
    elsewhere: dict[str, str | None]  # the config's others, and the address of the server that has them, if it is known
    settings: ServerConfig
    rights: Rights
    work: int

    def session_left(self, session: Session) -> None:
        """It takes part no longer, and is only being ended. Called once for each."""

    def session_closed(self, session: Session) -> None: ...


@dataclass(slots=True)
class _Get:
    rows: int | None
    bytes: int | None
    deadline: float


class Session(Flow):
    """Owns the socket and, once open, the claim on its consumer's partitions.

    address: what the sessions of one peer are counted by; None: they aren't.
    """

    def __init__(self, hub: Hub, sock: socket.socket | TlsSocket, peer: str, address: str | None = None) -> None:
        super().__init__(hub, sock)
        self.peer = peer
        self.address = address
        if isinstance(sock, TlsSocket):
            sock.on_more = self._on_readable
        self._read(True)

    # -- what comes in ---------------------------------------------------------------------------------------------

    def _refuse(self, error: Refused) -> None:
        """What a message asked for can't be; of those after it some may have come already."""
        if isinstance(error, SessionRefused):
            self.fail(error.code, str(error), error.elsewhere)
            return
        self._send(Error(UNKNOWN_BATCH, str(error), batch=int(str(error.facts["batch"]))))
        self._hub.loop.call_soon(self._work_through)

    def _handle(self, message: ClientMessage, payload: bytes) -> None:
        if isinstance(message, Hello):
            self._on_hello(message)
        elif self.state == "greeting":
            raise ProtocolError("the first message must be hello", type=message.type)
        elif self.state == "waiting" and not isinstance(message, Bye | Heartbeat):
            raise ProtocolError("nothing but bye may come before welcome", type=message.type)
        elif isinstance(message, Ack):
            self._on_ack(message.batch)
        elif isinstance(message, Credit):
            self._on_credit(message, payload)
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

    @property
    def destination(self) -> str | None:
        """Its name, while the session is open."""
        return self._destination.name if self._destination else None

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

    def _expire_gets(self) -> None:
        if self.state != "open" or self._outbox or not self._gets:
            return
        now = self._hub.loop.time()
        if self._gets and self._gets[0].deadline <= now:
            self.pump()  # what was held back to fill up goes now
        while self._gets and self._gets[0].deadline <= now and not self._outbox:
            self._gets.popleft()
            self._send(Empty())

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
        elif self._inbox.pending_bytes and self._reading and now - self._begun > limits.session_timeout_s:
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
        if self.state in LISTENING:
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
        self._inbox.close()
        self._outbox.close()
        self._take_acked()  # nobody is told any more
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
                self._outbox.add([frame])
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

    def _blame_ourselves(self, error: Exception) -> None:
        if isinstance(error, PeerError) or not isinstance(error, EngineError):
            log.exception("%s: a bug", self)
        else:
            log.error("%s: %s", self, error)
        self.fail(INTERNAL, f"the server failed: {error}", retryable=isinstance(error, EngineError) and error.retryable)

    def __str__(self) -> str:
        destination = self._destination.name if self._destination else "-"
        return f"session {self.peer} {destination}/{self._consumer or '-'}"
