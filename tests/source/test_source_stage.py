"""The source stage on real servers and on files: where it starts, how it goes on after a death, a cut and a restart."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from engine.counters import SourceCounter
from engine.errors import PositionError
from engine.meta import Place
from engine.meta.open import open_meta
from engine.position import Identity
from engine.record import Kind
from tests.servers.database import Database
from tests.source.decoding import AFTER, KIND, Record, identity
from tests.source.stepped_engine import Engine, insert, live


def test_changes_arrive_while_they_are_made(server: Database, schema: str, make_engine: Any) -> None:
    engine = make_engine(live(server))
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    insert(server, schema, 1, 2)
    server.sql(f"UPDATE {schema}.t SET v = 'new' WHERE id = 2", f"DELETE FROM {schema}.t WHERE id = 1")
    engine.until(lambda: len(engine.changes()) == 4)
    kinds = [record[KIND] for record in engine.records if record[KIND] != Kind.HEARTBEAT]
    one = [Kind.BEGIN, Kind.INSERT, Kind.COMMIT]
    assert kinds[:4] == [Kind.BEGIN, Kind.SCHEMA, Kind.INSERT, Kind.COMMIT]
    assert kinds[4:] == [*one, Kind.BEGIN, Kind.UPDATE, Kind.COMMIT, Kind.BEGIN, Kind.DELETE, Kind.COMMIT]
    identities = [identity(r) for r in engine.records if r[KIND] != Kind.SCHEMA]
    assert identities == sorted(identities)


@pytest.mark.parametrize("tls", ["disabled", "required"])
def test_a_stream_over_tls_is_the_same(mysql: Database, make_engine: Any, tls: str) -> None:
    mysql.sql(
        "DROP DATABASE IF EXISTS stage_tls",
        "CREATE DATABASE stage_tls",
        "CREATE TABLE stage_tls.t (id INT PRIMARY KEY, v LONGTEXT)",
    )
    start = mysql.position()
    mysql.sql("INSERT INTO stage_tls.t VALUES (1, REPEAT('x', 3000000)), (2, 'y')", "INSERT INTO stage_tls.t VALUES (3, 'z')")
    engine = make_engine(live(mysql, tls=tls, start=start))
    engine.start()
    engine.until(lambda: 3 in engine.values())
    assert engine.values() == [2, 3]
    assert sum(record[KIND] == Kind.FRAGMENT for record in engine.records) == 23
    mysql.sql("DROP DATABASE stage_tls")


def test_a_source_that_has_read_a_small_transaction_sleeps_at_once_and_the_next_one_wakes_it(
    server: Database, schema: str, make_engine: Any
) -> None:
    engine = make_engine(live(server, tls="preferred"))  # MySQL has TLS, MariaDB doesn't
    stage = engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    for wanted in range(1, 4):
        insert(server, schema, wanted)
        deadline = time.monotonic() + 20
        while len(engine.values()) < wanted and time.monotonic() < deadline:
            stage.idle(20 * 10**9)  # or the deadline is over
            stage.do_work(time.monotonic_ns())
            engine.take()
        assert stage.resting
    assert engine.values() == [1, 2, 3]


def test_latest_means_the_same_after_a_restart_before_the_first_ack(server: Database, schema: str, make_engine: Any) -> None:
    insert(server, schema, 1)
    engine = make_engine(live(server))
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    engine.drop_ring()
    insert(server, schema, 2)
    engine.make_ring()
    engine.start()
    engine.until(lambda: engine.values())
    assert engine.values() == [2]


def test_a_new_stage_goes_on_after_the_ring_s_last_record(server: Database, schema: str, make_engine: Any) -> None:
    start = server.position()
    insert(server, schema, *range(40))
    engine = make_engine(live(server, start=start))
    for wanted in range(1, 41):
        engine.start()
        assert engine.stage is not None
        engine.until(lambda wanted=wanted: len(engine.values()) >= wanted)
        engine.stop()
    assert engine.values() == list(range(40))


def test_an_empty_ring_is_filled_from_what_all_consumers_have_acked(server: Database, schema: str, make_engine: Any) -> None:
    start = server.position()
    server.sql(f"INSERT INTO {schema}.t VALUES (1, 'a'), (2, 'b'), (3, 'c')", f"INSERT INTO {schema}.t VALUES (4, 'd')")
    engine = make_engine(live(server, start=start), consumers=["fast", "slow"])
    engine.start()
    engine.until(lambda: len(engine.values()) == 4)
    first, second, _, fourth = engine.changes()
    engine.drop_ring()
    with_meta = open_meta("file", engine.instance)
    number = second[3]
    with_meta.ack({Place("all", "fast", 0, number): Identity(*identity(fourth))})
    with_meta.ack({Place("all", "slow", 0, number): Identity(*identity(second))})
    with_meta.close()
    engine.records.clear()
    engine.make_ring()
    engine.start()
    engine.until(lambda: len(engine.values()) == 2)
    assert engine.values() == [3, 4]
    kinds = [record[KIND] for record in engine.records if record[KIND] not in (Kind.HEARTBEAT, Kind.SCHEMA)]
    assert kinds[:2] == [Kind.BEGIN, Kind.INSERT], "the begin of a transaction that was acked in part comes again"
    assert identity(engine.changes()[0])[:3] == identity(first)[:3]


def test_a_consumer_that_acked_nothing_gets_all_from_the_first_position(server: Database, schema: str, make_engine: Any) -> None:
    engine = make_engine(live(server), consumers=["a", "b"])
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    insert(server, schema, 1, 2)
    engine.until(lambda: len(engine.values()) == 2)
    last = engine.changes()[-1]
    engine.drop_ring()
    meta = open_meta("file", engine.instance)
    meta.ack({Place("all", "a", 0, last[3]): Identity(*identity(last))})
    meta.close()
    engine.records.clear()
    engine.make_ring()
    engine.start()
    engine.until(lambda: len(engine.values()) == 2)
    assert engine.values() == [1, 2]


def test_a_lost_connection_is_made_again_and_nothing_comes_twice(make_server: Any, make_engine: Any) -> None:
    server = make_server()
    server.sql("CREATE DATABASE stage_lost", "CREATE TABLE stage_lost.t (id INT PRIMARY KEY, v VARCHAR(100))")
    engine = make_engine(live(server))
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    for i in range(10):
        insert(server, "stage_lost", i)
        if i % 3 == 0:
            for row in server.sql("SHOW PROCESSLIST"):
                if "Binlog Dump" in str(row[4]):
                    server.sql(f"KILL {row[0]}")
    engine.until(lambda: len(engine.values()) >= 10)
    assert engine.values() == list(range(10))
    server.kill()
    engine.until(lambda: not engine.counter(SourceCounter.CONNECTED))
    server.start()
    insert(server, "stage_lost", 10)
    engine.until(lambda: len(engine.values()) >= 11)
    assert engine.values() == list(range(11))
    assert engine.counter(SourceCounter.CONNECTS) >= 2


def test_a_start_by_gtid_is_kept_once_a_transaction_was_seen(server: Database, schema: str, make_engine: Any) -> None:
    insert(server, schema, 1)
    gtid = server.sql("SELECT @@gtid_binlog_pos" if server.name == "mariadb" else "SELECT @@gtid_executed")[0][0]
    insert(server, schema, 2)
    engine = make_engine(live(server, start="gtid:" + gtid.replace("\n", "")))
    engine.start()
    engine.until(lambda: engine.values())
    engine.drop_ring()
    insert(server, schema, 3)
    engine.records.clear()
    engine.make_ring()
    engine.start()
    engine.until(lambda: len(engine.values()) == 2)
    assert engine.values() == [2, 3]


def test_heartbeats_say_how_far_an_idle_source_is(server: Database, schema: str, make_engine: Any) -> None:
    engine = make_engine(live(server))
    engine.start()
    before_us = time.time_ns() // 1000
    engine.until(lambda: any(record[KIND] == Kind.HEARTBEAT for record in engine.records))
    beat = engine.records[-1]
    file, offset = server.position().rsplit(":", 1)
    assert identity(beat) == (int(file.rsplit(".", 1)[1]), int(offset), 0, 0)
    assert before_us <= beat[5] <= time.time_ns() // 1000


def test_a_full_ring_holds_the_source_back_without_loss(server: Database, schema: str, make_engine: Any) -> None:
    start = server.position()
    values = ",".join(f"({i}, REPEAT('{i % 10}', 100))" for i in range(20000))
    server.sql(f"INSERT INTO {schema}.t VALUES {values}")
    engine = make_engine(live(server, start=start))
    stage = engine.start()
    engine_full = 0
    while engine_full < 3:
        if not stage.do_work(time.monotonic_ns()):
            stage.idle(10_000_000)
            engine_full = engine.counter(SourceCounter.RING_FULL)
    engine.until(lambda: len(engine.values()) == 20000)
    assert engine.values() == list(range(20000))
    assert engine.counter(SourceCounter.ROWS) == 20000


def test_a_change_logged_as_a_statement_is_delivered_and_counted(server: Database, schema: str, make_engine: Any) -> None:
    engine = make_engine(live(server, start=server.position()))
    server.sql(
        "SET SESSION binlog_format = STATEMENT",
        f"INSERT INTO {schema}.t VALUES (1, 'statement')",
        f"UPDATE {schema}.t SET id = 2",
    )
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.STATEMENTS) == 2)


def shop_files(folder: Path) -> list[str]:
    case = Path(__file__).parent.parent / "data" / "mariadb-shop"
    folder.mkdir()
    shutil.copy(case / "binlog.000001", folder / "binlog.000001")
    return [str(folder / "binlog.0*")]


def test_files_are_read_to_their_end_and_the_ring_is_finished(tmp_path: Path, make_engine: Any) -> None:
    engine = make_engine({"files": shop_files(tmp_path / "files")}, include=[r"shop\..*"])
    engine.start()
    engine.until(lambda: engine.ring.writer_finished)
    engine.take()
    assert len(engine.changes()) == 209
    assert engine.stage.do_work(time.monotonic_ns()) == 0


def test_files_go_on_after_a_restart_where_the_ring_ends(tmp_path: Path, make_engine: Any) -> None:
    files = shop_files(tmp_path / "files")
    whole = make_engine({"files": files}, include=[r"shop\..*"])
    whole.start()
    whole.until(lambda: whole.ring.writer_finished)
    whole.take()
    engine = make_engine({"files": files}, include=[r"shop\..*"])
    for _ in range(2):
        engine.start()
        engine.until(lambda: engine.ring.writer_finished)
        engine.take()
        engine.stop()
    anew = (Kind.SCHEMA, Kind.HEARTBEAT)  # of a new decoder, and of a slow reading
    assert [r for r in engine.records if r[KIND] not in anew] == [r for r in whole.records if r[KIND] not in anew]


def test_a_file_that_is_gone_is_named(tmp_path: Path, make_engine: Any) -> None:
    files = shop_files(tmp_path / "files")
    engine = make_engine({"files": files, "start": "binlog.000007:4"})
    engine.start()
    with pytest.raises(PositionError, match=r"isn't there.*file=binlog.000007"):
        engine.step()


def test_mysql_s_compressed_transactions_and_tagged_gtids_arrive(make_mysql: Any, make_engine: Any) -> None:
    server = make_mysql(binlog_rows_query_log_events="ON")
    server.sql("CREATE DATABASE stage_zstd", "CREATE TABLE stage_zstd.t (id INT PRIMARY KEY, v VARCHAR(100))")
    start = server.position()
    values = ",".join(f"({i}, REPEAT('x', 90))" for i in range(5000))
    server.sql(
        "SET binlog_transaction_compression = ON", f"INSERT INTO stage_zstd.t VALUES {values}",
        "SET gtid_next = 'AUTOMATIC:blue'",
        "INSERT INTO stage_zstd.t VALUES (5000, 'tagged')", "UPDATE stage_zstd.t SET v = 'y' WHERE id < 3",
        "ALTER TABLE stage_zstd.t ADD c INT", "SET gtid_next = 'AUTOMATIC'", "INSERT INTO stage_zstd.t VALUES (5001, 'z', 1)",
    )  # fmt: skip
    engine = make_engine(live(server, start=start))
    engine.start()
    engine.until(lambda: 5001 in engine.values())
    assert engine.values() == [*range(5000), 5000, 0, 1, 2, 5001]
    uuid = server.sql("SELECT @@server_uuid")[0][0]
    gtids = [record[AFTER][0] for record in engine.records if record[KIND] == Kind.COMMIT]
    assert gtids[1:3] == [f"{uuid}:blue:1", f"{uuid}:blue:2"]
    assert gtids[0].rsplit(":", 1)[0] == gtids[3].rsplit(":", 1)[0] == uuid
    (ddl,) = (record for record in engine.records if record[KIND] == Kind.DDL)
    assert ddl[AFTER] == [None, "ALTER TABLE stage_zstd.t ADD c INT", f"{uuid}:blue:3", [["stage_zstd", "t"]]]
    assert abs(ddl[5] / 1e6 - time.time()) < 60
    server.kill()


def test_create_table_select_and_tables_without_transactions(server: Database, schema: str, make_engine: Any) -> None:
    start = server.position()
    engine_of = "MyISAM" if server.name == "mariadb" else "InnoDB"
    server.sql(
        f"INSERT INTO {schema}.t VALUES (1, 'a'), (2, 'b')",
        f"CREATE TABLE {schema}.copy ENGINE={engine_of} AS SELECT id FROM {schema}.t",
        f"INSERT INTO {schema}.copy VALUES (3)", f"TRUNCATE TABLE {schema}.copy", f"INSERT INTO {schema}.copy VALUES (4)",
    )  # fmt: skip
    engine = make_engine(live(server, start=start))
    engine.start()
    engine.until(lambda: 4 in engine.values())
    assert engine.values() == [1, 2, 1, 2, 3, 4]
    inside = False
    for record in engine.records:
        if record[KIND] in (Kind.BEGIN, Kind.COMMIT):
            inside = record[KIND] == Kind.BEGIN
        assert not (inside and record[KIND] == Kind.DDL)
    identities = [identity(r) for r in engine.records if r[KIND] != Kind.SCHEMA]
    assert identities == sorted(set(identities))
    tables = [record[AFTER][3] for record in engine.records if record[KIND] == Kind.DDL]
    assert tables == [[[schema, "copy"]], [[schema, "copy"]]]


def test_a_file_and_a_dump_of_it_give_the_same_records(server: Database, schema: str, make_engine: Any) -> None:
    """Positions, GTIDs and ordinals too, whatever the server leaves out of a dump."""
    server.sql("FLUSH BINARY LOGS")
    start = server.position().rsplit(":", 1)[0] + ":4"
    insert(server, schema, *range(20))
    server.sql(f"UPDATE {schema}.t SET v = 'x'", f"DELETE FROM {schema}.t WHERE id < 10", f"ALTER TABLE {schema}.t ADD c INT")
    file = server.binlog_files()[-1]
    server.sql("FLUSH BINARY LOGS")
    dumped, read = make_engine(live(server, start=start)), make_engine({"files": [str(file)]})
    read.start()
    read.until(lambda: read.ring.writer_finished)
    read.take()
    dumped.start()
    dumped.until(lambda: len(dumped.changes()) == len(read.changes()) and dumped.records[-1][KIND] != Kind.INSERT)

    def told(engine: Engine) -> list[Record]:
        return [record for record in engine.records if record[KIND] != Kind.HEARTBEAT]

    assert told(dumped) == told(read)
