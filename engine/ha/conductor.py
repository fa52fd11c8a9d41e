"""Runs those destinations that this engine has the lease of, and tells who asks for another one where it is."""

from __future__ import annotations

import logging
import socket
import time
from typing import TYPE_CHECKING, Any

from engine.config import ClusterConfig, Config, parse_address
from engine.errors import MetaAway
from engine.ha.grant import Grant
from engine.ha.keeper import Keeper
from engine.ha.leases import place_of
from engine.instance import Instance

if TYPE_CHECKING:
    from engine.supervisor import Supervisor

log = logging.getLogger("engine.cluster")

END_S = 4.0  # for handing everything over at the end


def name_of(config: Config) -> str:
    """This engine's name in the cluster."""
    assert config.cluster is not None
    if config.cluster.name:
        return config.cluster.name
    _, path, port = parse_address(config.server.listen[0])
    return f"{socket.gethostname()}-{port or path.strip('/').replace('/', '-')}"


def address_of(config: Config) -> str:
    assert config.cluster is not None
    return config.cluster.address or config.server.listen[0]


class ClusterConductor:
    """engine.supervisor.Conductor of an engine in a cluster."""

    def __init__(self, config: Config) -> None:
        assert config.cluster is not None
        self._config = config
        self._cluster: ClusterConfig = config.cluster
        self._instance = Instance(config.server.data_dir)
        self._keeper: Keeper | None = None
        self._successor: Any = None
        self._active: dict[str, bool] = {}  # what the server was told last of those that run
        self._elsewhere: dict[str, str | None] = {}  # where the server was told last that the others are
        self._server_pid: int | None = None

    def begin(self, supervisor: Supervisor) -> None:
        grants = {name: Grant.create(self._instance.grant_file(name)) for name in self._config.destinations}
        if self._config.server.meta == "mixed":
            from engine.meta.mixed import MixedMeta

            self._successor = MixedMeta(self._cluster, self._instance)
        self._keeper = Keeper(
            self._cluster, name_of(self._config), address_of(self._config), grants, place_of(self._instance.data_dir),
            supervisor.wake, self._successor,
        )  # fmt: skip
        self._keeper.state_of = self._state_of
        self._keeper.start()

    def _state_of(self, destination: str) -> dict[str, Any]:
        """What the others are told of a destination that we have. In the keeper's thread."""
        from engine.observe import consumers_of

        seen = [
            one
            for partition in range(self._config.destinations[destination].partitions)
            for one in consumers_of(self._instance, destination, partition)
        ]
        return {
            "sessions": sum(one["sessions"] for one in seen),
            "lag_bytes": max((one["unsent_bytes"] for one in seen), default=0),
        }

    def turn(self, supervisor: Supervisor) -> None:
        keeper = self._keeper
        assert keeper is not None
        if keeper.fatal is not None:
            raise keeper.fatal
        held = keeper.leases()
        if supervisor.server.pid != self._server_pid:  # a new one: it serves all that runs, and knows of nothing else
            self._server_pid = supervisor.server.pid
            self._active = dict.fromkeys(supervisor.running, True)
            self._elsewhere = {}
        for name in list(supervisor.running):
            if name not in held:
                self._stop(supervisor, name)
        keeper.runs(supervisor.running)
        if new := [name for name, lease in held.items() if name not in supervisor.running and lease.target is None]:
            self._start(supervisor, new)
        for name, lease in held.items():
            if lease.target is not None:
                if not lease.told:
                    self._tell(supervisor, name, False, self._address(lease.target))
                    keeper.told(name)
            elif name in supervisor.running:
                self._tell(supervisor, name, keeper.grants[name].holds(), None)
        for name in self._config.destinations:
            if name not in supervisor.running:
                self._redirect(supervisor, name)

    def _start(self, supervisor: Supervisor, names: list[str]) -> None:
        began = time.monotonic()
        running = set(supervisor.running)
        try:
            assert self._keeper is not None
            self._keeper.runs(running | set(names))
            supervisor.start_destinations(names)
        except MetaAway as error:  # the next turn tries again, if we have the lease then
            log.warning("destinations=%s can't start yet: %s", ",".join(names), error)
            return
        self._active |= dict.fromkeys({*names, *running}, True)
        for name in names:
            self._elsewhere.pop(name, None)
        log.info("started destinations=%s seconds=%.3f", ",".join(names), time.monotonic() - began)

    def _stop(self, supervisor: Supervisor, name: str) -> None:
        address = self._owners_address(name)
        supervisor.stop_destination(name, address)
        self._active.pop(name, None)
        self._elsewhere[name] = address

    def _tell(self, supervisor: Supervisor, name: str, active: bool, address: str | None) -> None:
        """The server, whether it may serve one that runs here; that it may not is known to it already, by the grant."""
        if self._active.get(name) == active:
            return
        self._active[name] = active
        if active:
            supervisor.server.tell(do="activate", destination=name)
        else:
            supervisor.server.tell(do="deactivate", destination=name, address=address)

    def _redirect(self, supervisor: Supervisor, name: str) -> None:
        address = self._owners_address(name)
        if self._elsewhere.get(name, "") != address:
            self._elsewhere[name] = address
            supervisor.server.tell(do="deactivate", destination=name, address=address)

    def _owners_address(self, name: str) -> str | None:
        assert self._keeper is not None
        owner = self._keeper.picture.owners.get(name)
        return owner["address"] if owner and owner["node"] != self._keeper.name else None

    def _address(self, node: str) -> str | None:
        assert self._keeper is not None
        about = self._keeper.picture.nodes.get(node)
        return about["address"] if about else None

    def end(self, supervisor: Supervisor) -> None:
        keeper = self._keeper
        if keeper is None:
            return
        for name in keeper.leases():
            supervisor.server.tell(do="deactivate", destination=name, address=None)
            keeper.told(name)
        keeper.close(END_S)
        for grant in keeper.grants.values():
            grant.close()
        if self._successor is not None:
            self._successor.close()

    def describe(self) -> dict[str, Any] | None:
        """For the state file."""
        keeper = self._keeper
        if keeper is None:
            return None
        return {
            "name": keeper.name,
            "address": keeper.address,
            "session_timeout_s": keeper.timeout_s,
            "trouble": keeper.trouble,
            "engines": sorted(keeper.picture.nodes),
            "drained": sorted(keeper.picture.drained),
            "leases": {
                name: {"epoch": lease.epoch, "since": lease.since, "reason": lease.reason, "from": lease.came_from}
                for name, lease in keeper.leases().items()
            },
            "owners": {name: owner["node"] for name, owner in keeper.picture.owners.items()},
        }
