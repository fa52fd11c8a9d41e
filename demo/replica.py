"""Tables rebuilt from nothing but the stream, to be compared with what SELECT shows.

An ALTER TABLE rewrites rows without a row event: a new column gets its default, a value another number of digits. Rows that no
change has touched since are compared in the columns that the ALTER left alone.
"""

from __future__ import annotations

from typing import Any

from demo.shop import PRIMARY_KEYS
from tests.servers.selected import differences

Row = dict[str, Any]


class Replica:
    """Rows by primary key. A change that doesn't fit (an update of a row that isn't there) is a fault in itself."""

    def __init__(self, tables: tuple[str, ...]) -> None:
        self.tables: dict[str, dict[tuple[Any, ...], Row]] = {table: {} for table in tables}
        self.faults: list[str] = []
        self._columns: dict[tuple[str, tuple[Any, ...]], dict[str, Any]] = {}  # of a row's last change, by name
        self._latest: dict[str, dict[str, Any]] = {}  # of a table's last change

    def apply(self, change: Any) -> None:
        rows = self.tables.get(change.table)
        if rows is None:
            return
        if change.op != "insert" and rows.pop(_key(change.table, change.before), None) is None:
            self.faults.append(f"{change.op} of a row that isn't there: {change.table} at {change.position}")
        if change.op != "delete":
            key = _key(change.table, change.after)
            if key in rows:
                self.faults.append(f"{change.op} of a row that is there: {change.table} {key} at {change.position}")
            rows[key] = dict(change.after)
            self._latest[change.table] = {column.name: column for column in change.columns.columns}
            self._columns[change.table, key] = self._latest[change.table]

    def compare(self, table: str, expected: list[Row]) -> list[str]:
        """What differs, a line each; empty if the replica equals SELECT."""
        rows = dict(self.tables[table])
        found = []
        for row in expected:
            key = _key(table, row)
            mine = rows.pop(key, None)
            if mine is None:
                found.append(f"{table} {key} is missing")
            elif unequal := differences(*(self._unaltered(table, key, one) for one in (mine, row))):
                found.append(f"{table} {key}: (stream, SELECT) = {unequal}")
        return found + [f"{table} {key} should not be there" for key in rows]

    def _unaltered(self, table: str, key: tuple[Any, ...], row: Row) -> Row:
        """The row without the columns that are others now than at its last change."""
        then, now = self._columns[table, key], self._latest[table]
        if then is now or then == now:
            return row
        return {name: value for name, value in row.items() if name in then and then[name] == now.get(name)}


def _key(table: str, row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in PRIMARY_KEYS[table])
