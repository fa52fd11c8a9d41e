"""A table rebuilt from changes, checking each change against what is there: the strictest consumer."""

from __future__ import annotations

from collections import Counter
from typing import Any

from engine.client.change import Change


class Replica:
    """Rows by table and primary key.

    Every change must fit: an insert finds no row, an update and a delete find exactly their before image. So a change
    that is lost, doubled or out of order per row fails at once.
    """

    def __init__(self) -> None:
        self.tables: dict[tuple[str, str], dict[Any, dict[str, Any]]] = {}
        self.ops: Counter[str] = Counter()
        self.identities: set[tuple[Any, ...]] = set()

    def apply(self, change: Change) -> None:
        self.ops[change.op] += 1
        rows = self.tables.setdefault((change.source, f"{change.schema}.{change.table}"), {})
        identity = (change.source, change.op, *change.identity)
        assert identity not in self.identities, f"came twice: {change.to_json()}"
        self.identities.add(identity)
        if change.op != "insert":
            key = tuple(change.before[change.columns.columns[index].name] for index in change.columns.primary_key)
            assert rows.get(key) == change.before, f"does not fit {rows.get(key)}: {change.to_json()}"
            del rows[key]
        if change.op != "delete":
            assert change.key not in rows, f"is already there: {change.to_json()}"
            rows[change.key] = change.after

    def rows(self, source: str, table: str) -> list[dict[str, Any]]:
        """The rows in primary-key order."""
        return [row for _, row in sorted(self.tables.get((source, table), {}).items())]

    @property
    def count(self) -> int:
        return sum(self.ops.values())
