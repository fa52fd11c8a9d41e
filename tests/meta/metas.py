"""Metas of every kind, opened alike; those in ZooKeeper below a root of the test's own, as an engine that has the leases."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config import ClusterConfig
from engine.ha.grant import Grant, boot_ns
from engine.ha.layout import epoch_path
from engine.ha.session import ZooKeeperSession
from engine.instance import Instance
from engine.meta import Meta
from engine.meta.open import open_meta

HOUR_NS = 3_600_000_000_000
DESTINATIONS = ("orders", "audit")
SESSION_S = 2.0  # also what a client waits for a server that has just started and doesn't answer


def cluster_at(hosts: str, **options: Any) -> ClusterConfig:
    """A cluster with a root of its own."""
    return ClusterConfig(zookeeper=hosts, root=f"/test/{uuid.uuid4().hex}", session_timeout_s=SESSION_S, **options)


@dataclass(frozen=True)
class Opening:
    """Opens metas of one kind on one engine's data; may be sent to other processes."""

    kind: str
    data_dir: Path
    cluster: ClusterConfig | None

    @property
    def instance(self) -> Instance:
        return Instance(self.data_dir)

    def open(self) -> Meta:
        return open_meta(self.kind, self.instance, self.cluster)


def next_epoch(session: ZooKeeperSession, destination: str) -> int:
    """As if an engine had taken the lease."""
    path = epoch_path(session, destination)
    session.persist(lambda: session.ensure(path))
    return session.persist(lambda: session.wait(session.client.set_async(path, b""))).version


def take_lease(opening: Opening, destination: str) -> int:
    """This engine takes the lease, and its stages see that it has; returns the epoch."""
    assert opening.cluster is not None
    session = ZooKeeperSession(opening.cluster)
    epoch = next_epoch(session, destination)
    session.close()
    path = opening.instance.grant_file(destination)
    grant = Grant.attach(path) if path.exists() else Grant.create(path)
    grant.give(epoch, boot_ns() + HOUR_NS)
    grant.close()
    if opening.kind == "mixed":
        meta: Any = opening.open()
        meta.take_over(destination, epoch)
        meta.close()
    return epoch
