"""A connection to ZooKeeper with kazoo: every call has a deadline and raises our errors. Only kazoo's public API."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from kazoo.client import KazooClient, KazooState, TransactionRequest
from kazoo.exceptions import (
    AuthFailedError,
    ConnectionClosedError,
    ConnectionLoss,
    KazooException,
    NoAuthError,
    OperationTimeoutError,
    RolledBackError,
    RuntimeInconsistency,
    SessionExpiredError,
)
from kazoo.retry import KazooRetry

from engine.beats import waiting
from engine.errors import MetaAway, MetaError
from engine.ha.granted import GrantedTimeout

if TYPE_CHECKING:
    from engine.config import ClusterConfig

log = logging.getLogger("engine.zookeeper")
logging.getLogger("kazoo").setLevel(logging.ERROR)  # what matters of its news we log ourselves

PATIENCE_S = 30.0  # how long a call waits for ZooKeeper to come back
CALL_S = 10.0  # for one answer, while connected
CONFLICT_S = 0.001  # before what somebody else has changed is read again
LOOK_S = 0.02  # between looks at the state of the connection
FIRST_PAUSE_S = 0.05  # between attempts to connect; grows
LONGEST_PAUSE_S = 1.0
CLOSE_S = 2.0

T = TypeVar("T")

_GONE = (ConnectionLoss, ConnectionClosedError, SessionExpiredError, OperationTimeoutError)


class Conflict(Exception):
    """Somebody else has written in between: read again."""


class ZooKeeperSession:
    """One session. Usable from any thread but kazoo's own.

    listener: called with kazoo's state (CONNECTED, SUSPENDED, LOST) in kazoo's thread: it must not call back.
    """

    def __init__(self, cluster: ClusterConfig, listener: Callable[[str], None] | None = None) -> None:
        self.root = cluster.root.rstrip("/")
        self.hosts = ",".join(cluster.zookeeper)
        self._closed = threading.Event()
        self._granted = GrantedTimeout()
        pauses = {"max_tries": -1, "delay": FIRST_PAUSE_S, "max_delay": LONGEST_PAUSE_S}
        self.client = KazooClient(
            self.hosts, timeout=cluster.session_timeout_s, connection_retry=KazooRetry(**pauses),
            command_retry=KazooRetry(max_tries=0), handler=self._granted,
        )  # fmt: skip
        if listener is not None:
            self.client.add_listener(listener)
        self.client.start_async()

    @property
    def connected(self) -> bool:
        return self.client.state == KazooState.CONNECTED

    @property
    def granted_s(self) -> float:
        """The session's time-out that the node we are, or were last, connected to has granted; 0: never connected.

        It isn't what was asked for where that is beyond the node's minSessionTimeout or maxSessionTimeout.
        """
        return self._granted.ms / 1000

    @property
    def connected_ns(self) -> int:
        """When the connection was begun that we use, or used last, CLOCK_BOOTTIME; 0: there never was one."""
        return self._granted.begun_ns

    def path(self, *names: str) -> str:
        return "/".join([self.root, *names])

    def wait(self, pending: Any, timeout_s: float = CALL_S) -> Any:
        """The result of one of kazoo's `*_async` calls.

        Raises:
            MetaAway: no answer in time, or the connection was lost: whether it was carried out is not known.
            KazooException: what the server said.
        """
        try:
            return pending.get(timeout=timeout_s)
        except _GONE as error:
            raise MetaAway("ZooKeeper is away", hosts=self.hosts, error=type(error).__name__) from None
        except self.client.handler.timeout_exception:
            raise MetaAway("ZooKeeper doesn't answer", hosts=self.hosts, timeout_s=timeout_s) from None

    def persist(self, attempt: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
        """`attempt` again and again until it is through: it must be safe to repeat. It may raise Conflict.

        Raises:
            MetaAway: ZooKeeper was away for `patience_s`, or this session has been closed.
            MetaError: it refuses.
        """
        with waiting(patience_s):
            return self._persist(attempt, time.monotonic() + patience_s)

    def _persist(self, attempt: Callable[[], T], deadline: float) -> T:
        while True:
            try:
                self.wait_connected(deadline - time.monotonic())
                return attempt()
            except Conflict:
                self._closed.wait(CONFLICT_S)
            except MetaAway:
                if time.monotonic() > deadline or self._closed.is_set():
                    raise
                self._closed.wait(LOOK_S)
            except (NoAuthError, AuthFailedError) as error:
                raise MetaError(
                    "ZooKeeper refuses", hosts=self.hosts, root=self.root, error=type(error).__name__,
                    remedy="let this machine read and write below root",
                ) from None  # fmt: skip
            except KazooException as error:
                raise MetaError(
                    "ZooKeeper refuses", hosts=self.hosts, root=self.root, error=f"{type(error).__name__} {error}".strip()
                ) from error

    def wait_connected(self, timeout_s: float) -> None:
        """
        Raises:
            MetaAway: not connected in time, or closed.
        """
        deadline = time.monotonic() + timeout_s
        while not self.connected:
            if self._closed.is_set():
                raise MetaAway("the connection to ZooKeeper is closed", hosts=self.hosts)
            if time.monotonic() > deadline:
                raise MetaAway("ZooKeeper is away", hosts=self.hosts, remedy="start it, or see that it can be reached")
            self._closed.wait(LOOK_S)

    def commit(self, build: Callable[[TransactionRequest], None], timeout_s: float = CALL_S) -> list[Any]:
        """A transaction: the results of its operations, all of which have happened, or exceptions in their places: none has."""
        transaction = self.client.transaction()
        build(transaction)
        return list(self.wait(transaction.commit_async(), timeout_s))

    def up_to_date(self) -> None:
        """What is read from now on is at least as new as everything that was written before this call, by anybody.

        Raises:
            MetaAway
        """
        self.wait(self.client.sync_async(self.root or "/"))

    def ensure(self, path: str) -> None:
        """Make this node and those above it, empty, where they are not there."""
        self.wait(self.client.ensure_path_async(path))

    def close(self) -> None:
        """End the session, and with it its ephemeral nodes, if ZooKeeper can be reached. Closing twice is harmless."""
        if self._closed.is_set():
            return
        self._closed.set()
        closing = threading.Thread(target=self._stop, daemon=True)
        closing.start()
        closing.join(CLOSE_S)  # kazoo waits longer when nobody answers; the session then ends by its time-out

    def _stop(self) -> None:
        with suppress(Exception):
            self.client.stop()
            self.client.close()


def refused(results: list[Any]) -> KazooException | None:
    """Of a transaction's results: the exception of the operation that stopped it; None: it has happened."""
    failures = [result for result in results if isinstance(result, KazooException)]
    culprits = [one for one in failures if not isinstance(one, (RolledBackError, RuntimeInconsistency))]
    return culprits[0] if culprits else failures[0] if failures else None
