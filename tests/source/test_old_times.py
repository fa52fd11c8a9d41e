"""MariaDB's temporal types in their old format (mysql56_temporal_format=OFF): read, or refused by name, never misread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.client.items import Change
from engine.errors import ServerSetupError
from engine.source.history.definition import ColumnDefinition, TableDefinition
from engine.source.old_times import check_old_times
from engine.source.table_map import MapColumn, TableMap, Type
from tests.fidelity.reading import read_files
from tests.servers.database import Database


@pytest.fixture
def old(make_mariadb: Callable[..., Database]) -> Database:
    server = make_mariadb(mysql56_temporal_format="OFF")
    server.sql("CREATE DATABASE o")
    return server


EDGES = {
    "DATETIME": ("'0000-00-00'", "'0000-00-00 00:00:00.000001'", "'1000-01-01 00:00:00.1'", "'2026-02-00 03:04:05.123456'",
                 "'2024-02-29 23:59:59.999999'", "'9999-12-31 23:59:59.999999'", "NULL"),
    "TIMESTAMP": ("'0000-00-00'", "'1970-01-01 00:00:00.000001'", "'1970-01-01 00:00:01'", "'2026-01-02 03:04:05.123456'",
                  "'2038-01-19 03:14:07.999999'", "NULL"),
    "TIME": ("'00:00:00'", "'-00:00:00.1'", "'-01:00:00.10'", "'-00:00:00.000001'", "'00:00:00.999999'", "'12:34:56.123456'",
             "'838:59:59.999999'", "'-838:59:59.999999'", "NULL"),
}  # fmt: skip


def made(server: Database, columns: str, values: str, *, apart: bool = False) -> list[Path]:
    """The binlog of a table with one row; apart: without its CREATE TABLE."""
    server.sql(f"CREATE TABLE o.t (id INT PRIMARY KEY, {columns})", *(["FLUSH BINARY LOGS"] if apart else []),
               f"INSERT INTO o.t VALUES (1, {values})", "FLUSH BINARY LOGS")  # fmt: skip
    return server.binlog_files()[-2:-1]


def rows(paths: list[Path]) -> list[Any]:
    return [list((item.after or {}).values()) for item in read_files(paths) if isinstance(item, Change)]


@pytest.mark.parametrize("metadata", ["FULL", "NO_LOG"])
def test_without_digits_of_a_second_they_are_read_where_the_definition_is_known(old: Database, metadata: str) -> None:
    old.sql(f"SET GLOBAL binlog_row_metadata = {metadata}")
    paths = made(old, "d DATETIME, s TIMESTAMP, t TIME", "'2026-01-02 03:04:05', '2026-01-02 03:04:05', '-12:34:56'")
    assert rows(paths) == [[1, "2026-01-02 03:04:05", "2026-01-02 03:04:05", "-12:34:56"]]


@pytest.mark.parametrize("metadata", ["FULL", "NO_LOG"])
def test_with_digits_of_a_second_they_equal_what_select_shows(old: Database, metadata: str) -> None:
    old.sql(f"SET GLOBAL binlog_row_metadata = {metadata}", "SET GLOBAL sql_mode = ''", "SET GLOBAL time_zone = '+00:00'")
    shown: list[list[Any]] = []
    for kind, values in EDGES.items():
        names = [f"v{digits}" for digits in range(7)]
        columns = ", ".join(f"v{digits} {kind}({digits}) NULL" for digits in range(7))
        rows_of_values = ", ".join(f"({i}, {', '.join(7 * [value])}, 7)" for i, value in enumerate(values))
        old.sql(f"CREATE TABLE o.{kind} (id INT PRIMARY KEY, {columns}, behind INT)",
                f"INSERT INTO o.{kind} VALUES {rows_of_values}", f"UPDATE o.{kind} SET behind = 8")  # fmt: skip
        selected = ", ".join(f"CAST({name} AS CHAR)" for name in names)
        for behind in (7, 8):
            shown += map(list, old.sql(f"SELECT id, {selected}, {behind} FROM o.{kind} ORDER BY id"))
    old.sql("FLUSH BINARY LOGS")
    changes = [item for item in read_files(old.binlog_files()[-2:-1]) if isinstance(item, Change)]
    assert [list((change.after or {}).values()) for change in changes] == shown
    types = {column.type for change in changes for column in change.columns.columns}
    assert types == {"int"} | {f"{kind.lower()}({n})" if n else kind.lower() for kind in EDGES for n in range(7)}


def test_of_a_definition_that_is_another_one_they_are_refused() -> None:
    """Names alone agree: another type says nothing of digits of a second."""
    known = TableDefinition((ColumnDefinition("d", "varchar", (10,), False, "utf8mb4", ()),))
    told = TableMap(1, 0, "o", "t", (MapColumn(Type.DATETIME, name="d"),))
    with pytest.raises(ServerSetupError, match=r"old format.*table=o\.t"):
        check_old_times(told, known)


def test_of_a_table_that_nobody_knows_they_are_refused(old: Database) -> None:
    paths = made(old, "d DATETIME", "'2026-01-02 03:04:05'", apart=True)
    with pytest.raises(ServerSetupError, match=r"old format.*table=o\.t.*read it through its server"):
        rows(paths)
