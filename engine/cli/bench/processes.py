"""What the processes of an engine take while they are measured: processor time, and memory beside the rings."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

SAMPLE_S = 0.1  # a look takes 0.2 ms of a processor, which what is measured needs
_PROC = Path("/proc")


class Watch:
    """`with Watch(pid) as watch:` looks at the process and its children every SAMPLE_S; the process itself is the supervisor.

    peak_bytes: by title, the most memory that is the process's own: resident, without shared memory, which is the rings'.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.peak_bytes: dict[str, int] = {}

    @property
    def peak_mb(self) -> dict[str, float]:
        return {title: round(size / 1e6, 1) for title, size in sorted(self.peak_bytes.items())}

    def cpu_ns(self) -> dict[str, int]:
        """Processor time that each process has taken up to now, by title."""
        return {title: _cpu_ns(pid) for pid, title in family(self._pid)}

    def look(self) -> None:
        """Take one sample."""
        for pid, title in family(self._pid):
            with suppress(OSError):
                self.peak_bytes[title] = max(self.peak_bytes.get(title, 0), _own_bytes(pid))

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_S):
            self.look()

    def __enter__(self) -> Self:
        self.look()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()


def family(supervisor: int) -> Iterator[tuple[int, str]]:
    """An engine's processes as (pid, title), the supervisor first."""
    yield supervisor, "supervisor"
    with suppress(OSError):
        for pid in (_PROC / str(supervisor) / "task" / str(supervisor) / "children").read_text().split():
            words = (_PROC / pid / "cmdline").read_bytes().split(b"\0")
            if b"engine.process" in words:  # python -m engine.process ROLE NAME NUMBER ...
                role, name, number = (word.decode() for word in words[words.index(b"engine.process") + 1 :][:3])
                title = {"sink": f"sink {name} {number}", "server": "server"}.get(role, f"{role} {name}")
                yield int(pid), title


def _own_bytes(pid: int) -> int:
    """Resident memory of a process without what it shares through /dev/shm."""
    kib = {}
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("RssAnon", "RssFile"):
            kib[name] = int(value.split()[0])
    return sum(kib.values()) << 10


def _cpu_ns(pid: int) -> int:
    """Of all its threads; the scheduler counts in nanoseconds, /proc/PID/stat only in hundredths of a second."""
    total = 0
    with suppress(OSError):
        for thread in os.listdir(_PROC / str(pid) / "task"):
            with suppress(OSError):
                total += int((_PROC / str(pid) / "task" / thread / "schedstat").read_text().split()[0])
    return total
