"""The stand of a chaos run of a cluster, every connection through a proxy of its own:

3 ZooKeeper nodes ◀─ proxies ─ engine a, b, c ─ proxies ─▶ MariaDB        each engine has all its proxies for itself,
                                   ▲                                      so that it alone can be cut off
                                 proxies ◀─ consumer of orders, of audit
"""

from __future__ import annotations

import re
import signal
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Self

from engine.errors import MetaError
from engine.ha.grant import Grant, boot_ns
from engine.instance import Instance
from tests.chaos.stand import ConsumerProcess
from tests.chaos.workload import END_TABLE, SCHEMA, TABLES, Writer, finish, make_tables, selected
from tests.running_engine import RunningEngine
from tests.servers.mariadb import MariaDB
from tests.servers.process import free_port
from tests.servers.proxy import Proxy
from tests.servers.zookeeper import Ensemble

NAMES = ("a", "b", "c")
DESTINATIONS = ("orders", "audit")
SESSION_S = 2.0
CONNECTIONS = 3
CATCH_UP_S = 90.0
LOOK_S = 0.002


class Member:
    """One engine, and the proxies that its connections go through."""

    def __init__(self, folder: Path, name: str, ensemble: Ensemble, database: MariaDB, root: str) -> None:
        self.name = name
        self.zookeepers = [Proxy(node.port) for node in ensemble.nodes]
        self.database = Proxy(database.port)
        port = free_port()
        self.consumers = Proxy(port)
        self.address = f"tcp://127.0.0.1:{self.consumers.port}"
        url = database.url().replace(f":{database.port}", f":{self.database.port}")
        source = {"url": url, "start": database.position(), "ring": "1MiB", "read_timeout_s": 3.0}
        include = [rf"{SCHEMA}\.({'|'.join((*TABLES, END_TABLE))})"]
        destinations = {one: {"include": include, "store": {"kind": "memory", "size": "8MiB"}} for one in DESTINATIONS}
        cluster = {
            "zookeeper": [f"127.0.0.1:{proxy.port}" for proxy in self.zookeepers], "root": root, "name": name,
            "address": self.address, "session_timeout_s": SESSION_S, "balance_after_s": 5.0,
        }  # fmt: skip
        self.engine = RunningEngine(folder / name, {"shop": source}, destinations, cluster, listen=f"tcp://127.0.0.1:{port}")

    @property
    def proxies(self) -> list[Proxy]:
        return [*self.zookeepers, self.database, self.consumers]

    def close(self) -> None:
        self.engine.__exit__()
        for proxy in self.proxies:
            proxy.close()


class Watch(threading.Thread):
    """Looks at the grants of all engines all the time: no two may hold for one destination, and no epoch is given twice."""

    def __init__(self, members: list[Member]) -> None:
        super().__init__(daemon=True)
        self.faults: list[str] = []
        self.epochs: dict[tuple[str, int], str] = {}  # destination and epoch → engine
        self.looks = 0
        self.over = threading.Event()
        self._files = {
            (member.name, one): Instance(member.engine.folder / "data").grant_file(one)
            for member in members
            for one in DESTINATIONS
        }
        self._grants: dict[tuple[str, str], tuple[int, Grant]] = {}

    def run(self) -> None:
        while not self.over.wait(LOOK_S):
            self.looks += 1
            for destination in DESTINATIONS:
                self._look_at(destination)

    def _look_at(self, destination: str) -> None:
        holding = []
        for name in NAMES:
            grant = self._grant(name, destination)
            if grant is not None and grant.valid_until_ns > boot_ns():
                holding.append((name, grant.epoch, grant.valid_until_ns))
        now = boot_ns()
        still = [one for one in holding if one[2] > now]
        if len(still) > 1:
            self.faults.append(f"{destination}: {still} at {now}")
        for name, epoch, _ in holding:
            if self.epochs.setdefault((destination, epoch), name) != name:
                self.faults.append(f"{destination}: epoch {epoch} of {name} and {self.epochs[destination, epoch]}")

    def _grant(self, name: str, destination: str) -> Grant | None:
        path = self._files[name, destination]
        try:
            inode = path.stat().st_ino
            known = self._grants.get((name, destination))
            if known is None or known[0] != inode:
                self._grants[name, destination] = known = inode, Grant.attach(path)
        except (OSError, MetaError):
            return None  # its engine doesn't run
        return known[1]


