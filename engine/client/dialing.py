"""What the blocking and the asyncio client share of connecting: TLS, and what to say when it fails."""

from __future__ import annotations

import os
import ssl

from engine.client.address import Address
from engine.errors import ConfigError, Disconnected, EngineError


class _Socket(ssl.SSLSocket):
    """Says as a plain socket does that nothing is there yet."""

    def recv_into(self, *args, **kwargs) -> int:  # type: ignore[no-untyped-def]  # as in the standard library
        try:
            return super().recv_into(*args, **kwargs)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None


def client_context(trusted: ssl.SSLContext | str | os.PathLike[str] | None) -> ssl.SSLContext:
    """The server's certificate has to be valid, and for the name that the URL has.

    Args:
        trusted: the PEM file of the authority that signed it; None: one of the system's; or a context of your own, for
            client certificates and the like.

    Raises:
        ConfigError: the file can't be read, or holds no certificate.
    """
    if isinstance(trusted, ssl.SSLContext):
        context = trusted
    else:
        try:
            context = ssl.create_default_context(cafile=trusted)
        except OSError as error:
            raise ConfigError("the authority's certificate can't be read", file=trusted, error=error) from None
    context.sslsocket_class = _Socket
    return context


def not_connected(address: Address, error: Exception) -> EngineError:
    """What to raise when a connection, or its TLS handshake, fails."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigError(
            "the server's certificate is not to be trusted", address=address, error=error.verify_message,
            remedy="name the PEM file of its authority with tls_ca, and the server as its certificate does",
        )  # fmt: skip
    secure = address.family == "tls"
    return Disconnected(
        "the server can't be reached", address=address, error=str(error) or "no answer in time",
        remedy=f"is `binlog-engine run` running there{', with a tls:// address in listen' if secure else ''}?",
    )  # fmt: skip
