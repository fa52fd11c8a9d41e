"""The database servers of one source: which one is in use, and when the next one's turn comes."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from engine.meta import Meta
from engine.source.server_identity import newest_turn

if TYPE_CHECKING:
    from engine.config import SourceConfig


def where_of(url: str) -> str:
    """`host:port`, or the unix socket's path: a server's name without account and password."""
    parts = urlsplit(url)
    socket = parse_qs(parts.query).get("socket", [""])[0]
    return socket or f"{parts.hostname}:{parts.port or 3306}"


class Servers:
    """Goes to the next one once the one in use has failed `failover_failures` times in a row for `failover_s`."""

    def __init__(self, config: SourceConfig) -> None:
        self._config = config
        self._urls = list(config.urls or [config.url or ""])
        self._at = 0
        self._failures = 0
        self._failed_since_ns = 0

    @property
    def several(self) -> bool:
        return len(self._urls) > 1

    def in_use(self) -> SourceConfig:
        """The source's settings for the server in use."""
        return self._config.model_copy(update={"url": self._urls[self._at], "urls": None})

    @property
    def where(self) -> str:
        return where_of(self._urls[self._at])

    def choose(self, where: str) -> bool:
        """Take the one of this name; False: the config has none."""
        found = next((i for i, url in enumerate(self._urls) if where in (url, where_of(url))), None)
        if found is not None:
            self._at, self._failures = found, 0
        return found is not None

    def worked(self) -> None:
        self._failures = 0

    @property
    def at(self) -> int:
        """Which of the urls is in use."""
        return self._at

    def give_up(self) -> None:
        """The next one's turn, whatever was tried."""
        self._at, self._failures = (self._at + 1) % len(self._urls), 0

    def failed(self, now_ns: int) -> bool:
        """Another failure; whether it is the next one's turn."""
        if not self._failures:
            self._failed_since_ns = now_ns
        self._failures += 1
        lasted = now_ns - self._failed_since_ns >= self._config.failover_s * 1e9
        if not self.several or self._failures < self._config.failover_failures or not lasted:
            return False
        self.give_up()
        return True

    def retry_within_s(self, now_ns: int) -> float:
        """So often that the failures needed come within the time, and one just when it is over."""
        if not self.several:
            return float("inf")
        often_s = self._config.failover_s / self._config.failover_failures
        left_s = self._config.failover_s - (now_ns - self._failed_since_ns) / 1e9
        return min(often_s, left_s + 0.001) if self._failures and left_s > 0 else often_s


def last_in_use(config: SourceConfig, meta: Meta, source: str) -> Servers:
    """A source's servers, at the one that it was read from last."""
    servers = Servers(config)
    if (turn := newest_turn(meta.histories(), source)) is not None:
        servers.choose(turn.where)
    return servers
