"""A real MariaDB server from the system's packages, without a service and without root rights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from tests.servers import install
from tests.servers.database import Database, run_tool, user_option


class MariaDB(Database):
    """`with MariaDB(log_bin_compress="ON") as server: server.sql(...)`; GTID domain 0, server id 1, FULL metadata."""

    name = "mariadb"
    _template: ClassVar[Path | None] = None
    defaults: ClassVar[dict[str, Any]] = {
        "log_bin": "binlog",
        "server_id": 1,
        "binlog_format": "ROW",
        "binlog_row_image": "FULL",
        "binlog_row_metadata": "FULL",
        "character_set_server": "utf8mb4",
        "innodb_log_file_size": "8M",
        "innodb_stats_persistent": 0,
    }

    @classmethod
    def initialise(cls, data_dir: Path, accounts: Path) -> None:
        run_tool([
            install.mariadb_tool("mariadb-install-db"),
            "--no-defaults",  # must come first: the system's my.cnf is not ours to read
            f"--datadir={data_dir}",
            f"--tmpdir={accounts.parent}",  # see command
            *user_option(),
            "--auth-root-authentication-method=normal",  # otherwise root gets in by its system account only
            "--skip-test-db",
            "--skip-name-resolve",
            "--innodb-log-file-size=8M",
            f"--extra-file={accounts}",
        ])  # fmt: skip

    def command(self) -> list[str]:
        return [
            install.mariadb_tool("mariadbd"),
            "--no-defaults",
            *user_option(),
            f"--datadir={self.data_dir}",
            f"--socket={self.socket}",
            f"--pid-file={self.process.folder / 'pid'}",
            f"--tmpdir={self.process.folder}",  # a MariaDB that starts removes the temporary tables that it finds in its own
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
        ]

    def binlog_text(self, *files: Path | str) -> str:
        return mariadb_binlog(*files)


def mariadb_binlog(*files: Path | str) -> str:
    """Binlog files as MariaDB's own tool decodes them.

    Raises:
        Missing: the tool is not on this machine.
    """
    options = ["--no-defaults", "-vv", "--base64-output=DECODE-ROWS"]
    return run_tool([install.mariadb_binlog(), *options, *map(str, files)])
