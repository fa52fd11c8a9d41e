"""What goes wrong, at random: processes killed or stopped, connections cut, stalled or corrupted, a whole machine lost."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from engine.instance import Instance
from engine.ring import Ring, ring_names
from tests.chaos.trouble import Trouble

if TYPE_CHECKING:
    from tests.chaos.stand import Stand
    from tests.servers.proxy import Proxy

LONGEST_STOP_S = 3.0


class Faults(Trouble):
    """What goes wrong on a stand."""

    def __init__(self, stand: Stand, seed: int) -> None:
        super().__init__(seed, LONGEST_STOP_S)
        self.stand = stand
        self.kinds = [
            (4, self.kill_source),
            (4, self.kill_sink),
            (4, self.kill_server),
            (4, self.kill_consumer),
            (3, self.kill_supervisor),
            (2, self.kill_database),
            (1, self.lose_the_machine),
            (1, self.stop_and_start),
            (4, self.stop_a_process_for_a_while),
            (3, self.cut_a_connection),
            (2, self.stall_a_connection),
            (2, self.corrupt_a_connection),
            (2, self.cut_inside_an_event),
        ]
        if stand.zookeeper is not None:
            self.kinds += [
                (3, self.kill_zookeeper),
                (3, self.stop_zookeeper_for_a_while),
                (3, self.cut_zookeeper),
                (2, self.stall_zookeeper),
            ]

    # -- processes -------------------------------------------------------------------------------------------------

    def kill_source(self) -> None:
        self._kill("source")

    def kill_sink(self) -> None:
        self._kill("sink")

    def kill_server(self) -> None:
        self._kill("server")

    def kill_consumer(self) -> None:
        self.rng.choice(self.stand.consumers).restart(signal.SIGKILL)

    def kill_supervisor(self) -> None:
        """Its children die with it; the next one finds what they have left in shared memory."""
        self.stand.kill_engine()
        self.stand.engine.start()

    def lose_the_machine(self) -> None:
        """All processes, and what was in shared memory; the disk stays."""
        self.stand.kill_engine()
        for name in ring_names(Instance(self.stand.engine.folder / "data").prefix):
            Ring.unlink(name)
        self.stand.engine.start()

    def stop_and_start(self) -> None:
        assert self.stand.engine.stop() == 0, self.stand.engine.log
        self.stand.engine.start()

    def kill_database(self) -> None:
        database = self.rng.choice(list(self.stand.databases.values()))
        database.kill()
        database.start()

    def stop_a_process_for_a_while(self) -> None:
        """SIGSTOP, and SIGCONT a moment later: for the others it is a process that hangs."""
        pids = self.stand.pids("source", "sink", "server") + [consumer.pid for consumer in self.stand.consumers]
        self.freeze([self.rng.choice(pids)])

    def _kill(self, role: str) -> None:
        pids = self.stand.pids(role)
        if pids:
            with suppress(ProcessLookupError):
                os.kill(self.rng.choice(pids), signal.SIGKILL)

    # -- ZooKeeper -------------------------------------------------------------------------------------------------

    def kill_zookeeper(self) -> None:
        """SIGKILL; it is away for a moment, and comes back with the sessions that it had."""
        assert self.stand.zookeeper is not None
        self.stand.zookeeper.kill()
        self.pause()
        self.stand.zookeeper.start()

    def stop_zookeeper_for_a_while(self) -> None:
        assert self.stand.zookeeper is not None
        self.freeze([self.stand.zookeeper.process.pid])

    def cut_zookeeper(self) -> None:
        assert self.stand.zookeeper_proxy is not None
        self.stand.zookeeper_proxy.cut()

    def stall_zookeeper(self) -> None:
        assert self.stand.zookeeper_proxy is not None
        self.stand.zookeeper_proxy.stall()
        self.pause()
        self.stand.zookeeper_proxy.restore()

    # -- connections to the databases ------------------------------------------------------------------------------

    def cut_a_connection(self) -> None:
        self._proxy().cut()

    def cut_inside_an_event(self) -> None:
        self._proxy().cut(after_bytes=self.rng.randrange(1, 20_000))

    def stall_a_connection(self) -> None:
        proxy = self._proxy()
        proxy.stall()
        self.pause()
        proxy.restore()

    def corrupt_a_connection(self) -> None:
        self._proxy().corrupt(after_bytes=self.rng.randrange(1, 20_000))

    def _proxy(self) -> Proxy:
        return self.rng.choice(list(self.stand.proxies.values()))
