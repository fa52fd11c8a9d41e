"""One stage's process as the supervisor sees it: started, heard, told, ended, and when it is started again.

               ┌──────────────── it died ─────────────┐
               ▼                                      │
stopped ─▶ starting ─▶ running ─▶ restarting ─▶ starting ...
               │          │            └─▶ failed: too many quick deaths, of which nobody knows that they may be over soon
               └──────────┴─▶ failed: an error that somebody has to mend
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from engine.process import EXIT_REFUSED, EXIT_RETRY, SPARE, resource_remedy

log = logging.getLogger("engine.supervisor")

FIRST_PAUSE_S = 0.1  # before a dead stage is started again; doubles with every quick death
LONGEST_PAUSE_S = 10.0
HEALTHY_AFTER_S = 30.0  # a stage that ran this long starts with the first pause again
QUICK_DEATHS = 10  # in a row, then the supervisor gives up on the stage
STOP_S = 5.0  # for a stage to end by itself


def launch(role: str, name: str = SPARE, number: int = 0) -> subprocess.Popen[bytes]:
    """A process of a stage, which waits for its config. SPARE: it is told then which of its role it is.

    Raises:
        OSError: the system has none for us now.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "engine.process", role, name, str(number), str(os.getpid())],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        process_group=0,  # Ctrl-C is for the supervisor alone, which stops the stages in order
    )  # fmt: skip


class RestartPolicy:
    """When to start a stage again that has died. Times are of CLOCK_MONOTONIC, in seconds."""

    def __init__(self) -> None:
        self.quick_deaths = 0

    def pause_s(self, lived_s: float, *, may_pass: bool = False) -> float | None:
        """After a life of so many seconds: how long to wait; None: give up. may_pass: what ended it may go away by itself."""
        self.quick_deaths = 1 if lived_s > HEALTHY_AFTER_S else self.quick_deaths + 1
        if self.quick_deaths >= QUICK_DEATHS and not may_pass:
            return None
        return min(FIRST_PAUSE_S * 2 ** min(self.quick_deaths - 1, QUICK_DEATHS), LONGEST_PAUSE_S)


@dataclass(frozen=True)
class Trouble:
    """What a stage said last before it ended."""

    reason: str
    error: str


