"""Processes that have loaded all that a stage needs and wait for its config: to begin with one takes no time.

An engine that stands by keeps them for what it may have to start at once. They are replaced when that has come to rest.
"""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress

from engine.child import launch

log = logging.getLogger("engine.supervisor")

REST_S = 1.0  # since the last one was taken, or it all began: now nobody waits for the processor


class Spares:
    """For one thread. A spare is a source or a sink; which one, it is told with its config."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[subprocess.Popen[bytes]]] = {}
        self._taken_at = time.monotonic()

    def take(self, role: str) -> subprocess.Popen[bytes] | None:
        """One that lives; None: there is none."""
        self._taken_at = time.monotonic()
        waiting = self._waiting.get(role, [])
        while waiting:
            process = waiting.pop(0)
            if process.poll() is None:
                return process
            _close(process)
        return None

    def keep(self, wanted: Mapping[str, int]) -> None:
        """Have so many of each role from now on: too many are ended at once, missing ones started after a rest."""
        for role in {*self._waiting, *wanted}:
            waiting = self._waiting.setdefault(role, [])
            for process in waiting[wanted.get(role, 0) :]:
                _end(process)
            del waiting[wanted.get(role, 0) :]
        if time.monotonic() - self._taken_at < REST_S:
            return
        for role, count in wanted.items():
            waiting = self._waiting[role]
            for process in [process for process in waiting if process.poll() is not None]:
                waiting.remove(process)
                _close(process)
                self._taken_at = time.monotonic()  # not again and again
            try:
                waiting += [launch(role) for _ in range(count - len(waiting))]
            except OSError as error:
                self._taken_at = time.monotonic()
                log.warning("no spare process of a %s: %s", role, error.strerror)

    def end(self) -> None:
        self.keep({})


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()  # it has nothing to lose
    process.wait()
    _close(process)


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
