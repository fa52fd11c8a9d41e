"""A connection to a live server: login and TLS, registration, the dump command; then a socket that carries packets.

PyMySQL shakes hands and runs the statements before the dump. It reads through a buffered file, so from the registration
on this side alone writes and reads the socket, byte for byte: no byte of the stream can stay behind in PyMySQL's
buffer, which is empty whenever a reply has been read, since a server only speaks when it is asked.

    connect() ─▶ resolve_start() ─▶ dump() ─▶ recv_into() … recv_into() ─▶ close()
"""

from __future__ import annotations

import os
import random
import select
import socket
import ssl
import struct
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

import pymysql
from pymysql.cursors import SSCursor

from engine.beats import beat, waiting
from engine.errors import ConnectionLost, PositionError, ServerSetupError
from engine.position import Start
from engine.source import start_position
from engine.source.dump_command import (
    ANNOTATIONS,
    MAX_OFFSET_32,
    NON_BLOCK,
    DumpPosition,
    dump_gtid_packet,
    dump_packet,
    register_packet,
)
from engine.source.server_errors import (
    ACCESS_DENIED,
    SYNTAX_ERROR,
    TLS_NOT_OFFERED,
    dump_error,
    login_error,
    missing_grant,
    number_and_text,
    query_error,
)
from engine.source.server_facts import ServerFacts, read_facts
from engine.source.server_rules import setting_findings

if TYPE_CHECKING:
    from engine.config import SourceConfig

CONNECT_TIMEOUT_S = 10
OPEN_S = 30.0  # what names, connecting and a handshake in several steps may take beside read_timeout_s
SMALL_BYTES = 4096  # of one read: with so little, the socket most likely has nothing more
_ROWS_A_BEAT = 1000
WRITE_TIMEOUT_S = 31_536_000  # net_write_timeout's largest: how long the server waits for a reader that holds back
MAX_HEARTBEAT_S = 4_294_967  # the servers' own limit
KEEPALIVE = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}  # seconds, seconds, times

# What the SHOW statements about binlogs need.
_GRANT_FOR = {"mysql": "REPLICATION CLIENT", "mariadb": "BINLOG MONITOR"}


class _Tls(ssl.SSLContext):
    """Keeps the socket that PyMySQL wraps with it, for us to take over."""

    wrapped: ssl.SSLSocket | None = None

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        self.wrapped = super().wrap_socket(*args, **kwargs)
        return self.wrapped


