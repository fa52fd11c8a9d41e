"""The history of a live source: tables read at the start, restarts, and what the operator does when nothing else helps."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engine.cli import app
from engine.counters import SourceCounter
from engine.errors import ServerSetupError
from engine.record import CHANGES, Kind
from engine.source.history.history import ASKED_ALONE
from engine.source.history.snapshot import ServerTables
from tests.servers.database import Database
from tests.source.decoding import AFTER, BEFORE, KIND, TABLE
from tests.source.stepped_engine import Engine, live

SCHEMA = "stage_history"


@pytest.fixture
def bare(make_server: Callable[..., Database]) -> Database:
    """A server whose binlog says as little of columns as it can."""
    server = make_server(binlog_row_metadata="MINIMAL")
    if server.name == "mariadb":
        server.sql("SET GLOBAL binlog_row_metadata = NO_LOG")
    server.sql(f"CREATE DATABASE {SCHEMA} CHARACTER SET latin1")
    return server


def run(server: Database, *statements: str) -> None:
    with server.connect(database=SCHEMA) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def rows(engine: Engine) -> list[dict[str, Any]]:
    """The rows of all changes, after or else before, by the names of their columns."""
    names: dict[int, list[str]] = {}
    found = []
    for record in engine.records:
        if record[KIND] == Kind.SCHEMA:
            names[record[TABLE]] = [column["name"] for column in record[AFTER]["columns"]]
        elif record[KIND] in CHANGES:
            found.append(dict(zip(names[record[TABLE]], record[AFTER] or record[BEFORE], strict=True)))
    return found


def started(engine: Engine) -> Engine:
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    return engine


def test_tables_that_are_there_at_the_start_are_known_with_their_later_changes(bare: Database, make_engine: Any) -> None:
    """They were made before; when their rows are read they have been altered and dropped already."""
    run(bare, "CREATE TABLE a (id INT PRIMARY KEY, e ENUM('x','é') NOT NULL, u BIGINT UNSIGNED)", "FLUSH BINARY LOGS")
    engine = started(make_engine(live(bare)))
    run(
        bare, "INSERT INTO a VALUES (1, 'é', 18446744073709551615)", "ALTER TABLE a RENAME COLUMN u TO v, DROP COLUMN e",
        "INSERT INTO a VALUES (2, 18446744073709551614)", "DROP TABLE a",
    )  # fmt: skip
    engine.until(lambda: len(engine.changes()) == 2)
    assert rows(engine) == [{"id": 1, "e": "é", "u": 18446744073709551615}, {"id": 2, "v": 18446744073709551614}]


def test_a_restart_in_the_middle_goes_on_with_the_tables_of_that_place(bare: Database, make_engine: Any) -> None:
    run(bare, "CREATE TABLE a (id INT PRIMARY KEY, one INT, two INT)")
    engine = started(make_engine(live(bare)))
    run(bare, "INSERT INTO a VALUES (1, 11, 12)", "ALTER TABLE a RENAME COLUMN one TO two, RENAME COLUMN two TO one")
    engine.until(lambda: len(engine.changes()) == 1)
    for again in (engine.stop, engine.drop_ring):
        run(bare, "INSERT INTO a VALUES (2, 21, 22)", "ALTER TABLE a CHANGE one three INT UNSIGNED, ADD x INT FIRST",
            "INSERT INTO a VALUES (3, 4, 31, 4294967295)", "DELETE FROM a WHERE x = 3",
            "ALTER TABLE a DROP x, CHANGE three one INT", "DELETE FROM a WHERE id = 2")  # fmt: skip
        again()
        before = len(rows(engine))
        if again == engine.drop_ring:
            engine.make_ring()  # nothing was acked: all of it comes again, and must be the same
            before = 0
        engine.records.clear()
        started(engine)
        engine.until(lambda goal=4 + (5 if before == 0 else 0): len(engine.changes()) >= goal)
        later = [
            {"id": 2, "two": 21, "one": 22}, {"x": 3, "id": 4, "two": 31, "three": 4294967295},
            {"x": 3, "id": 4, "two": 31, "three": 4294967295}, {"id": 2, "two": 21, "one": 22},
        ]  # fmt: skip
        first = [{"id": 1, "one": 11, "two": 12}]
        assert rows(engine) == (later if before else first + later + later)


def test_tables_are_swapped_under_their_readers_as_ghost_tools_do_it(bare: Database, make_engine: Any) -> None:
    """Only the real table is wanted; its ghost is made, altered and moved into its place by another name."""
    run(bare, "CREATE TABLE a (id INT PRIMARY KEY, n INT)")
    engine = started(make_engine(live(bare), include=[rf"{SCHEMA}\.a"]))
    run(
        bare, "INSERT INTO a VALUES (1, 1)", "CREATE TABLE _a_gho LIKE a", "ALTER TABLE _a_gho ADD ghost INT UNSIGNED FIRST",
        "INSERT INTO _a_gho SELECT 4294967295, id, n FROM a", "RENAME TABLE a TO _a_del, _a_gho TO a",
        "INSERT INTO a VALUES (4294967290, 2, 2)", "CREATE TABLE _a_new (n INT UNSIGNED, id INT PRIMARY KEY)",
        "INSERT INTO _a_new VALUES (4294967289, 3)", "RENAME TABLE a TO _a_old, _a_new TO a", "DROP TABLE _a_old, _a_del",
        "INSERT INTO a VALUES (4294967288, 4)", "ALTER TABLE a MODIFY n BIGINT", "INSERT INTO a VALUES (-1, 5)",
    )  # fmt: skip
    engine.until(lambda: len(engine.changes()) == 4)
    assert rows(engine) == [
        {"id": 1, "n": 1}, {"ghost": 4294967290, "id": 2, "n": 2}, {"n": 4294967288, "id": 4}, {"n": -1, "id": 5},
    ]  # fmt: skip


def test_what_the_history_cannot_know_is_asked_of_the_server(bare: Database, make_engine: Any) -> None:
    """Its CREATE TABLE is not in the binlog that is left."""
    run(bare, "CREATE TABLE a (id INT UNSIGNED PRIMARY KEY, e ENUM('x','y'))", "FLUSH BINARY LOGS")
    start = bare.position()
    run(bare, "INSERT INTO a VALUES (4294967295, 'y')")
    engine = started(make_engine(live(bare, start=start)))
    engine.until(lambda: len(engine.changes()) == 1)
    assert rows(engine) == [{"id": 4294967295, "e": "y"}]


def test_the_tables_of_a_schema_are_asked_for_together_when_there_are_many(
    bare: Database, make_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what the server had said of them all isn't trusted any more once a statement has changed one."""
    run(bare, *(f"CREATE TABLE t{n} (id INT UNSIGNED PRIMARY KEY, e ENUM('x','y'))" for n in range(25)), "FLUSH BINARY LOGS")
    start = bare.position()
    asked: list[tuple[str, ...]] = []
    read = ServerTables.read

    def noted(self: ServerTables, names: tuple[str, ...] = (), *arguments: Any) -> Any:
        asked.append(names)
        return read(self, names, *arguments)

    monkeypatch.setattr(ServerTables, "read", noted)
    run(bare, *(f"INSERT INTO t{n} VALUES (4294967295, 'y')" for n in range(20)))
    engine = started(make_engine(live(bare, start=start)))
    engine.until(lambda: len(engine.changes()) == 20)
    alone = [(SCHEMA, f"t{n}") for n in range(ASKED_ALONE)]
    assert asked == [*alone, (SCHEMA,)]
    run(bare, "ALTER TABLE t21 MODIFY id BIGINT", *(f"INSERT INTO t{n} VALUES (3000000000, 'x')" for n in range(20, 23)))
    engine.until(lambda: len(engine.changes()) == 23)
    assert rows(engine) == 20 * [{"id": 4294967295, "e": "y"}] + 3 * [{"id": 3000000000, "e": "x"}]
    assert asked[len(alone) + 1 :] == [(SCHEMA, f"t{n}") for n in range(20, 23)]


