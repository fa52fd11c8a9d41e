"""A consumer in a process of its own, killed and started again, and the replica that it leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.chaos.kept_replica import KeptReplica, Place
from tests.chaos.workload import END_TABLE, TABLES, selected
from tests.servers.database import Database

_between_looks = threading.Event()  # never set


class ConsumerProcess:
    """Its file outlives it."""

    def __init__(self, folder: Path, address: str, destination: str, consumer: str = "default") -> None:
        self.destination = destination
        self.consumer = consumer
        self.file = folder / f"{destination}.{consumer}.sqlite"
        self._log = folder / f"{destination}.{consumer}.log"
        self._argv = [sys.executable, "-m", "tests.chaos.consumer", address, destination, consumer, str(self.file)]
        self._start()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def restart(self, how: signal.Signals) -> None:
        self.end(how)
        self._start()

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        self._process.send_signal(how)
        self._process.wait()

    def replica(self) -> KeptReplica:
        return KeptReplica(self.file)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]

    def await_the_end(self, sources: Iterable[str], deadline: float) -> None:
        """Until it has the last change of each of these sources."""
        replica = self.replica()
        while not all(any(replica.rows(name, END_TABLE)) for name in sources):
            assert self.running, f"{self.destination} {self.consumer} ended: {self.log}"
            assert time.monotonic() < deadline, f"{self.destination} {self.consumer} is behind: {self.log}"
            _between_looks.wait(0.1)
        replica.db.close()

    def await_acked(self, source: str, table: str, key: int, deadline: float) -> None:
        """Until it has a row, and the engine has confirmed an ack of all that it had by then."""
        replica = self.replica()
        reached: dict[Place, tuple[int, ...]] = {}
        while not reached or any(replica.confirmed(place) < identity for place, identity in reached.items()):
            assert self.running, f"{self.destination} {self.consumer} ended: {self.log}"
            assert time.monotonic() < deadline, f"{self.destination} {self.consumer} is behind: {self.log}"
            _between_looks.wait(0.05)
            if not reached and replica.has(source, table, key):
                now = self.replica()
                reached = {place: identity for place, identity in now.last.items() if place[1] == source}
                now.db.close()
        replica.db.close()

    def compare(self, databases: Mapping[str, Database]) -> dict[str, int]:
        """End it. Its replica of each of these sources must equal SELECT, and nothing have happened that must not; its counts."""
        self.end()
        replica, whose = self.replica(), f"{self.destination} {self.consumer}"
        assert not replica.violations, f"{whose}: {replica.violations[:3]}"
        for name, database in databases.items():
            for table in TABLES:
                rows = selected(database, table)
                mirrored = list(replica.rows(name, table))
                assert len(mirrored) == len(rows), f"{whose} {name}.{table}: {len(mirrored)} of {len(rows)}"
                for row in mirrored:
                    truth = rows[row["id"]]
                    assert all(truth[column] == row[column] for column in truth.keys() & row.keys()), (row, truth)
        counts = {**replica.counts, "rows_at_the_end": len(mirrored)}
        replica.db.close()
        return counts
