"""How long consumers wait when an engine goes: `python -m tests.ha.takeover [--rounds 5] [--session 4]`.

Two engines, one ZooKeeper, a MariaDB. Each round the active engine is drained, stopped or killed; measured is the time from then
until the other one lets a consumer in ("serving"), and until the consumer has a change that was committed after that ("data").
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kazoo.client import KazooClient

from engine.errors import EngineError
from tests.running_engine import RunningEngine
from tests.servers.database import REPL_PASSWORD, REPL_USER, Database
from tests.servers.mariadb import MariaDB
from tests.servers.zookeeper import ZooKeeper

LOOK_S = 0.002
SETTLE_S = 4.0  # for an engine that was started to have its spare processes ready
_pause = threading.Event()  # never set


class Pair:
    """Two engines that take each other's place."""

    def __init__(self, folder: Path, hosts: str, database: Database, session_s: float) -> None:
        url = f"mysql://{REPL_USER}:{REPL_PASSWORD}@127.0.0.1:{database.port}"
        source = {"url": url, "start": database.position(), "ring": "1MiB"}
        store = {"store": {"kind": "memory", "size": "1MiB"}, "include": [r"d\.t"]}
        self.root = f"/test/{uuid.uuid4().hex}"
        self.database = database
        self.inserted = 0
        self.engines = [
            RunningEngine(
                folder / name, {"shop": source}, {"orders": store},
                {"zookeeper": hosts, "root": self.root, "name": name, "session_timeout_s": session_s},
            ).start()
            for name in "ab"
        ]  # fmt: skip
        self.active = self.engines[0]
        while self.owner() == "":
            _pause.wait(LOOK_S)
        self.active = self.engines["ab".index(self.owner())]

    def owner(self) -> str:
        seen = next((seen for engine in self.engines if (seen := engine.observe()["cluster"])), None)
        return "" if seen is None else seen["owners"].get("orders", "")

    def measure(self, go: Callable[[RunningEngine], None]) -> tuple[float, float]:
        """Seconds until the other engine serves, and until it has delivered what was committed after that began."""
        other = next(engine for engine in self.engines if engine is not self.active)
        self.inserted += 1
        began = time.monotonic()
        going = threading.Thread(target=go, args=(self.active,))
        going.start()
        self.database.sql(f"INSERT INTO d.t VALUES ({self.inserted})")
        while True:
            with suppress(EngineError, OSError), other.connect("orders", reconnect=False) as stream:
                serving = time.monotonic() - began
                while True:
                    batch = stream.get(wait_ms=20_000)
                    assert batch is not None, other.log
                    ids = [change.after["id"] for change in batch]
                    batch.ack()
                    if self.inserted in ids:
                        data = time.monotonic() - began
                        stream.flush()
                        break
                break
            _pause.wait(LOOK_S)
        going.join()
        self.active = other
        return serving, data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--session", type=float, default=4.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ZooKeeper() as zookeeper, MariaDB() as database:
        database.sql("CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)")
        pair = Pair(Path(folder), zookeeper.hosts, database, options.session)
        client = KazooClient(zookeeper.hosts)
        client.start()

        def drain(engine: RunningEngine) -> None:
            client.create(f"{pair.root}/drained/{engine.folder.name}", makepath=True)

        def stop(engine: RunningEngine) -> None:
            engine.stop()

        def kill(engine: RunningEngine) -> None:
            engine.kill()

        try:
            _pause.wait(SETTLE_S)
            for name, go in (("drain", drain), ("stop", stop), ("kill", kill)):
                times = []
                for _ in range(options.rounds):
                    times.append(pair.measure(go))
                    for path in client.get_children(f"{pair.root}/drained"):
                        client.delete(f"{pair.root}/drained/{path}")
                    for engine in pair.engines:
                        if engine.process is not None and engine.process.poll() is not None:
                            engine.start()
                    while len((pair.active.observe()["cluster"] or {"engines": []})["engines"]) < 2:
                        _pause.wait(LOOK_S)
                    _pause.wait(SETTLE_S)
                for what, measured in (("serving", [one for one, _ in times]), ("data", [one for _, one in times])):
                    each = " ".join(f"{one:.2f}" for one in measured)
                    shown = f"{each}: median {statistics.median(measured):.3f} s, longest {max(measured):.3f} s"
                    print(f"{name:6} {what:8} {shown}", flush=True)
        finally:
            client.stop()
            client.close()
            for engine in pair.engines:
                engine.__exit__()


if __name__ == "__main__":
    main()
