"""When a source tries again: pauses that grow, with jitter so that many engines don't come at once, and how often it may.

ConnectionLost                      for ever, 0.1 s to 10 s apart
the server refuses us, and once     for ever, up to a minute apart: a password or a grant is changed by people
  had let us in
damaged bytes from a network        twice at one place, so that what the network did is told from what the file holds
"""

from __future__ import annotations

import random

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
LONGEST_REFUSED_PAUSE_S = 60.0
REREADS = 2  # of one place


class Retries:
    """How one source's tries have gone."""

    def __init__(self) -> None:
        self.failures = 0  # in a row
        self._pause_s = FIRST_PAUSE_S
        self._damaged_at: object = None
        self._rereads = 0

    def pause_s(self, *, refused: bool = False) -> float:
        """How long to wait after one more failure."""
        self.failures += 1
        pause_s = self._pause_s * random.uniform(0.5, 1.0)
        self._pause_s = min(2 * self._pause_s, LONGEST_REFUSED_PAUSE_S if refused else LONGEST_PAUSE_S)
        return pause_s

    def worked(self) -> None:
        """Bytes have come."""
        self.failures = 0
        self._pause_s = FIRST_PAUSE_S

    def may_reread(self, place: object) -> bool:
        """Damaged bytes at `place`: whether to read them once more."""
        if place != self._damaged_at:
            self._damaged_at, self._rereads = place, 0
        self._rereads += 1
        return self._rereads <= REREADS
