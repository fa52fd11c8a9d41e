"""Where the engines of a chaos run stand: each on a machine of its own, or all on this one behind proxies.

A machine is a network namespace with an address of its own on three networks, whose middle is the namespace of the run itself:

                                          ┌ zoo   10.99.1.0/24   to ZooKeeper
    run, databases, ZooKeeper, consumers ─┼ data  10.99.2.0/24   to the databases                   ─ engines a, b, c
      (namespace of the run, .1)          └ front 10.99.3.0/24   where consumers reach the engine     (.11, .12, .13)

A cut takes a machine's cable out of one of them: its end at the bridge goes down, and what is sent is lost without a word. The
namespaces have no names and nothing leads out of them, so the kernel removes all of it with the last process inside, however
that ended; and the engines die with the run (`setpriv --pdeathsig`). Who may not make namespaces has proxies instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import NoReturn, Protocol

from tests.servers.process import free_port
from tests.servers.proxy import Proxy

NETWORKS = {"zoo": 1, "data": 2, "front": 3}
PORT = 7411  # of the engine on its machine
_INSIDE = "BINLOG_ENGINE_TEST_NETWORK"  # set for a run that is in a namespace of its own
_TIED = ("setpriv", "--pdeathsig", "KILL")
_TRY = "ip link add name one type veth peer name other && ip link add name mid type bridge && ip link set dev one master mid up"


class Cut(Protocol):
    """What may be cut between an engine and others."""

    def half_open(self) -> None: ...

    def restore(self) -> None: ...

    def close(self) -> None: ...


def namespaces_refused() -> str:
    """Why this process may not make network namespaces; "": it may."""
    try:
        tried = subprocess.run(["unshare", "--net", "sh", "-c", _TRY], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if tried.returncode == 0 else " ".join(tried.stderr.split()) or "unshare failed"


def are_separate() -> bool:
    """Whether this run is in a namespace of its own, and so may give each engine a machine."""
    return _INSIDE in os.environ


def begin_again_in_a_namespace(argv: Sequence[str]) -> NoReturn:
    """This process, with these arguments for Python, in a network namespace of its own."""
    os.execvpe("unshare", ["unshare", "--net", sys.executable, *argv], {**os.environ, _INSIDE: "private"})


def _ip(*words: str, at: int | None = None) -> None:
    """`ip ...` in our namespace, or in that of a process."""
    where = [] if at is None else ["nsenter", f"--net=/proc/{at}/ns/net"]
    done = subprocess.run([*where, "ip", *words], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def lay_networks() -> None:
    """The bridges, and our own address on each."""
    _ip("link", "set", "dev", "lo", "up")
    for network, number in NETWORKS.items():
        _ip("link", "add", "name", network, "type", "bridge")
        _ip("address", "add", f"10.99.{number}.1/24", "dev", network)
        _ip("link", "set", "dev", network, "up")


def here(network: str) -> str:
    """Our address, for machines on this network."""
    return f"10.99.{NETWORKS[network]}.1" if are_separate() else "127.0.0.1"


class Cable:
    """From a machine to one of the networks."""

    def __init__(self, name: str, network: str) -> None:
        self._end = f"{name}-{network}"

    def half_open(self) -> None:
        _ip("link", "set", "dev", self._end, "down")

    def restore(self) -> None:
        _ip("link", "set", "dev", self._end, "up")

    def close(self) -> None:
        pass


class Machine:
    """`name` is that of its engine. program: what goes before the arguments of a process that is to run there."""

    def __init__(self, name: str, number: int) -> None:
        self._holder = subprocess.Popen(  # keeps the namespace while no engine runs in it
            [*_TIED, "unshare", "--net", "sh", "-c", "ip link set lo up && echo && exec sleep infinity"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._holder.stdout is not None
        assert self._holder.stdout.read(1) == b"\n"
        pid = self._holder.pid
        for network, one in NETWORKS.items():
            _ip("link", "add", "name", f"{name}-{network}", "type", "veth", "peer", "name", network, "netns", str(pid))
            _ip("link", "set", "dev", f"{name}-{network}", "master", network, "up")
            _ip("address", "add", f"10.99.{one}.{number}/24", "dev", network, at=pid)
            _ip("link", "set", "dev", network, "up", at=pid)
        self.program = (*_TIED, "nsenter", f"--net=/proc/{pid}/ns/net")
        self.listen = self.address = f"tcp://10.99.{NETWORKS['front']}.{number}:{PORT}"
        self.consumers: Cut = Cable(name, "front")
        self._zoo = Cable(name, "zoo")
        self.databases: list[Cut] = [Cable(name, "data")]

    def way_to_zookeeper(self, ports: Sequence[int]) -> tuple[list[Cut], list[int]]:
        """What can be cut on it, and the ports that lead there. ports: of the nodes, where machines reach them."""
        return [self._zoo], list(ports)

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()


class Ports:
    """In place of a machine: ports of this one, and proxies before them that are this engine's alone."""

    program: tuple[str, ...] = ()

    def __init__(self) -> None:
        port = free_port()
        proxy = Proxy(port)
        self.listen, self.address = f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{proxy.port}"
        self.consumers: Cut = proxy
        self.databases: list[Cut] = []  # reached by the same proxies from all engines

    def way_to_zookeeper(self, ports: Sequence[int]) -> tuple[list[Cut], list[int]]:
        proxies = [Proxy(port) for port in ports]
        return [*proxies], [proxy.port for proxy in proxies]

    def close(self) -> None:
        pass
