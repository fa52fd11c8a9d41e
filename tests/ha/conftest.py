"""Several engines' keepers in one process, against a real ZooKeeper."""

from __future__ import annotations

import multiprocessing
import threading
import time
import uuid
from pathlib import Path

import pytest

from engine.config import ClusterConfig
from engine.ha.grant import Grant
from engine.ha.keeper import Keeper

SPAWN = multiprocessing.get_context("spawn")


class Member:
    """A keeper, and a server beside it that lets go of a destination as soon as it is told to."""

    def __init__(self, cluster: ClusterConfig, name: str, destinations: list[str], folder: Path) -> None:
        self.name = name
        self.grants = {one: Grant.create(folder / f"{name}.{one}") for one in destinations}
        self.changed = threading.Event()
        self.keeper = Keeper(cluster, name, f"tcp://{name}:1", self.grants, f"place of {name}", self.changed.set)
        self._serving = threading.Thread(target=self._serve, daemon=True)
        self._ended = False

    def start(self) -> Member:
        self.keeper.start()
        self._serving.start()
        return self

    def _serve(self) -> None:
        while not self._ended:
            self.changed.wait(0.05)
            self.changed.clear()
            for name, lease in self.keeper.leases().items():
                if lease.target is not None and not lease.told:
                    self.grants[name].say_let_go(lease.epoch)
                    self.keeper.told(name)

    @property
    def owned(self) -> list[str]:
        """Destinations whose lease it has, and can prove."""
        return sorted(name for name in self.keeper.leases() if self.grants[name].holds())

    def close(self) -> None:
        self.keeper.close(5)
        self._ended = True


def run_member(config: ClusterConfig, name: str, destinations: list[str], folder: Path) -> None:
    """A member in a process of its own, until it is killed."""
    Member(config, name, destinations, folder).start()
    threading.Event().wait()


class Cluster:
    def __init__(self, hosts: str, folder: Path, timeout_s: float, **options) -> None:
        self.config = ClusterConfig(zookeeper=hosts, root=f"/test/{uuid.uuid4().hex}", session_timeout_s=timeout_s, **options)
        self.folder = folder
        self.members: list[Member] = []
        self.processes: list[multiprocessing.process.BaseProcess] = []

    def join(self, name: str, destinations: list[str], config: ClusterConfig | None = None) -> Member:
        self.members.append(Member(config or self.config, name, destinations, self.folder).start())
        return self.members[-1]

    def spawn(self, name: str, destinations: list[str]) -> multiprocessing.process.BaseProcess:
        process = SPAWN.Process(target=run_member, args=(self.config, name, destinations, self.folder), daemon=True)
        process.start()
        self.processes.append(process)
        return process

    def grant(self, name: str, destination: str) -> Grant:
        """As that engine's stages see it; waits until it is made."""
        path = self.folder / f"{name}.{destination}"
        eventually(path.exists)
        return Grant.attach(path)

    def owners(self) -> dict[str, str]:
        return {destination: member.name for member in self.members for destination in member.owned}

    def close(self) -> None:
        for member in self.members:
            member.close()
        for process in self.processes:
            process.kill()
            process.join()


@pytest.fixture
def make_cluster(tmp_path):
    made: list[Cluster] = []

    def make(hosts: str, timeout_s: float = 2.0, **options) -> Cluster:
        made.append(Cluster(hosts, tmp_path, timeout_s, **options))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()


def eventually(condition, timeout_s: float = 20.0) -> float:
    """Wait until it holds; how long that took, in seconds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout_s
        time.sleep(0.005)
    return time.monotonic() - began
