"""Random schemas, values and transactions from a seed: what the tests run on a server while a Recording watches.

Statements may fail where the server's rules are beyond a generator (a row too large, a duplicate key): they then change
nothing, and are counted.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import pymysql

from tests.fidelity.capabilities import supported
from tests.fidelity.column_types import types_of
from tests.fidelity.model import Recording

LONGEST_LITERAL = 600
ROWS_AT_FIRST = 25
NAMES = ["id", "Order", "select", "näme", "a b", "we`ird", "名前", "x.y", "UPPER", "tail ", "d'q", "z%z", "été_1", "_", "1st"]
KEYLESS, SINGLE, AUTO, COMPOSITE, LAST, TEXTUAL_KEY = range(6)
NOT_RANDOM = {"enum of 1,500", "varchar of two length bytes", "char with hidden length bits", "binary of most bytes", "vector"}


def readable(type_name: str) -> bool:
    return "compressed" not in type_name or supported("compressed columns")


def quote(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


@dataclass
class RandomColumn:
    name: str
    definition: str
    literals: list[str]
    written: bool = True  # False: generated

    def literal(self, rng: random.Random) -> str:
        return "NULL" if rng.random() < 0.1 else rng.choice(self.literals)


@dataclass
class RandomTable:
    name: str
    key: list[str]  # names of the key's own columns, which are numbers and text
    automatic: bool
    columns: list[RandomColumn] = field(default_factory=list)
    next_id: int = 1

    def key_values(self, rng: random.Random) -> list[str]:
        values = []
        for i, name in enumerate(self.key):
            if i == 0:
                values.append("NULL" if self.automatic and rng.random() < 0.5 else str(self.next_id))
                self.next_id += rng.randrange(1, 3)
            else:
                values.append(f"'k{rng.randrange(1000)}-{name[:1] if name[:1].isalnum() else 'é'}'")
        return values


class Generator:
    """One schema with its tables, and statements on them until enough rows were changed."""

    def __init__(self, recording: Recording, server: str, schema: str, seed: int) -> None:
        self.rng = random.Random(seed)
        self.recording = recording
        self.server = server
        self.mariadb = server.startswith("mariadb")
        self.schema = schema
        self.types = {n: c for n, c in types_of(server).items() if n not in NOT_RANDOM and readable(n)}
        self.tables: list[RandomTable] = []
        self.changes = 0
        self.statements: Counter[str] = Counter()
        self.log: list[str] = []
        self._names: Counter[str] = Counter()

    # ---- statements ----------------------------------------------------------------------------------------------

    def try_run(self, sql: str, kind: str) -> bool:
        self.log.append(sql)
        try:
            count = self.recording.run(sql)
        except pymysql.err.MySQLError as error:
            self.statements[f"refused: {kind}"] += 1
            self.log[-1] += f"  -- {error}"
            return False
        self.statements[kind] += 1
        if kind in ("insert", "update", "delete", "replace", "insert select", "load"):
            self.changes += max(count, 0)
        return True

    def run(self, changes: int) -> None:
        """Make the schema, change about so many rows, with DDL in between."""
        rng = self.rng
        charset = rng.choice(["utf8mb4", "utf8mb4", "latin1", "utf8mb3", "gbk", "ucs2"])
        self.recording.run(
            f"CREATE DATABASE {quote(self.schema)} CHARACTER SET {charset}", f"USE {quote(self.schema)}",
            f"SET NAMES utf8mb4, SESSION sql_mode = '{rng.choice(['', 'ALLOW_INVALID_DATES'])}', autocommit = 1",
        )  # fmt: skip
        for _ in range(rng.choice([1, 1, 2, 3])):
            self.create_table()
        for turn in range(200):
            if self.changes >= changes or not self.tables:
                break
            if rng.random() < 0.3:
                self.transaction()
            elif rng.random() < 0.06 and turn > 3:
                self.alter()
            else:
                self.change()
        self.recording.mark(self.schema)

    def transaction(self) -> None:
        """Several statements with savepoints, committed or rolled back."""
        rng, before = self.rng, self.changes
        self.recording.run(rng.choice(["BEGIN", "START TRANSACTION", "SET autocommit = 0"]))
        saved: list[tuple[str, int]] = []
        for _ in range(rng.randrange(6)):
            self.change()
            if rng.random() < 0.3:
                saved.append((f"s{rng.randrange(3)}", self.changes))
                self.recording.run(f"SAVEPOINT {saved[-1][0]}")
            elif saved and rng.random() < 0.4:
                name = rng.choice(saved)[0]
                last = max(i for i, (other, _) in enumerate(saved) if other == name)
                if not self.try_run(f"ROLLBACK TO SAVEPOINT {name}", "rollback to savepoint"):
                    break  # the server has rolled everything back
                self.changes = saved[last][1]
                del saved[last + 1 :]
        if rng.random() < 0.25:
            self.recording.run("ROLLBACK")
            self.changes = before
            self.statements["rolled back"] += 1
        else:
            self.recording.run("COMMIT")
            self.statements["committed"] += 1
        self.recording.run("SET autocommit = 1")

    def change(self) -> None:
        rng = self.rng
        table = rng.choice(self.tables)
        written = [column for column in table.columns if column.written]
        name = quote(table.name)
        kind = rng.choices(["insert", "update", "delete", "replace", "insert select"], [4, 4, 1, 1, 0.7])[0]
        if kind in ("insert", "replace"):
            columns = ", ".join([*map(quote, table.key), *(quote(column.name) for column in written)])
            rows = ", ".join(
                "(" + ", ".join([*table.key_values(rng), *(column.literal(rng) for column in written)]) + ")"
                for _ in range(rng.randrange(1, ROWS_AT_FIRST))
            )
            verb = "REPLACE" if kind == "replace" else rng.choice(["INSERT IGNORE", "INSERT IGNORE", "INSERT"])
            sql = f"{verb} INTO {name} ({columns}) VALUES {rows}"
            if verb == "INSERT" and written:
                column = rng.choice(written)
                sql += f" ON DUPLICATE KEY UPDATE {quote(column.name)} = {column.literal(rng)}"
            self.try_run(sql, kind)
        elif kind == "insert select" and len(table.key) <= 1 and written:
            columns = ", ".join(quote(column.name) for column in written)
            if table.key and not table.automatic:
                return
            self.try_run(f"INSERT IGNORE INTO {name} ({columns}) SELECT {columns} FROM {name} LIMIT {rng.randrange(1, 6)}", kind)
        elif kind == "update":
            some = rng.sample(written, min(len(written), rng.randrange(1, 4)))
            sets = [f"{quote(column.name)} = {column.literal(rng)}" for column in some]
            if table.key and rng.random() < 0.15:
                sets.append(f"{quote(table.key[0])} = {quote(table.key[0])} + {10_000 + table.next_id}")
                table.next_id += 1000
            if sets:
                self.try_run(f"UPDATE IGNORE {name} SET {', '.join(sets)} {self.where(table)}", kind)
        elif kind == "delete":
            self.try_run(f"DELETE FROM {name} {self.where(table)}", kind)

    def where(self, table: RandomTable) -> str:
        rng = self.rng
        if not table.key:
            return f"LIMIT {rng.randrange(1, 8)}"
        key = quote(table.key[0])
        return rng.choice([
            f"WHERE {key} % {rng.randrange(2, 7)} = {rng.randrange(2)} LIMIT {rng.randrange(1, 12)}",
            f"WHERE {key} < {rng.randrange(1, table.next_id + 2)} ORDER BY {key} LIMIT {rng.randrange(1, 12)}",
        ])  # fmt: skip

    # ---- schemas -------------------------------------------------------------------------------------------------

    def new_name(self) -> str:
        rng = self.rng
        name = rng.choice(NAMES).strip() if rng.random() < 0.5 else f"c{rng.randrange(1000)}"
        key = name.casefold()
        self._names[key] += 1
        return f"{name}_{self._names[key]}" if self._names[key] > 1 else name

    def new_column(self) -> RandomColumn:
        rng = self.rng
        definition, values = self.types[rng.choice(list(self.types))]
        literals = [text for text in map(str, values) if len(text) < LONGEST_LITERAL] or ["NULL"]
        name = self.new_name()
        if rng.random() < 0.08:
            definition += " INVISIBLE"
        return RandomColumn(name, definition, literals)

    def create_table(self) -> None:
        rng = self.rng
        style = rng.choice([KEYLESS, SINGLE, SINGLE, AUTO, AUTO, COMPOSITE, LAST, TEXTUAL_KEY])
        first = self.new_name()
        definitions, key = [], [] if style == KEYLESS else [first]
        if style != KEYLESS:
            kind = rng.choice(["INT", "BIGINT", "INT UNSIGNED", "BIGINT UNSIGNED"])
            definitions.append(f"{quote(first)} {kind} NOT NULL{' AUTO_INCREMENT' if style == AUTO else ''}")
        if style in (COMPOSITE, TEXTUAL_KEY):
            key.append(self.new_name())
            charset = rng.choice(["utf8mb4", "latin1", "ucs2"])
            definitions.append(f"{quote(key[1])} VARCHAR(30) CHARACTER SET {charset} NOT NULL")
        table = RandomTable(self.new_name(), key, style == AUTO)
        for _ in range(rng.randrange(1, 11)):
            column = self.new_column()
            table.columns.append(column)
            definitions.append(f"{quote(column.name)} {column.definition}")
        if key and style != AUTO and rng.random() < 0.15:  # MariaDB logs what it makes of the key before that is drawn
            stored = rng.choice(["STORED", "VIRTUAL"])
            name = self.new_name()
            table.columns.append(RandomColumn(name, "", [], written=False))
            definitions.append(f"{quote(name)} BIGINT GENERATED ALWAYS AS ({quote(key[0])} % 100) {stored}")
        if style == LAST:
            definitions.append(definitions.pop(0))
        if key:
            definitions.append(f"PRIMARY KEY ({', '.join(map(quote, reversed(key) if style == TEXTUAL_KEY else key))})")
        tail = ""
        if key and rng.random() < 0.12 and style != TEXTUAL_KEY:
            tail = f" PARTITION BY HASH ({quote(key[0])}) PARTITIONS {rng.randrange(2, 5)}"
        elif rng.random() < 0.1:
            tail = " ROW_FORMAT=DYNAMIC"
        if self.try_run(f"CREATE TABLE {quote(table.name)} ({', '.join(definitions)}){tail}", "create"):
            self.tables.append(table)

    def alter(self) -> None:
        """One DDL statement on a random table, compared before and loaded after."""
        rng = self.rng
        table = rng.choice(self.tables)
        name = quote(table.name)
        kind = rng.choice(["add", "add", "add first", "drop", "rename column", "rename", "truncate", "modify", "comment"])
        some = [column for column in table.columns if column.written]
        self.recording.mark(self.schema)
        if kind.startswith("add"):
            column = self.new_column()
            if self.try_run(f"ALTER TABLE {name} ADD COLUMN {quote(column.name)} {column.definition}"
                            f"{' FIRST' if kind == 'add first' else ''}", f"ddl: {kind}"):  # fmt: skip
                table.columns.append(column)
        elif kind == "drop" and len(some) > 1:
            column = rng.choice(some)
            if self.try_run(f"ALTER TABLE {name} DROP COLUMN {quote(column.name)}", "ddl: drop"):
                table.columns.remove(column)
        elif kind == "rename column" and some:
            column, new = rng.choice(some), self.new_name()
            if self.try_run(f"ALTER TABLE {name} RENAME COLUMN {quote(column.name)} TO {quote(new)}", "ddl: rename column"):
                column.name = new
        elif kind == "rename":
            new = self.new_name()
            if self.try_run(f"RENAME TABLE {name} TO {quote(new)}", "ddl: rename"):
                table.name = new
        elif kind == "truncate":
            self.try_run(f"TRUNCATE TABLE {name}", "ddl: truncate")
        elif kind == "modify" and some:
            column = rng.choice(some)
            if self.try_run(
                f"ALTER TABLE {name} MODIFY COLUMN {quote(column.name)} LONGTEXT CHARACTER SET utf8mb4", "ddl: modify"
            ):
                column.literals = ["'text'", "''", "'é日本'"]
        elif kind == "comment":
            self.try_run(f"ALTER TABLE {name} COMMENT = 'it''s new'", "ddl: comment")
        self.recording.mark(self.schema, load=True)
