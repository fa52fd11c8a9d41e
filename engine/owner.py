"""Who holds a role in shared memory: a pid, told apart from a later process of the same pid by its start time."""

from __future__ import annotations

import os

from engine.errors import RingError


def process_start_time(pid: int) -> int:
    """Start time of a process in clock ticks since boot; 0 if there is none, or only a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()  # the command before it may hold blanks and brackets
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def is_alive(pid: int, start_time: int) -> bool:
    return pid != 0 and process_start_time(pid) == start_time


def refuse_live(pid: int, start_time: int, role: str, ring: str) -> None:
    """A role may change hands if nobody has it, or a dead process, or this one."""
    if pid != os.getpid() and is_alive(pid, start_time):
        raise RingError(f"{role} is a live process", ring=ring, pid=pid, remedy="stop that process first")


def take(pid: int, start_time: int, role: str, ring: str, takeover: bool) -> tuple[int, int]:
    """What the new owner, this process, writes in place of the old."""
    refuse_live(pid, start_time, role, ring)
    own = os.getpid()
    if pid not in (0, own) and not takeover:
        raise RingError(f"{role} died", ring=ring, pid=pid, remedy="take over from it")
    return own, process_start_time(own)
