"""TLS for consumers' connections: the methods of a non-blocking socket that a session uses, with OpenSSL between.

OpenSSL reads and writes memory, never the socket, so no call of it can wait, and what it has encrypted is ours to send
when the socket takes it. The bytes of a batch are copied here, as encryption must; plain connections don't pass here.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from engine.errors import ConfigError
from engine.server._loop import Loop

READ_BYTES = 64 << 10
SEND_BYTES = 64 << 10  # encrypted at once


def server_context(cert: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer; with client_ca only for clients that show a certificate of it.

    Raises:
        ConfigError: a file can't be read, or is not what it should be; names it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(cert, key, password=_no_password)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        raise ConfigError(
            "TLS can't be set up", tls_cert=cert, tls_key=key, tls_client_ca=client_ca, error=error,
            remedy="name readable PEM files: the certificate with its chain, and its key without a password",
        ) from None  # fmt: skip
    return context


def _no_password() -> str:
    raise ValueError("the key is protected by a password")  # otherwise OpenSSL would ask for it at the terminal


class TlsSocket:
    """One accepted connection. The handshake is part of the first reads.

    on_more: called by the loop when bytes are left that the socket doesn't announce, since they have been read from it.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, loop: Loop) -> None:
        self.on_more: Callable[[], None] = lambda: None
        self._sock = sock
        self._loop = loop
        self._from_peer = ssl.MemoryBIO()
        self._to_peer = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._from_peer, self._to_peer, server_side=True)
        self._shaken = False
        self._unsent = memoryview(b"")

    @property
    def family(self) -> int:
        return self._sock.family

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return self._sock.getsockopt(level, option, size)

    def fileno(self) -> int:
        return self._sock.fileno()

    def recv_into(self, room: memoryview) -> int:
        """As a socket's; BlockingIOError also while the handshake, or a TLS record, is not complete.

        Raises:
            OSError: the connection is dead, or what comes is not TLS.
        """
        while True:
            try:
                count = self._take(room)
            except ssl.SSLWantReadError:
                self.drain()
            except ssl.SSLZeroReturnError:
                return 0
            except ssl.SSLError:
                self.drain()  # the alert that says why
                raise
            else:
                if self._tls.pending() or self._from_peer.pending:
                    self._loop.call_soon(self.on_more)
                return count
            data = self._sock.recv(READ_BYTES)
            if not data:
                return 0
            self._from_peer.write(data)

    def sendmsg(self, buffers: Sequence[bytes | memoryview]) -> int:
        """As a socket's. What it has taken may still wait here: `drain` says.

        Raises:
            OSError: the connection is dead, or its handshake isn't over: then the peer can't be told anything.
        """
        if not self._shaken:
            raise ConnectionAbortedError("the TLS handshake is not over")
        if not self.drain():
            raise BlockingIOError
        taken = 0
        for buffer in buffers:
            for start in range(0, len(buffer), SEND_BYTES):
                if self._to_peer.pending >= SEND_BYTES and not self.drain():
                    return taken
                taken += self._tls.write(buffer[start : start + SEND_BYTES])
        self.drain()
        return taken

    def drain(self) -> bool:
        """Send what is encrypted; True: nothing of it is left.

        Raises:
            OSError: the connection is dead.
        """
        while self._unsent or self._to_peer.pending:
            self._unsent = self._unsent or memoryview(self._to_peer.read())
            try:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
            except (BlockingIOError, InterruptedError):
                return False
        return True

    def shutdown(self, how: int) -> None:
        """Say that nothing follows, in TLS and in TCP; the socket's buffer has been found empty, so this is sent at once."""
        with suppress(ssl.SSLError):  # the peer has not answered it yet: it needn't
            self._tls.unwrap()
        self.drain()
        self._sock.shutdown(how)

    def close(self) -> None:
        self._sock.close()

    def _take(self, room: memoryview) -> int:
        if not self._shaken:
            self._tls.do_handshake()
            self._shaken = True
            self.drain()
        return self._tls.read(len(room), room)  # type: ignore[return-value]  # with a buffer it returns the count
