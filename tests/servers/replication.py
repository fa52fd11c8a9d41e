"""Real replication between two test servers, by GTID or by place: follow, wait, promote."""

from __future__ import annotations

import time

from tests.servers.database import REPL_PASSWORD, REPL_USER, Database

REPLICA_OPTIONS = {
    "mariadb": {"server_id": 2, "log_slave_updates": "ON", "slave_net_timeout": 5},
    "mysql": {"server_id": 2, "log_replica_updates": "ON", "replica_net_timeout": 5},
}


def follow(replica: Database, primary: Database, *, by_gtid: bool = True) -> None:
    """Let `replica` replicate all that `primary` has written and writes; without GTIDs, what it writes from now on."""
    account = f"HOST='127.0.0.1', {{0}}_PORT={primary.port}, {{0}}_USER='{REPL_USER}', {{0}}_PASSWORD='{REPL_PASSWORD}'"
    if primary.name == "mariadb":
        replica.sql(
            f"CHANGE MASTER TO MASTER_{account.format('MASTER')}, MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1",
            "START SLAVE",
        )
    else:
        file, _, offset = primary.position().partition(":")
        place = "SOURCE_AUTO_POSITION=1" if by_gtid else f"SOURCE_LOG_FILE='{file}', SOURCE_LOG_POS={offset}"
        options = f"{place}, GET_SOURCE_PUBLIC_KEY=1, SOURCE_CONNECT_RETRY=1"
        replica.sql(f"CHANGE REPLICATION SOURCE TO SOURCE_{account.format('SOURCE')}, {options}", "START REPLICA")


def executed(server: Database) -> str:
    name = "gtid_binlog_pos" if server.name == "mariadb" else "gtid_executed"
    return str(server.sql(f"SELECT @@GLOBAL.{name}")[0][0]).replace("\n", "")


def wait_for(replica: Database, primary: Database, timeout_s: float = 20) -> None:
    """Until the replica has all that the primary has now."""
    wanted = executed(primary)
    deadline = time.monotonic() + timeout_s
    while executed(replica) != wanted:
        assert time.monotonic() < deadline, f"replica at {executed(replica)}, primary at {wanted}"
        time.sleep(0.02)


def wait_for_rows(replica: Database, table: str, rows: int, timeout_s: float = 20) -> None:
    """Until the replica's table has so many: for servers without GTIDs."""
    deadline = time.monotonic() + timeout_s
    while replica.sql(f"SELECT COUNT(*) FROM {table}")[0][0] != rows:
        assert time.monotonic() < deadline, f"{table} doesn't get {rows} rows"
        time.sleep(0.02)


def wait_for_row(replica: Database, table: str, row: int, timeout_s: float = 20) -> None:
    """Until the replica's table has the one with this id."""
    deadline = time.monotonic() + timeout_s
    while not replica.sql(f"SELECT 1 FROM {table} WHERE id = {row}"):
        assert time.monotonic() < deadline, f"{table} doesn't get row {row}"
        time.sleep(0.02)


def promote(replica: Database, timeout_s: float = 20) -> None:
    """Make it a primary once it has applied what it had received."""
    deadline = time.monotonic() + timeout_s
    if replica.name == "mariadb":
        replica.sql("STOP SLAVE IO_THREAD")
        while str(replica.sql("SELECT @@GLOBAL.gtid_slave_pos")[0][0]) != _received(replica):
            assert time.monotonic() < deadline, "relay log not applied"
            time.sleep(0.02)
        replica.sql("STOP SLAVE", "RESET SLAVE ALL")
    else:
        replica.sql("STOP REPLICA IO_THREAD")
        while replica.sql(f"SELECT GTID_SUBSET('{_received(replica)}', @@GLOBAL.gtid_executed)")[0][0] != 1:
            assert time.monotonic() < deadline, "relay log not applied"
            time.sleep(0.02)
        replica.sql("STOP REPLICA", "RESET REPLICA ALL")


def _received(replica: Database) -> str:
    """GTIDs in the replica's relay log, as its status has them."""
    with replica.connect() as session, session.cursor() as cursor:
        cursor.execute("SHOW SLAVE STATUS" if replica.name == "mariadb" else "SHOW REPLICA STATUS")
        names = [column[0] for column in cursor.description]
        row = dict(zip(names, cursor.fetchone(), strict=True))
    return str(row["Gtid_IO_Pos"] if replica.name == "mariadb" else row["Retrieved_Gtid_Set"]).replace("\n", "")
