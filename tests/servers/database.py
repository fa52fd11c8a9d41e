"""What MariaDB and MySQL have in common: options, a copied data dir, accounts, connections and binlog files."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import quote

import pymysql

from tests.servers.process import Process, StartError, free_port, remove_left_behind, scratch_folder

REPL_USER = "repl"
REPL_PASSWORD = "repl-secret"

# The accounts, the same on both servers; REPLICATION CLIENT is MariaDB's BINLOG MONITOR under its older name.
# Both servers run it while they initialise, where accounts can't be changed before the grant tables are loaded.
ACCOUNTS = f"""
FLUSH PRIVILEGES;
CREATE USER {REPL_USER}@'127.0.0.1' IDENTIFIED BY '{REPL_PASSWORD}';
GRANT REPLICATION SLAVE, REPLICATION CLIENT, SELECT ON *.* TO {REPL_USER}@'127.0.0.1';
CREATE USER IF NOT EXISTS root@'127.0.0.1' IDENTIFIED BY '';
GRANT ALL PRIVILEGES ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
"""

DURABILITY_OFF = {"innodb_flush_log_at_trx_commit": 0, "sync_binlog": 0}  # the machine doesn't crash, only the process
PURGED_WITHIN_S = 20
SMALL = {"innodb_buffer_pool_size": "32M"}


@cache
def without_syncs() -> dict[str, str]:
    """The environment of a server that doesn't wait for the disk: a CREATE TABLE takes a third of the time. Empty without gcc."""
    remove_left_behind("no-sync")
    folder = scratch_folder("no-sync")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = folder / "no_sync.so"
    source = Path(__file__).with_name("no_sync.c")
    try:
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, source], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"LD_PRELOAD": str(library)}


class Database(ABC):
    """One server on a port of 127.0.0.1. Options are its own, `binlog_row_image="MINIMAL"`; None leaves one out."""

    name: ClassVar[str]
    defaults: ClassVar[dict[str, Any]]
    _template: ClassVar[Path | None]

    def __init__(self, **options: Any) -> None:
        self.options = {**DURABILITY_OFF, **SMALL, **self.defaults, **options}
        self.process = Process(self.name)
        self.data_dir = self.process.folder / "data"
        self.socket = self.process.folder / "socket"
        self.port = free_port()

    @classmethod
    @abstractmethod
    def initialise(cls, data_dir: Path, accounts: Path) -> None:
        """Make a data dir and run the SQL file `accounts` on it."""

    @abstractmethod
    def command(self) -> list[str]:
        """The server's command line up to where `options` begin."""

    @abstractmethod
    def binlog_text(self, *files: Path | str) -> str:
        """Binlog files as the server's own tool decodes them: an oracle."""

    @classmethod
    def template(cls) -> Path:
        """The data dir that every server of this process starts with: initialising takes 1-3 s, a copy 0.1 s."""
        if cls._template is None:
            remove_left_behind(cls.name)
            folder = scratch_folder(cls.name)
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            accounts = folder / "accounts.sql"
            accounts.write_text(ACCOUNTS)
            cls.initialise(folder / "data", accounts)
            cls._template = folder / "data"
        return cls._template

    def start(self) -> Self:
        """Start, or start again on the same data and port; returns when connections are taken."""
        fresh = not self.data_dir.exists()
        if fresh:
            shutil.copytree(self.template(), self.data_dir)
        try:
            self._start_once()
        except StartError as error:
            if not fresh or "already in use" not in str(error):
                raise
            self.port = free_port()  # somebody took the port between our look and the server's bind
            self._start_once()
        return self

    def _start_once(self) -> None:
        options = [f"--{name.replace('_', '-')}={value}" for name, value in self.options.items() if value is not None]
        self.process.spawn([*self.command(), *options], without_syncs())
        self.process.wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            self.connect(connect_timeout=2).close()
        except pymysql.err.OperationalError:
            return False
        return True

    def stop(self, timeout_s: float = 60) -> int | None:
        """An orderly stop. MySQL waits up to 10 s for an attached binlog reader: close readers first, or kill."""
        return self.process.stop(timeout_s)

    def kill(self) -> None:
        self.process.kill()

    def close(self) -> None:
        """Kill it and remove its data."""
        self.process.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    def connect(self, **arguments: Any) -> pymysql.connections.Connection[Any]:
        """As root over the unix socket, autocommit, without TLS; any argument of pymysql.connect changes that."""
        defaults: dict[str, Any] = {"user": "root", "charset": "utf8mb4", "autocommit": True}
        if "ssl" not in arguments:
            defaults["ssl_disabled"] = True  # otherwise it reads all the system's certificates each time: 20 ms
        if "host" in arguments:
            return pymysql.connect(**{**defaults, **arguments})
        connection = pymysql.connect(**{**defaults, **arguments}, defer_connect=True)
        connection.connect(self._connected_socket(connection.connect_timeout))
        return connection

    def _connected_socket(self, timeout_s: float) -> socket.socket:
        """PyMySQL would leave its own open where nobody listens."""
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.settimeout(timeout_s)
            connected.connect(str(self.socket))
        except OSError as error:
            connected.close()
            raise pymysql.err.OperationalError(2003, f"{self} can't be reached: {error}") from error
        return connected

    def sql(self, *statements: str) -> tuple[Any, ...]:
        """Run statements as root; the rows of the last one."""
        with self.connect() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return tuple(cursor.fetchall())

    def url(self, user: str = REPL_USER, password: str | None = None) -> str:
        """`mysql://user:password@127.0.0.1:port`, of the replication account unless named; root's password is empty."""
        if password is None:
            password = REPL_PASSWORD if user == REPL_USER else ""
        account = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        return f"mysql://{account}@127.0.0.1:{self.port}"

    def position(self) -> str:
        """Where the binlog ends now: `binlog.000001:1234`."""
        version = str(self.sql("SELECT VERSION()")[0][0])
        old_name = "MariaDB" in version or version.startswith(("5.", "8.0"))
        file, offset = self.sql("SHOW MASTER STATUS" if old_name else "SHOW BINARY LOG STATUS")[0][:2]
        return f"{file}:{offset}"

    def binlog_files(self) -> list[Path]:
        """The binlog files, oldest first."""
        return [self.data_dir / row[0] for row in self.sql("SHOW BINARY LOGS")]

    def purge(self, first_kept: str) -> None:
        """Purge the binlog files before this one; returns when they are gone.

        Both servers leave a file, with no error, while a dump still holds it; MariaDB also until its background thread has marked
        it as not needed for recovery.
        """
        deadline = time.monotonic() + PURGED_WITHIN_S
        while self.binlog_files()[0].name != first_kept:
            if time.monotonic() > deadline:
                raise AssertionError(f"{self} keeps files before {first_kept}: {self.binlog_files()}")
            self.sql(f"PURGE BINARY LOGS TO '{first_kept}'", "DO SLEEP(0.01)")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} port={self.port} running={self.process.running}>"


def run_tool(argv: list[str]) -> str:
    """Output of a server's tool; its binlog dumps hold raw bytes, which are shown with backslashes.

    Raises:
        RuntimeError: it failed; the message has its output.
    """
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, env={**os.environ, **without_syncs()})
    if done.returncode:
        raise RuntimeError(f"{argv[0]} failed: {(done.stderr + done.stdout).decode(errors='replace')[-3000:]}")
    return done.stdout.decode("utf-8", "backslashreplace")


def user_option() -> list[str]:
    """Servers refuse to run as root unless they are told to."""
    return ["--user=root"] if os.geteuid() == 0 else []
