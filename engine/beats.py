"""When the loop of each process of an engine turned last: 8 bytes each in shared memory, read from outside without asking.

A loop that hangs, or a process that is stopped, stops beating. What may take long within one turn calls `beat` meanwhile; what
waits for an answer from somewhere else, and has a time limit, is done under `waiting`.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import RingError
from engine.instance import Instance

STALLED_S = 5.0  # without a beat; a loop turns some times a second when it has nothing to do
SUPERVISOR = 0  # its place; the others have theirs from the supervisor

_own: tuple[memoryview, int] | None = None


def make_beats(instance: Instance, places: int) -> None:
    """An empty page for so many processes.

    Raises:
        RingError: no room in shared memory.
    """
    path = _path(instance)
    draft = path.with_suffix(".new")
    try:
        with draft.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 8 * places)  # an error now, not a SIGBUS later
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise RingError(
            "no room for the heartbeats", path=path, error=error.strerror,
            remedy="make /dev/shm larger (docker: --shm-size)",
        ) from None  # fmt: skip


def beat_at(instance: Instance, place: int) -> None:
    """From now on `beat` of this process goes there."""
    global _own
    with _path(instance).open("r+b") as file:
        _own = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q"), place
    beat()


def beat() -> None:
    """The loop of this process turns, or what it does takes long and goes on; nothing happens in a process without a place."""
    _beat(0.0)


@contextmanager
def waiting(most_s: float) -> Iterator[None]:
    """The loop of this process waits for an answer, for so long at most, and isn't taken for one that hangs meanwhile."""
    in_loop = threading.current_thread() is threading.main_thread()
    if in_loop:
        _beat(most_s)
    try:
        yield
    finally:
        if in_loop:
            _beat(0.0)


def _beat(ahead_s: float) -> None:
    if _own is not None:
        page, place = _own
        page[place] = time.monotonic_ns() + int(ahead_s * 1e9)


def silences_s(instance: Instance) -> list[float]:
    """Seconds since the last beat at each place, 0 where there was none yet; nothing if there is no page."""
    try:
        data = _path(instance).read_bytes()
    except OSError:
        return []
    now = time.monotonic_ns()
    return [max(now - then, 0) / 1e9 if then else 0.0 for (then,) in struct.iter_unpack("Q", data[: len(data) // 8 * 8])]


def _path(instance: Instance) -> Path:
    return Path("/dev/shm") / f"{instance.prefix}beats"
