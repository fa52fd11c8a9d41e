"""What lists of faults have in common: one after the other goes wrong, chosen by a seed."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

Kinds = list[tuple[int, Callable[[], None]]]  # how often, what


class Trouble:
    """A list of faults is a class made of this; each fault is over when its method returns, or mends itself."""

    def __init__(self, seed: int, longest_s: float) -> None:
        """longest_s: of what lasts a while."""
        self.done: Counter[str] = Counter()
        self.kinds: Kinds = []
        self.rng = random.Random(seed)
        self._longest_s = longest_s
        self._over = threading.Event()  # never set: a pause that isn't a bare sleep

    def next(self) -> str:
        """Do one; its name."""
        fault = self.rng.choices([what for _, what in self.kinds], [weight for weight, _ in self.kinds])[0]
        fault()
        self.done[fault.__name__] += 1
        return fault.__name__

    def pause(self) -> None:
        self._over.wait(self.rng.uniform(0.05, self._longest_s))

    def freeze(self, pids: list[int]) -> None:
        """SIGSTOP, and SIGCONT a while later: for the others these hang, or their machine is moved."""
        for signum in (signal.SIGSTOP, signal.SIGCONT):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signum)
            if signum == signal.SIGSTOP:
                self.pause()
