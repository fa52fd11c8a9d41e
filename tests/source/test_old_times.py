"""MariaDB's temporal types in their old format (mysql56_temporal_format=OFF): read, or refused by name, never misread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.client.items import Change
from engine.errors import ServerSetupError
from tests.fidelity.reading import read_files
from tests.servers.database import Database


@pytest.fixture
def old(make_mariadb: Callable[..., Database]) -> Database:
    server = make_mariadb(mysql56_temporal_format="OFF")
    server.sql("CREATE DATABASE o")
    return server


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
@pytest.mark.parametrize("kind", ["DATETIME(3)", "TIMESTAMP(6)", "TIME(1)"])
def test_with_digits_they_are_refused_by_name_with_what_mends_it(old: Database, metadata: str, kind: str) -> None:
    old.sql(f"SET GLOBAL binlog_row_metadata = {metadata}")
    paths = made(old, f"d {kind}, n INT", "'2026-01-02 03:04:05.1', 1" if kind[:5] != "TIME(" else "'03:04:05.1', 1")
    with pytest.raises(ServerSetupError, match=r"digits of a second.*table=o\.t.*column=d.*ALTER TABLE o\.t FORCE") as caught:
        rows(paths)
    assert f"type={kind.lower()}" in str(caught.value)
    old.sql("SET GLOBAL mysql56_temporal_format = ON", "FLUSH BINARY LOGS", "ALTER TABLE o.t FORCE", "UPDATE o.t SET n = 2",
            "FLUSH BINARY LOGS")  # fmt: skip
    if metadata == "FULL":
        assert rows(old.binlog_files()[-2:-1])[0][2] == 2


def test_of_a_table_that_nobody_knows_they_are_refused(old: Database) -> None:
    paths = made(old, "d DATETIME", "'2026-01-02 03:04:05'", apart=True)
    with pytest.raises(ServerSetupError, match=r"old format.*table=o\.t.*read it through its server"):
        rows(paths)
