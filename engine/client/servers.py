"""Which server to connect to next: a fixed one, several in turn, the one that another has named, or the one that ZooKeeper knows.

"tcp://a:7411/orders"                            one
["tcp://a:7411/orders", "tcp://b:7411/orders"]   several; one that stands by names the active one
"zk://z1:2181,z2:2181/orders"                    the owner of the destination, by its node (docs/operations.md, High availability)
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from urllib.parse import urlsplit

from engine.client.address import Address, parse_url
from engine.errors import ConfigError, Disconnected, EngineError, InternalError, Refused
from engine.wire import INTERNAL, MOVED, NOT_ACTIVE

FIRST_PAUSE_S = 0.02  # between two tries; doubles with every round, with jitter
LONGEST_PAUSE_S = 1.0
ZOOKEEPER_S = 3.0  # for ZooKeeper to answer
MOST_FAULTS = 20  # of servers, in a row, without an ack that was confirmed in between
DEFAULT_ROOT = "/binlog-engine"  # as in the config's [cluster]


def is_passing(error: EngineError) -> bool:
    """The next try, here or elsewhere, may succeed without anyone's help."""
    return error.retryable or (isinstance(error, Refused) and error.reason in (NOT_ACTIVE, MOVED))


def _is_fault(error: EngineError) -> bool:
    """The server failed over what we want of it, and does not say that this is over soon."""
    return isinstance(error, InternalError) and error.facts.get("code") == INTERNAL and not error.retryable


class Servers:
    """The servers of one destination. `next` says where to go; `note` and `after` take in why that was of no use; `settled` that
    it was. A server that fails is left for the others, MOST_FAULTS times; what passes by itself is waited out for ever.

    Raises:
        ConfigError: a URL that is none, no destination, or more than one.
    """

    def __init__(self, urls: str | Sequence[str], destination: str | None = None) -> None:
        listed = [urls] if isinstance(urls, str) else list(urls)
        if not listed:
            raise ConfigError("no server to connect to", remedy="give at least one URL")
        self._sources: list[Address | _Owner] = [
            _Owner(url, destination) if url.startswith("zk://") else parse_url(url, destination) for url in listed
        ]
        names = {source.destination for source in self._sources}
        if len(names) > 1:
            raise ConfigError("the URLs name different destinations", names=" ".join(sorted(names)))
        self.destination = names.pop()
        self._turn = 0
        self._named: Address | None = None  # by a server that does not have the destination
        self._was_named = False
        self._pause_s = FIRST_PAUSE_S
        self._tried = ""  # the server whose turn it was last
        self._answers: dict[str, str] = {}  # by server: why it was of no use, since there was progress
        self._faults = 0

    @property
    def _only_secure(self) -> bool:
        """Then nobody sends us, and our token, to a port without TLS."""
        return all(isinstance(source, Address) and source.family == "tls" for source in self._sources)

    @property
    def asks_zookeeper(self) -> bool:
        """`next` may have to wait for an answer."""
        return any(isinstance(source, _Owner) for source in self._sources)

    def next(self) -> Address:
        """Where to connect now.

        Raises:
            Disconnected: ZooKeeper doesn't answer, or knows of no server that has the destination now.
        """
        named, self._named = self._named, None
        self._was_named = named is not None
        if named is None:
            source = self._sources[self._turn % len(self._sources)]
            self._turn += 1
            self._tried = str(source)
            named = source.look_up() if isinstance(source, _Owner) else source
        self._tried = str(named)
        return named

    @property
    def _several(self) -> bool:
        return len(self._sources) > 1 or self.asks_zookeeper

    def patience_s(self, timeout_s: float) -> float:
        """How long a server may take for its first sign of life: where there are others, their turn has to come in time, too."""
        return timeout_s / (max(len(self._sources), 2) + 1) if self._several else timeout_s

    def note(self, error: EngineError, *, progress: bool) -> None:
        """What the server had to say whose turn it was. progress: before that, it had brought the consumer on."""
        if progress:
            self._answers.clear()
            self._faults, self._pause_s = 0, FIRST_PAUSE_S
        self._answers[self._tried] = error.what + (f": {why}" if (why := error.facts.get("error")) else "")
        self._faults += _is_fault(error)

    def may_pass_elsewhere(self, error: EngineError) -> bool:
        """Whether another server, or this one after a while, may do better where this one failed: so many times."""
        return _is_fault(error) and self._several and self._faults < MOST_FAULTS

    def summed_up(self, error: EngineError) -> EngineError:
        """What to raise at last: where several servers were tried, with the answer of each."""
        if (len(self._answers) < 2 and self._faults < MOST_FAULTS) or not (is_passing(error) or _is_fault(error)):
            return error
        answers = "; ".join(f"{server}: {answer}" for server, answer in self._answers.items())
        summed_up = type(error)(
            f"none of the servers can be used; the last one said: {error.what}", reason=error.reason, remedy=error.remedy,
            **{**error.facts, "answers": f"({answers})"},
        )  # fmt: skip
        summed_up.retryable = error.retryable
        return summed_up

    def after(self, error: EngineError) -> float:
        """Seconds to wait before the next try; none before the first one at an address that a server has named."""
        address = error.facts.get("address") if isinstance(error, Refused) else None
        if isinstance(address, str):
            named = parse_url(address, self.destination)
            if named.family != "tcp" or not self._only_secure:
                self._named = named
                if not self._was_named:
                    return 0.0
        pause_s = self._pause_s * random.uniform(0.5, 1.0)
        if self._turn % len(self._sources) == 0 or _is_fault(error):
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        return pause_s

    def settled(self) -> None:
        """A session is open."""
        if not self._faults:
            self._pause_s = FIRST_PAUSE_S
        self._was_named = False


class _Owner:
    """`zk://hosts[/root]/destination`: the server that holds the destination's lease."""

    def __init__(self, url: str, destination: str | None) -> None:
        parts = urlsplit(url)
        segments = [segment for segment in parts.path.split("/") if segment]
        if destination is None and segments:
            destination = segments.pop()
        if not parts.netloc or destination is None:
            raise ConfigError(
                "not a URL of a destination in ZooKeeper", url=url, remedy='write "zk://host1:2181,host2:2181/orders"'
            )
        self._hosts = parts.netloc
        self._root = "/" + "/".join(segments) if segments else DEFAULT_ROOT
        self.destination = destination

    def __str__(self) -> str:
        return f"zk://{self._hosts}{self._root}"

    def look_up(self) -> Address:
        from kazoo.client import KazooClient
        from kazoo.exceptions import KazooException, NoNodeError
        from kazoo.handlers.threading import KazooTimeoutError

        client = KazooClient(self._hosts, timeout=ZOOKEEPER_S)
        try:
            client.start(timeout=ZOOKEEPER_S)
            packed, _ = client.get(f"{self._root}/destinations/{self.destination}/owner")
            return parse_url(json.loads(packed)["address"], self.destination)
        except NoNodeError:
            raise Disconnected(
                "no server has the destination now", destination=self.destination, zookeeper=self._hosts, root=self._root,
                remedy="one of them takes it over soon; or are they all down?",
            ) from None  # fmt: skip
        except (KazooException, KazooTimeoutError) as error:
            raise Disconnected(
                "ZooKeeper doesn't answer", zookeeper=self._hosts, error=str(error) or type(error).__name__,
                remedy="is it running there?",
            ) from None  # fmt: skip
        finally:
            client.stop()
            client.close()
