"""Hundreds of real DDL statements: after each of them the history knows what information_schema of a real server shows.

A server runs the files of statements/ and is asked for its tables after every statement; then its binlog is read from the
start, without anybody to ask, and what the history makes of each statement is compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine.position import Identity
from engine.source.files import decode_files
from engine.source.history.catalog import Known, Name
from engine.source.history.definition import TableDefinition
from engine.source.history.history import Moment
from engine.source.history.snapshot import read_tables
from engine.source.tables import TableVersions
from tests.servers.database import Database

SCHEMAS = ("ddl", "ddl_2")
FOLDER = Path(__file__).with_name("statements")
DDL = re.compile(r"(/\*.*?\*/|\s|--.*?\n|#.*?\n)*(/\*M?!\d*\s*)?(CREATE|ALTER|DROP|RENAME|TRUNCATE)\b", re.IGNORECASE | re.DOTALL)


class Told(NamedTuple):
    """A statement, where the binlog ended after it, and the server's tables then."""

    sql: str
    end: int
    tables: dict[Name, TableDefinition]


def statements(path: Path) -> list[str]:
    """Those of one file: each ends with `;` at the end of a line."""
    text = re.sub(r"\A(-- .*\n)+", "", path.read_text())
    return [statement.strip() for statement in re.split(r";\n", text) if statement.strip()]


def files(server: str) -> list[Path]:
    return [path for path in sorted(FOLDER.glob("*.sql")) if path.stem not in {"mysql", "mariadb"} - {server}]


class Session:
    """A connection that runs statements in an empty database, and one beside it that looks at what they did."""

    def __init__(self, server: Database) -> None:
        self._mariadb = server.name == "mariadb"
        server.sql(*(f"DROP DATABASE IF EXISTS {schema}" for schema in SCHEMAS), "FLUSH BINARY LOGS")
        server.sql(f"CREATE DATABASE {SCHEMAS[0]} CHARACTER SET utf8mb4")
        self._connection, self._other = server.connect(database=SCHEMAS[0]), server.connect()

    def tell(self, sql: str) -> Told:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            cursor.fetchall()
        tables = read_tables(self._query, mariadb=self._mariadb)
        status = self._query("SHOW MASTER STATUS" if self._mariadb else "SHOW BINARY LOG STATUS")
        # nothing is known of sequences: a server is asked for them
        tables = {name: table for name, table in tables.items() if name[0] in SCHEMAS and name[1] != "a_sequence"}
        return Told(sql, int(status[0][1]), tables)

    def _query(self, text: str, *arguments: Any) -> Any:
        with self._other.cursor() as cursor:
            cursor.execute(text, arguments or None)
            return cursor.fetchall()

    def close(self) -> None:
        self._connection.close()
        self._other.close()


@pytest.fixture
def session(server: Database) -> Iterator[Session]:
    found = Session(server)
    yield found
    found.close()
    server.sql(*(f"DROP DATABASE IF EXISTS {schema}" for schema in SCHEMAS))


def test_there_are_more_than_150_statements_for_each_server() -> None:
    for server in ("mysql", "mariadb"):
        assert sum(bool(DDL.match(sql)) for path in files(server) for sql in statements(path)) > 250


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.sql")))
def test_the_history_agrees_with_the_server_after_every_statement(
    server: Database, session: Session, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if FOLDER / f"{name}.sql" not in files(server.name):
        return  # the other server's own
    told = [session.tell(sql) for sql in statements(FOLDER / f"{name}.sql")]
    file = server.binlog_files()[-1]
    server.sql("FLUSH BINARY LOGS")
    learned = learn(file, monkeypatch)
    for each in told:
        known = max(((at, tables) for at, tables in learned if at.start < each.end), key=lambda pair: pair[0])[1]
        assert differences(each, known) == []


def learn(file: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Identity, dict[Name, Known]]]:
    """All that is known after each QUERY event of a file."""
    found: list[tuple[Identity, dict[Name, Known]]] = [(Identity(0, 0, 0, 0), {})]
    learn_one = TableVersions.learn

    def learn(self: TableVersions, body: bytes, post_header_bytes: int, mariadb: bool, moment: Moment) -> frozenset[str]:
        self._history._catalog.case_sensitive = True
        changed = learn_one(self, body, post_header_bytes, mariadb, moment)
        found.append((moment.at, dict(self._history._catalog.tables)))
        return changed

    monkeypatch.setattr(TableVersions, "learn", learn)
    for _ in decode_files([file], wants=lambda name: False):
        pass
    return found


def differences(told: Told, known: dict[Name, Known]) -> list[str]:
    """What the history has otherwise than the server, a line each."""
    faults = []
    for name in sorted({*told.tables, *known}):
        server, history = described(told.tables.get(name)), described(known.get(name))
        if name[0] in SCHEMAS and server != history:
            facts = [key for key in [*server, *history] if server.get(key) != history.get(key)]
            faults += [f"  {'.'.join(name)}: {key}: server {server.get(key)}, history {history.get(key)}" for key in facts]
    return [told.sql, *faults] if faults else []


def described(table: Known) -> dict[str, Any]:
    if not isinstance(table, TableDefinition):
        return {} if table is None else {"unknown": table}
    columns = {column.name: column.to_map() for column in table.columns}
    ends = {column.name for column in table.columns if column.system}  # which MariaDB shows in a key, or doesn't
    keys = {
        key.name.lower(): [(name.lower(), prefix) for name, prefix in key.columns if name not in ends]
        for key in table.keys
        if key.unique  # of the others some come with foreign keys
    }
    return {**columns, "order": [*columns], "primary key": table.primary_key(), "keys": keys, "charset": table.charset}
