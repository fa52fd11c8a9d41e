"""Tables whose names don't mean what they say at first sight: lower_case_table_names, renames that are gone from the binlog."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from engine.errors import ServerSetupError
from tests.conftest import MAKERS
from tests.servers.database import Database
from tests.servers.mysql import MySQL
from tests.source.history.test_live import SCHEMA, bare, rows, run, started
from tests.source.stepped_engine import live

__all__ = ["bare"]


class LowerCaseMySQL(MySQL):
    """MySQL takes this setting only when a data dir is made. (2 is for file systems that don't tell upper from lower case.)"""

    _template: ClassVar[Path | None] = None
    initial_options: ClassVar[tuple[str, ...]] = ("--lower-case-table-names=1",)


@pytest.fixture(params=[pytest.param(kind, marks=getattr(pytest.mark, kind)) for kind in ("mariadb", "mysql")])
def lower_case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setitem(MAKERS, "mysql", LowerCaseMySQL)
    make: Any = request.getfixturevalue(f"make_{request.param}")
    server: Database = make(lower_case_table_names=1, binlog_row_metadata="MINIMAL")
    return server


def test_a_server_that_keeps_names_in_lower_case_is_followed_whatever_letters_its_statements_have(
    lower_case: Database, make_engine: Any
) -> None:
    server = lower_case
    server.sql(f"CREATE DATABASE {SCHEMA.upper()}")
    with server.connect(database=SCHEMA) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE Before_Start (Id INT PRIMARY KEY, u INT UNSIGNED)")
        engine = started(make_engine(live(server)))
        for statement in (
            "INSERT INTO BEFORE_START VALUES (1, 4294967295)", "ALTER TABLE before_START CHANGE U Renamed INT UNSIGNED",
            "INSERT INTO Before_Start VALUES (2, 4294967294)",
            f"CREATE TABLE {SCHEMA.upper()}.Mixed (e ENUM('x', 'y'), Key_ INT)",
            "INSERT INTO MIXED VALUES ('y', 1)", "RENAME TABLE mixed TO Other, BEFORE_start TO MIXED",
            "INSERT INTO other VALUES ('x', 2)", "INSERT INTO Mixed VALUES (3, 4294967293)",
            "ALTER TABLE MiXeD ADD COLUMN first_ ENUM('p', 'q') FIRST", "INSERT INTO mixed VALUES ('q', 4, 4294967292)",
            "DROP TABLE OTHER", "CREATE TABLE Other LIKE Mixed", "INSERT INTO OTHER VALUES ('p', 5, 4294967291)",
        ):  # fmt: skip
            cursor.execute(statement)
    engine.until(lambda: len(engine.changes()) == 7)
    assert rows(engine) == [
        {"Id": 1, "u": 4294967295}, {"Id": 2, "Renamed": 4294967294}, {"e": "y", "Key_": 1}, {"e": "x", "Key_": 2},
        {"Id": 3, "Renamed": 4294967293}, {"first_": "q", "Id": 4, "Renamed": 4294967292},
        {"first_": "p", "Id": 5, "Renamed": 4294967291},
    ]  # fmt: skip


def test_a_table_whose_rename_was_purged_is_known_by_its_new_name(bare: Database, make_engine: Any) -> None:
    run(bare, "CREATE TABLE old (id INT PRIMARY KEY, u INT UNSIGNED)", "RENAME TABLE old TO new", "FLUSH BINARY LOGS")
    newest = bare.binlog_files()[-1].name
    run(bare, f"PURGE BINARY LOGS TO '{newest}'", "INSERT INTO new VALUES (1, 4294967295)")
    engine = started(make_engine(live(bare, start="earliest")))
    engine.until(lambda: len(engine.changes()) == 1)
    assert rows(engine) == [{"id": 1, "u": 4294967295}]


def test_rows_under_a_name_that_the_server_no_longer_has_are_not_guessed_at(bare: Database, make_engine: Any) -> None:
    """Its CREATE TABLE is purged; a rename comes later; another table of the same shape has the name by now."""
    run(bare, "CREATE TABLE t (id INT PRIMARY KEY, u INT UNSIGNED)", "FLUSH BINARY LOGS")
    newest = bare.binlog_files()[-1].name
    run(bare, f"PURGE BINARY LOGS TO '{newest}'", "INSERT INTO t VALUES (1, 4294967295)", "RENAME TABLE t TO moved",
        "INSERT INTO moved VALUES (2, 4294967294)")  # fmt: skip
    engine = make_engine(live(bare, start="earliest"))
    engine.start()
    with pytest.raises(ServerSetupError, match=rf"the server has no such table now.*table={SCHEMA}\.t\b.*binlog-engine schema"):
        engine.until(lambda: False)
