"""What goes wrong in a cluster, at random: machines, networks, ZooKeeper, the database and consumers."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from tests.ha.stand import SESSION_S, Member, Stand
from tests.servers.zookeeper import ZooKeeper

LONGEST_S = 2 * SESSION_S  # of a freeze or a cut


class Faults:
    """One after the other; each has mended what it broke when it returns."""

    def __init__(self, stand: Stand, seed: int) -> None:
        self.stand = stand
        self.done: Counter[str] = Counter()
        self._rng = random.Random(seed)
        self._over = threading.Event()  # never set: a pause that isn't a bare sleep
        self._kinds: list[tuple[int, Callable[[], None]]] = [  # how often, what
            (4, self.kill_an_engine),
            (4, self.stop_an_engine_for_a_while),
            (2, self.stop_a_supervisor_for_a_while),
            (2, self.stop_a_process_for_a_while),
            (2, self.stop_and_start_an_engine),
            (4, self.cut_an_engine_off_from_zookeeper),
            (2, self.cut_an_engine_off_from_everything),
            (2, self.cut_an_engine_off_from_its_consumers),
            (2, self.cut_connections_to_the_database),
            (3, self.kill_a_zookeeper_node),
            (2, self.stop_a_zookeeper_node_for_a_while),
            (1, self.stop_all_of_zookeeper_for_a_while),
            (2, self.kill_the_database),
            (3, self.kill_a_consumer),
        ]

    def next(self) -> str:
        """Do one; its name."""
        fault = self._rng.choices([what for _, what in self._kinds], [weight for weight, _ in self._kinds])[0]
        fault()
        self.done[fault.__name__] += 1
        return fault.__name__

    def kill_an_engine(self) -> None:
        member = self._member()
        member.engine.kill()
        self._pause(LONGEST_S)
        member.engine.start()

    def stop_an_engine_for_a_while(self) -> None:
        """SIGSTOP to all its processes: a virtual machine that is moved."""
        self._freeze(self._member().engine.pids())

    def stop_a_supervisor_for_a_while(self) -> None:
        """Nobody renews its leases, and its server goes on."""
        self._freeze(self._member().engine.pids()[:1])

    def stop_a_process_for_a_while(self) -> None:
        pids = self._member().engine.pids()[1:]
        if pids:
            self._freeze([self._rng.choice(pids)])

    def stop_and_start_an_engine(self) -> None:
        member = self._member()
        assert member.engine.stop() == 0, member.engine.log
        member.engine.start()

    def cut_an_engine_off_from_zookeeper(self) -> None:
        member = self._member()
        self._half_open(member.zookeepers)

    def cut_an_engine_off_from_everything(self) -> None:
        self._half_open(self._member().proxies)

    def cut_an_engine_off_from_its_consumers(self) -> None:
        self._half_open([self._member().consumers])

    def cut_connections_to_the_database(self) -> None:
        for member in self.stand.members:
            member.database.cut()

    def kill_a_zookeeper_node(self) -> None:
        node = self._node()
        node.kill()
        self._pause(LONGEST_S)
        node.start()

    def stop_a_zookeeper_node_for_a_while(self) -> None:
        node = self._node()
        node.freeze()
        self._pause(LONGEST_S)
        node.thaw()

    def stop_all_of_zookeeper_for_a_while(self) -> None:
        self.stand.ensemble.stop()
        self._pause(LONGEST_S)
        self.stand.ensemble.start()

    def kill_the_database(self) -> None:
        self.stand.database.kill()
        self.stand.database.start()

    def kill_a_consumer(self) -> None:
        self._rng.choice(self.stand.consumers).restart(signal.SIGKILL)

    def _member(self) -> Member:
        return self._rng.choice(self.stand.members)

    def _node(self) -> ZooKeeper:
        return self._rng.choice(self.stand.ensemble.nodes)

    def _freeze(self, pids: list[int]) -> None:
        for signum in (signal.SIGSTOP, signal.SIGCONT):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signum)
            if signum == signal.SIGSTOP:
                self._pause(LONGEST_S)

    def _half_open(self, proxies: list) -> None:
        for proxy in proxies:
            proxy.half_open()
        self._pause(LONGEST_S)
        for proxy in proxies:
            proxy.restore()

    def _pause(self, longest_s: float) -> None:
        self._over.wait(self._rng.uniform(0.1, longest_s))
