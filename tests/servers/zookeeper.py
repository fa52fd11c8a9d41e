"""A real ZooKeeper from the system's packages: one node, or an ensemble, on loopback; killed, stopped, frozen, restarted."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import Self

from tests.servers import install
from tests.servers.process import Process, free_port
from tests.servers.proxy import Proxy

READY_S = 30.0
# Session time-outs are clamped to 2-20 ticks otherwise: a small tick and a low bound make expiry tests quick.
TICK_MS = 100
_JVM = [
    "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
    "-Djava.net.preferIPv4Stack=true", "-Dorg.slf4j.simpleLogger.showDateTime=true",
]  # fmt: skip


def four_letter(port: int, word: str) -> str:
    """The answer to one of ZooKeeper's four-letter words; "" while nobody answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as peer:
            peer.settimeout(1)
            peer.sendall(word.encode())
            answer = b""
            while piece := peer.recv(1 << 16):
                answer += piece
    except OSError:
        return ""
    return answer.decode()


class ZooKeeper:
    """`with ZooKeeper() as zookeeper: KazooClient(zookeeper.hosts)`: one node; what it has lies in a temp dir until `close`."""

    def __init__(self, number: int = 0, tick_ms: int = TICK_MS, most_session_ms: int = 60_000) -> None:
        self.java, self.class_path = install.zookeeper()
        self.number = number  # in an ensemble, from 1
        self.tick_ms = tick_ms
        self.most_session_ms = most_session_ms  # the least is two ticks
        self.port, self.quorum_port, self.election_port = free_port(), free_port(), free_port()
        self.process = Process("zookeeper")
        self.peers: dict[str, str] = {}

    @property
    def hosts(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, wait: bool = True) -> Self:
        """Start it, or start it again on its data."""
        data = self.process.folder / "data"
        data.mkdir(exist_ok=True)
        settings = {
            "tickTime": self.tick_ms,
            "dataDir": data,
            "clientPort": self.port,
            "clientPortAddress": "127.0.0.1",
            "initLimit": 50,
            "syncLimit": 20,
            "maxClientCnxns": 0,
            "forceSync": "no",
            "minSessionTimeout": 2 * self.tick_ms,
            "maxSessionTimeout": self.most_session_ms,
            "4lw.commands.whitelist": "*",
            "admin.enableServer": "false",  # it would take port 8080
            **self.peers,
        }
        if self.number:
            (data / "myid").write_text(f"{self.number}\n")
        file = self.process.folder / "zoo.cfg"
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        self.process.spawn([self.java, *_JVM, "-cp", self.class_path, main, str(file)])
        if wait:
            self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        self.process.wait_until(lambda: self.mode() != "", READY_S)

    def mode(self) -> str:
        """`standalone`, `leader` or `follower`; "" while it doesn't serve."""
        lines = four_letter(self.port, "srvr").splitlines()
        return next((line.split(":")[1].strip() for line in lines if line.startswith("Mode")), "")

    @property
    def running(self) -> bool:
        return self.process.running

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def close(self) -> None:
        self.process.close()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc: object) -> None:
        self.close()


class Ensemble:
    """`with Ensemble() as ensemble: KazooClient(ensemble.hosts)`: three nodes, of which two must be there."""

    def __init__(self, count: int = 3, tick_ms: int = TICK_MS, *, proxies: bool = False) -> None:
        """proxies: nodes reach each other through proxies, so that they can be cut off from each other."""
        self.nodes: list[ZooKeeper] = []
        self.links: dict[tuple[int, int], list[Proxy]] = {}  # from one node to another: quorum and election
        try:
            self.nodes += [ZooKeeper(number, tick_ms) for number in range(1, count + 1)]
            for node in self.nodes:
                node.peers = {f"server.{peer.number}": self._way(node, peer, proxies) for peer in self.nodes}
        except BaseException:
            self.close()
            raise

    def _way(self, node: ZooKeeper, peer: ZooKeeper, proxies: bool) -> str:
        ports = [peer.quorum_port, peer.election_port]
        if proxies and node is not peer:
            self.links[node.number, peer.number] = [Proxy(port) for port in ports]
            ports = [proxy.port for proxy in self.links[node.number, peer.number]]
        return f"127.0.0.1:{ports[0]}:{ports[1]}"

    def part(self, one: ZooKeeper, other: ZooKeeper) -> None:
        """Nothing passes between two nodes until `rejoin`; then what was held back does, as TCP has it."""
        for proxy in self._between(one, other):
            proxy.stall()

    def rejoin(self, one: ZooKeeper, other: ZooKeeper) -> None:
        for proxy in self._between(one, other):
            proxy.restore()

    def _between(self, one: ZooKeeper, other: ZooKeeper) -> list[Proxy]:
        return self.links[one.number, other.number] + self.links[other.number, one.number]

    @property
    def hosts(self) -> str:
        return ",".join(node.hosts for node in self.nodes)

    def start(self) -> Self:
        """Start those that don't run."""
        for node in self.nodes:
            if not node.running:
                node.start(wait=False)
        for node in self.nodes:
            node.wait_until_ready()
        return self

    def leader(self) -> ZooKeeper:
        """The node that leads; waits until there is one."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            for node in self.nodes:
                if node.running and node.mode() == "leader":
                    return node
            time.sleep(0.02)
        raise TimeoutError(f"no leader within {READY_S} s")

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def close(self) -> None:
        for node in self.nodes:
            node.close()
        for proxies in self.links.values():
            for proxy in proxies:
                proxy.close()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc: object) -> None:
        self.close()
