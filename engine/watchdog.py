"""Finds stages that hang: alive, but their loop doesn't turn. They are shown as stalled, and after a while killed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from engine.beats import STALLED_S, silences_s
from engine.child import Child
from engine.instance import Instance

log = logging.getLogger("engine.supervisor")

LOOK_S = 0.5
LAPSE_S = 2.0  # between two looks: the supervisor itself stood still, and perhaps everything did


class Watchdog:
    """kill_after_s: of silence; 0: never. Being killed costs a stage nothing but time: it goes on exactly where it was."""

    def __init__(self, instance: Instance, kill_after_s: float) -> None:
        self._instance = instance
        self._kill_after_s = kill_after_s
        self._looked = self._since = time.monotonic()

    def look(self, children: Iterable[Child]) -> bool:
        """Now and then: whether the state of any has changed."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return False
        if now - self._looked > LAPSE_S:
            self._since = now
        self._looked = now
        silences = silences_s(self._instance)
        changed = False
        for child in children:
            if child.state in ("running", "stalled") and child.place < len(silences):
                silence_s = min(silences[child.place], now - self._since, now - child.running_since)
                changed |= child.stall(silence_s if silence_s > STALLED_S else 0.0)
                if self._kill_after_s and silence_s > self._kill_after_s:
                    log.error("%s has not moved for %.0f s and is killed: pid %s", child.title, silence_s, child.pid)
                    child.kill("stalled", f"did not move for {silence_s:.0f} s and was killed")
        return changed