def test_what_a_server_said_of_all_tables_and_is_not_so_any_more_is_asked_again(bare: Database, make_engine: Any) -> None:
    """Here because the change isn't in the binlog."""
    run(bare, *(f"CREATE TABLE t{n} (id INT PRIMARY KEY, e ENUM('x','y'))" for n in range(15)), "FLUSH BINARY LOGS")
    start = bare.position()
    run(bare, *(f"INSERT INTO t{n} VALUES (1, 'y')" for n in range(12)))
    engine = started(make_engine(live(bare, start=start)))
    engine.until(lambda: len(engine.changes()) == 12)
    run(
        bare, "SET sql_log_bin = 0", "ALTER TABLE t13 ADD n INT", "CREATE TABLE t99 (id INT PRIMARY KEY)", "SET sql_log_bin = 1",
        "INSERT INTO t13 VALUES (2, 'x', 3)", "INSERT INTO t99 VALUES (4)",
    )  # fmt: skip
    engine.until(lambda: len(engine.changes()) == 14)
    assert rows(engine)[12:] == [{"id": 2, "e": "x", "n": 3}, {"id": 4}]


def test_an_answer_that_was_newer_than_a_later_statement_is_not_trusted_any_more(
    bare: Database, make_engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The server is asked again; and it is said that rows before the statement may have been read with its columns."""
    run(bare, "CREATE TABLE a (id INT PRIMARY KEY, one INT, two INT)", "FLUSH BINARY LOGS")
    start = bare.position()
    run(
        bare, "INSERT INTO a VALUES (1, 11, 12)", "ALTER TABLE a RENAME COLUMN one TO two, RENAME COLUMN two TO one",
        "INSERT INTO a VALUES (2, 21, 22)",
    )  # fmt: skip
    engine = started(make_engine(live(bare, start=start)))
    engine.until(lambda: len(engine.changes()) == 2)
    assert rows(engine)[1] == {"id": 2, "two": 21, "one": 22}
    assert f"{SCHEMA}.a: the server's table of" in caplog.text


def test_a_statement_that_cannot_be_followed_makes_only_its_table_unknown(
    bare: Database, make_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.source.history import ddl
    from engine.source.history.definition import NotUnderstood

    follow = ddl.apply

    def apply(text: str, *rest: Any) -> None:
        if "odd" in text:
            raise NotUnderstood("it is odd")
        follow(text, *rest)

    monkeypatch.setattr(ddl, "apply", apply)
    run(bare, "CREATE TABLE a (id INT PRIMARY KEY)", "CREATE TABLE b (id INT PRIMARY KEY)")
    engine = started(make_engine(live(bare)))
    run(bare, "ALTER TABLE a ADD odd INT UNSIGNED", "INSERT INTO a VALUES (1, 4294967295)", "INSERT INTO b VALUES (2)")
    engine.until(lambda: len(engine.changes()) == 2)
    assert rows(engine) == [{"id": 1, "odd": 4294967295}, {"id": 2}]


@pytest.mark.parametrize("way", ["reread", "set"])
def test_the_operator_settles_what_nobody_knows(bare: Database, make_engine: Any, tmp_path: Path, way: str) -> None:
    run(bare, "CREATE TABLE a (id INT PRIMARY KEY, n INT UNSIGNED)", "FLUSH BINARY LOGS")
    start = bare.position()
    run(bare, "INSERT INTO a VALUES (1, 4294967295)", "SET sql_log_bin = 0", "ALTER TABLE a ADD later INT NOT NULL")
    engine = make_engine(live(bare, start=start))
    engine.start()
    with pytest.raises(ServerSetupError, match=rf"on the server it is another one.*table={SCHEMA}\.a.*schema CONFIG") as caught:
        engine.until(lambda: False)
    engine.stop()
    position = re.search(r"--at (\S+)", str(caught.value))
    assert position is not None
    config = tmp_path / "engine.toml"
    config.write_text(
        f"[server]\ndata_dir = {str(tmp_path / 'data0')!r}\n[sources.shop]\nurl = {bare.url()!r}\n[destinations.all]\n"
    )
    if way == "reread":
        run(bare, "SET sql_log_bin = 0", "ALTER TABLE a DROP later")
        cli(config, "reread", "shop", f"{SCHEMA}.a", "--at", position[1])
    else:
        columns = tmp_path / "columns.json"
        columns.write_text('{"columns": [{"name": "id", "type": "int"}, {"name": "n", "type": "int", "unsigned": true}], '
                           '"keys": [["PRIMARY", [["id", 0]]]]}')  # fmt: skip
        cli(config, "set", "shop", f"{SCHEMA}.a", "--at", position[1], "--columns", str(columns))
    shown = [json.loads(line) for line in cli(config, "show", "shop", f"{SCHEMA}.a", "--json").splitlines()]
    assert [(entry["from"], entry["how"]) for entry in shown] == [(position[1], "server" if way == "reread" else "set")]
    assert [column["name"] for column in shown[0]["columns"]] == ["id", "n"]
    assert "2 columns" in cli(config, "show")
    started(engine)
    engine.until(lambda: len(engine.changes()) == 1)
    assert rows(engine) == [{"id": 1, "n": 4294967295}]


def cli(config: Path, *arguments: str) -> str:
    done = CliRunner().invoke(app, ["schema", str(config), *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_mariadb_s_own_types_are_text_where_the_server_can_be_asked(mariadb: Database, make_engine: Any) -> None:
    mariadb.sql(f"DROP DATABASE IF EXISTS {SCHEMA}", f"CREATE DATABASE {SCHEMA}")
    run(mariadb, "CREATE TABLE a (u UUID, i4 INET4, i6 INET6, b BINARY(4))", "FLUSH BINARY LOGS")
    start = mariadb.position()
    run(mariadb, "INSERT INTO a VALUES ('123e4567-e89b-12d3-a456-426655440000', '10.1.2.3', '::ffff', 'abcd')")
    engine = started(make_engine(live(mariadb, start=start)))
    engine.until(lambda: len(engine.changes()) == 1)
    expected = {"u": "123e4567-e89b-12d3-a456-426655440000", "i4": "10.1.2.3", "i6": "::ffff", "b": b"abcd"}
    assert rows(engine) == [expected]
    mariadb.sql(f"DROP DATABASE {SCHEMA}")


def test_columns_that_nobody_sees_are_not_shown_as_ordinary_ones(mariadb: Database, make_engine: Any) -> None:
    mariadb.sql(f"DROP DATABASE IF EXISTS {SCHEMA}", f"CREATE DATABASE {SCHEMA}")
    run(
        mariadb, "CREATE TABLE a (id INT PRIMARY KEY, b BLOB UNIQUE, i INT INVISIBLE) WITH SYSTEM VERSIONING", "FLUSH BINARY LOGS"
    )
    start = mariadb.position()
    run(mariadb, "INSERT INTO a VALUES (1, 'x')")
    engine = started(make_engine(live(mariadb, start=start)))
    engine.until(lambda: len(engine.changes()) == 1)
    (schema,) = (record[AFTER] for record in engine.records if record[KIND] == Kind.SCHEMA)
    assert [(column["name"], column.get("visible", True)) for column in schema["columns"]] == [
        ("id", True), ("b", True), ("i", False), ("row_start", False), ("row_end", False),
    ]  # fmt: skip
    mariadb.sql(f"DROP DATABASE {SCHEMA}")
