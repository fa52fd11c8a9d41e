"""`binlog-engine position`: where consumers are, and consumers moved by hand, get exactly what stands from there on."""

from __future__ import annotations

import json
import shutil
import sqlite3

import pytest
from typer.testing import CliRunner

from engine.cli import app
from engine.config import SourceConfig
from engine.errors import ConfigError, EngineError
from engine.position import join_file_name, parse_start
from engine.source.places import locate
from tests.running_engine import RunningEngine, command
from tests.test_supervisor import binlog_files_of

TABLES = {"shop": binlog_files_of("mariadb-shop")}, {"all": {"partitions": 2}}


def read_all(engine: RunningEngine, destination: str = "all", consumer: str = "default", most: int | None = None) -> list:
    """(position, op, key) of what comes until nothing does for half a second, or of `most` changes, all acked."""
    seen: list = []
    with engine.connect(destination, consumer) as stream:
        while most is None or len(seen) < most:
            batch = stream.get(wait_ms=500 if seen else 3000, rows=most and most - len(seen))
            if batch is None:
                break
            seen += [(change.position, change.op, change.key) for change in batch]
            batch.ack()
    return seen


def position(engine: RunningEngine, *arguments: str, code: int = 0) -> str:
    """What the command says, on either output."""
    done = CliRunner().invoke(app, ["position", str(engine.config_path), *arguments])
    if isinstance(done.exception, EngineError):  # what `main` makes of it
        said, found = str(done.exception), 2 if isinstance(done.exception, ConfigError) else 1
    else:
        said, found = done.output, done.exit_code
    assert found == code, said
    return said


def shown(engine: RunningEngine, *arguments: str) -> list[dict]:
    return [json.loads(line) for line in position(engine, "show", *arguments, "--json").splitlines()]


def offset(place: str) -> int:
    return int(place.rpartition(":")[2])


@pytest.fixture(scope="module")
def delivered(tmp_path_factory):
    """An engine that has delivered everything of a recorded binlog to three consumers, and stopped; and what it delivered."""
    engine = RunningEngine(tmp_path_factory.mktemp("position"), *TABLES)
    with engine:
        everything = [read_all(engine, consumer=name) for name in ("default", "second", "third")]
        assert engine.stop() == 0
    assert sorted(everything[0]) == sorted(everything[1]) == sorted(everything[2])
    return engine, everything[0]


@pytest.fixture
def stopped(tmp_path, delivered):
    """The same in a folder of its own."""
    template, everything = delivered
    engine = RunningEngine(tmp_path, *TABLES)
    shutil.copytree(template.folder / "data", tmp_path / "data")
    return engine, everything


def test_show_names_each_consumer_partition_and_source_with_its_place(stopped):
    engine, everything = stopped
    rows = shown(engine)
    assert [(row["destination"], row["consumer"], row["partition"], row["source"]) for row in rows] == [
        ("all", consumer, partition, "shop") for consumer in ("default", "second", "third") for partition in (0, 1)
    ]
    assert all(offset(row["position"]) >= max(offset(place) for place, _, _ in everything) for row in rows)
    assert shown(engine, "all", "--consumer", "second") == rows[2:4]
    assert "all/default/0 of shop: binlog.000001:" in position(engine, "show")


