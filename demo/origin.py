"""Where the changes come from: a private MariaDB, a server the user names, or a recorded binlog."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit

import pymysql
from rich.console import Console

from demo.settings import PASSWORD_VARIABLE
from demo.shop import TABLES, Workload, commit, insert, now, opening_stock
from tests.servers import install
from tests.servers.database import REPL_PASSWORD, REPL_USER
from tests.servers.mariadb import MariaDB
from tests.servers.selected import selected

RECORDED = Path(__file__).parents[1] / "tests/data/mariadb-shop"
CLOSING_ORDER = 1  # the last change of all: when it has arrived, everything before it has
OWN_DATABASE = "binlog_engine_demo"


class DemoError(Exception):
    """Ends the demo with one line."""


class Origin(Protocol):
    """What the demo needs of the place that changes come from."""

    schema: str
    live: bool
    environment: dict[str, str]

    def open(self) -> dict[str, Any]:
        """Make it ready; the [sources.shop] of the config."""

    def begin(self) -> None:
        """The changes may begin: the engine is there."""

    def finish(self) -> None:
        """No more changes; if live, the last one is order CLOSING_ORDER."""

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The table as SELECT shows it at the end."""

    def close(self) -> None:
        """Leave nothing behind."""


class Recorded:
    """A binlog of a real server that the project ships, with what SELECT showed at its end."""

    schema = "shop"
    live = False
    environment: dict[str, str] = {}  # noqa: RUF012

    def open(self) -> dict[str, Any]:
        return {"files": [str(RECORDED / "binlog.000001")], "start": "earliest"}

    def begin(self) -> None:
        pass

    def finish(self) -> None:
        pass

    def rows(self, table: str) -> list[dict[str, Any]]:
        expected: dict[str, list[dict[str, Any]]] = json.loads((RECORDED / "expected.json").read_text())
        return expected[f"shop.{table}"]

    def close(self) -> None:
        pass


class _Shop:
    """A database on a live server with the workload in it."""

    live = True

    def __init__(self, connect: Callable[[], Any], schema: str, rate: float) -> None:
        self.connect, self.schema = connect, schema
        self.created = False
        self.workload = Workload(connect, schema, rate)

    def set_up(self) -> str:
        """Create the database, its tables and what is in it when the shop opens; the binlog position after that."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE `{self.schema}` CHARACTER SET utf8mb4")
            self.created = True
            cursor.execute(f"USE `{self.schema}`")
            for statement in TABLES.values():
                cursor.execute(statement)
            commit(connection, cursor, opening_stock(self.workload.seed))
            return _position(connection)

    def begin(self) -> None:
        self.workload.start()

    def finish(self) -> None:
        self.workload.stop()
        closing = {
            "id": CLOSING_ORDER,
            "customer_id": 1,
            "total": 0,
            "note": "the shop closes",
            "placed": now(),
            "changed": now(),
        }
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"USE `{self.schema}`")
            commit(connection, cursor, [insert("orders", closing)])

    def rows(self, table: str) -> list[dict[str, Any]]:
        with self.connect() as connection:
            return selected(connection, self.schema, table)


class PrivateMariaDB(_Shop):
    """A MariaDB in a temp dir that lives as long as the demo."""

    def __init__(self, rate: float) -> None:
        install.install_mariadb()
        self.server = MariaDB()
        self.environment = {PASSWORD_VARIABLE: REPL_PASSWORD}
        super().__init__(self.server.connect, "shop", rate)

    def open(self) -> dict[str, Any]:
        self.server.start()
        url = f"mysql://{REPL_USER}@127.0.0.1:{self.server.port}"
        return {"url": url, "password_env": PASSWORD_VARIABLE, "start": self.set_up()}

    def close(self) -> None:
        self.server.close()


class NamedServer(_Shop):
    """A server that the user names; the workload has a database of its own there."""

    def __init__(self, url: str, rate: float, console: Console) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("mysql", "mariadb") or not parts.hostname or not parts.username:
            raise DemoError(f"not a server: {url!r}; write mysql://user:password@host:3306")
        self.console = console
        self.host, self.port, self.user = parts.hostname, parts.port or 3306, unquote(parts.username)
        self.password = unquote(parts.password or "")
        self.environment = {PASSWORD_VARIABLE: self.password}
        super().__init__(self._connect, OWN_DATABASE, rate)

    def _connect(self) -> Any:
        return pymysql.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, charset="utf8mb4", autocommit=True
        )

    def open(self) -> dict[str, Any]:
        account = f"{self.user} on {self.host}:{self.port}"
        self.console.print(
            f"{account} is asked to create the database [bold]{OWN_DATABASE}[/], to work in it, and to drop it at the\n"
            f"end. It needs ALL on {OWN_DATABASE}.* and, to read the binlog, REPLICATION SLAVE, REPLICATION CLIENT\n"
            "and SELECT on *.*"
        )
        try:
            start = self.set_up()
        except pymysql.err.MySQLError as error:
            code, message = error.args[0], error.args[-1]
            remedy = f"; if it was left by an earlier run: DROP DATABASE {OWN_DATABASE}" if code == 1007 else ""
            raise DemoError(f"{account}: {message} ({code}){remedy}") from None
        url = f"mysql://{quote(self.user, safe='')}@{self.host}:{self.port}"
        return {"url": url, "password_env": PASSWORD_VARIABLE, "start": start}

    def close(self) -> None:
        if self.created:
            with self._connect() as connection, connection.cursor() as cursor:
                cursor.execute(f"DROP DATABASE IF EXISTS `{OWN_DATABASE}`")
            self.console.print(f"dropped the database {OWN_DATABASE}")


def _position(connection: Any) -> str:
    """Where the binlog ends now. The older statement is gone in MySQL 8.4, the newer one came in 8.2."""
    with connection.cursor() as cursor:
        for statement in ("SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"):
            try:
                cursor.execute(statement)
            except pymysql.err.ProgrammingError:
                continue
            row = cursor.fetchone()
            if row is None:
                raise DemoError("the server's binlog is off; set log_bin and restart it")
            return f"{row[0]}:{row[1]}"
    raise DemoError("the server doesn't say where its binlog ends")
