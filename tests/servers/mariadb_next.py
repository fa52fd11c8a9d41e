"""The next long-term MariaDB (11.8), from its own folder beside the system's one."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import ClassVar

from tests.servers import install
from tests.servers.database import run_tool, user_option
from tests.servers.mariadb import MariaDB

# What mariadb-install-db feeds to the server, in its order; that script knows only the place it was installed to.
SYSTEM_TABLES = (
    "mariadb_system_tables.sql", "mariadb_performance_tables.sql", "mariadb_system_tables_data.sql",
    "maria_add_gis_sp_bootstrap.sql", "mariadb_sys_schema.sql",
)  # fmt: skip


class MariaDBNext(MariaDB):
    """`with MariaDBNext(log_bin_compress="ON") as server: server.sql(...)`; otherwise as MariaDB."""

    name = "mariadb_next"
    _template: ClassVar[Path | None] = None

    @classmethod
    def initialise(cls, data_dir: Path, accounts: Path) -> None:
        share = install.mariadb_next_home() / "usr/share/mariadb"
        sql = "CREATE DATABASE IF NOT EXISTS mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n"
        sql += "".join((share / name).read_text() for name in SYSTEM_TABLES) + accounts.read_text()
        data_dir.mkdir(parents=True)
        argv = [*_mariadbd(data_dir), f"--tmpdir={accounts.parent}", "--bootstrap", "--skip-log-bin", "--innodb-log-file-size=8M"]
        done = subprocess.run(argv, input=sql.encode(), capture_output=True)
        if done.returncode:
            raise RuntimeError(f"{argv[0]} --bootstrap failed: {(done.stderr + done.stdout).decode(errors='replace')[-3000:]}")

    def command(self) -> list[str]:
        return [
            *_mariadbd(self.data_dir),
            f"--socket={self.socket}",
            f"--pid-file={self.process.folder / 'pid'}",
            f"--tmpdir={self.process.folder}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
        ]

    def binlog_text(self, *files: Path | str) -> str:
        tool = install.mariadb_next_home() / "bin/mariadb-binlog"
        return run_tool([str(tool), "--no-defaults", "-vv", "--base64-output=DECODE-ROWS", *map(str, files)])


def _mariadbd(data_dir: Path) -> list[str]:
    home = install.mariadb_next_home()
    share = home / "usr/share/mariadb"
    return [
        str(home / "bin/mariadbd"),
        "--no-defaults",
        *user_option(),
        f"--datadir={data_dir}",
        f"--basedir={home / 'usr'}",
        f"--lc-messages-dir={share}",
        f"--character-sets-dir={share / 'charsets'}",
        f"--plugin-dir={home / 'usr/lib/mysql/plugin'}",
    ]