def test_set_and_reset_move_the_consumers_named_and_leave_the_others_where_they_are(stopped):
    engine, everything = stopped
    places = sorted({place for place, _, _ in everything}, key=offset)
    back = places[len(places) // 2]
    assert f"all: second get shop from {back} on" in position(engine, "set", "all", back, "--consumer", "second")
    assert "positions of default are forgotten" in position(engine, "reset", "all", "--consumer", "default")
    assert {row["consumer"]: row["position"] for row in shown(engine)} | {"third": ""} == {
        "default": None, "second": back, "third": "",
    }  # fmt: skip
    with engine:
        first, second, third = (read_all(engine, consumer=name) for name in ("default", "second", "third"))
    assert sorted(first) == sorted(everything)
    assert sorted(second) == sorted(row for row in everything if offset(row[0]) >= offset(back))
    assert third == []


def test_all_consumers_of_a_destination_are_moved_at_once(stopped):
    engine, _ = stopped
    position(engine, "set", "all", "earliest")
    assert {row["position"] for row in shown(engine)} == {"binlog.000001:4"}
    position(engine, "set", "all", "latest")
    assert len({row["position"] for row in shown(engine)}) == 1
    position(engine, "reset", "all")
    assert [(row["consumer"], row["position"]) for row in shown(engine)] == [("default", None)] * 2


def test_forget_drops_a_consumer_while_the_engine_runs_unless_it_has_a_session_or_stands_in_the_config(tmp_path):
    engine = RunningEngine(tmp_path, {"shop": binlog_files_of("mariadb-shop")}, {"all": {}})
    with engine:
        read_all(engine, most=5)
        (row,) = shown(engine)
        assert row["held_bytes"] > 0
        assert row["lag_s"] > 0
        assert row["acked"].startswith("2026-")
        refused = position(engine, "reset", "all", code=2)  # it would not count while the engine runs
        assert "another engine runs" in refused
        assert "stop it first" in refused
        assert shown(engine)[0]["position"] == row["position"]
        with engine.connect("all", "second") as stream:
            batch = stream.get(wait_ms=3000, rows=3)
            batch.ack()
            stream.flush()
            assert "the consumer has a session" in position(engine, "forget", "all", "second", code=1)
        engine.wait_until(lambda: engine.observe()["consumers"]["all/second/0"]["present"] is False)
        assert engine.observe()["consumers"]["all/second/0"]["held_bytes"] > 0
        assert "second is forgotten" in position(engine, "forget", "all", "second")
        assert set(engine.observe()["consumers"]) == {"all/default/0"}
        assert [row["consumer"] for row in shown(engine)] == ["default"]
        assert "the config lists this consumer" in position(engine, "forget", "all", "default", code=2)
        engine.kill()  # its stores are still in shared memory; what is set now has to count all the same
        position(engine, "set", "all", "latest")
        engine.process = None
        engine.start()
        assert read_all(engine) == []
    assert "is not taken over" in engine.log


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("set", "none", "earliest"), "no such destination [destination=none known=all]"),
        (("set", "all", "yesterday"), "start is not a position"),
        (("set", "all", "binlog.000099:4"), "no such place in the source's files"),
        (("set", "all", "binlog.000001:99999999"), "no such place in the source's files"),
        (("set", "all", "gtid:0-1-5"), "binlog files can't be searched for this start"),
        (("set", "all", "earliest", "--consumer", "fourth"), "no such consumer"),
        (("set", "all", "earliest", "--source", "depot"), "this source does not feed the destination"),
        (("reset", "all", "--consumer", "fourth"), "no such consumer"),
        (("forget", "all", "fourth"), "no such consumer"),
    ],
)
def test_what_is_not_there_is_named_and_nothing_is_changed(stopped, arguments, said):
    engine, _ = stopped
    before = shown(engine)
    done = CliRunner().invoke(app, ["position", str(engine.config_path), *arguments])
    assert isinstance(done.exception, EngineError)
    assert said in str(done.exception)
    assert shown(engine) == before


def test_an_error_is_one_line_and_an_exit_code(stopped):
    engine, _ = stopped
    done = command("position", str(engine.config_path), "set", "all", "earliest", "--consumer", "fourth")
    assert done.returncode == 2
    assert "no such consumer [destination=all consumer=fourth known=default, second, third]" in done.stderr
    assert "Traceback" not in done.stderr


def test_meta_that_can_not_be_written_keeps_every_position(stopped):
    engine, _ = stopped
    before = shown(engine)
    with sqlite3.connect(engine.folder / "data" / "meta.sqlite") as db:
        db.execute(
            "CREATE TRIGGER full BEFORE INSERT ON acked WHEN new.partition = 1 BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    db.close()
    assert "meta can't be read or written" in position(engine, "set", "all", "earliest", code=1)
    assert shown(engine) == before


def test_a_live_servers_places_are_found_by_gtid_set_time_or_place(server, unique_schema):
    settings = SourceConfig(url=server.url())
    server.sql(f"CREATE TABLE {unique_schema}.numbers (n INT PRIMARY KEY)", f"INSERT INTO {unique_schema}.numbers VALUES (1)")
    starts = [f"gtid:{executed(server)}", server.position(), "latest"]
    here = server.position()
    assert [found(settings, start) for start in starts] == [here] * 3
    server.sql("SELECT SLEEP(CEIL(UNIX_TIMESTAMP(NOW(6))) - UNIX_TIMESTAMP(NOW(6)) + 0.05)")  # times are whole seconds
    starts[2] = server.sql("SELECT DATE_FORMAT(UTC_TIMESTAMP(), '%Y-%m-%dT%H:%i:%sZ')")[0][0]
    server.sql(f"INSERT INTO {unique_schema}.numbers VALUES (2)", f"INSERT INTO {unique_schema}.numbers VALUES (3)")
    assert [found(settings, start) for start in starts] == [here] * 3


def found(settings: SourceConfig, start: str) -> str:
    base, number, at = locate(settings, "db", parse_start(start))
    return f"{join_file_name(base, number)}:{at}"


def executed(server) -> str:
    query = "SELECT @@GLOBAL.gtid_executed" if server.name == "mysql" else "SELECT @@GLOBAL.gtid_binlog_pos"
    return "".join(str(server.sql(query)[0][0]).split())
