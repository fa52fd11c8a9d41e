"""Where a cluster keeps what in ZooKeeper, besides meta.

ROOT/nodes/NAME                  ephemeral: an engine that runs; what it does (JSON), written again at every renewal
ROOT/destinations/D/epoch        its version is the epoch of D's newest lease; who took it (JSON)
ROOT/destinations/D/owner        ephemeral: the lease, of the engine that has it now (JSON)
ROOT/destinations/D/move         for whom it is meant next, for a moment (JSON)
ROOT/drained/NAME                this engine takes no leases
ROOT/balance                     written each time that somebody wants the destinations spread evenly at once
"""

from __future__ import annotations

from engine.ha.session import ZooKeeperSession


def node_path(session: ZooKeeperSession, name: str) -> str:
    return session.path("nodes", name)


def nodes_path(session: ZooKeeperSession) -> str:
    return session.path("nodes")


def drained_path(session: ZooKeeperSession, name: str = "") -> str:
    return session.path("drained", name) if name else session.path("drained")


def epoch_path(session: ZooKeeperSession, destination: str) -> str:
    return session.path("destinations", destination, "epoch")


def owner_path(session: ZooKeeperSession, destination: str) -> str:
    return session.path("destinations", destination, "owner")


def move_path(session: ZooKeeperSession, destination: str) -> str:
    return session.path("destinations", destination, "move")


def balance_path(session: ZooKeeperSession) -> str:
    return session.path("balance")
