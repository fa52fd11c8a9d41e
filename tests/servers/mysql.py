"""A real MySQL server that runs from its own folder, beside or without an installed MariaDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from tests.servers import install
from tests.servers.database import Database, run_tool, user_option


class MySQL(Database):
    """`with MySQL(binlog_transaction_compression="ON") as server: server.sql(...)`; GTIDs on, FULL row metadata."""

    name = "mysql"
    _template: ClassVar[Path | None] = None
    initial_options: ClassVar[tuple[str, ...]] = ()  # what a data dir is made with, for a subclass (with a _template of its own)
    defaults: ClassVar[dict[str, Any]] = {
        "log_bin": "binlog",
        "server_id": 1,
        "binlog_format": "ROW",
        "binlog_row_image": "FULL",
        "binlog_row_metadata": "FULL",
        "gtid_mode": "ON",
        "enforce_gtid_consistency": "ON",
        "innodb_redo_log_capacity": "8M",
        "performance_schema": "OFF",  # saves 240 MB and 0.4 s a start
        "mysqlx": "OFF",
    }

    @classmethod
    def initialise(cls, data_dir: Path, accounts: Path) -> None:
        run_tool([
            *_mysqld(data_dir),
            "--initialize-insecure",
            f"--init-file={accounts}",
            "--skip-log-bin",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-redo-log-capacity=8M",
            *cls.initial_options,
        ])  # fmt: skip
        # Copies that share an auto.cnf would share one server_uuid, and so their GTIDs.
        (data_dir / "auto.cnf").unlink(missing_ok=True)

    def command(self) -> list[str]:
        return [
            *_mysqld(self.data_dir),
            f"--socket={self.socket}",
            f"--pid-file={self.process.folder / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
        ]

    def binlog_text(self, *files: Path | str) -> str:
        return mysqlbinlog(*files)


def _mysqld(data_dir: Path) -> list[str]:
    home = install.mysql_home()
    command = [str(home / "bin/mysqld"), "--no-defaults", *user_option(), f"--datadir={data_dir}"]
    usr = home / "usr"
    if usr.is_dir():  # Debian's layout; Oracle's own archives find their parts by themselves
        command += [
            f"--basedir={usr}",
            f"--lc-messages-dir={usr}/share/mysql",
            f"--character-sets-dir={usr}/share/mysql/charsets",
            f"--plugin-dir={usr}/lib/mysql/plugin",
            "--secure-file-priv=NULL",
        ]
    return command


def mysqlbinlog(*files: Path | str) -> str:
    """Binlog files as MySQL's own tool decodes them.

    Raises:
        Missing: the tool is not on this machine.
    """
    options = ["--no-defaults", "-vv", "--base64-output=DECODE-ROWS"]
    return run_tool([str(install.mysql_home() / "bin/mysqlbinlog"), *options, *map(str, files)])
