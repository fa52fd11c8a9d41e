"""One child process in a temp dir of its own: started, awaited, stopped or killed by its pid, dead with its parent."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SCRATCH = Path("/tmp")


class StartError(RuntimeError):
    """The child ended, or wasn't ready in time; the message has the end of its log."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago.

    Not one of those that the kernel gives to outgoing connections: a server that is down for a moment would find it taken.
    """
    ports = range(10_000, 32_768)
    for _ in range(1000):
        with socket.socket() as probe, suppress(OSError):
            port = random.SystemRandom().choice(ports)  # not where another process of the same seed looks
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"no free TCP port among {ports}")


def scratch_folder(name: str) -> Path:
    """A temp dir that carries our pid, so that a later run can remove it should we be killed."""
    # /tmp and a short name: the path of a unix socket may have 107 characters at most.
    return Path(tempfile.mkdtemp(prefix=f"{name}-{os.getpid()}-", dir=SCRATCH))


def remove_left_behind(name: str) -> None:
    """Remove the temp dirs of runs that were killed: a data dir has 100 MB."""
    for folder in SCRATCH.glob(f"{name}-*-*"):
        match = re.fullmatch(rf"{re.escape(name)}-(\d+)-\w{{8}}", folder.name)
        if match and not Path("/proc", match[1]).exists() and folder.stat().st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)


class Process:
    """One child and its temp dir. `folder` stays until `close`, so a killed server can be started again on its data."""

    def __init__(self, name: str, death_signal: str = "KILL") -> None:
        self.death_signal = death_signal  # what the child gets when its parent dies without stopping it
        self.folder = scratch_folder(name)
        self.log = self.folder / "log"
        self.child: subprocess.Popen[bytes] | None = None

    def spawn(self, argv: list[str], environment: dict[str, str] | None = None) -> None:
        """Start the child, with more in its environment if need be; its output goes to `log`.

        setpriv and not preexec_fn sets PR_SET_PDEATHSIG: it is safe with threads, and execs, so the pid is the child's.
        The signal comes when the *thread* that spawned ends: start servers from a thread that stays.
        """
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                ["setpriv", "--pdeathsig", self.death_signal, *argv],
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C in the terminal is for the parent, who then stops us in order
            )

    @property
    def pid(self) -> int:
        assert self.child is not None, "not started"
        return self.child.pid

    @property
    def running(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def wait_until(self, ready: Callable[[], bool], timeout_s: float = 60) -> None:
        """Wait for `ready()`.

        Raises:
            StartError: the child ended first, or the time is up.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not self.running:
                raise StartError(f"{self.folder.name} ended: {self.log_tail()}")
            if time.monotonic() > deadline:
                raise StartError(f"{self.folder.name} not ready in {timeout_s} s: {self.log_tail()}")
            time.sleep(0.02)

    def log_tail(self, characters: int = 3000) -> str:
        return self.log.read_text(errors="replace")[-characters:]

    def stop(self, timeout_s: float = 60) -> int | None:
        """SIGTERM and wait; the exit status, None if it was never started."""
        if self.child is None:
            return None
        if self.running:
            self.child.terminate()
        return self.child.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL and wait: a crash."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()

    def close(self) -> None:
        """Kill the child and remove the temp dir. Nobody needs the data any more, so no orderly stop."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
