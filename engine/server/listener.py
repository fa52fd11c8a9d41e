"""The sockets that the server listens on."""

from __future__ import annotations

import errno
import os
import resource
import socket
import stat
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from engine.errors import ConfigError
from engine.server.tls import TlsSocket
from engine.settings import parse_address

if TYPE_CHECKING:
    from engine.config import ServerConfig

BACKLOG = 256
KEEPALIVE_PROBES = 4
FDS_BESIDE_SESSIONS = 200  # rings, the bell, meta, the listeners, and sessions that are being ended

_TCP_INFO = struct.Struct("=2xBB52xI")  # of struct tcp_info: tcpi_retransmits, tcpi_probes, tcpi_last_ack_recv


def listen(address: str) -> list[socket.socket]:
    """Listening, non-blocking sockets for an address of the config; a host name may stand for several.

    Raises:
        ConfigError: in use, not ours to take, or no such host; names the address.
    """
    kind, host, port = parse_address(address)
    return [_listen_unix(address, host)] if kind == "unix" else _listen_tcp(address, host, port)


def close_listener(sock: socket.socket) -> None:
    """Close it, and remove its file if it has one."""
    path = sock.getsockname() if sock.family == socket.AF_UNIX else None
    sock.close()
    if path:
        with suppress(FileNotFoundError):
            os.unlink(path)


def prepare(sock: socket.socket, settings: ServerConfig) -> str:
    """Set up an accepted connection; returns the peer's name for messages."""
    sock.setblocking(False)
    if settings.send_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.send_buffer)
    if sock.family == socket.AF_UNIX:
        return "unix"
    half = settings.session_timeout_s / 2  # of silence; in the other half it is asked
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, int(half)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, int(half / KEEPALIVE_PROBES)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
    host, port = sock.getpeername()[:2]
    return f"{host}:{port}"


def has_vanished(sock: socket.socket | TlsSocket, silent_s: float) -> bool:
    """Whether the peer's machine has stopped to answer: not for so long, although it was asked twice or more since then.

    The kernel repeats what is not acknowledged, and asks a peer that takes nothing whether it does now. A live machine
    answers both, however long the consumer works on a batch. (TCP_USER_TIMEOUT would end slow consumers, too, and
    keepalive does not ask while something is under way.)
    """
    if sock.family == socket.AF_UNIX:
        return False
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    retransmits, probes, ms_since_ack = _TCP_INFO.unpack(info)
    return max(retransmits, probes) >= 2 and ms_since_ack >= silent_s * 1000


def make_room_for_sessions(sessions: int) -> int:
    """Raise this process's limit of file descriptors as far as needed and allowed; returns for how many sessions it suffices."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sessions + FDS_BESIDE_SESSIONS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return sessions if soft == resource.RLIM_INFINITY else max(1, min(sessions, soft - FDS_BESIDE_SESSIONS))


def _listen_tcp(address: str, host: str, port: int) -> list[socket.socket]:
    socks: list[socket.socket] = []
    try:
        for family, _, _, _, name in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            socks.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(name)
            sock.listen(BACKLOG)
    except OSError as error:
        for sock in socks:
            sock.close()
        raise _refused(address, error) from None
    return socks


def _listen_unix(address: str, path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_stale(path):
                raise
            os.unlink(path)
            sock.bind(path)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _refused(address, error) from None
    return sock


def _is_stale(path: str) -> bool:
    """A socket's file that outlived its server. A file of another kind is not ours to remove."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED


def _refused(address: str, error: OSError) -> ConfigError:
    in_use = error.errno == errno.EADDRINUSE
    return ConfigError(
        "the server can't listen there", listen=address, error=error.strerror or error,
        remedy="stop what listens there, or choose another address" if in_use else "choose another address",
    )  # fmt: skip
