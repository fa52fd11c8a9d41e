"""A consumer that lives through kills, and a killer that picks its victims by a seed."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

from engine.errors import PeerError
from tests.replica import Replica
from tests.running_engine import RunningEngine


class Survivor:
    """A consumer that connects again as often as it has to.

    What it has acked, and been told is kept, must never come again; what it has only read may, and is the same then.
    again: how many changes came a second time.
    """

    def __init__(self, running: RunningEngine, destination: str) -> None:
        self.replica = Replica()
        self.again = 0
        self.failure: BaseException | None = None
        self._running = running
        self._destination = destination
        self._kept: set[tuple[Any, ...]] = set()
        self._unsure: dict[tuple[Any, ...], str] = {}
        self._last_change = time.monotonic()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"survivor of {destination}")

    def __enter__(self) -> Survivor:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ending.set()
        self._thread.join()

    def wait_until_equal(self, source: str, expected: dict[str, list[dict[str, Any]]], silence_s: float = 30.0) -> None:
        """Until its tables hold these rows; fails with the first difference when nothing has come for so long."""
        while any(not self._holds(source, table, rows) for table, rows in expected.items()):
            if self.failure is not None:
                raise self.failure
            if time.monotonic() - self._last_change > silence_s:
                for table, rows in expected.items():
                    assert self.replica.rows(source, table) == rows, f"{self._destination}: {table}"
            self._ending.wait(0.5)

    def _holds(self, source: str, table: str, rows: list[dict[str, Any]]) -> bool:
        """Looks at the number first: comparing takes the time that the consumer needs."""
        return len(self.replica.tables.get((source, table), ())) == len(rows) and self.replica.rows(source, table) == rows

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                try:
                    self._session()
                except (PeerError, OSError):
                    self._ending.wait(0.02)
        except BaseException as error:
            self.failure = error

    def _session(self) -> None:
        with self._running.connect(self._destination, timeout=10) as stream:
            while not self._ending.is_set():
                batch = stream.get(wait_ms=100, rows=2000)
                if batch is None:
                    continue
                taken = [self._take(change) for change in batch]
                batch.ack()
                stream.flush()
                for identity in taken:
                    del self._unsure[identity]
                self._kept.update(taken)

    def _take(self, change: Any) -> tuple[Any, ...]:
        self._last_change = time.monotonic()
        identity, content = (change.source, change.op, *change.identity), str(change.to_json())
        assert identity not in self._kept, f"came again after its ack was kept: {content}"
        if identity in self._unsure:
            assert self._unsure[identity] == content, f"came again as another one: {self._unsure[identity]} → {content}"
            self.again += 1
        else:
            self._unsure[identity] = content
            self.replica.apply(change)
        return identity


class Killer:
    """Kills stages, or the whole engine by its supervisor, and starts it again. log: what it did."""

    def __init__(self, running: RunningEngine, seed: int) -> None:
        self.log: list[str] = []
        self._running = running
        self._rng = random.Random(seed)

    def strike(self, victims: list[str], times: int, most_pause_s: float = 1.0) -> None:
        """So often, each time after a random pause, kill one of these: titles of stages, or `supervisor`. Each has its turn."""
        order = [victim for _ in range(-(-times // len(victims))) for victim in self._rng.sample(victims, len(victims))]
        for victim in order[:times]:
            threading.Event().wait(self._rng.random() * most_pause_s)
            self.log.append(victim)
            self._kill(victim)

    def _kill(self, victim: str) -> None:
        if victim == "supervisor":
            self.kill_everything()
            self._running.start()
            return
        stage = self._running.stage(victim)
        if stage["pid"] is not None:
            os.kill(stage["pid"], signal.SIGKILL)

    def kill_everything(self) -> None:
        """SIGKILL to the supervisor; returns when its children are dead, too."""
        pids = [stage["pid"] for stage in self._running.observe()["stages"]]
        self._running.kill()
        self._running.process = None
        self._running.wait_until(lambda: not any(is_alive(pid) for pid in pids if pid))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
