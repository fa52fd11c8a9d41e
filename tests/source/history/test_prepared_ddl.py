"""DDL while an XA transaction is prepared: its rows come with the commit, read with the columns of when they were written."""

from __future__ import annotations

from typing import Any

import pymysql
import pytest

from tests.servers.database import Database
from tests.source.history.test_live import SCHEMA, bare, rows, run, started
from tests.source.stepped_engine import live

__all__ = ["bare"]


def test_ddl_between_prepare_and_commit_is_applied_at_its_place(bare: Database, make_engine: Any) -> None:
    run(bare, "CREATE TABLE t (id INT PRIMARY KEY, u INT UNSIGNED)", "CREATE TABLE o (id INT PRIMARY KEY, u INT UNSIGNED)")
    engine = started(make_engine(live(bare)))
    with bare.connect(database=SCHEMA) as connection, connection.cursor() as cursor:
        for statement in ("XA START 'a'", "INSERT INTO t VALUES (1, 4294967295)", "XA END 'a'", "XA PREPARE 'a'"):
            cursor.execute(statement)
        run(bare, "INSERT INTO o VALUES (1, 4294967294)", "ALTER TABLE o ADD f ENUM('x', 'y') FIRST, RENAME COLUMN u TO v",
            "INSERT INTO o VALUES ('y', 2, 4294967293)", "CREATE TABLE n (u INT UNSIGNED)", "INSERT INTO n VALUES (4294967292)",
            "DROP TABLE n")  # fmt: skip
        cursor.execute("XA COMMIT 'a'")
        cursor.execute("ALTER TABLE t RENAME COLUMN u TO w, ADD x INT UNSIGNED FIRST")
        cursor.execute("INSERT INTO t VALUES (4294967291, 2, 7)")
    engine.until(lambda: len(engine.changes()) == 5)
    assert rows(engine) == [
        {"id": 1, "u": 4294967294}, {"f": "y", "id": 2, "v": 4294967293}, {"u": 4294967292}, {"id": 1, "u": 4294967295},
        {"x": 4294967291, "id": 2, "w": 7},
    ]  # fmt: skip


def test_a_table_with_prepared_rows_is_not_altered_so_they_come_with_the_columns_they_had(
    bare: Database, make_engine: Any
) -> None:
    """Not even after a restart, when no session holds them: they are read again at the commit, from where they were prepared."""
    run(bare, "CREATE TABLE t (id INT PRIMARY KEY, u INT UNSIGNED)",
        "XA START 'a'", "INSERT INTO t VALUES (1, 4294967295)", "XA END 'a'", "XA PREPARE 'a'")  # fmt: skip
    bare.stop()
    bare.start()
    with pytest.raises(pymysql.err.OperationalError, match="Lock wait timeout"):
        run(bare, "SET lock_wait_timeout = 1, innodb_lock_wait_timeout = 1", "ALTER TABLE t RENAME COLUMN u TO v")
    engine = started(make_engine(live(bare, start="earliest")))
    run(bare, "XA COMMIT 'a'", "ALTER TABLE t RENAME COLUMN u TO v", "INSERT INTO t VALUES (2, 4294967294)")
    engine.until(lambda: len(engine.changes()) == 2)
    assert rows(engine) == [{"id": 1, "u": 4294967295}, {"id": 2, "v": 4294967294}]