class Connection:
    """One connection of a source, or of what looks at its server. Not for several threads.

    Until `dump` it takes statements; from then on the socket, which doesn't block, carries the stream of packets.
    """

    def __init__(self, config: SourceConfig, name: str) -> None:
        self.config = config
        self.name = name
        self.tls = False
        self.facts: ServerFacts | None = None
        self._account = config.account()  # who we are; the password is looked up at each login
        self._unix_socket = parse_qs(urlsplit(config.url or "").query).get("socket", [""])[0]
        self._session: pymysql.connections.Connection[Any] | None = None
        self._socket: socket.socket | None = None
        self._dumping = False

    def connect(self) -> ServerFacts:
        """Log in and look whether the server's binlog can be read.

        Raises:
            ConnectionLost: nobody there, or no room now.
            ServerSetupError: login refused, or a setting that the engine can't do with; says what mends it.
        """
        facts = self.login()
        for finding in setting_findings(facts, statements=self.config.statements):
            if finding.level == "error":
                self.close()
                raise ServerSetupError(
                    f"the server's {finding.what} is {finding.found}",
                    source=self.name,
                    server=self.where,
                    remedy=finding.remedy,
                )
        return facts

    def login(self) -> ServerFacts:
        """Log in and read the server's settings, whatever they are.

        Raises:
            ConnectionLost, ServerSetupError: as for connect, but for the settings.
        """
        self.close()
        self._account = self.config.account()  # an operator may have changed the password file meanwhile
        try:
            # Over a unix socket too: caching_sha2_password sends its password there as on a secure line, or not at all.
            self._open(tls=self.config.tls != "disabled")
        except Exception as error:
            if not (self.config.tls == "preferred" and number_and_text(error)[0] == TLS_NOT_OFFERED):
                raise self._login_error(error) from None
            try:
                self._open(tls=False)
            except Exception as plain_error:
                raise self._login_error(plain_error) from None
        self.facts = read_facts(self.query)
        return self.facts

    @property
    def where(self) -> str:
        """`host:port`, or the unix socket's path."""
        return self._unix_socket or f"{self._account['host']}:{self._account['port']}"

    def query(self, sql: str, *arguments: object) -> tuple[tuple[Any, ...], ...]:
        """All rows of a statement.

        Raises:
            ConnectionLost: the connection broke.
            ServerSetupError: the server refuses; with the GRANT where a privilege is missing.
        """
        try:
            return self._run(sql, *arguments)
        except Exception as error:
            raise self._query_error(error) from None

    def rows(self, sql: str, *arguments: object) -> Iterator[tuple[Any, ...]]:
        """The rows of a statement as they come, so that very many never lie in memory: to be read to the end before anything
        else is asked.

        Raises:
            ConnectionLost, ServerSetupError: as for query.
        """
        assert self._session is not None, "connect first"
        assert not self._dumping, "the connection carries a dump"
        try:
            with self._session.cursor(SSCursor) as cursor:
                with waiting(self.config.read_timeout_s):
                    cursor.execute(sql, arguments or None)
                for number, row in enumerate(cursor):
                    if number % _ROWS_A_BEAT == 0:
                        beat()
                    yield row
        except Exception as error:
            raise self._query_error(error) from None

    def query_either(self, *statements: str) -> tuple[tuple[Any, ...], ...]:
        """All rows of the first statement that this server knows: versions name the same thing differently."""
        for sql in statements[:-1]:
            try:
                return self._run(sql)
            except Exception as error:
                if number_and_text(error)[0] != SYNTAX_ERROR:
                    raise self._query_error(error) from None
        return self.query(statements[-1])

    def resolve_start(self, start: Start) -> DumpPosition:
        """Where a dump from `start` begins; what isn't there is refused here and not in the stream.

        Raises:
            PositionError: no such place.
            ConnectionLost, ServerSetupError: as for query.
        """
        return start_position.resolve(self, start)

    def dump(self, position: DumpPosition, *, to_end: bool = False, annotations: bool = False) -> None:
        """Register as a replica and ask for the stream; afterwards only fileno, recv_into and close may be used.

        to_end: end the stream (0xFE packet) where the binlog ends now, instead of waiting for more.
        annotations: with MariaDB's ANNOTATE_ROWS events, so that the stream has all that the file has.

        Raises:
            PositionError: an offset that the server's dump command can't name.
            ConnectionLost, ServerSetupError: as for query.
        """
        facts = self.known_facts
        flags = (NON_BLOCK if to_end else 0) | (ANNOTATIONS if annotations and facts.is_mariadb else 0)
        command = self._dump_command(facts, position, _server_id(self), flags)
        self._set_up(facts, position)
        try:
            self._take_over(register_packet(_server_id(self), f"binlog-engine {self.name} {socket.gethostname()}"))
            self._live_socket.sendall(command)
        except OSError as error:
            raise self._lost(error) from None
        self._live_socket.setblocking(False)
        self._dumping = True

    def choose_server_id(self) -> bool:
        """Another replica has our server id or uuid: the next dump has others. False: the config says which id it must be."""
        if self.config.server_id is not None:
            return False
        key = self.name, os.getpid()
        server_ids_by_source.pop(key, None)
        replica_uuids_by_source.pop(key, None)
        return True

    def beside(self) -> Connection:
        """A second connection, logged in, whose dumps disturb none of this source's: it has a server id of its own."""
        second = Connection(self.config.model_copy(update={"server_id": None}), f"{self.name}.beside")
        second.login()
        return second

    @property
    def known_facts(self) -> ServerFacts:
        """The facts that login read."""
        assert self.facts is not None, "connect first"
        return self.facts

    def fileno(self) -> int:
        """The socket's file descriptor, for poll: read until `recv_into` says 0 first, TLS may hold bytes back."""
        return self._live_socket.fileno()

    def set_receive_timeout(self, timeout_ns: int) -> None:
        """How long the socket's system calls wait for bytes, where they wait; rounded up to µs, and to the kernel's ticks."""
        seconds, us = divmod(max(-(-timeout_ns // 1000), 1), 1_000_000)  # 0 would be for ever
        self._live_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", seconds, us))

    def recv_into(self, buffer: memoryview) -> int:
        """Read what is there, without waiting; returns bytes, 0 where there is nothing now.

        Raises:
            ConnectionLost: the server closed the connection, or it broke.
        """
        got = 0
        try:
            if not self.tls:
                got = self._live_socket.recv_into(buffer)
                if not got:
                    raise self._lost("the server closed it")
                return got
            while got < len(buffer):  # TLS gives one record of 16 KiB at a time
                read = self._live_socket.recv_into(buffer[got:])
                if not read:
                    if got:
                        break  # the next call says it
                    raise self._lost("the server closed it")
                got += read
                if read < SMALL_BYTES:
                    break  # to be told so by TLS takes longer than decrypting it
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            if not got:
                raise self._lost(error) from None
        return got

    def wait_readable(self, timeout_s: float) -> bool:
        """Sleep until the socket has bytes, for simple readers; False when the time is up."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def close(self) -> None:
        """Close it, in a dump without a farewell; the server notices. Harmless when it is closed already."""
        session, self._session = self._session, None
        live, self._socket = self._socket, None
        dumping, self._dumping = self._dumping, False
        if session is not None and session.open and not dumping:
            session.close()  # says COM_QUIT
        if live is not None:
            live.close()
        if session is not None and session.open and dumping:
            session.close()  # nothing goes out on the closed socket; PyMySQL lets go of its file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def _live_socket(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionLost("the connection is closed", source=self.name, server=self.where)
        return self._socket

    def _open(self, *, tls: bool) -> None:
        """Connect, shake hands and log in."""
        with waiting(OPEN_S + self.config.read_timeout_s):
            self._open_in_time(tls=tls)

    def _open_in_time(self, *, tls: bool) -> None:
        context = self._tls_context() if tls else None
        plain = self._connected_socket()
        try:
            session = pymysql.connect(
                host=self._account["host"],
                user=self._account["user"],
                password=self._account["password"].encode(),  # PyMySQL takes a str for latin-1
                charset="utf8mb4",
                autocommit=True,
                ssl=context,
                ssl_disabled=context is None,
                read_timeout=self.config.read_timeout_s,
                write_timeout=self.config.read_timeout_s,
                program_name=f"binlog-engine {self.name}",
                defer_connect=True,
            )
            session.connect(plain)
        except BaseException:
            plain.close()
            if context is not None and context.wrapped is not None:
                context.wrapped.close()
            raise
        self._session = session
        self._socket = plain if context is None or context.wrapped is None else context.wrapped
        self.tls = self._socket is not plain

    def _tls_context(self) -> _Tls:
        context = _Tls(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # servers make their own certificates, without a host's name
        if self.config.tls_ca is None:
            context.verify_mode = ssl.CERT_NONE
            return context
        try:
            context.load_verify_locations(cafile=self.config.tls_ca)
        except (OSError, ssl.SSLError) as error:
            raise ServerSetupError(
                "tls_ca can't be read", source=self.name, file=self.config.tls_ca, error=error,
                remedy="name a PEM file with the certificate authority that signed the server's certificate",
            ) from None  # fmt: skip
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the authority that MySQL makes for itself isn't strict
        return context

    def _connected_socket(self) -> socket.socket:
        timeout_s = min(CONNECT_TIMEOUT_S, self.config.read_timeout_s, self.config.failover_s)
        if self._unix_socket:
            local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            local.settimeout(timeout_s)
            local.connect(self._unix_socket)
            return local
        tcp = socket.create_connection((self._account["host"], self._account["port"]), timeout_s)
        # Otherwise the kernel grows it while we fall behind (tcp_rmem): fixed ones of 256 KiB to 4 MiB drained neither
        # faster nor slower (1.2-1.4 GB/s over loopback), and a fixed one never grows.
        if self.config.receive_buffer is not None:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.config.receive_buffer)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            tcp.setsockopt(socket.IPPROTO_TCP, option, value)
        return tcp

    def _run(self, sql: str, *arguments: object) -> tuple[tuple[Any, ...], ...]:
        assert self._session is not None, "connect first"
        assert not self._dumping, "the connection carries a dump"
        with waiting(self.config.read_timeout_s), self._session.cursor() as cursor:
            cursor.execute(sql, arguments or None)
            return tuple(cursor.fetchall())

    def _dump_command(self, facts: ServerFacts, position: DumpPosition, server_id: int, flags: int) -> bytes:
        if position.gtid is not None:
            if facts.is_mariadb:
                return dump_packet(server_id, "", 4, flags)
            return dump_gtid_packet(server_id, position.gtid, flags)
        if position.offset <= MAX_OFFSET_32:
            return dump_packet(server_id, position.file, position.offset, flags)
        if facts.gtid_mode == "ON" and not facts.is_mariadb:
            return dump_gtid_packet(server_id, None, flags, position.file, position.offset)
        raise PositionError(
            "an offset above 4 GiB can't be asked for on this server",
            source=self.name,
            file=position.file,
            offset=position.offset,
            remedy="start from gtid:... , or from the next binlog file; MySQL takes such offsets with gtid_mode=ON",
        )

    def _set_up(self, facts: ServerFacts, position: DumpPosition) -> None:
        """The session variables that dump threads look at; MySQL 8.0.26 and later know source_ names too."""
        beat_ns = int(min(self.config.heartbeat_s, MAX_HEARTBEAT_S) * 1e9)
        settings = [f"net_write_timeout={WRITE_TIMEOUT_S}"]
        for word in ("master", "source"):
            settings += [f"@{word}_binlog_checksum=@@GLOBAL.binlog_checksum", f"@{word}_heartbeat_period={beat_ns}"]
        if facts.is_mariadb:
            settings.append("@mariadb_slave_capability=4")  # we know GTID events: MariaDB must not disguise them
            if position.gtid is not None:
                settings += ["@slave_connect_state=%s", "@slave_gtid_strict_mode=%s", "@slave_gtid_ignore_duplicates=0"]
                self.query("SET " + ", ".join(settings), position.gtid, int(facts.gtid_strict))
                return
        else:
            settings += [f"@{word}_uuid='{_replica_uuid(self.name, os.getpid())}'" for word in ("slave", "replica")]
        self.query("SET " + ", ".join(settings))

    def _take_over(self, register: bytes) -> None:
        """Send COM_REGISTER_SLAVE and read its reply off the socket itself."""
        self._live_socket.settimeout(self.config.read_timeout_s)
        self._live_socket.sendall(register)
        header = self._read_exactly(4)
        reply = self._read_exactly(int.from_bytes(header[:3], "little"))
        if reply[:1] == b"\xff":
            (code,) = struct.unpack_from("<H", reply, 1)
            message = reply[3:].decode(errors="replace")
            if message.startswith("#"):
                message = message[6:]  # SQL state
            if code in ACCESS_DENIED:
                raise missing_grant("REPLICATION SLAVE", message, self.known_facts.account, source=self.name, server=self.where)
            raise dump_error(code, message, source=self.name, server=self.where)

    def _read_exactly(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            piece = self._live_socket.recv(size - len(got))
            if not piece:
                raise self._lost("the server closed it")
            got += piece
        return got

    def _lost(self, why: object) -> ConnectionLost:
        return ConnectionLost(f"the connection was lost: {why}", source=self.name, server=self.where)

    def _login_error(self, error: Exception) -> Exception:
        if isinstance(error, ServerSetupError):
            return error
        account = self._account
        return login_error(error, host=account["host"], port=account["port"], user=account["user"], tls_ca=self.config.tls_ca)

    def _query_error(self, error: Exception) -> Exception:
        code, message = number_and_text(error)
        if code in ACCESS_DENIED and self.facts is not None:
            grant = _GRANT_FOR[self.facts.flavour]
            return missing_grant(grant, message, self.facts.account, source=self.name, server=self.where)
        return query_error(error, source=self.name, server=self.where)


# Who we are, by source and process: the same for a source's next connection, so that its dump ends the one left behind.
server_ids_by_source: dict[tuple[str, int], int] = {}
replica_uuids_by_source: dict[tuple[str, int], str] = {}  # MySQL looks at these


def _replica_uuid(name: str, pid: int) -> str:
    return replica_uuids_by_source.setdefault((name, pid), str(uuid.uuid4()))


def _server_id(connection: Connection) -> int:
    """The configured server_id, or a random one that no replica has; then kept for the source's next connections."""
    if connection.config.server_id is not None:
        if connection.config.server_id == connection.known_facts.server_id:
            raise ServerSetupError(
                "server_id is the server's own",
                source=connection.name,
                server_id=connection.config.server_id,
                remedy="remove server_id from this source's config, or give it one that nobody has",
            )
        return connection.config.server_id
    key = connection.name, os.getpid()
    if key not in server_ids_by_source:
        taken = {connection.known_facts.server_id, *replica_ids(connection)}
        numbers = random.SystemRandom()
        while (chosen := numbers.randrange(1 << 31, 1 << 32)) in taken:
            pass
        server_ids_by_source[key] = chosen
    return server_ids_by_source[key]


def replica_ids(connection: Connection) -> list[int]:
    """Server ids of the registered replicas; empty where this account may not list them."""
    try:
        return [int(row[0]) for row in connection.query_either("SHOW REPLICAS", "SHOW SLAVE HOSTS")]
    except ServerSetupError:
        return []
