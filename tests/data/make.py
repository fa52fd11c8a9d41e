"""Makes every binlog.000001 and expected.json again: `python -m tests.data.make [CASE...]`.

Each case is a folder with a make.sql, which runs on a fresh server of the kind that begins the folder's name. The
binlog is copied once it is complete (it ends with a ROTATE event); expected.json is what SELECT then shows.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from pymysql.constants import CLIENT

from tests.servers.database import Database
from tests.servers.mariadb import MariaDB
from tests.servers.mysql import MySQL
from tests.servers.selected import selected_schema, to_json

DATA = Path(__file__).parent
SYSTEM_SCHEMAS = {"information_schema", "mysql", "performance_schema", "sys"}


def cases() -> list[Path]:
    return sorted(path.parent for path in DATA.glob("*/make.sql"))


def make(case: Path) -> None:
    server_class: type[Database] = MariaDB if case.name.startswith("mariadb") else MySQL
    with server_class() as server:
        run_file(server, case / "make.sql")
        server.sql("FLUSH BINARY LOGS")
        shutil.copyfile(server.binlog_files()[-2], case / "binlog.000001")  # what this FLUSH has completed
        (case / "binlog.000001").chmod(0o644)
        schemas = [row[0] for row in server.sql("SHOW DATABASES") if row[0] not in SYSTEM_SCHEMAS]
        tables = expected_tables(server, schemas)
    (case / "expected.json").write_text(json.dumps(tables, ensure_ascii=False, indent=1) + "\n")


def expected_tables(server: Database, schemas: list[str]) -> dict[str, Any]:
    """The rows of every table of these schemas as expected.json holds them, by `schema.table`."""
    with server.connect() as connection:
        tables = {name: rows for schema in schemas for name, rows in selected_schema(connection, schema).items()}
    return {name: to_json(rows) for name, rows in tables.items()}


def run_file(server: Database, path: Path) -> None:
    """Run a file of statements on one connection, as the server itself splits them."""
    with server.connect(client_flag=CLIENT.MULTI_STATEMENTS) as connection, connection.cursor() as cursor:
        cursor.execute(path.read_text())
        while cursor.nextset():
            pass


if __name__ == "__main__":
    wanted = sys.argv[1:]
    for case in cases():
        if not wanted or case.name in wanted:
            make(case)
            sizes = {path.name: path.stat().st_size for path in sorted(case.iterdir())}
            print(case.name, *(f"{name}={size}" for name, size in sizes.items()), flush=True)
