"""Leases: who may run a destination. Every step is one transaction in ZooKeeper, so there is nothing in between.

claim     epoch node written over (its version is the new epoch) AND owner node made (ephemeral: it goes with our session)
release   epoch is still ours AND owner node removed
renew     our own node written over: it is through only if a majority has heard us and our session lives

Whoever keeps a position does so under the condition that the epoch is still that of its lease (engine.meta.zookeeper).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kazoo.client import TransactionRequest
from kazoo.exceptions import BadVersionError, KazooException, NodeExistsError, NoNodeError

from engine.errors import ConfigError, LeaseLost
from engine.ha import layout
from engine.ha.session import Conflict, ZooKeeperSession, refused

VERSION = b"1"


@dataclass(frozen=True)
class Move:
    """A destination is meant for `target`. version: of the node that says so."""

    target: str
    reason: str
    version: int


@dataclass
class Picture:
    """The cluster at one moment: engines by name, owners and moves by destination. What the nodes hold, as JSON."""

    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    drained: set[str] = field(default_factory=set)
    owners: dict[str, dict[str, Any]] = field(default_factory=dict)
    moves: dict[str, Move] = field(default_factory=dict)
    balance: int = 0  # how often it was asked for

    @property
    def eligible(self) -> list[str]:
        """Engines that may take leases."""
        return sorted(set(self.nodes) - self.drained)

    def counts(self, without: str = "") -> dict[str, int]:
        """Destinations of each eligible engine, those on their way to it too."""
        counts = {name: 0 for name in self.eligible if name != without}
        for destination, owner in self.owners.items():
            move = self.moves.get(destination)
            name = move.target if move and move.target in counts else owner["node"]
            if name in counts:
                counts[name] += 1
        for destination, move in self.moves.items():
            if destination not in self.owners and move.target in counts:
                counts[move.target] += 1
        return counts

    def emptiest(self, without: str = "") -> str | None:
        counts = self.counts(without)
        return min(counts, key=lambda name: (counts[name], name)) if counts else None


class Leases:
    """One engine's leases and its place among the others.

    Raises (every call):
        MetaAway: no answer: whether it was carried out is not known.
    """

    def __init__(self, session: ZooKeeperSession, name: str, address: str, destinations: list[str], place: str) -> None:
        """place: tells this engine's machine and data_dir from any other; address: where consumers reach it."""
        self.session = session
        self.name = name
        self.address = address
        self.destinations = destinations
        self._place = place
        self._started = time.time()

    # -- this engine -----------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """The nodes that stay.

        Raises:
            ConfigError: the root belongs to another version.
        """
        for path in (layout.nodes_path(self.session), layout.drained_path(self.session), layout.balance_path(self.session)):
            self.session.ensure(path)
        for destination in self.destinations:
            self.session.ensure(layout.epoch_path(self.session, destination))
        path = self.session.path("version")
        with suppress(NodeExistsError):
            self.session.wait(self.session.client.create_async(path, VERSION))
        found, _ = self.session.wait(self.session.client.get_async(path))
        if found != VERSION:
            raise ConfigError(
                "the cluster is of another version of binlog-engine", node=path, found=found.decode(), known=VERSION.decode(),
                remedy="run the same version everywhere, or name another root",
            )  # fmt: skip

    def register(self, state: dict[str, Any]) -> bool:
        """Join under our name. False: another session has it still.

        One of this very machine and data_dir, whose lock we hold, is that of our dead predecessor: it makes room at once, with
        its leases.
        """
        path = layout.node_path(self.session, self.name)
        try:
            self.session.wait(self.session.client.create_async(path, self._about(state), ephemeral=True))
            return True
        except NodeExistsError:
            pass
        try:
            found, stat = self.session.wait(self.session.client.get_async(path))
            if self._is_ours(stat):
                return True
            if json.loads(found)["place"] == self._place:
                self._remove_predecessor(path, stat.ephemeralOwner)
        except NoNodeError:
            pass
        return False

    def _is_ours(self, stat: Any) -> bool:
        client_id = self.session.client.client_id
        return client_id is not None and stat.ephemeralOwner == client_id[0]

    def _remove_predecessor(self, path: str, session_id: int) -> None:
        for destination in self.destinations:
            owner = layout.owner_path(self.session, destination)
            with suppress(NoNodeError):
                stat = self.session.wait(self.session.client.exists_async(owner))
                if stat is not None and stat.ephemeralOwner == session_id:
                    self.session.wait(self.session.client.delete_async(owner))
        with suppress(NoNodeError):
            self.session.wait(self.session.client.delete_async(path))

    def renew(self, state: dict[str, Any], timeout_s: float) -> None:
        """Once it returns, a majority of ZooKeeper's nodes had heard from this session after the call began.

        Raises:
            LeaseLost: our node is gone, or another's: the session is over, and all leases with it.
        """
        path = layout.node_path(self.session, self.name)
        try:
            stat = self.session.wait(self.session.client.set_async(path, self._about(state)), timeout_s)
        except NoNodeError:
            raise LeaseLost("this engine's session with ZooKeeper is over", node=path) from None
        if not self._is_ours(stat):
            raise LeaseLost("another engine has this name now", node=path)

    def _about(self, state: dict[str, Any]) -> bytes:
        about = {"name": self.name, "address": self.address, "place": self._place, "since": self._started, **state}
        return json.dumps(about).encode()

    # -- leases ----------------------------------------------------------------------------------------------------

    def claim(self, destination: str, why: Callable[[dict[str, Any]], str], move: Move | None) -> dict[str, Any] | None:
        """Take a lease that nobody has: what its nodes say then, with `epoch`; None: another engine was quicker.

        why: the reason, from what the epoch node said of the lease before. move: what made it ours, and is done with.
        """
        epoch_path = layout.epoch_path(self.session, destination)
        content, stat = self.session.wait(self.session.client.get_async(epoch_path))
        before = json.loads(content) if content else {}
        lease = {
            "node": self.name, "address": self.address, "epoch": stat.version + 1, "since": time.time(),
            "from": before.get("node"), "reason": why(before),
        }  # fmt: skip
        packed = json.dumps(lease).encode()

        def build(transaction: TransactionRequest) -> None:
            transaction.set_data(epoch_path, packed, stat.version)
            transaction.create(layout.owner_path(self.session, destination), packed, ephemeral=True)
            if move is not None:
                transaction.delete(layout.move_path(self.session, destination), move.version)

        error = refused(self.session.commit(build))
        if isinstance(error, (BadVersionError, NodeExistsError, NoNodeError)):
            return None
        if error is not None:
            raise error
        return lease

    def release(self, destination: str, epoch: int) -> None:
        """Give a lease back; nothing happens if it isn't ours any more."""

        def build(transaction: TransactionRequest) -> None:
            transaction.check(layout.epoch_path(self.session, destination), epoch)
            transaction.delete(layout.owner_path(self.session, destination), -1)

        error: KazooException | None = refused(self.session.commit(build))
        if error is not None and not isinstance(error, (BadVersionError, NoNodeError)):
            raise error

    def release_strays(self, held: set[str]) -> None:
        """Owner nodes of our session that we don't count as ours: of a claim whose answer was lost."""
        for destination in set(self.destinations) - held:
            path = layout.owner_path(self.session, destination)
            with suppress(NoNodeError):
                stat = self.session.wait(self.session.client.exists_async(path))
                if stat is not None and self._is_ours(stat):
                    self.session.wait(self.session.client.delete_async(path))

    def mean_for(self, destination: str, target: str, reason: str) -> None:
        """Write down that `target` is to have this destination next."""
        write_move(self.session, destination, target, reason)

    def drop_move(self, destination: str, move: Move) -> None:
        """It was for nobody who took it."""
        with suppress(NoNodeError, BadVersionError):
            path = layout.move_path(self.session, destination)
            self.session.wait(self.session.client.delete_async(path, move.version))

    def look(self, on_change: Callable[[Any], None] | None = None) -> Picture:
        """The cluster now. on_change: called once, in kazoo's thread, when any of it changes."""
        return look(self.session, self.destinations, on_change)


