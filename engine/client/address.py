"""Where a destination is served: the URLs that `connect` takes."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from engine.errors import ConfigError


class Address(NamedTuple):
    """family is "tcp" or "tls" (host, port), or "unix" (path)."""

    family: str
    host: str
    port: int
    path: str
    destination: str

    def __str__(self) -> str:
        return f"unix://{self.path}" if self.family == "unix" else f"{self.family}://{self.host}:{self.port}"


def parse_url(url: str, destination: str | None = None) -> Address:
    """`tcp://127.0.0.1:7411/orders`, `tls://engine.example:7412/orders`, or `unix:///run/binlog-engine.sock?destination=orders`.

    The destination may stand in the URL (`?destination=` works for all) or be given beside it.

    Raises:
        ConfigError: not such a URL, no destination, or two different ones.
    """
    remedy = (
        'write "tcp://127.0.0.1:7411/orders", "tls://host:7412/orders" or "unix:///run/binlog-engine.sock?destination=orders"'
    )
    try:
        parts = urlsplit(url)
        port = parts.port or 0
        query = parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise ConfigError("not a URL of a destination", url=url, error=error, remedy=remedy) from None
    tcp = parts.scheme in ("tcp", "tls") and parts.hostname and port
    unix = parts.scheme == "unix" and not parts.netloc and parts.path
    if not (tcp or unix) or parts.fragment or query.keys() - {"destination"}:
        raise ConfigError("not a URL of a destination", url=url, remedy=remedy)
    named = {unquote(parts.path).strip("/") if tcp else "", *query.get("destination", ()), destination or ""} - {""}
    if len(named) > 1:
        raise ConfigError("the URL and the argument name different destinations", names=" ".join(sorted(named)))
    if not named:
        raise ConfigError("no destination", url=url, remedy=remedy)
    return Address(parts.scheme, parts.hostname or "", port, "" if tcp else unquote(parts.path), named.pop())
