"""What goes wrong in a cluster, at random: machines, networks, ZooKeeper, the databases and consumers."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from tests.chaos.trouble import Trouble
from tests.ha.databases import DatabasePair
from tests.ha.machines import Cut, are_separate
from tests.ha.stand import SESSION_S, Member, Stand
from tests.servers.zookeeper import ZooKeeper

LONGEST_S = 2 * SESSION_S  # of a freeze or a cut


class Faults(Trouble):
    """Each has mended what it broke when it returns."""

    def __init__(self, stand: Stand, seed: int) -> None:
        super().__init__(seed, LONGEST_S)
        self.stand = stand
        self.kinds = [
            (4, self.kill_an_engine),
            (4, self.stop_an_engine_for_a_while),
            (2, self.stop_a_supervisor_for_a_while),
            (2, self.stop_a_process_for_a_while),
            (2, self.stop_and_start_an_engine),
            (4, self.cut_an_engine_off_from_zookeeper),
            (2, self.cut_an_engine_off_from_zookeeper_and_consumers),
            (2, self.cut_an_engine_off_from_its_consumers),
            (2 if are_separate() else 0, self.cut_an_engines_machine_off),
            (3, self.kill_a_zookeeper_node),
            (2, self.stop_a_zookeeper_node_for_a_while),
            (3, self.cut_a_zookeeper_node_off_from_the_others),
            (2, self.cut_two_zookeeper_nodes_off_from_each_other),
            (1, self.stop_all_of_zookeeper_for_a_while),
            (2, self.kill_a_primary),
            (2, self.stop_a_primary_for_a_while),
            (2, self.cut_connections_to_a_primary),
            (2, self.cut_a_primary_off_for_a_while),
            (4, self.fail_over_to_a_standby),
            (3, self.kill_a_consumer),
            (2, self.stop_a_consumer_for_a_while),
            (2, self.cut_consumers_off),
        ]

    # -- engines ---------------------------------------------------------------------------------------------------

    def kill_an_engine(self) -> None:
        member = self._member()
        member.engine.kill()
        self.pause()
        member.engine.start()

    def stop_an_engine_for_a_while(self) -> None:
        """SIGSTOP to all its processes: a virtual machine that is moved."""
        self.freeze(self._member().engine.pids())

    def stop_a_supervisor_for_a_while(self) -> None:
        """Nobody renews its leases, and its server goes on."""
        self.freeze(self._member().engine.pids()[:1])

    def stop_a_process_for_a_while(self) -> None:
        self.freeze([self.rng.choice(self._member().engine.pids()[1:])])

    def stop_and_start_an_engine(self) -> None:
        member = self._member()
        assert member.engine.stop() == 0, member.engine.log
        member.engine.start()

    def cut_an_engine_off_from_zookeeper(self) -> None:
        self._half_open(self._member().zookeepers)

    def cut_an_engine_off_from_zookeeper_and_consumers(self) -> None:
        member = self._member()
        self._half_open([*member.zookeepers, member.consumers])

    def cut_an_engines_machine_off(self) -> None:
        """From ZooKeeper, its consumers and the databases: where it has a machine of its own."""
        self._half_open(self._member().cuts)

    def cut_an_engine_off_from_its_consumers(self) -> None:
        self._half_open([self._member().consumers])

    # -- ZooKeeper -------------------------------------------------------------------------------------------------

    def kill_a_zookeeper_node(self) -> None:
        node = self._node()
        node.kill()
        self.pause()
        node.start()

    def stop_a_zookeeper_node_for_a_while(self) -> None:
        self.freeze([self._node().process.pid])

    def cut_a_zookeeper_node_off_from_the_others(self) -> None:
        """Clients still reach it, the leader perhaps."""
        node = self._node()
        self._part([(node, other) for other in self.stand.ensemble.nodes if other is not node])

    def cut_two_zookeeper_nodes_off_from_each_other(self) -> None:
        one, other = self.rng.sample(self.stand.ensemble.nodes, 2)
        self._part([(one, other)])

    def stop_all_of_zookeeper_for_a_while(self) -> None:
        self.stand.ensemble.stop()
        self.pause()
        self.stand.ensemble.start()

    # -- databases -------------------------------------------------------------------------------------------------

    def kill_a_primary(self) -> None:
        database = self._pair().primary
        database.kill()
        database.start()

    def stop_a_primary_for_a_while(self) -> None:
        self.freeze([self._pair().primary.process.pid])

    def cut_connections_to_a_primary(self) -> None:
        pair = self._pair()
        pair.proxies[pair.at].cut()

    def cut_a_primary_off_for_a_while(self) -> None:
        """From the engines; its standby and those who write reach it."""
        pair = self._pair()
        self._half_open([pair.proxies[pair.at]])

    def fail_over_to_a_standby(self) -> None:
        self.stand.fail_over(self.rng.choice(list(self.stand.databases)))

    # -- consumers -------------------------------------------------------------------------------------------------

    def kill_a_consumer(self) -> None:
        self.rng.choice(self.stand.consumers).restart(signal.SIGKILL)

    def stop_a_consumer_for_a_while(self) -> None:
        self.freeze([self.rng.choice(self.stand.consumers).pid])

    def cut_consumers_off(self) -> None:
        """From all engines."""
        self._half_open([member.consumers for member in self.stand.members])

    # --------------------------------------------------------------------------------------------------------------

    def _member(self) -> Member:
        return self.rng.choice(self.stand.members)

    def _node(self) -> ZooKeeper:
        return self.rng.choice(self.stand.ensemble.nodes)

    def _pair(self) -> DatabasePair:
        return self.rng.choice(list(self.stand.databases.values()))

    def _half_open(self, cuts: Sequence[Cut]) -> None:
        for cut in cuts:
            cut.half_open()
        self.pause()
        for cut in cuts:
            cut.restore()

    def _part(self, links: list[tuple[ZooKeeper, ZooKeeper]]) -> None:
        for link in links:
            self.stand.ensemble.part(*link)
        self.pause()
        for link in links:
            self.stand.ensemble.rejoin(*link)
