"""lower_case_table_names 1 and 2: servers to which `Orders` and `ORDERS` are one table. (0 is what all other tests have.)"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.conftest import MAKERS
from tests.servers.caseless import caseless_folder, start_in
from tests.servers.database import Database
from tests.servers.mariadb import MariaDB
from tests.servers.missing import Missing
from tests.servers.mysql import MySQL
from tests.source.history.test_live import SCHEMA, rows, started
from tests.source.stepped_engine import live

OPTIONS = {"binlog_row_metadata": "MINIMAL"}


class LowerCaseMySQL(MySQL):
    """MySQL takes this setting only when a data dir is made."""

    _template: ClassVar[Path | None] = None
    initial_options: ClassVar[tuple[str, ...]] = ("--lower-case-table-names=1",)


class CaselessMySQL(MySQL):
    initial_options: ClassVar[tuple[str, ...]] = ("--lower-case-table-names=2",)


@pytest.fixture(params=[pytest.param(kind, marks=getattr(pytest.mark, kind)) for kind in ("mariadb", "mysql")])
def lower_case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Names are kept in lower case, whatever letters they were written with."""
    monkeypatch.setitem(MAKERS, "mysql", LowerCaseMySQL)
    make: Any = request.getfixturevalue(f"make_{request.param}")
    server: Database = make(**OPTIONS, lower_case_table_names=1)
    return server


@pytest.fixture(params=[pytest.param(kind, marks=getattr(pytest.mark, kind.name)) for kind in (MariaDB, CaselessMySQL)])
def caseless(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Names are kept as they were written, and compared in lower case; the binlog has both, TABLE_MAPs the lower case."""
    try:
        with caseless_folder(tmp_path) as folder, closing(request.param(**OPTIONS, lower_case_table_names=2)) as server:
            start_in(server, folder)
            yield server
    except Missing as missing:
        pytest.skip(str(missing))


def follow(server: Database, make_engine: Any) -> None:
    """A story of tables whose letters change from one statement to the next."""
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


def test_a_server_that_keeps_names_in_lower_case_is_followed_whatever_letters_its_statements_have(
    lower_case: Database, make_engine: Any
) -> None:
    assert lower_case.sql("SELECT @@lower_case_table_names")[0][0] == 1
    follow(lower_case, make_engine)


def test_a_server_that_keeps_names_as_written_and_compares_them_in_lower_case_is_followed_as_well(
    caseless: Database, make_engine: Any
) -> None:
    assert caseless.sql("SELECT @@lower_case_table_names")[0][0] == 2
    follow(caseless, make_engine)
