"""The strictest consumer: tables rebuilt from the stream alone, held against what SELECT showed at marked moments.

server ◀── statements ── Recording ──▶ snapshots by mark            (a mark is a row in a table of its own, so that
binlog ──▶ engine ──▶ Model.apply ──▶ differences at each mark       the moment is known in the stream too)
"""

from __future__ import annotations

import ipaddress
import json
import struct
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from engine.client.change import Change, Item
from tests.servers.database import Database
from tests.servers.selected import selected

MARKS = "fidelity_marks"
SESSION = "SET SESSION time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES'"
NOT_LOGGED = "generated"  # MariaDB from 11.x on leaves generated columns out of the images of updates and deletes
SHOWN = 5  # differences of one table, in a message

Row = dict[str, Any]


@dataclass
class Snapshot:
    """What SELECT showed of one schema: rows by table, and the data types of columns that need care when compared.

    load: the model takes the rows over instead of comparing, since a DDL statement has just changed them.
    """

    schema: str
    load: bool
    tables: dict[str, list[Row]]
    kinds: dict[tuple[str, str], str]


@dataclass
class Recording:
    """Statements on one connection, and what SELECT showed in between."""

    server: Database
    snapshots: dict[int, Snapshot] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.server.sql(
            f"CREATE DATABASE IF NOT EXISTS {MARKS}",
            f"DROP TABLE IF EXISTS {MARKS}.marks",  # anew, so that the binlog that is read says what it is
            f"CREATE TABLE {MARKS}.marks (id INT AUTO_INCREMENT PRIMARY KEY)",
        )
        self.connection = self.server.connect(local_infile=True)
        self.watcher = self.server.connect()
        self.run(SESSION)

    def close(self) -> None:
        self.connection.close()
        self.watcher.close()

    def run(self, *statements: str) -> int:
        """Run them; how many rows the last one concerned."""
        with self.connection.cursor() as cursor:
            count = 0
            for statement in statements:
                count = cursor.execute(statement)
            return count

    def mark(self, schema: str, *, load: bool = False) -> None:
        """Remember what SELECT shows of a schema now; not inside a transaction."""
        with self.watcher.cursor() as cursor:
            cursor.execute(
                "SELECT table_name FROM information_schema.tables"
                " WHERE table_schema = %s AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')",
                [schema],
            )
            names = [name for (name,) in cursor.fetchall()]
            cursor.execute(
                "SELECT table_name, column_name, LOWER(data_type) FROM information_schema.columns"
                " WHERE table_schema = %s AND data_type IN ('json', 'uuid', 'inet4', 'inet6', 'vector')",
                [schema],
            )
            kinds = {(table, column): str(kind) for table, column, kind in cursor.fetchall()}
            if self.server.name == "mariadb_next":
                cursor.execute(
                    "SELECT table_name, column_name FROM information_schema.columns"
                    " WHERE table_schema = %s AND is_generated = 'ALWAYS'",
                    [schema],
                )
                kinds |= {(table, column): NOT_LOGGED for table, column in cursor.fetchall()}
        tables = {name: selected(self.watcher, schema, name) for name in names}
        with self.watcher.cursor() as cursor:
            cursor.execute(f"INSERT INTO {MARKS}.marks VALUES ()")
            self.snapshots[cursor.lastrowid] = Snapshot(schema, load, tables, kinds)

    def ddl(self, schema: str, *statements: str) -> None:
        """Compare, run what changes rows that the binlog does not show, and go on from what SELECT shows then."""
        self.mark(schema)
        self.run(*statements)
        self.mark(schema, load=True)


def plain_value(kind: str, value: Any) -> Any:
    """A delivered or selected value in the form that is compared; kind: the data type of those that need care.

    What MariaDB's TABLE_MAP calls binary(16), binary(4) or varbinary comes as bytes where no schema history says more.
    """
    if value is None or not kind:
        return value
    if kind == "json":
        return json.dumps(json.loads(value, parse_float=_number), sort_keys=True)
    if kind == "vector":
        if isinstance(value, bytes):
            value = struct.unpack(f"<{len(value) // 4}f", value)
        return list(value)
    if isinstance(value, bytes):
        if kind == "uuid":
            return str(uuid.UUID(bytes=value.ljust(16, b"\0")))
        return str(ipaddress.ip_address(value.ljust(16 if kind == "inet6" else 4, b"\0")))
    if kind == "inet6":
        return str(ipaddress.ip_address(value))
    return value


def _number(text: str) -> str:
    value = Decimal(text)
    return (
        f"number {value.normalize():f}" if value != value.to_integral() or abs(value.adjusted()) > 25 else f"number {int(value)}"
    )


class _Table:
    """Rows by primary key; without one, each row by its content."""

    def __init__(self) -> None:
        self.rows: dict[Any, list[Row]] = {}
        self.key: tuple[str, ...] | None = None

    def reload(self, rows: Iterable[Row], key: tuple[str, ...] | None) -> None:
        self.key = key
        self.rows = {}
        for row in rows:
            self.put(row)

    def all(self) -> list[Row]:
        return [row for rows in self.rows.values() for row in rows]

    def put(self, row: Row) -> None:
        self.rows.setdefault(self._place(row), []).append(row)

    def _place(self, row: Row) -> Any:
        if self.key and all(name in row for name in self.key):
            return tuple(map(_hashable, (row[name] for name in self.key)))
        return _content(row)

    def take(self, before: Row) -> Row | None:
        """Remove the row that this before image, whole or not, stands for."""
        place = self._place(before)
        candidates = self.rows.get(place)
        if candidates and _fits(candidates[-1], before):
            row = candidates.pop()
            if not candidates:
                del self.rows[place]
            return row
        for place, rows in self.rows.items():
            for row in rows:
                if _fits(row, before):
                    rows.remove(row)
                    if not rows:
                        del self.rows[place]
                    return row
        return None


