"""The stand of a chaos run: two database servers behind proxies, an engine with memory and file stores, its consumers.

MariaDB ─▶ proxy ─▶ source maria ─┬─▶ destination maria ─▶ consumer process ─▶ SQLite file
                                  ├─▶ destination both, 2 partitions ─▶ …
MySQL   ─▶ proxy ─▶ source my ────┴─▶ destination my ─▶ …
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Self

from engine.owner import is_alive, process_start_time
from tests.chaos.consumer_process import ConsumerProcess
from tests.chaos.workload import END_TABLE, SCHEMA, TABLES, Writer, end_writers, finish, make_tables
from tests.running_engine import RunningEngine
from tests.servers.database import Database
from tests.servers.mariadb import MariaDB
from tests.servers.mysql import MySQL
from tests.servers.proxy import Proxy

CONNECTIONS = 8
CATCH_UP_S = 120.0
GONE_S = 5.0
DURABLE = {"innodb_flush_log_at_trx_commit": 2}  # what is in the binlog is in InnoDB too when only the process dies
DESTINATIONS: dict[str, Any] = {
    "maria": {"from": ["maria"], "store": {"kind": "memory", "size": "16MiB"}},
    "my": {"from": ["my"], "store": {"kind": "memory", "size": "16MiB"}},
    "both": {"partitions": 2, "sinks": 2, "batch_rows": 500, "order": "commit_time", "store": {"kind": "memory", "size": "4MiB"}},
}


class Stand:
    """`with Stand(folder, seed) as stand: ... stand.check()`."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.databases: dict[str, Database] = {"maria": MariaDB(**DURABLE), "my": MySQL(**DURABLE)}
        self.proxies: dict[str, Proxy] = {}
        self.writers: list[Writer] = []
        self.consumers: list[ConsumerProcess] = []
        self._seed = seed

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        sources = {}
        for name, database in self.databases.items():
            database.start()
            make_tables(database)
            self.proxies[name] = Proxy(database.port)
            url = database.url().replace(f":{database.port}", f":{self.proxies[name].port}")
            sources[name] = {"url": url, "start": database.position(), "ring": "1MiB", "read_timeout_s": 3.0}
        include = rf"{SCHEMA}\.({'|'.join((*TABLES, END_TABLE))})"
        destinations = {name: {**settings, "include": [include]} for name, settings in DESTINATIONS.items()}
        self.engine = RunningEngine(self.folder, sources, destinations)
        self.engine.start()
        self.consumers = [ConsumerProcess(self.folder, self.engine.listen, name) for name in destinations]
        names = list(self.databases)
        for number in range(CONNECTIONS):
            database = self.databases[names[number % len(names)]]
            writer = Writer(database, number, self._seed * 1000 + number, alters=number < len(names))
            writer.start()
            self.writers.append(writer)

    def pids(self, *roles: str) -> list[int]:
        """Of the engine's processes that run now."""
        return [stage["pid"] for stage in self.engine.observe()["stages"] if stage["role"] in roles and stage["pid"]]

    def kill_engine(self) -> None:
        """SIGKILL to the supervisor; returns when its children are gone too, which the kernel sees to."""
        children = [(pid, process_start_time(pid)) for pid in self.pids("source", "sink", "server")]
        self.engine.kill()
        deadline = time.monotonic() + GONE_S
        while any(is_alive(*child) for child in children):
            assert time.monotonic() < deadline, "children outlive their supervisor"
            time.sleep(0.005)

    # -- the end ---------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """No more faults, no more changes: wait until every consumer has the last change of each server."""
        for proxy in self.proxies.values():
            proxy.restore()
        end_writers(self.writers)
        for database in self.databases.values():
            finish(database, 1)
        deadline = time.monotonic() + CATCH_UP_S
        for consumer in self.consumers:
            consumer.await_the_end(self._sources_of(consumer), deadline)

    def _sources_of(self, consumer: ConsumerProcess) -> set[str]:
        return {consumer.destination} & set(self.databases) or set(self.databases)

    def check(self) -> dict[str, dict[str, int]]:
        """Every replica equals SELECT, and nothing happened that must not; counts by destination."""
        return {
            consumer.destination: consumer.compare({name: self.databases[name] for name in self._sources_of(consumer)})
            for consumer in self.consumers
        }

    def __exit__(self, *exc: object) -> None:
        for writer in self.writers:
            writer.stopping.set()
        for consumer in self.consumers:
            consumer.end()
        if hasattr(self, "engine"):
            self.engine.__exit__()
        for proxy in self.proxies.values():
            proxy.close()
        for database in self.databases.values():
            database.close()
