"""The server stage: one event loop for all consumers.

stores ──bell──▶ loop ◀──▶ sessions ◀──sockets──▶ consumers
                  │
          acks ──▶ meta, then the rings
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from engine.errors import EngineError
from engine.ha.grant import Grant
from engine.instance import Instance
from engine.meta import Meta
from engine.meta.open import open_meta
from engine.server._flow import Watch
from engine.server._loop import Loop
from engine.server.acks import AckKeeper
from engine.server.bell import Bell
from engine.server.destinations import Destination
from engine.server.late_acks import LateAckKeeper
from engine.server.listener import close_listener, listen, make_room_for_sessions, prepare
from engine.server.rights import Rights
from engine.server.schemas import Catalogue
from engine.server.session import Session
from engine.server.tls import TlsSocket, server_context
from engine.settings import parse_address
from engine.stage import IDLE_NS, LONG_IDLE_NS
from engine.wire import MOVED, SHUTTING_DOWN, TOO_MANY_SESSIONS

if TYPE_CHECKING:
    from engine.config import Config

log = logging.getLogger("engine.server")

TICK_S = 0.5
LET_GO_S = 1.0  # for the last acks to be where the others of a cluster find them
ACCEPTS_PER_TURN = 16  # then those who are in already have theirs
ACCEPT_PAUSE_S = 0.5  # after accept failed for want of file descriptors
MOST_REFUSED = 100  # sessions that are being told that there are too many, or are otherwise being ended
FAREWELL_S = 0.3  # at the end, for the peers to take their last answers


class ServerStage:
    """Serves all destinations of a config until it is closed; `do_work` and `idle` turn the loop."""

    role_name = "server"

    loop: Loop
    watch: Watch
    meta: Meta
    acks: AckKeeper | LateAckKeeper
    catalogue: Catalogue
    rights: Rights

    def __init__(self, config: Config, instance: Instance, active: Collection[str] | None = None) -> None:
        self.config = config
        self._active = config.destinations if active is None else active
        self.instance = instance
        self.settings = config.server
        self.idle_ns = LONG_IDLE_NS if config.cluster is None else IDLE_NS  # in a cluster it is told now and then what to serve
        self.destinations: dict[str, Destination] = {}
        self.elsewhere: dict[str, str | None] = {name: None for name in config.destinations if name not in self._active}
        self.sessions: set[Session] = set()
        self.listeners: dict[socket.socket, ssl.SSLContext | None] = {}
        self._present: Counter[str | None] = Counter()  # sessions by address of their peer; those being ended aren't counted
        self._most_sessions = config.server.max_sessions
        self.work = 0
        self._failure: BaseException | None = None
        self._open = False

    @property
    def trouble(self) -> EngineError | None:
        """Why acks are not confirmed for the moment."""
        return self.acks.trouble if isinstance(self.acks, AckKeeper) else None

    @property
    def addresses(self) -> list[Any]:
        """Where it listens: (host, port, ...) or a path; with the port that the system has chosen for port 0."""
        return [sock.getsockname() for sock in self.listeners]

    def on_start(self) -> None:
        self.loop = Loop(self._on_error)
        self._open = True
        self._bell = Bell(self.instance.bell_file)
        self.watch = Watch(self.loop, self._bell.fd)
        self.meta = open_meta(self.config.server.meta, self.instance, self.config.cluster)
        self.acks = self._ack_keeper()
        self.catalogue = Catalogue(self.meta)
        for name in self._active:
            self._attach(name)
        self._listen()
        for listener in self.listeners:
            self.loop.add_reader(listener, self._on_connection, listener)
        self.loop.call_later(TICK_S, self._tick)
        log.info("listening on %s", ", ".join(self.config.server.listen))

    def _ack_keeper(self) -> AckKeeper | LateAckKeeper:
        if self.config.server.meta == "zookeeper" and self.config.cluster is not None:
            return LateAckKeeper(self.loop, self.meta, self.config.cluster.flush_ms / 1000)
        return AckKeeper(self.loop, self.meta)

    def _listen(self) -> None:
        settings = self.settings
        self.rights = Rights(self.config.tokens)
        context: ssl.SSLContext | None = None
        if settings.tls_cert and settings.tls_key:
            context = server_context(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
        self._most_sessions = make_room_for_sessions(settings.max_sessions)
        if self._most_sessions < settings.max_sessions:
            log.warning(
                "the limit of file descriptors (ulimit -n) leaves room for %d sessions, not for max_sessions = %d",
                self._most_sessions, settings.max_sessions,
            )  # fmt: skip
        for address in settings.listen:
            secure = parse_address(address)[0] == "tls"
            self.listeners.update((sock, context if secure else None) for sock in listen(address))

    # -- destinations ----------------------------------------------------------------------------------------------

    def activate(self, name: str) -> None:
        """Serve this destination of the config from now on; its stores have to be there.

        Raises:
            RingError: they are not.
        """
        if name not in self.destinations:
            self._attach(name)
            log.info("serving %s", name)

    def deactivate(self, name: str, address: str | None) -> None:
        """Serve it no longer: its sessions are told where it is now (None: not known), and so is who comes later."""
        self.elsewhere[name] = address
        if name not in self.destinations:
            return
        self.acks.flush()
        for session in [session for session in self.sessions if session.destination == name]:
            session.fail(MOVED, "another server serves the destination now, or will soon", address)
        destination = self.destinations.pop(name)
        self.watch.remove(destination.stores)
        self.acks.let_go(name, LET_GO_S)
        destination.let_go()
        destination.close()
        log.info("not serving %s any more; it is at %s", name, address or "no server that is known")

    def _attach(self, name: str) -> None:
        grant = Grant.attach(self.instance.grant_file(name)) if self.config.cluster is not None else None
        destination = Destination(name, self.config.destinations[name], self.config.sources_of(name), self.instance, grant)
        self.destinations[name] = destination
        self.elsewhere.pop(name, None)
        self.watch.add(destination.stores)
        for store in destination.stores:
            self._bell.hang(store.ring)
        for consumer in sorted({place.consumer for place in self.acks.acked(name)}):
            destination.add_consumer(consumer)  # one that the config doesn't list holds its place all the same

    def do_work(self, now_ns: int) -> int:
        """One turn of the loop, without waiting."""
        self.work = 0
        self.watch.serve()
        self.loop.call_soon(self.loop.stop)
        self._turn()
        self.acks.flush()  # a turn leaves nothing for later
        return self.work

    def idle(self, timeout_ns: int) -> None:
        """Everything is served from in here, too, so it comes back only when the time is up."""
        timer = self.loop.call_later(timeout_ns / 1e9, self.loop.stop)
        self._turn()
        timer.cancel()

    def wake(self) -> None:
        """Have `idle` come back; for signal handlers."""
        if self._open:
            self.loop.call_soon_threadsafe(self.loop.stop)

    def on_close(self) -> None:
        if not self._open:
            return
        self._open = False
        try:
            if self._failure is None and hasattr(self, "acks"):
                self.acks.close()
                self._say_farewell()
        finally:
            self._release_everything()

    def _turn(self) -> None:
        if self._failure is None:
            self.loop.run_forever()
        if self._failure is not None:
            raise self._failure

    def _on_error(self, error: Exception) -> None:
        """What no session could keep to itself ends the stage: meta can't be written, or a bug."""
        if self._failure is None:
            self._failure = error
        self.loop.stop()

    # -- connections -----------------------------------------------------------------------------------------------

    def _on_connection(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, name = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("no connection can be accepted for the moment: %s", error)
                self.loop.remove_reader(listener)
                self.loop.call_later(ACCEPT_PAUSE_S, self._accept_again, listener)
                return
            self.work += 1
            if len(self.sessions) >= self._most_sessions + MOST_REFUSED:
                sock.close()  # too many even to be told so
                continue
            try:
                peer = prepare(sock, self.settings)
            except OSError:  # gone already
                sock.close()
                continue
            context = self.listeners[listener]
            address = name[0] if sock.family != socket.AF_UNIX else None
            session = Session(self, TlsSocket(sock, context, self.loop) if context else sock, peer, address)
            self.sessions.add(session)
            self._present[address] += 1
            if self._present.total() > self._most_sessions:
                session.fail(TOO_MANY_SESSIONS, f"this server takes {self._most_sessions} sessions at most")
            elif address is not None and self._present[address] > self.settings.max_sessions_per_address:
                most = self.settings.max_sessions_per_address
                session.fail(TOO_MANY_SESSIONS, f"this server takes {most} sessions of one address at most")

    def _accept_again(self, listener: socket.socket) -> None:
        if listener in self.listeners:
            self.loop.add_reader(listener, self._on_connection, listener)

    def session_left(self, session: Session) -> None:
        self._present[session.address] -= 1
        if not self._present[session.address]:
            del self._present[session.address]

    def session_closed(self, session: Session) -> None:
        self.sessions.discard(session)

    def _tick(self) -> None:
        now = self.loop.time()
        for session in list(self.sessions):
            session.tick(now)
        self.loop.call_later(TICK_S, self._tick)

    # -- the end ---------------------------------------------------------------------------------------------------

    def _say_farewell(self) -> None:
        for session in list(self.sessions):
            session.fail(SHUTTING_DOWN, "the engine stops; what is not acked is delivered again")
        deadline = self.loop.time() + FAREWELL_S
        while self.sessions and self.loop.time() < deadline:
            self.idle(5_000_000)

    def _release_everything(self) -> None:
        for session in list(self.sessions):
            session.close()
        if hasattr(self, "_bell"):
            self.loop.remove_reader(self._bell.fd)
            self._bell.close()
        for listener in self.listeners:
            self.loop.remove_reader(listener)
            close_listener(listener)
        self.listeners.clear()
        for destination in self.destinations.values():
            destination.close()
        if hasattr(self, "meta"):
            self.meta.close()
        self.loop.close()


def build(config: Config, instance: Instance, active: Collection[str] | None = None) -> ServerStage:
    """The server of this engine; it listens once it is started. active: the destinations that run now; None: all.

    Raises (on start):
        ConfigError: an address can't be listened on.
        RingError, MetaError: what the supervisor makes is not there.
    """
    return ServerStage(config, instance, active)
