"""What the blocking and the asyncio stream have in common: what they say of their session, and how an old one's batches end."""

from __future__ import annotations

import functools
import logging
import os
import ssl
from collections.abc import Callable
from typing import Any

from engine.client import batch as batches
from engine.client.core import ClientCore, State
from engine.client.dialing import client_context
from engine.client.servers import Servers, is_passing
from engine.errors import EngineError

Trusted = ssl.SSLContext | str | os.PathLike[str] | None

log = logging.getLogger("engine.client")


class Stream:
    """An open session of one consumer, and the next one when it is lost."""

    _core: ClientCore[Any]

    def __init__(
        self, servers: Servers, new_core: Callable[[], ClientCore[Any]], timeout: float, reconnect: bool, tls_ca: Trusted
    ) -> None:
        self._servers = servers
        self._new_core = new_core
        self._timeout = timeout
        self._reconnect = reconnect
        self._tls_ca = tls_ca
        self._core = new_core()  # of the first session; arguments that the protocol doesn't allow are known now

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        return client_context(self._tls_ca)

    @property
    def destination(self) -> str:
        return self._core.session.destination

    @property
    def consumer(self) -> str:
        return self._core.session.consumer

    @property
    def partitions(self) -> list[int]:
        return self._core.session.partitions

    @property
    def engine_version(self) -> str:
        return self._core.session.engine

    @property
    def epoch(self) -> int | None:
        """Of the lease under which the server of this session has the destination: of two servers' batches, those of the higher
        epoch are newer. None: the server is in no cluster."""
        return self._core.session.epoch

    @property
    def closed(self) -> bool:
        """The session is over; iterating opens the next one, unless the stream was closed or must not reconnect."""
        return self._core.state is State.ENDED

    def _is_stale(self, batch: batches.Batch) -> bool:
        """Of a session that is over. Where the stream may not reconnect, its end is an error for whoever acks."""
        return batch.core is not self._core or self._is_between

    @property
    def _is_between(self) -> bool:
        """The session is lost, and the next call that needs one opens another."""
        return self._reconnect and not self._closed and self._core.state is State.ENDED

    def _pause_after(self, error: EngineError) -> float:
        """Seconds until the next try to connect.

        Raises:
            EngineError: `error` itself, if there is to be none.
        """
        if not self._reconnect or self._closed:
            raise error
        self._servers.note(error, progress=self._core.confirmed)
        if not is_passing(error) and not self._servers.may_pass_elsewhere(error):
            raise self._servers.summed_up(error)
        if self._lost is not self._core:  # said once for each session, not for each try
            self._lost = self._core
            log.warning("%s; connecting again", error)
        return self._servers.after(error)

    _closed = False  # by its user
    _lost: ClientCore[Any] | None = None  # the session whose loss has been logged
