"""Tables rebuilt from nothing but the stream, to be compared with what SELECT shows."""

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

    def compare(self, table: str, expected: list[Row]) -> list[str]:
        """What differs, a line each; empty if the replica equals SELECT."""
        rows = dict(self.tables[table])
        found = []
        for row in expected:
            key = _key(table, row)
            mine = rows.pop(key, None)
            if mine is None:
                found.append(f"{table} {key} is missing")
            elif unequal := differences(mine, row):
                found.append(f"{table} {key}: (stream, SELECT) = {unequal}")
        return found + [f"{table} {key} should not be there" for key in rows]


def _key(table: str, row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in PRIMARY_KEYS[table])
