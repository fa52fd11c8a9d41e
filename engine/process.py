"""One stage in a process of its own: `python -m engine.process ROLE NAME NUMBER PARENT_PID`.

NAME -: a spare, which loads what its role needs and waits; the name comes with the config.

standard input    a line {"config": {...}, "name": ..., "number": ..., "active": [destination, ...], "place": of its heartbeat};
                  then, for the server, commands:
                  {"do": "activate", "destination": ...}, {"do": "deactivate", "destination": ..., "address": ...}
standard output   what happens to the stage, as JSON lines {"state": ..., "reason": ..., "error": ...}
standard error    the log
"""

from __future__ import annotations

import ctypes
import errno
import gc
import importlib
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from engine.beats import beat, beat_at
from engine.errors import EngineError, InternalError, RingError
from engine.instance import Instance
from engine.settings import plain_config
from engine.stage import NOW_AND_THEN_NS, Stage, run

if TYPE_CHECKING:
    from engine.config import Config

EXIT_STOPPED = 0  # asked to
EXIT_BUG = 1  # an exception that nobody meant; the supervisor starts the stage anew
EXIT_RETRY = 75  # an error that may go away by itself
EXIT_REFUSED = 78  # an error that somebody has to mend first
SPARE = "-"  # in place of a stage's name

_PR_SET_PDEATHSIG = 1
_RESOURCES = {
    errno.EMFILE: "raise the limit of open files (ulimit -n, LimitNOFILE)",
    errno.ENFILE: "raise fs.file-max",
    errno.ENOMEM: "give the machine or the container more memory",
    errno.ENOSPC: "make room on the disk, or in /dev/shm (docker: --shm-size)",
    errno.EAGAIN: "raise the limit of processes (ulimit -u, TasksMax)",
}


def resource_remedy(error: OSError) -> str:
    """What to do when the system refuses something that it gives as long as it has it."""
    return _RESOURCES.get(error.errno or 0, "see what the system says of it")


def configure_logging() -> None:
    """One line an event, in UTC, on standard error."""
    import time

    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends, however it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it ended before the line above
        os._exit(EXIT_STOPPED)


def load(role: str) -> None:
    """What a stage of this role in a cluster is going to need."""
    names = {"source": ("engine.source.history.ddl",)}.get(role, ())  # for a table that it has to ask the server about
    for name in (f"engine.{role}.stage", "engine.meta.zookeeper", *names):
        importlib.import_module(name)


def build_stage(role: str, name: str, number: int, config: Config, instance: Instance, active: list[str] | None = None) -> Stage:
    """The stage of a role: a source by name, sink `number` of a destination, or the server of the `active` destinations.

    active None: all of the config.
    """
    module = importlib.import_module(f"engine.{role}.stage")
    arguments: dict[str, tuple[Any, ...]] = {
        "source": (config, name, instance),
        "sink": (config, name, number, instance),
        "server": (config, instance, active),
    }
    return module.build(*arguments[role])


class Lines:
    """Whole lines from a file descriptor. It is left as it is: a pipe's mode is the other end's, too, if it is inherited."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._pending = b""
        self._ended = False

    def next(self) -> bytes:
        """Waits for a whole line; b"": the other end is closed."""
        while b"\n" not in self._pending and not self._ended:
            self._read()
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def there(self) -> Iterator[bytes]:
        """The lines that have come, without waiting."""
        import select

        while not self._ended and select.select([self._fd], [], [], 0)[0]:
            self._read()
        while b"\n" in self._pending:
            yield self.next()

    def _read(self) -> None:
        data = os.read(self._fd, 1 << 16)
        self._pending += data
        self._ended = not data


def _report(**event: object) -> None:
    print(json.dumps(event), flush=True)


class _Turns:
    """Now and then between two turns: beat, do what the supervisor says (to a server), tell it of a trouble."""

    def __init__(self, stage: Stage, lines: Lines) -> None:
        self._stage: Any = stage
        self._lines = lines if stage.role_name == "server" else None
        self._running = False
        self._told: EngineError | None = None
        self._due_ns = 0

    def __call__(self, now_ns: int) -> None:
        if now_ns < self._due_ns:  # a turn may take microseconds
            return
        self._due_ns = now_ns + NOW_AND_THEN_NS
        beat()
        trouble: EngineError | None = getattr(self._stage, "trouble", None)
        if trouble is not self._told or not self._running:
            self._running, self._told = True, trouble
            _report(state="running", reason=trouble.reason if trouble else "", error=str(trouble or ""))
        if self._lines is not None:
            for line in self._lines.there():
                command = json.loads(line)
                if command["do"] == "activate":
                    self._stage.activate(command["destination"])
                else:
                    self._stage.deactivate(command["destination"], command["address"])


def main(argv: list[str]) -> int:
    """Run one stage until SIGTERM; returns the exit code."""
    role, name, parent_pid = argv[0], argv[1], int(argv[3])
    die_with(parent_pid)
    configure_logging()
    stopping = False
    stage: Any = None

    def stop(signum: int, frame: object) -> None:
        nonlocal stopping
        stopping = True
        if hasattr(stage, "wake"):
            stage.wake()

    signal.signal(signal.SIGTERM, stop)
    try:
        if name == SPARE:
            load(role)
        lines = Lines(sys.stdin.fileno())
        line = lines.next()
        if not line:  # the supervisor is gone, or needs no spare any more
            return EXIT_STOPPED
        first = json.loads(line)
        config = plain_config(first["config"])
        instance = Instance(config.server.data_dir)
        beat_at(instance, first["place"])
        stage = build_stage(role, first["name"], first["number"], config, instance, first["active"])
        gc.freeze()  # what is there now stays: no need to go through it again and again
        run(stage, lambda: stopping, _Turns(stage, lines))
    except EngineError as error:
        _report(state="failed", reason=error.reason, error=str(error), retryable=error.retryable)
        if isinstance(error, (InternalError, RingError)):
            return EXIT_BUG
        return EXIT_RETRY if error.retryable else EXIT_REFUSED
    except OSError as error:
        if error.errno not in _RESOURCES:
            return _bug(role, error)
        words = f"the system has nothing left: {error} — {resource_remedy(error)}"
        _report(state="failed", reason="no_resources", error=words, retryable=True)
        return EXIT_RETRY
    except Exception as error:
        return _bug(role, error)
    return EXIT_STOPPED


def _bug(role: str, error: Exception) -> int:
    logging.getLogger(f"engine.{role}").critical("%s", traceback.format_exc())
    _report(state="failed", reason="bug", error=f"bug: {type(error).__name__}: {error}", retryable=True)
    return EXIT_BUG


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
