"""The grant: up to when an engine can prove that a destination is its own, for its stages to see in shared memory.

One file per destination, written by the supervisor's process, but for `let_go`, which the server writes:

    0   8   magic and version
    8   8   epoch of the lease; 0: not ours
    16  8   valid until: CLOCK_BOOTTIME, ns (it goes on while the machine sleeps)
    24  8   the last epoch that the server has let go: it serves the destination no longer, and its acks are kept

Every field is one aligned word that is written and read as a whole. The epoch changes only while the grant is not valid.
"""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

from engine.errors import MetaError

_MAGIC = 0x424C_4752_0000_0001
_SIZE = 64
_EPOCH, _VALID_UNTIL, _LET_GO = 1, 2, 3


def boot_ns() -> int:
    """CLOCK_BOOTTIME in nanoseconds."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Grant:
    """One destination's grant. `create` is the supervisor's, `attach` a stage's."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._map = mmap.mmap(fd, _SIZE)
        self._words = memoryview(self._map).cast("Q")

    @classmethod
    def create(cls, path: Path) -> Grant:
        """A new one that grants nothing, in place of what there was."""
        draft = path.with_name(path.name + ".new")
        fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.truncate(fd, _SIZE)
            grant = cls(path, fd)
        finally:
            os.close(fd)
        grant._words[0] = _MAGIC
        draft.rename(path)  # whole, or not there
        return grant

    @classmethod
    def attach(cls, path: Path) -> Grant:
        """The one that the supervisor has made.

        Raises:
            MetaError: there is none, or it is of another version.
        """
        try:
            fd = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            raise MetaError("no grant of this destination", file=path, remedy="is the engine running with [cluster]?") from None
        try:
            if os.fstat(fd).st_size != _SIZE:
                raise MetaError("not a grant", file=path, remedy="start the engine anew")
            grant = cls(path, fd)
        finally:
            os.close(fd)
        if grant._words[0] != _MAGIC:
            found = grant._words[0]
            grant.close()
            raise MetaError("a grant of another version", file=path, found=hex(found), known=hex(_MAGIC))
        return grant

    def holds(self) -> bool:
        """Whether the lease can be proven at this moment. A few hundred nanoseconds."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) < self._words[_VALID_UNTIL]

    @property
    def epoch(self) -> int:
        """Of the lease that we have or had last; 0: none."""
        return self._words[_EPOCH]

    @property
    def valid_until_ns(self) -> int:
        return self._words[_VALID_UNTIL]

    def give(self, epoch: int, until_ns: int) -> None:
        """A new lease."""
        self._words[_VALID_UNTIL] = 0
        self._words[_EPOCH] = epoch
        self._words[_VALID_UNTIL] = until_ns

    def extend(self, until_ns: int) -> None:
        """The same lease, proven for longer; never shortens it."""
        if until_ns > self._words[_VALID_UNTIL]:
            self._words[_VALID_UNTIL] = until_ns

    def withdraw(self) -> None:
        """Not ours from this moment on. The epoch stays, for what is still to be refused or flushed under it."""
        self._words[_VALID_UNTIL] = 0

    def forget(self) -> None:
        """Nothing more is flushed under this lease."""
        self._words[_VALID_UNTIL] = 0
        self._words[_EPOCH] = 0

    @property
    def let_go(self) -> int:
        return self._words[_LET_GO]

    def say_let_go(self, epoch: int) -> None:
        """Of the server: this lease's destination is served no longer."""
        self._words[_LET_GO] = epoch

    def close(self) -> None:
        """Closing twice is harmless."""
        self._words.release()
        self._map.close()
