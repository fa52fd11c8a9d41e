"""System-versioned tables under every setting of metadata and images: table and history put together from the stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.client.items import Change, History
from tests.fidelity.reading import read_files
from tests.fidelity.settings import Setting, applied, newest_binlog

SCHEMA = "fidelity_versioned"
STATEMENTS = (
    "CREATE TABLE t (id INT PRIMARY KEY, v INT, b TEXT) WITH SYSTEM VERSIONING",
    "INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c'), (4, 4, NULL)",
    "UPDATE t SET v = v + 10",
    "UPDATE t SET b = 'changed' WHERE id = 1",
    "DELETE FROM t WHERE id IN (1, 3)",
    "INSERT INTO t VALUES (1, 100, 'again')",
    "UPDATE t SET id = id + 1000 WHERE id = 2",
    "BEGIN",
    "UPDATE t SET v = -v",
    "DELETE FROM t WHERE id = 4",
    "COMMIT",
)
METADATA = ("FULL", "MINIMAL", "NO_LOG")
IMAGES = ("FULL", "MINIMAL", "NOBLOB")
SERVERS = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("mariadb", "mariadb_next")]
PERIOD = ("row_start", "row_end")


def rows_of(server: Any, what: str) -> list[tuple[Any, ...]]:
    return sorted(map(repr, server.sql(f"SELECT id, v, b FROM {SCHEMA}.t{what}")))


def contents(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(repr((row["id"], row["v"], row["b"])) for row in rows)


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("metadata", METADATA)
@pytest.mark.parametrize("name", SERVERS)
def test_updates_are_updates_deletes_are_deletes_and_history_rows_are_history(
    written: Any, name: str, metadata: str, image: str
) -> None:
    server = written(name)
    variables = (("binlog_row_metadata", metadata), ("binlog_row_image", image))
    with applied(server, Setting(frozenset({name}), variables)):
        first = newest_binlog(server)
        with server.connect() as connection, connection.cursor() as cursor:
            for statement in (f"DROP DATABASE IF EXISTS {SCHEMA}", f"CREATE DATABASE {SCHEMA}", f"USE {SCHEMA}", *STATEMENTS):
                cursor.execute(statement)
        current, everything = rows_of(server, ""), rows_of(server, " FOR SYSTEM_TIME ALL")
    items = [item for item in read_files([path for path in server.binlog_files() if path.name >= first.name])]

    table: dict[Any, dict[str, Any]] = {}
    history: list[dict[str, Any]] = []
    ops = [item.op for item in items if isinstance(item, Change | History) and item.schema == SCHEMA]
    for item in items:
        if isinstance(item, History) and item.schema == SCHEMA:
            assert item.before is None
            history.append(item.after or {})
        elif isinstance(item, Change) and item.schema == SCHEMA:
            assert not {*PERIOD} & {*(item.before or {}), *(item.after or {})}, "nobody's own columns"
            assert [column.system for column in item.columns.columns] == ["", "", "", "start", "end"]
            assert item.columns.primary_key == (0,)
            old = table.pop(item.old_key[0], {}) if item.old_key else {}
            if item.after is not None:
                table[item.key[0]] = {**old, **item.after}

    assert contents([*table.values()]) == current
    assert ops.count("insert") == 5
    assert ops.count("update") == 4 + 1 + 1 + 3
    assert ops.count("delete") == 3
    assert ops.count("history") == 4 + 1 + 2 + 1 + 3 + 1
    if image == "FULL":
        assert contents([*table.values(), *history]) == everything
        assert all(row["row_start"] <= row["row_end"] for row in history)


def test_a_table_of_ones_own_with_such_columns_is_none(written: Any, tmp_path: Path) -> None:
    """Its CREATE TABLE stands in the binlog, so its names and types do not have to be guessed at."""
    server = written("mariadb")
    server.sql("FLUSH BINARY LOGS")
    first = newest_binlog(server)
    server.sql(
        f"DROP DATABASE IF EXISTS {SCHEMA}", f"CREATE DATABASE {SCHEMA}",
        f"CREATE TABLE {SCHEMA}.own (id INT PRIMARY KEY, row_start TIMESTAMP(6) NOT NULL DEFAULT '2026-01-01',"
        " row_end TIMESTAMP(6) NOT NULL DEFAULT '2026-01-01')",
        f"INSERT INTO {SCHEMA}.own (id) VALUES (1)", f"UPDATE {SCHEMA}.own SET row_end = '2026-02-01'",
    )  # fmt: skip
    items = list(read_files([path for path in server.binlog_files() if path.name >= first.name]))
    changes = [item for item in items if isinstance(item, Change | History) and item.schema == SCHEMA]

    assert [change.op for change in changes] == ["insert", "update"]
    assert changes[1].after is not None
    assert changes[1].after["row_end"] == "2026-02-01 00:00:00.000000"
