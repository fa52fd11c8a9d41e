"""A story of many schema changes: after each of them rows go in, and what SELECT then shows is kept to be compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.database import Database
from tests.servers.selected import selected

SCHEMA = "story"
ROWS = 3

# None of these may stop the stream or change anything.
NOISE = (
    "CREATE USER 'no''body'@'localhost'", "GRANT SELECT ON story.* TO 'no''body'@'localhost'", "DROP USER 'no''body'@'localhost'",
    "CREATE VIEW vw AS SELECT 1 AS one", "ALTER VIEW vw AS SELECT 2 AS two", "DROP VIEW vw",
    "CREATE PROCEDURE pr() BEGIN DROP TABLE IF EXISTS t_in_a_routine; END", "DROP PROCEDURE pr",
    "CREATE FUNCTION fn() RETURNS INT DETERMINISTIC RETURN 1", "DROP FUNCTION fn",
    "CREATE EVENT ev ON SCHEDULE AT '2037-01-01 00:00:00' DO DELETE FROM t", "DROP EVENT ev", "FLUSH TABLES", "FLUSH PRIVILEGES",
    "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.id = NEW.id", "DROP TRIGGER tr",
    "ANALYZE TABLE t", "OPTIMIZE TABLE t",
)  # fmt: skip
HIDDEN = {"row_start", "row_end"}
VALUES = {
    "date": "'2026-01-0{}'", "datetime": "'2026-01-01 00:00:0{}.125'", "timestamp": "'2026-01-01 00:00:0{}.123456'",
    "time": "'-01:02:0{}.654321'", "year": "203{}", "enum": "1 + {} % 2", "set": "{}", "json": "'{{\"a\": {}}}'",
    "float": "{}.5", "double": "{}.5", "decimal": "{}", "uuid": "UUID()", "inet4": "'10.0.0.{}'", "inet6": "'::{}'",
    "binary": "UNHEX('0{}')", "varbinary": "UNHEX('FF0{}')", "point": "ST_GeomFromText('POINT({} 1)')",
    "geometry": "ST_GeomFromText('POINT({} 1)')", "geomcollection": "ST_GeomFromText('GEOMETRYCOLLECTION(POINT({} 1))')",
    "vector": "TO_VECTOR('[{},2,3]')", "bit": "{} + 1",
}  # fmt: skip
BIG = {"bigint": 18446744073709551600, "int": 4294967290, "mediumint": 8388600, "smallint": 65530, "tinyint": 250}


@dataclass
class Chapter:
    """What SELECT showed in `table` before its rows were deleted, and after new ones went in."""

    sql: str
    table: str
    before: list[dict[str, Any]]
    after: list[dict[str, Any]]
    key: list[str] = field(default_factory=list)


def steps(server: Database) -> list[tuple[str, str]]:
    """(table that rows then go into, statements), of story.txt."""
    found: list[tuple[str, str]] = []
    section = ""
    for line in Path(__file__).with_name("story.txt").read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif "\t" in line and section in ("both", server.name):
            table, sql = line.split("\t")
            found.append((table, sql))
    return found


def tell(server: Database) -> list[Chapter]:
    """Run it all; the last table is gone at the end only if the story says so."""
    chapters = []
    server.sql(f"DROP DATABASE IF EXISTS {SCHEMA}", f"CREATE DATABASE {SCHEMA} CHARACTER SET latin1")
    with server.connect(database=SCHEMA) as connection:
        for table, sql in steps(server):
            for statement in sql.split("; "):
                run(connection, statement)
            before = selected(connection, SCHEMA, table)
            run(connection, f"DELETE FROM {quoted(table)}")
            for i in range(ROWS):
                insert(connection, table, i)
            chapters.append(Chapter(sql, table, before, selected(connection, SCHEMA, table)))
            if table == "t":
                for noise in NOISE:
                    run(connection, noise)
    return chapters


def run(connection: Any, sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        cursor.fetchall()


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def insert(connection: Any, table: str, i: int) -> None:
    """A row whose numbers only come out right with the right sign, and whose text only with the right character set."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, data_type, column_type, character_set_name, extra, character_maximum_length"
            " FROM information_schema.columns WHERE table_schema=%s AND table_name=%s ORDER BY ordinal_position", [SCHEMA, table],
        )  # fmt: skip
        names, values = [], []
        for name, kind, type_, charset, extra, most in cursor.fetchall():
            if "GENERATED" in str(extra).upper().replace("DEFAULT_GENERATED", ""):
                continue
            kind, type_ = kind.lower(), str(type_).lower()
            names.append(quoted(name))
            if kind in BIG:
                values.append(str((BIG[kind] if "unsigned" in type_ or kind == "mediumint" else 100) + i))
            elif kind == "longtext" and name in ("s", "j"):  # MariaDB's JSON
                values.append(VALUES["json"].format(i + 1))
            elif kind in VALUES:
                values.append(VALUES[kind].format(i + 1))
            elif charset:
                letter = "e" if charset in ("ascii",) else "é"
                values.append(f"LEFT(CONVERT('{letter}{i}ab' USING {charset}), {min(int(most), 4)})")
            else:
                values.append(f"UNHEX('E90{i}')")
        cursor.execute(f"INSERT INTO {quoted(table)} ({', '.join(names)}) VALUES ({', '.join(values)})")
