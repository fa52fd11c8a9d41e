"""Wakes the event loop when a store gets new records: a FIFO that the stores' writers write a byte to.

A store's writer makes no system call for it unless the bell was asked for, and each ring of it is asked for anew: stores that
nobody waits for cost their sinks nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

from engine.errors import RingError
from engine.ring import Ring, hang_bell


class Bell:
    """`fd` becomes readable when it is rung, until that is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.unlink(missing_ok=True)  # of a server that was killed
        try:
            os.mkfifo(path, 0o600)
            self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)  # as a writer too: it never comes to an end
        except OSError as error:
            raise RingError("the server's bell can't be made", path=path, error=error.strerror) from None

    def hang(self, ring: Ring) -> None:
        """Have this ring's writer ring it from now on, whenever `bell_when` asks for it."""
        hang_bell(ring, self._path)

    def close(self) -> None:
        """Closing twice is harmless."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self._path.unlink(missing_ok=True)
