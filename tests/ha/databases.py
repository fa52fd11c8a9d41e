"""A primary and its standby that take each other's place, writers on whichever is the primary, and a proxy before each."""

from __future__ import annotations

from typing import Any

from tests.chaos.workload import SCHEMA, Writer, end_writers, finish, make_tables
from tests.ha.machines import here
from tests.servers.database import Database
from tests.servers.proxy import Proxy
from tests.servers.replication import REPLICA_OPTIONS, executed, follow, promote

CAUGHT_UP_S = 30
DURABLE = {"innodb_flush_log_at_trx_commit": 2}  # what is in the binlog is in InnoDB too when only the process dies
WAIT = {"mariadb": "MASTER_GTID_WAIT", "mysql": "WAIT_FOR_EXECUTED_GTID_SET"}


class DatabasePair:
    """Two places, each with a server or, after that has died, its successor. All engines reach them by the same two URLs."""

    def __init__(self, kind: type[Database]) -> None:
        self._kind = kind
        self._made = 0
        self.servers: list[Database] = []
        self.proxies: list[Proxy] = []
        self.writers: list[Writer] = []
        self.at = 0  # place of the primary
        self.failovers = 0

    @property
    def primary(self) -> Database:
        return self.servers[self.at]

    def start(self) -> None:
        for _ in range(2):
            self.servers.append(self._new_server())
            self.proxies.append(Proxy(self.servers[-1].port, at=here("data")))
        follow(self.servers[1], self.servers[0])
        make_tables(self.primary)
        self.start_position = self.primary.position()
        self._wait_for_standby()

    def _new_server(self) -> Database:
        self._made += 1
        options: dict[str, Any] = {**REPLICA_OPTIONS[self._kind.name], **DURABLE, "server_id": self._made}
        return self._kind(**options).start()

    def urls(self) -> list[str]:
        known = self.servers[0].url()
        return [known.replace(f"127.0.0.1:{self.servers[0].port}", f"{here('data')}:{proxy.port}") for proxy in self.proxies]

    def write(self, connections: int, seed: int) -> None:
        for number in range(connections):
            self.writers.append(Writer(self.primary, number, seed + number, alters=number == 0))
            self.writers[-1].start()

    def _wait_for_standby(self) -> None:
        """Until it has all that the primary had when this was called."""
        standby, wanted = self.servers[1 - self.at], executed(self.primary)
        assert standby.sql(f"SELECT {WAIT[standby.name]}('{wanted}', {CAUGHT_UP_S})") == ((0,),), "the standby is behind"

    def lose_primary(self) -> int:
        """It dies for good, and its standby is promoted; id of a row of table `one` that is written there then.

        Engines are cut off from it a moment before: what they have the standby gets, too; for the rest they would have to wait.
        """
        dead, proxy = self.primary, self.proxies[self.at]
        proxy.stall()
        self._wait_for_standby()
        dead.kill()
        proxy.cut()
        proxy.restore()
        promote(self.servers[1 - self.at])
        self.at = 1 - self.at
        for writer in self.writers:
            writer.database = self.primary
        dead.close()
        self.failovers += 1
        self.primary.sql(f"INSERT INTO {SCHEMA}.one (id, a) VALUES ({-self.failovers}, 0)")
        return -self.failovers

    def replace_the_dead(self) -> None:
        """By a standby, which gets all from the primary."""
        place = 1 - self.at
        self.servers[place] = self._new_server()
        follow(self.servers[place], self.primary)
        self.proxies[place].aim(self.servers[place].port)

    def finish(self) -> int:
        """The last change; how many transactions there were."""
        for proxy in self.proxies:
            proxy.restore()
        transactions = end_writers(self.writers)
        finish(self.primary, 1)
        return transactions

    def close(self) -> None:
        for writer in self.writers:
            writer.stopping.set()
        for proxy in self.proxies:
            proxy.close()
        for server in self.servers:
            server.close()