class Stand:
    """`with Stand(folder, seed) as stand: ...; stand.settle(); stand.check()`."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.ensemble = Ensemble()
        self.database = MariaDB(innodb_flush_log_at_trx_commit=2)
        self.members: list[Member] = []
        self.consumers: list[ConsumerProcess] = []
        self.writers: list[Writer] = []
        self.watch: Watch | None = None
        self._seed = seed

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        self.ensemble.start()
        self.database.start()
        make_tables(self.database)
        root = f"/test/{uuid.uuid4().hex}"
        self.members = [Member(self.folder, name, self.ensemble, self.database, root) for name in NAMES]
        self.watch = Watch(self.members)
        self.watch.start()
        for member in self.members:
            member.engine.start()
        addresses = ",".join(member.address for member in self.members)
        self.consumers = [ConsumerProcess(self.folder, addresses, one, "tests.ha.consumer") for one in DESTINATIONS]
        for number in range(CONNECTIONS):
            self.writers.append(Writer(self.database, number, self._seed * 1000 + number, alters=number == 0))
            self.writers[-1].start()

    # -- the end ---------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """No more faults, no more changes: wait until every consumer has the last one."""
        for member in self.members:
            for proxy in member.proxies:
                proxy.restore()
        for writer in self.writers:
            writer.stopping.set()
        for writer in self.writers:
            writer.join(60)
            assert not writer.is_alive(), "a writer does not end"
            assert writer.failure is None, f"a writer failed: {writer.failure!r}"
        finish(self.database, 1)
        deadline = time.monotonic() + CATCH_UP_S
        for consumer in self.consumers:
            replica = consumer.replica()
            while not any(replica.rows("shop", END_TABLE)):
                assert consumer.running, f"{consumer.destination} ended: {consumer.log}"
                assert time.monotonic() < deadline, f"{consumer.destination} is behind: {consumer.log}"
                time.sleep(0.1)
            replica.db.close()

    def check(self) -> dict[str, Any]:
        """Replicas equal SELECT, nothing acked came again, and no two engines ever served one destination at once."""
        assert self.watch is not None
        self.watch.over.set()
        self.watch.join()
        assert not self.watch.faults, self.watch.faults[:3]
        done: dict[str, Any] = {"looks": self.watch.looks, "leases": len(self._leases_taken())}
        for consumer in self.consumers:
            consumer.end()
            replica = consumer.replica()
            assert not replica.violations, f"{consumer.destination}: {replica.violations[:3]}"
            for table in TABLES:
                rows = selected(self.database, table)
                mirrored = list(replica.rows("shop", table))
                assert len(mirrored) == len(rows), f"{consumer.destination} {table}: {len(mirrored)} of {len(rows)}"
                for row in mirrored:
                    truth = rows[row["id"]]
                    assert all(truth[column] == row[column] for column in truth.keys() & row.keys()), (row, truth)
            done[consumer.destination] = replica.counts
            replica.db.close()
        return done

    def _leases_taken(self) -> dict[tuple[str, int], str]:
        """From the engines' logs: destination and epoch → engine; each epoch has one."""
        taken: dict[tuple[str, int], str] = {}
        for member in self.members:
            log = member.engine.log_path.read_text(errors="replace")
            for destination, epoch in re.findall(r"lease destination=(\S+) epoch=(\d+) event=taken", log):
                other = taken.setdefault((destination, int(epoch)), member.name)
                assert other == member.name, f"{destination}: epoch {epoch} was taken by {other} and {member.name}"
        return taken

    def __exit__(self, *exc: object) -> None:
        for writer in self.writers:
            writer.stopping.set()
        if self.watch is not None:
            self.watch.over.set()
        for consumer in self.consumers:
            consumer.end(signal.SIGKILL)
        for member in self.members:
            member.close()
        self.database.close()
        self.ensemble.close()
