"""A binlog that is purged, begun anew, restored or another server's: the source stops and says so, also after a restart."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest

from engine.counters import SourceCounter
from engine.errors import PositionError
from tests.servers.database import Database
from tests.servers.proxy import Proxy
from tests.source.stepped_engine import Engine, insert, live

RESET = {"mariadb": "RESET MASTER", "mysql": "RESET BINARY LOGS AND GTIDS"}


@pytest.fixture
def own(make_server: Callable[..., Database]) -> Database:
    server = make_server(innodb_flush_log_at_trx_commit=1)
    server.sql("CREATE DATABASE stage_own", "CREATE TABLE stage_own.t (id INT PRIMARY KEY, v VARCHAR(100))")
    return server


@pytest.fixture
def engine(own: Database, make_engine: Any) -> Engine:
    """Has read rows 1 and 2, and stands still."""
    made: Engine = make_engine(live(own), include=[r"stage_own\..*"])
    made.start()
    made.until(lambda: made.counter(SourceCounter.CONNECTED))
    insert(own, "stage_own", 1, 2)
    made.until(lambda: made.values() == [1, 2])
    made.stop()
    return made


@pytest.fixture(params=["ring", "acks"])
def goes_on_from(request: pytest.FixtureRequest, engine: Engine) -> str:
    """What the restarted engine still has: its ring, or only meta."""
    if request.param == "acks":
        engine.drop_ring()
        engine.make_ring()
    return str(request.param)


def stopped(engine: Engine) -> PositionError:
    engine.start()
    with pytest.raises(PositionError) as caught:
        engine.until(lambda: False)
    engine.stop()
    assert "source CONFIG begin" in str(caught.value), "the choices are told"
    return caught.value


def test_a_binlog_that_was_reset_is_known_though_its_files_have_the_same_names(
    own: Database, engine: Engine, goes_on_from: str
) -> None:
    before = own.position()
    own.sql(RESET[own.name])
    insert(own, "stage_own", 3)
    while own.position() < before:  # as long as before, so that the offset exists
        insert(own, "stage_own", *range(len(own.sql("SELECT id FROM stage_own.t")) + 1000, 1100))
    assert stopped(engine).reason == "binlog_reset"
    assert engine.values() == [1, 2]


def test_a_purged_file_is_named_with_what_is_missing(own: Database, engine: Engine, goes_on_from: str) -> None:
    own.sql("FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
    last = own.binlog_files()[-1].name
    own.purge(last)
    error = stopped(engine)
    assert error.reason == "position_purged"
    assert last in str(error.facts["missing"])


def test_another_server_with_the_same_file_names_is_not_read(
    own: Database, make_server: Callable[..., Database], make_engine: Any
) -> None:
    other = make_server(server_id=9)
    other.sql("CREATE DATABASE stage_own", "CREATE TABLE stage_own.t (id INT PRIMARY KEY, v VARCHAR(100))")
    insert(other, "stage_own", *range(10, 30))
    with Proxy(own.port) as proxy:
        engine = make_engine(live(own, url=own.url().replace(str(own.port), str(proxy.port))), include=[r"stage_own\..*"])
        engine.start()
        engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
        insert(own, "stage_own", 1)
        engine.until(lambda: engine.values() == [1])
        proxy.aim(other.port)
        proxy.cut()
        with pytest.raises(PositionError) as caught:
            engine.until(lambda: False)
        assert caught.value.reason == "server_changed"
        engine.stop()
        assert stopped(engine).reason == "server_changed"
        proxy.aim(own.port)
        insert(own, "stage_own", 2)
        engine.start()
        engine.until(lambda: engine.values() == [1, 2])


def test_a_restored_backup_that_lacks_what_was_read_is_not_followed(own: Database, make_engine: Any, tmp_path: Any) -> None:
    own.stop()
    shutil.copytree(own.data_dir, tmp_path / "backup")
    own.start()
    engine = make_engine(live(own), include=[r"stage_own\..*"])
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    insert(own, "stage_own", 1, 2)
    engine.until(lambda: engine.values() == [1, 2])
    engine.stop()
    own.kill()
    shutil.rmtree(own.data_dir)
    shutil.copytree(tmp_path / "backup", own.data_dir)
    own.start()
    insert(own, "stage_own", 5)
    assert stopped(engine).reason == "binlog_reset"


def test_binlog_files_of_another_name_are_not_taken_for_the_old(own: Database, engine: Engine) -> None:
    own.stop()
    own.options["log_bin"] = "renamed"
    own.start()
    assert stopped(engine).reason == "binlog_renamed"


def test_what_was_executed_is_kept_as_the_server_has_it(own: Database, make_engine: Any) -> None:
    engine = make_engine(live(own), include=[r"stage_own\..*"])
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    name = "gtid_binlog_pos" if own.name == "mariadb" else "gtid_executed"
    statements = {
        "mariadb": [f"SET gtid_domain_id={n % 20}, server_id={n + 1}" for n in range(40)],
        "mysql": [f"SET gtid_next='AUTOMATIC:tag{n % 20}'" for n in range(40)],
    }[own.name]
    for n, statement in enumerate(statements):  # more owners than the ring's note holds
        own.sql(statement, f"INSERT INTO stage_own.t VALUES ({n}, 'x')")
    engine.until(lambda: len(engine.values()) == 40)
    executed = str(own.sql(f"SELECT @@GLOBAL.{name}")[0][0]).replace("\n", "")
    known = str(engine.stage._ledger.executed())
    assert sorted(known.split(",")) == sorted(executed.split(","))
    engine.stop()
    engine.start()
    insert(own, "stage_own", 100)
    engine.until(lambda: engine.values()[-1] == 100)
    executed = str(own.sql(f"SELECT @@GLOBAL.{name}")[0][0]).replace("\n", "")
    assert sorted(str(engine.stage._ledger.executed()).split(",")) == sorted(executed.split(","))
