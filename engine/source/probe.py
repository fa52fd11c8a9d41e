"""A statement that a source's server has to answer now and then, beside the heartbeats of the replication stream.

In a thread and on a connection of its own, so it tells of a server that still sends its binlog but does nothing else, and the
stage never waits for it.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from engine.errors import EngineError
from engine.source.connection import Connection

if TYPE_CHECKING:
    from engine.config import SourceConfig

log = logging.getLogger("engine.source")


class Probe:
    """Asks every `probe_s`. It fails if there is an error, no answer within `probe_timeout_s`, or one that is 0 or NULL."""

    def __init__(self, config: SourceConfig, source: str) -> None:
        assert config.probe is not None
        self._config = config
        self._sql = config.probe
        self._source = source
        self._lock = threading.Lock()
        self._server: SourceConfig | None = None
        self._failures = 0  # in a row, of this server
        self._error = ""
        self._began = 0.0  # CLOCK_MONOTONIC of the probe that is under way; 0: none is
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"probe of {source}", daemon=True)

    def watch(self, server: SourceConfig) -> None:
        """From now on it is about this server, of which nothing is known yet."""
        with self._lock:
            self._server, self._failures, self._error, self._began = server, 0, "", 0.0
        if not self._thread.is_alive():
            self._thread.start()

    def failure(self) -> str:
        """What is wrong with a server that has failed `probe_failures` times in a row; "" otherwise."""
        with self._lock:
            hanging_s = time.monotonic() - self._began if self._began else 0.0
            missed = int(hanging_s / (self._config.probe_timeout_s + self._config.probe_s))
            failed = self._failures + missed >= self._config.probe_failures
            return (self._error or f"no answer for {hanging_s:.1f} s") if failed else ""

    def close(self) -> None:
        """It ends by itself soon, and says nothing any more."""
        self._over.set()

    def _run(self) -> None:
        connection: Connection | None = None
        asked: SourceConfig | None = None
        while not self._over.is_set():
            began = time.monotonic()
            with self._lock:
                server, self._began = self._server, began
            if server is not asked and connection is not None:
                connection.close()
                connection = None
            asked, error = server, ""
            assert server is not None
            try:
                if connection is None:
                    connection = self._connected(server)
                rows = connection.query(self._sql)
                if rows and not rows[0][0]:
                    error = f"it answers {rows[0][0]!r}"
            except EngineError as refused:
                error = str(refused)
                connection = None
            if not error and time.monotonic() - began > self._config.probe_timeout_s:
                error = f"it answers after {time.monotonic() - began:.1f} s"
            self._note(server, error)
            self._over.wait(max(self._config.probe_s - (time.monotonic() - began), 0))
        if connection is not None:
            connection.close()

    def _connected(self, server: SourceConfig) -> Connection:
        timeout_s = self._config.probe_timeout_s
        connection = Connection(server.model_copy(update={"read_timeout_s": timeout_s}), f"{self._source}.probe")
        connection.login()
        return connection

    def _note(self, server: SourceConfig, error: str) -> None:
        with self._lock:
            if server is not self._server:
                return  # it was about the one before
            self._began = 0.0
            first, recovered = bool(error) and not self._failures, not error and self._failures
            self._failures = self._failures + 1 if error else 0
            self._error = error
        if first:
            log.warning("source name=%s event=probe_failing why=%r", self._source, error)
        elif recovered:
            log.info("source name=%s event=probe_well", self._source)
