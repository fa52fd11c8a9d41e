"""The stand of a chaos run: two database servers behind proxies, an engine with memory and file stores, its consumers.

MariaDB ─▶ proxy ─▶ source maria ─┬─▶ destination maria ─▶ consumer process ─▶ SQLite file
                                  ├─▶ destination both, 2 partitions ─▶ …
MySQL   ─▶ proxy ─▶ source my ────┴─▶ destination my ─▶ …

Its seed says where positions are kept: in a file, in ZooKeeper behind a proxy, or in both (mixed).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Self

from engine.config import ClusterConfig
from engine.meta.zookeeper import ZooKeeperMeta
from engine.owner import is_alive, process_start_time
from tests.chaos.consumer_process import ConsumerProcess
from tests.chaos.workload import END_TABLE, SCHEMA, TABLES, Writer, end_writers, finish, make_tables
from tests.running_engine import RunningEngine
from tests.servers.database import Database
from tests.servers.mariadb import MariaDB
from tests.servers.mysql import MySQL
from tests.servers.proxy import Proxy
from tests.servers.zookeeper import ZooKeeper

CONNECTIONS = 8
CATCH_UP_S = 300.0  # a consumer that was far behind needs a while, on a busy machine above all
GONE_S = 5.0
METAS = ("file", "mixed", "zookeeper")
SESSION_S = 6.0  # ZooKeeper is mostly away for less than lets leases lapse: then acks of "mixed" go on
DURABLE = {"innodb_flush_log_at_trx_commit": 2}  # what is in the binlog is in InnoDB too when only the process dies
DESTINATIONS: dict[str, Any] = {
    "maria": {"from": ["maria"], "store": {"kind": "memory", "size": "16MiB"}},
    "my": {"from": ["my"], "store": {"kind": "file", "size": "16MiB"}},
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
        self.meta = METAS[seed % len(METAS)]
        self.zookeeper: ZooKeeper | None = None
        self.zookeeper_proxy: Proxy | None = None
        self._cluster: dict[str, Any] | None = None
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
        if self.meta != "file":
            self.zookeeper = ZooKeeper().start()
            self.zookeeper_proxy = Proxy(self.zookeeper.port)
            self._cluster = {"zookeeper": [f"127.0.0.1:{self.zookeeper_proxy.port}"], "session_timeout_s": SESSION_S}
        self.engine = RunningEngine(self.folder, sources, destinations, self._cluster, meta=self.meta)
        self.engine.start()
        self.consumers = [ConsumerProcess(self.folder, self.engine.listen, name) for name in destinations]
        names = list(self.databases)
        for number in range(CONNECTIONS):
            database = self.databases[names[number % len(names)]]
            writer = Writer(database, number, self._seed * 1000 + number, alters=number < len(names))
            writer.start()
            self.writers.append(writer)

    @property
    def every_proxy(self) -> list[Proxy]:
        return [*self.proxies.values(), *([self.zookeeper_proxy] if self.zookeeper_proxy else [])]

    def pids(self, *roles: str) -> list[int]:
        """Of the engine's processes that run now."""
        return [stage["pid"] for stage in self.engine.observe()["stages"] if stage["role"] in roles and stage["pid"]]

    def kill_engine(self) -> None:
        """SIGKILL to the supervisor; returns when its children are gone too, which the kernel sees to."""
        pids = self.pids("source", "sink", "server")
        children = [(pid, began) for pid in pids if (began := process_start_time(pid))]  # one may have died by itself just now
        self.engine.kill()
        deadline = time.monotonic() + GONE_S
        while any(is_alive(*child) for child in children):
            assert time.monotonic() < deadline, "children outlive their supervisor"
            time.sleep(0.005)

    # -- the end ---------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """No more faults, no more changes: wait until every consumer has the last change of each server."""
        for proxy in self.every_proxy:
            proxy.restore()
        end_writers(self.writers)
        for database in self.databases.values():
            finish(database, 1)
        deadline = time.monotonic() + CATCH_UP_S
        for consumer in self.consumers:
            consumer.await_the_end(self._sources_of(consumer), deadline)
        self._wait_for_acks(deadline)

    def _wait_for_acks(self, deadline: float) -> None:
        """ZooKeeper, asked itself, knows that the last changes are acked."""
        if self._cluster is None:
            return
        meta = ZooKeeperMeta(ClusterConfig(**self._cluster))
        last: dict[tuple[str, int, str], Any] = {}
        for consumer in self.consumers:
            replica = consumer.replica()
            last |= {(consumer.destination, *place): identity for place, identity in replica.last.items()}
            replica.db.close()
        try:
            while True:
                sources = {number: history.source for number, history in meta.histories().items()}
                acked: dict[tuple[str, int, str], Any] = {}
                for place, identity in meta.acked().items():
                    where = (place.destination, place.partition, sources[place.source])
                    acked[where] = max((place.source, *identity), acked.get(where, ()))
                behind = {
                    where: (identity, acked.get(where)) for where, identity in last.items() if acked.get(where, ()) < identity
                }
                if not behind:
                    return
                assert time.monotonic() < deadline, f"ZooKeeper lacks acks: {behind}\n{self.engine.log}"
                time.sleep(0.1)
        finally:
            meta.close()

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
        for proxy in self.every_proxy:
            proxy.close()
        if self.zookeeper is not None:
            self.zookeeper.close()
        for database in self.databases.values():
            database.close()