def look(session: ZooKeeperSession, destinations: list[str], on_change: Callable[[Any], None] | None = None) -> Picture:
    """The cluster now; destinations that nobody has set up are left out."""
    client = session.client
    session.up_to_date()
    nodes = client.get_children_async(layout.nodes_path(session), watch=on_change)
    drained = client.get_children_async(layout.drained_path(session), watch=on_change)
    balance = client.exists_async(layout.balance_path(session), watch=on_change)
    pending = [
        (name, client.exists_async(path, watch=on_change), client.get_async(path))
        for name in destinations
        for path in (layout.owner_path(session, name), layout.move_path(session, name))
    ]
    picture = Picture()
    names = session.wait(nodes)
    about = [(name, client.get_async(layout.node_path(session, name))) for name in names]
    for name, one in about:
        with suppress(NoNodeError):
            picture.nodes[name] = json.loads(session.wait(one)[0])
    picture.drained = set(session.wait(drained))
    stat = session.wait(balance)
    picture.balance = stat.version if stat else 0
    for at, (name, watched, content) in enumerate(pending):
        session.wait(watched)
        with suppress(NoNodeError):
            found, stat = session.wait(content)
            if at % 2 == 0:
                picture.owners[name] = json.loads(found)
            else:
                said = json.loads(found)
                picture.moves[name] = Move(said["target"], said["reason"], stat.version)
    return picture


def write_move(session: ZooKeeperSession, destination: str, target: str, reason: str) -> None:
    """Written over what was meant before."""
    path, content = layout.move_path(session, destination), json.dumps({"target": target, "reason": reason}).encode()

    def attempt() -> None:
        try:
            session.wait(session.client.set_async(path, content))
        except NoNodeError:
            try:
                session.wait(session.client.create_async(path, content))
            except NodeExistsError:
                raise Conflict from None

    session.persist(attempt)


def place_of(data_dir: Path) -> str:
    """Tells this machine since its last boot, and this data_dir, from any other."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}:{data_dir.resolve()}"
