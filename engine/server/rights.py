"""Who may read what: the tokens of the config, as digests."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.errors import ConfigError
from engine.server.destinations import SessionRefused
from engine.wire import FORBIDDEN, UNAUTHORIZED, Hello

if TYPE_CHECKING:
    from engine.config import TokenConfig

SHORTEST_TOKEN = 16
LONGEST_TOKEN = 1024


@dataclass(frozen=True)
class _Holder:
    digest: bytes
    destinations: frozenset[str]  # empty: all
    consumers: frozenset[str]  # empty: any


class Rights:
    """Without tokens every peer may do everything.

    Raises:
        ConfigError: a token is not there, is too short to be a secret, or is there twice; never shows one.
    """

    def __init__(self, tokens: Mapping[str, TokenConfig], environ: Mapping[str, str] = os.environ) -> None:
        self._holders: dict[str, _Holder] = {}
        for name, settings in tokens.items():
            digest = _digest(_read(name, settings, environ))
            twin = next((other for other, holder in self._holders.items() if holder.digest == digest), None)
            if twin is not None:
                raise ConfigError(
                    "two tokens are the same", tokens=f"{twin}, {name}", remedy="give each its own: a token says who comes"
                )
            self._holders[name] = _Holder(digest, frozenset(settings.destinations), frozenset(settings.consumers))

    def check(self, hello: Hello) -> str | None:
        """The name of the peer's token; None if there are none at all.

        Who may not read a destination is told the same whether it exists or not, and so for a token that is wrong or missing.

        Raises:
            SessionRefused: unauthorized or forbidden.
        """
        if not self._holders:
            return None
        offered = _digest(hello.token or "")
        found = None
        for name, holder in self._holders.items():  # all of them, so that the time taken tells nothing
            if hmac.compare_digest(holder.digest, offered):
                found = name
        if found is None:
            raise SessionRefused(
                UNAUTHORIZED, "this server wants a token, and hello had none or a wrong one",
                remedy="connect with the token that the operator gave you",
            )  # fmt: skip
        holder = self._holders[found]
        if holder.destinations and hello.destination not in holder.destinations:
            raise SessionRefused(
                FORBIDDEN, "this token may not read this destination", destination=repr(hello.destination[:100]),
                remedy="the operator lists it in destinations of [tokens]",
            )  # fmt: skip
        if holder.consumers and hello.consumer not in holder.consumers:
            raise SessionRefused(
                FORBIDDEN, "this token may not be this consumer", consumer=hello.consumer,
                remedy="the operator lists it in consumers of [tokens]",
            )  # fmt: skip
        return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _read(name: str, settings: TokenConfig, environ: Mapping[str, str]) -> str:
    where: dict[str, Any] = {"token": name, "variable": settings.token_env, "file": settings.token_file}
    if settings.token_env is not None:
        token = environ.get(settings.token_env)
        if token is None:
            raise ConfigError(
                "token_env names a variable that is not set", **where,
                remedy=f"export {settings.token_env}=... before starting the engine",
            )  # fmt: skip
    else:
        assert settings.token_file is not None
        try:
            token = settings.token_file.read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                "token_file can't be read", **where, error=error.strerror if isinstance(error, OSError) else "not UTF-8",
                remedy="name a text file this account may read",
            ) from None  # fmt: skip
    if not SHORTEST_TOKEN <= len(token) <= LONGEST_TOKEN:
        raise ConfigError(
            f"a token has {SHORTEST_TOKEN} to {LONGEST_TOKEN} characters", **where, characters=len(token),
            remedy="make a random one: openssl rand -hex 24",
        )  # fmt: skip
    return token
