"""The sockets that the server listens on."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress

from engine.config import parse_address
from engine.errors import ConfigError

BACKLOG = 256
KEEPALIVE_IDLE_S = 15  # then probes; a peer that vanished is noticed after a minute at most
KEEPALIVE_INTERVAL_S = 5
KEEPALIVE_PROBES = 6


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


def prepare(sock: socket.socket, send_buffer: int | None = None) -> str:
    """Set up an accepted connection; returns the peer's name for messages."""
    sock.setblocking(False)
    if send_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    if sock.family == socket.AF_UNIX:
        return "unix"
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
    host, port = sock.getpeername()[:2]
    return f"{host}:{port}"


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
