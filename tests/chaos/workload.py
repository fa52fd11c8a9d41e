"""Connections that write at random, DDL too, and go on by themselves when their server dies."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from typing import Any

import pymysql

from tests.servers.database import Database

SCHEMA = "chaos"
TABLES = ("one", "two", "three")
END_TABLE = "finish"  # a row here is the last change of a run
IDS_A_WRITER = 10_000_000
RETRY_S = 0.1
LONGEST_PAUSE_S = 0.05  # between transactions: consumers of Python and SQLite have to keep up


def make_tables(database: Database) -> None:
    columns = "id BIGINT NOT NULL PRIMARY KEY, a INT NOT NULL, b VARCHAR(200)"
    database.sql(
        f"CREATE DATABASE {SCHEMA}",
        *(f"CREATE TABLE {SCHEMA}.{table} ({columns}) CHARACTER SET utf8mb4" for table in (*TABLES, END_TABLE)),
    )


class Writer(threading.Thread):
    """One connection: transactions of 1 to 20 statements, some rolled back, some of hundreds of rows; now and then an ALTER.

    What a lost connection did with its last transaction nobody knows but the server: SELECT is the truth in the end.
    """

    def __init__(self, database: Database, number: int, seed: int, *, alters: bool) -> None:
        super().__init__(daemon=True)
        self.database = database
        self.stopping = threading.Event()
        self.transactions = 0
        self.failure: BaseException | None = None
        self._rng = random.Random(seed)
        self._next = self._first = number * IDS_A_WRITER + 1
        self._alters = alters
        self._column = 0  # how many have been added

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                try:
                    self._write_until_the_server_goes()
                except (pymysql.err.OperationalError, pymysql.err.InterfaceError, OSError):
                    self.stopping.wait(RETRY_S)
        except BaseException as failure:
            self.failure = failure

    def _write_until_the_server_goes(self) -> None:
        with self.database.connect(autocommit=False, connect_timeout=2, read_timeout=20) as connection:
            with connection.cursor() as cursor:
                cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
                cursor.execute("SET SESSION innodb_lock_wait_timeout = 2, SESSION lock_wait_timeout = 2")
            while not self.stopping.is_set():
                try:
                    with connection.cursor() as cursor:
                        if self._alters and self._rng.random() < 0.02:
                            self._alter(cursor)
                        self._transaction(connection, cursor)
                except (pymysql.err.OperationalError, pymysql.err.InternalError, pymysql.err.IntegrityError) as error:
                    if error.args[0] not in (1062, 1205, 1213, 1020):  # duplicate, lock wait, deadlock, changed since read
                        raise
                    connection.rollback()

    def _transaction(self, connection: Any, cursor: Any) -> None:
        rng = self._rng
        for _ in range(rng.choice((1, 1, 2, 5, 20))):
            self._statement(cursor)
        if rng.random() < 0.1:
            connection.rollback()
        else:
            connection.commit()
            self.transactions += 1
        self.stopping.wait(rng.random() * LONGEST_PAUSE_S)

    def _statement(self, cursor: Any) -> None:
        rng, table = self._rng, f"{SCHEMA}.{self._rng.choice(TABLES)}"
        what = rng.random()
        if what < 0.5 or self._next == self._first:
            count = 1 if rng.random() < 0.99 else 400
            ids = range(self._next, self._next + count)
            self._next = ids.stop
            cursor.executemany(
                f"INSERT INTO {table} (id, a, b) VALUES (%s, %s, %s)",
                [(n, rng.randrange(1000), "né " * rng.randrange(60) or None) for n in ids],
            )
        else:
            start = rng.randrange(self._first, self._next)
            ids = (start, start + rng.choice((0, 3, 30)))
            if what < 0.8:
                cursor.execute(f"UPDATE {table} SET a = a + 1, b = %s WHERE id BETWEEN %s AND %s", (f"u{rng.random()}", *ids))
            elif what < 0.85:  # another primary key: in other partitions, perhaps
                cursor.execute(f"UPDATE {table} SET id = %s WHERE id = %s", (self._next, ids[0]))
                self._next += 1
            else:
                cursor.execute(f"DELETE FROM {table} WHERE id BETWEEN %s AND %s", ids)

    def _alter(self, cursor: Any) -> None:
        """Commits by itself, wherever it is cut: so a column that is there, or not there any more, is no surprise."""
        rng, table = self._rng, f"{SCHEMA}.{self._rng.choice(TABLES)}"
        self._column += 1
        statement = rng.choice((
            f"ALTER TABLE {table} ADD COLUMN x{self._column} INT NULL DEFAULT {self._column}",
            f"ALTER TABLE {table} DROP COLUMN x{self._column - 1}",
            f"ALTER TABLE {table} MODIFY b VARCHAR({200 + self._column}) FIRST",
            f"CREATE TABLE IF NOT EXISTS {SCHEMA}.passing (id INT NOT NULL PRIMARY KEY)",
            f"DROP TABLE IF EXISTS {SCHEMA}.passing",
        ))  # fmt: skip
        try:
            cursor.execute(statement)
        except pymysql.err.OperationalError as error:
            if error.args[0] not in (1060, 1091):  # the column is there already, or gone
                raise


def end_writers(writers: Iterable[Writer]) -> int:
    """How many transactions they have made."""
    writers = list(writers)
    for writer in writers:
        writer.stopping.set()
    for writer in writers:
        writer.join(60)
        assert not writer.is_alive(), "a writer does not end"
        assert writer.failure is None, f"a writer failed: {writer.failure!r}"
    return sum(writer.transactions for writer in writers)


def finish(database: Database, run: int) -> None:
    """The last change of a run."""
    database.sql(f"INSERT INTO {SCHEMA}.{END_TABLE} (id, a) VALUES ({run}, 0)")


def selected(database: Database, table: str) -> dict[int, dict[str, Any]]:
    """Rows by id, as SELECT shows them."""
    with database.connect(cursorclass=pymysql.cursors.DictCursor) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {SCHEMA}.{table}")
        return {row["id"]: row for row in cursor.fetchall()}
