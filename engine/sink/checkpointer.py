"""Brings one file store to the disk, in a thread beside the sink's loop, which waits only for room that a checkpoint frees."""

from __future__ import annotations

import logging
import threading
import time

from engine.errors import StoreError
from engine.file_store import Checkpoints
from engine.ring import Ring

log = logging.getLogger("engine.sink")

HUNGRY_S = 0.001  # between looks for acks that give a full store room
QUIET_S = 1.0  # between checkpoints that only say what has been acked
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0  # before a full disk is tried again


class Checkpointer:
    """interval_s: pause between checkpoints while records come, 0: none.

    trouble: the disk is full; it is tried again. The thread alone calls `turn`.
    """

    def __init__(self, ring: Ring, interval_s: float) -> None:
        self.trouble: StoreError | None = None
        self._failure: BaseException | None = None
        self._checkpoints = Checkpoints(ring)
        self._interval_s = interval_s
        self._pause_s = FIRST_PAUSE_S
        self._retry_at_s = 0.0
        self._next_s = 0.0
        self._quiet_until_s = 0.0
        self._hungry = False
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"checkpoints of {ring.name}", daemon=True)
        self._thread.start()

    def nudge(self, *, hungry: bool) -> None:
        """There may be something to sync. hungry: the sink waits for room that only a checkpoint gives."""
        self._hungry = hungry
        if (hungry or self._interval_s == 0) and not self._wake.is_set():
            self._wake.set()

    def check(self) -> None:
        """Raise what ended the thread: an I/O error, or a bug."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """The last checkpoint, if nothing is in the way. Closing twice is harmless."""
        if self._stopping:
            return
        self._stopping = True
        self._wake.set()
        self._thread.join()
        try:
            if self._failure is None:
                self._checkpoints.write()
        except StoreError as error:
            log.error("not synced at the end: %s", error)
        finally:
            self._checkpoints.close()

    def turn(self, now_s: float) -> float:
        """Write a checkpoint if one is due; returns for how long nothing is to be done unless nudged."""
        checkpoints = self._checkpoints
        if now_s < self._retry_at_s:
            return self._retry_at_s - now_s
        if self._hungry:
            if not checkpoints.could_free():
                return HUNGRY_S
        elif now_s < self._next_s:
            return self._next_s - now_s
        elif not checkpoints.due and (now_s < self._quiet_until_s or not checkpoints.stale()):
            return self._interval_s or QUIET_S
        try:
            checkpoints.write()
        except StoreError as error:
            if error.reason != "disk_full":
                raise
            if self.trouble is None:
                log.error("%s", error)
            self.trouble = error
            self._retry_at_s = now_s + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            return self._retry_at_s - now_s
        if self.trouble is not None:
            log.info("the disk has room again")
        self.trouble, self._pause_s = None, FIRST_PAUSE_S
        self._quiet_until_s = now_s + QUIET_S
        self._next_s = now_s + self._interval_s
        return self._interval_s

    def _run(self) -> None:
        try:
            while not self._stopping:
                pause_s = self.turn(time.monotonic())
                if pause_s:
                    self._wake.wait(pause_s)
                self._wake.clear()
        except BaseException as error:
            self._failure = error
