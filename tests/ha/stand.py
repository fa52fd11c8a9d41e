"""The stand of a chaos run of a cluster:

          MariaDB pair ◀─┐
                         ├─ proxies ◀═ engine a, b, c ═▶ 3 ZooKeeper nodes ◀─ proxies ─▶ each other
            MySQL pair ◀─┘                ║
                                          ╚═ consumers of orders (MariaDB's changes, two) and of audit (MySQL's)

Each engine is on a machine of its own, or has proxies of its own (═, see machines.py), so that it alone can be cut off. The
databases are reached by the same URLs from all engines, as one config has them.
"""

from __future__ import annotations

import signal
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Self

from engine.errors import MetaError
from engine.ha.grant import Grant, boot_ns
from engine.instance import Instance
from tests.chaos.consumer_process import ConsumerProcess
from tests.chaos.workload import END_TABLE, SCHEMA, TABLES
from tests.ha.databases import DatabasePair
from tests.ha.machines import Cut, Machine, Ports, are_separate, here, lay_networks
from tests.ha.overlap import Step, overlaps, read_served, read_steps
from tests.running_engine import RunningEngine
from tests.servers.mariadb import MariaDB
from tests.servers.mysql import MySQL
from tests.servers.proxy import Proxy
from tests.servers.zookeeper import Ensemble

NAMES = ("a", "b", "c")
DESTINATIONS = {"orders": "maria", "audit": "my"}  # and their sources
CONSUMERS = {"orders": ["default", "second"], "audit": ["default"]}
SESSION_S = 2.0
DETECTION_S = 1.0  # of a database that is gone
CONNECTIONS = 2  # that write, to each database
CATCH_UP_S = 120.0
LOOK_S = 0.002


class Member:
    """One engine where it stands, and what can be cut between it and others."""

    def __init__(self, folder: Path, name: str, zookeepers: list[int], databases: dict[str, DatabasePair], root: str) -> None:
        """zookeepers: ports of the nodes, of this machine or, where engines have machines, of ours on their network."""
        self.name = name
        self.machine = Machine(name, 11 + NAMES.index(name)) if are_separate() else Ports()
        self.zookeepers, ports = self.machine.way_to_zookeeper(zookeepers)
        self.consumers, self.databases = self.machine.consumers, self.machine.databases
        self.address = self.machine.address
        sources = {
            source: {
                "urls": pair.urls(), "start": pair.start_position, "ring": "1MiB",
                "read_timeout_s": 3.0, "failover_s": DETECTION_S,
            }
            for source, pair in databases.items()
        }  # fmt: skip
        include = [rf"{SCHEMA}\.({'|'.join((*TABLES, END_TABLE))})"]
        destinations = {
            one: {
                "from": [source], "include": include, "store": {"kind": "memory", "size": "8MiB"}, "consumers": CONSUMERS[one],
            }
            for one, source in DESTINATIONS.items()
        }  # fmt: skip
        cluster = {
            "zookeeper": [f"{here('zoo')}:{port}" for port in ports], "root": root, "name": name,
            "address": self.address, "session_timeout_s": SESSION_S, "balance_after_s": 5.0,
        }  # fmt: skip
        self.engine = RunningEngine(
            folder / name, sources, destinations, cluster, self.machine.program, listen=self.machine.listen
        )

    @property
    def cuts(self) -> list[Cut]:
        return [*self.zookeepers, self.consumers, *self.databases]

    def close(self) -> None:
        self.engine.__exit__()
        for cut in self.cuts:
            cut.close()
        self.machine.close()


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
        self.ensemble = Ensemble(proxies=True)
        self.databases = {"maria": DatabasePair(MariaDB), "my": DatabasePair(MySQL)}
        self.members: list[Member] = []
        self.consumers: list[ConsumerProcess] = []
        self.watch: Watch | None = None
        self.ways: list[Proxy] = []  # where engines have machines: from their network to the nodes of ZooKeeper
        self.transactions = 0
        self._seed = seed

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        if are_separate():
            lay_networks()
        self.ensemble.start()
        for pair in self.databases.values():
            pair.start()
        root = f"/test/{uuid.uuid4().hex}"
        zookeepers = [node.port for node in self.ensemble.nodes]
        if are_separate():
            self.ways = [Proxy(port, at=here("zoo")) for port in zookeepers]
            zookeepers = [way.port for way in self.ways]
        self.members = []
        for name in NAMES:
            self.members.append(Member(self.folder, name, zookeepers, self.databases, root))
        self.watch = Watch(self.members)
        self.watch.start()
        for member in self.members:
            member.engine.start()
        addresses = ",".join(member.address for member in self.members)
        self.consumers = [
            ConsumerProcess(self.folder, addresses, destination, consumer)
            for destination, consumers in CONSUMERS.items()
            for consumer in consumers
        ]
        for number, pair in enumerate(self.databases.values()):
            pair.write(CONNECTIONS, self._seed * 1000 + number * 100)

    def fail_over(self, source: str) -> None:
        """Its primary dies, and is replaced when no position lies in the dead one's binlog any more (docs/operations.md)."""
        row = self.databases[source].lose_primary()
        deadline = time.monotonic() + CATCH_UP_S
        for consumer in self.consumers:
            if DESTINATIONS[consumer.destination] == source:
                consumer.await_acked(source, "one", row, deadline)
        self.databases[source].replace_the_dead()

    # -- the end ---------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """No more faults, no more changes: wait until every consumer has the last one."""
        for member in self.members:
            for cut in member.cuts:
                cut.restore()
        self.transactions = sum(pair.finish() for pair in self.databases.values())
        deadline = time.monotonic() + CATCH_UP_S
        for consumer in self.consumers:
            consumer.await_the_end([DESTINATIONS[consumer.destination]], deadline)

    def check(self) -> dict[str, Any]:
        """Replicas equal SELECT, nothing acked came again, and no two engines ever served one destination at once."""
        assert self.watch is not None
        self.watch.over.set()
        self.watch.join()
        assert not self.watch.faults, self.watch.faults[:3]
        done: dict[str, Any] = {"looks": self.watch.looks}
        for consumer in self.consumers:
            source = DESTINATIONS[consumer.destination]
            counts = consumer.compare({source: self.databases[source].primary})
            done[f"{consumer.destination} {consumer.consumer}"] = counts
        return done | self._check_epochs()

    def _check_epochs(self) -> dict[str, Any]:
        """From the logs of engines and consumers."""
        steps: list[Step] = []
        for member in self.members:
            steps += read_steps(member.name, member.engine.log_path.read_text(errors="replace"))
        batches, epochs = 0, 0
        for destination in DESTINATIONS:
            logs = [consumer.replica().served for consumer in self.consumers if consumer.destination == destination]
            served = [batch for noted in logs for batch in read_served(noted)]
            assert served, f"no consumer of {destination} was served"
            found = overlaps(destination, steps, served)
            assert not found, found[:3]
            batches += len(served)
            epochs += len({batch.epoch for batch in served})
        return {"leases": sum(step.event == "taken" for step in steps), "batches": batches, "epochs_served": epochs}

    def __exit__(self, *exc: object) -> None:
        if self.watch is not None:
            self.watch.over.set()
        for consumer in self.consumers:
            consumer.end(signal.SIGKILL)
        for member in self.members:
            member.close()
        for pair in self.databases.values():
            pair.close()
        for way in self.ways:
            way.close()
        self.ensemble.close()
