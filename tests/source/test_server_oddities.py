"""Servers set up in ways that have thrown other readers off: file numbers of seven digits, semi-synchronous replication."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.counters import SourceCounter
from tests.servers.database import Database
from tests.source.decoding import AFTER, FILE
from tests.source.stepped_engine import live


def test_files_are_followed_past_the_millionth(make_server: Callable[..., Database], make_engine: Any) -> None:
    server = make_server()
    server.stop()
    (server.data_dir / "binlog.999998").touch()  # servers count on from the highest number that they find
    server.start()
    assert server.binlog_files()[-1].name == "binlog.999999"
    server.sql("CREATE DATABASE stage_odd", "CREATE TABLE stage_odd.t (id INT PRIMARY KEY)", "INSERT INTO stage_odd.t VALUES (1)",
               "FLUSH BINARY LOGS", "INSERT INTO stage_odd.t VALUES (2)")  # fmt: skip
    assert server.binlog_files()[-1].name == "binlog.1000000"
    engine = make_engine(live(server, start="binlog.999999:4"))
    engine.start()
    engine.until(lambda: len(engine.changes()) == 2)
    engine.stop()
    server.sql("INSERT INTO stage_odd.t VALUES (3)", "FLUSH BINARY LOGS", "INSERT INTO stage_odd.t VALUES (4)")
    engine.start()
    engine.until(lambda: len(engine.changes()) == 4)
    changes = engine.changes()
    assert [(change[FILE], change[AFTER]) for change in changes] == [
        (999_999, [1]), (1_000_000, [2]), (1_000_000, [3]), (1_000_001, [4]),
    ]  # fmt: skip
    positions = [tuple(change[FILE : FILE + 4]) for change in changes]
    assert positions == sorted(positions)
    other = make_engine(live(server, start="earliest"))
    other.start()
    other.until(lambda: len(other.changes()) == 4)
    assert [tuple(change[FILE : FILE + 4]) for change in other.changes()] == positions


def test_a_server_with_semi_synchronous_replicas_sends_us_plain_events(
    make_server: Callable[..., Database], make_engine: Any
) -> None:
    """It puts 0xEF and a flag before each event for a replica that asked for them; we don't, and it doesn't wait for us."""
    server = make_server()
    if server.name == "mariadb":
        server.sql("SET GLOBAL rpl_semi_sync_master_timeout = 1", "SET GLOBAL rpl_semi_sync_master_enabled = ON")
    else:
        server.sql("INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
                   "SET GLOBAL rpl_semi_sync_source_timeout = 1", "SET GLOBAL rpl_semi_sync_source_enabled = ON")  # fmt: skip
    engine = make_engine(live(server))
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    server.sql("CREATE DATABASE stage_odd", "CREATE TABLE stage_odd.t (id INT PRIMARY KEY)",
               *(f"INSERT INTO stage_odd.t VALUES ({n})" for n in range(10)))  # fmt: skip
    engine.until(lambda: len(engine.changes()) == 10)
    assert [change[AFTER] for change in engine.changes()] == [[n] for n in range(10)]