class Child:
    """One stage's process and what is known of it."""

    def __init__(self, role: str, name: str, number: int = 0, *, place: int) -> None:
        self.role = role
        self.name = name
        self.number = number
        self.place = place  # of its heartbeat, see engine.beats
        self.process: subprocess.Popen[bytes] | None = None
        self.state = "stopped"  # see above
        self.reason = ""  # why it is in this state, a snake_case word; "": as it should be
        self.error = ""  # the same for people
        self.last_error = ""  # the last one, whatever came of it
        self.last_error_at: float | None = None  # seconds since 1970
        self.restarts = 0
        self.since = time.time()
        self.restart_at = 0.0  # monotonic; of a restarting one
        self.running_since = 0.0  # monotonic
        self._policy = RestartPolicy()
        self._started = 0.0  # monotonic
        self._pending = b""  # of its reports: a line not yet whole
        self._last_words: Trouble | None = None

    @property
    def title(self) -> str:
        return f"{self.role} {self.name}" + (f" #{self.number}" if self.role == "sink" else "")

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    @property
    def reports(self) -> IO[bytes]:
        """Its end of the pipe that it reports on; readable without waiting."""
        assert self.process is not None
        assert self.process.stdout is not None
        return self.process.stdout

    def start(self, config_json: str, active: list[str], spare: subprocess.Popen[bytes] | None = None) -> bool:
        """Start the process. config_json: of the engine.config.Config that it gets; active: destinations that run now.
        spare: one of this role that waits for it.

        False: the system has no process for us now; it is tried again after a pause.
        """
        self._started = time.monotonic()
        try:
            self.process = spare or launch(self.role, self.name, self.number)
        except OSError as error:
            words = f"no process can be started: {error.strerror} — {resource_remedy(error)}"
            self._try_again(Trouble("no_resources", words), may_pass=True)
            return False
        about = {"name": self.name, "number": self.number, "place": self.place, "active": active}
        self._write(f'{{"config": {config_json}, {json.dumps(about)[1:]}\n')
        os.set_blocking(self.reports.fileno(), False)
        self._become("starting", Trouble(self.reason, self.error))
        return True

    def tell(self, **command: object) -> None:
        """One line more on its standard input; nothing happens if it doesn't run."""
        if self.process is not None:
            self._write(json.dumps(command) + "\n")

    def _write(self, line: str) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it died; the watch will see that
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()

    def hear(self) -> tuple[bool, bool]:
        """Read what it reports: whether there was anything, and whether the process is gone (`bury` it then)."""
        data = self.reports.read()
        if data is None:
            return False, False
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            event = json.loads(line)
            trouble = Trouble(event["reason"], event["error"])
            if event["state"] == "failed":
                self._last_words = trouble  # what becomes of it is decided when it is gone
            else:
                if self.state == "starting":
                    self.running_since = time.monotonic()
                self._become(event["state"], trouble)
        return True, not data

    def stall(self, silence_s: float) -> bool:
        """Its loop has stood still for so long, 0: it turns. Whether that changes its state."""
        if silence_s and self.state == "running":
            self._become("stalled", Trouble("stalled", f"its loop has not turned for {silence_s:.0f} s"))
            log.warning("%s: %s, pid %s", self.title, self.error, self.pid)
        elif not silence_s and self.state == "stalled":
            self._become("running", Trouble("", ""))
            log.info("%s: its loop turns again", self.title)
        else:
            return False
        return True

    def kill(self, reason: str, error: str) -> None:
        """End it at once; it is found dead, with these words, and started again."""
        if self.process is not None:
            self._last_words = Trouble(reason, error)
            self.process.kill()

    def bury(self) -> None:
        """It has ended by itself: to be started again after a pause, or failed."""
        assert self.process is not None
        code = self._forget_process()
        trouble = self._last_words or Trouble("died", _how_it_ended(code))
        self._last_words = None
        if code == EXIT_REFUSED:
            self._become("failed", trouble)
            log.error("%s: %s", self.title, trouble.error)
        else:
            self._try_again(trouble, may_pass=code == EXIT_RETRY)

    def _try_again(self, trouble: Trouble, *, may_pass: bool) -> None:
        """After a pause, unless that has happened too often."""
        pause_s = self._policy.pause_s(time.monotonic() - self._started, may_pass=may_pass)
        if pause_s is None:
            words = f"gave up after {QUICK_DEATHS} quick deaths; the last: {trouble.error}"
            self._become("failed", Trouble("gave_up", words))
            log.error("%s: %s", self.title, self.error)
            return
        self._become("restarting", trouble)
        self.restart_at = time.monotonic() + pause_s
        log.warning("%s: %s; starting it again in %.1f s", self.title, trouble.error, pause_s)

    def due(self) -> bool:
        """Whether it is to be started again now."""
        return self.state == "restarting" and time.monotonic() >= self.restart_at

    def _forget_process(self) -> int:
        assert self.process is not None
        code = self.process.wait()
        self.reports.close()
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process, self._pending = None, b""
        return code

    def _become(self, state: str, trouble: Trouble) -> None:
        if state != self.state:
            self.since = time.time()
        self.state, self.reason, self.error = state, trouble.reason, trouble.error
        if trouble.error and trouble.error != self.last_error:
            self.last_error, self.last_error_at = trouble.error, time.time()

    def to_json(self) -> dict[str, Any]:
        """As engine.json and `status --json` have it."""
        next_try = time.time() + self.restart_at - time.monotonic() if self.state == "restarting" else None
        return {
            "role": self.role, "name": self.name, "number": self.number, "state": self.state, "reason": self.reason,
            "error": self.error, "pid": self.pid, "restarts": self.restarts, "since": self.since, "next_try": next_try,
            "place": self.place, "last_error": self.last_error, "last_error_at": self.last_error_at,
        }  # fmt: skip


def end(children: list[Child]) -> None:
    """Have these processes end, all at once; what doesn't within STOP_S is killed. Their pipes are closed."""
    running = [child for child in children if child.process]
    for child in running:
        assert child.process is not None
        child.process.terminate()
        child.process.send_signal(signal.SIGCONT)  # one that was stopped by hand would not notice
    deadline = time.monotonic() + STOP_S
    for child in running:
        assert child.process is not None
        try:
            child.process.wait(max(deadline - time.monotonic(), 0.01))
        except subprocess.TimeoutExpired:
            log.warning("%s did not stop in %.0f s and is killed: pid %d", child.title, STOP_S, child.process.pid)
            child.process.kill()
        child._forget_process()
    for child in children:
        child._become("stopped", Trouble("", ""))


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