def _fits(row: Row, image: Row) -> bool:
    return all(name not in row or _hashable(row[name]) == _hashable(value) for name, value in image.items())


def _hashable(value: Any) -> Any:
    return (type(value).__name__, repr(value)) if isinstance(value, (float, list)) else value


def _content(row: Row) -> str:
    return repr(sorted(row.items()))


class Model:
    """Applies a stream; what doesn't fit, or isn't what SELECT showed, is in `faults`."""

    def __init__(self, snapshots: dict[int, Snapshot], *, sparse: bool = False) -> None:
        self.snapshots = snapshots
        self.sparse = sparse  # whether columns may be left out (row image MINIMAL, NOBLOB)
        self.tables: dict[tuple[str, str], _Table] = {}
        kinds = ((s.schema, column, kind) for s in snapshots.values() for column, kind in s.kinds.items())
        self.kinds = {(schema, *column): kind for schema, column, kind in kinds if kind != "json"}  # which the stream tells
        self.schemas = {s.schema for s in snapshots.values()}
        self.faults: list[str] = []
        self.ops: Counter[str] = Counter()
        self.delivered: dict[tuple[str, str, str], set[str]] = {}  # type names of values by schema, table, column
        self.marks: list[int] = []
        self._last_identity: Any = None

    @property
    def finished(self) -> bool:
        return bool(self.marks) and self.marks[-1] == max(self.snapshots)

    def apply(self, item: Item) -> None:
        self.ops[item.op] += 1
        if not isinstance(item, Change):
            return
        if self._last_identity is not None and item.identity <= self._last_identity:
            self.faults.append(f"out of order: {item!r} after {self._last_identity}")
        self._last_identity = item.identity
        if item.schema == MARKS:
            assert item.after is not None
            self._reach(item.after["id"])
        elif item.schema in self.schemas:
            self.ops["compared"] += 1
            self._change(item)

    def _change(self, change: Change) -> None:
        place = (change.schema, change.table)
        table = self.tables.setdefault(place, _Table())
        columns = change.columns
        key = tuple(columns.columns[i].name for i in columns.primary_key) or None
        if key != table.key:
            table.reload(table.all(), key)
        before, after = self._row(change, change.before), self._row(change, change.after)
        old: Row | None = {}
        if before is not None:
            old = table.take(before)
            if old is None:
                self._fault(change, f"no such row: {before}; there are {table.all()[:3]}")
                old = before
        if after is not None:
            if change.op == "insert" or self.sparse:
                after = {**old, **after}
            shown = [column.name for column in columns.columns if column.visible or not column.system]
            logged = sum(self.kinds.get((*place, name)) != NOT_LOGGED for name in shown)
            if not self.sparse and len(after) != logged:
                self._fault(change, f"lacks columns: {after}")
            table.put(after)

    def _row(self, change: Change, row: Row | None) -> Row | None:
        if row is None:
            return None
        plain = {}
        told = {column.name for column in change.columns.columns if column.type == "json"}
        for name, value in row.items():
            where = (change.schema, change.table, name)
            if self.kinds.get(where) == NOT_LOGGED:
                continue
            if value is not None:
                self.delivered.setdefault(where, set()).add(type(value).__name__)
            try:
                plain[name] = plain_value("json" if name in told else self.kinds.get(where, ""), value)
            except ValueError as error:
                self._fault(change, f"{name} has the value {value!r}: {error}")
        return plain

    def _fault(self, change: Change, what: str) -> None:
        self.faults.append(f"{change.op} {change.schema}.{change.table} at {change.position}: {what}"[:1500])

    def _reach(self, number: int) -> None:
        snapshot = self.snapshots.get(number)
        if snapshot is None:
            return
        self.marks.append(number)
        for name, rows in snapshot.tables.items():
            kinds = {column: kind for (of, column), kind in snapshot.kinds.items() if of == name}
            plain = [{c: plain_value(kinds.get(c, ""), v) for c, v in row.items() if kinds.get(c) != NOT_LOGGED} for row in rows]
            table = self.tables.setdefault((snapshot.schema, name), _Table())
            if snapshot.load:
                table.reload(plain, None)
            else:
                self._compare(snapshot.schema, name, table.all(), plain)
        if snapshot.load:
            for schema, name in list(self.tables):
                if schema == snapshot.schema and name not in snapshot.tables:
                    del self.tables[schema, name]

    def _compare(self, schema: str, table: str, got: list[Row], expected: list[Row]) -> None:
        if sorted(map(_content, got)) == sorted(map(_content, expected)):
            self.ops["rows equal to SELECT"] += len(expected)
            return
        if self.sparse:
            # a column that no image held since its row came (an insert that left it to its default) is not known
            left = _Table()
            left.reload(expected, None)
            wrong = [row for row in got if left.take(row) is None]
            missing = left.all()
        else:
            there = Counter(map(_content, expected))
            wrong = [row for row in got if not _counted(there, _content(row))]
            ours = Counter(map(_content, got))
            missing = [row for row in expected if not _counted(ours, _content(row))]
        if wrong or missing:
            self.faults.append(
                f"{schema}.{table}: {len(got)} rows, SELECT shows {len(expected)}; not in SELECT: "
                f"{_shown(wrong)}; not delivered: {_shown(missing)}"
            )
        else:
            self.ops["rows equal to SELECT"] += len(expected)


def _counted(counter: Counter[str], content: str) -> bool:
    counter[content] -= 1
    return counter[content] >= 0


def _shown(rows: list[Row]) -> str:
    return "; ".join(repr(row)[:700] for row in rows[:SHOWN]) or "none"
