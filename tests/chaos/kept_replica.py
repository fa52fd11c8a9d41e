"""A consumer's replica, which survives it.

Each batch goes into an SQLite file in one transaction, and is acked then; so whenever this process is killed, the file says
what was applied. What comes again is told by its identity. Everything that must not happen is kept as a violation:
a change that does not fit the row before it, one that comes again after its ack was confirmed, or with another content. Only
what is marked `again`, after the source went on at another database server, may be there already: it is applied over it.
"""

from __future__ import annotations

import json
import sqlite3
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.client.change import Change
from engine.client.sync import Batch

TABLES = """
CREATE TABLE IF NOT EXISTS row (source TEXT, name TEXT, part INT, key TEXT, value TEXT, PRIMARY KEY (source, name, part, key));
CREATE TABLE IF NOT EXISTS place (part INT, source TEXT, identity TEXT, confirmed TEXT, PRIMARY KEY (part, source));
CREATE TABLE IF NOT EXISTS applied (part INT, source TEXT, identity TEXT, digest INT, PRIMARY KEY (part, source, identity));
CREATE TABLE IF NOT EXISTS violation (what TEXT);
CREATE TABLE IF NOT EXISTS served (at REAL, epoch INT, batch INT);
CREATE TABLE IF NOT EXISTS count (name TEXT PRIMARY KEY, n INT);
"""
Place = tuple[int, str]  # partition, source
Ends = dict[Place, tuple[int, ...]]  # how far an ack reaches


class KeptReplica:
    """Rows by source, table, partition and primary key, in an SQLite file."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, isolation_level=None, timeout=30)
        self.db.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; {TABLES}")
        self._unconfirmed: list[tuple[Batch, Ends]] = []
        self.last = {(part, source): tuple(json.loads(at)) for part, source, at in self._all("part, source, identity", "place")}

    def apply(self, batch: Batch, epoch: int | None) -> None:
        """All of it, or, should this process die, nothing. epoch: of the session it came in."""
        got = time.time()
        ends: Ends = {}
        self.db.execute("BEGIN")
        if epoch is not None:
            self.db.execute("INSERT INTO served VALUES (?, ?, ?)", (got, epoch, batch.number))
        for change in batch:
            self._apply(batch.partition, change)
            ends[batch.partition, change.source] = _identity(change)
        for (part, source), identity in self.last.items():
            self.db.execute(
                "INSERT INTO place VALUES (?, ?, ?, NULL) ON CONFLICT DO UPDATE SET identity = excluded.identity",
                (part, source, json.dumps(identity)),
            )
        self.db.execute("COMMIT")
        self._unconfirmed.append((batch, ends))

    def confirm(self) -> None:
        """Note up to where the engine has said that acks are kept."""
        while self._unconfirmed and (self._unconfirmed[0][0].durable or self._unconfirmed[0][0].stale):
            batch, ends = self._unconfirmed.pop(0)
            for (part, source), identity in ends.items() if batch.durable else ():
                self.db.execute(
                    "UPDATE place SET confirmed = ? WHERE part = ? AND source = ?", (json.dumps(identity), part, source)
                )

    def _apply(self, part: int, change: Change) -> None:
        identity, place = _identity(change), (part, change.source)
        digest = zlib.crc32(json.dumps([change.op, change.table, change.before, change.after]).encode())
        mark = (*place, json.dumps(identity))
        if identity <= self.last.get(place, ()):
            self._again(change, mark, digest)
            return
        self.last[place] = identity
        self.db.execute("INSERT INTO applied VALUES (?, ?, ?, ?)", (*mark, digest))
        self._count("changes")
        where = (change.source, change.table, part)
        if change.again:
            self._count("marked_again")
        if change.op != "insert":
            key = json.dumps(change.old_key)
            found = self.db.execute("SELECT value FROM row WHERE (source, name, part, key) = (?, ?, ?, ?)", (*where, key))
            kept = found.fetchone()
            if not change.again and (kept is None or not _fits(json.loads(kept[0]), change.before)):
                self._violation(f"does not fit {kept and kept[0]}: {change.to_json()}")
            self.db.execute("DELETE FROM row WHERE (source, name, part, key) = (?, ?, ?, ?)", (*where, key))
        if change.op != "delete":
            values = (*where, json.dumps(change.key), json.dumps(change.after))
            how = "REPLACE" if change.again else "IGNORE"
            if self.db.execute(f"INSERT OR {how} INTO row VALUES (?, ?, ?, ?, ?)", values).rowcount == 0:
                self._violation(f"is already there: {change.to_json()}")

    def _again(self, change: Change, mark: tuple[Any, ...], digest: int) -> None:
        self._count("again")
        found = self.db.execute("SELECT digest FROM applied WHERE (part, source, identity) = (?, ?, ?)", mark).fetchone()
        if found is None or found[0] != digest:
            self._violation(f"came again as something else: {change.to_json()}")
        confirmed = self.db.execute("SELECT confirmed FROM place WHERE (part, source) = (?, ?)", mark[:2]).fetchone()
        if confirmed and confirmed[0] and _identity(change) <= tuple(json.loads(confirmed[0])):
            self._violation(f"came again after its ack was confirmed {confirmed[0]}: {change.to_json()}")

    def _violation(self, what: str) -> None:
        self.db.execute("INSERT INTO violation VALUES (?)", (what[:2000],))

    def _count(self, name: str) -> None:
        self.db.execute("INSERT INTO count VALUES (?, 1) ON CONFLICT DO UPDATE SET n = n + 1", (name,))

    def _all(self, columns: str, table: str) -> list[Any]:
        return self.db.execute(f"SELECT {columns} FROM {table}").fetchall()

    # -- what the test asks in the end -----------------------------------------------------------------------------

    @property
    def violations(self) -> list[str]:
        return [what for (what,) in self._all("what", "violation")]

    @property
    def served(self) -> list[tuple[float, int]]:
        """When each batch was got (seconds since 1970), and under which epoch, in order."""
        return self._all("at, epoch", "served")

    @property
    def counts(self) -> dict[str, int]:
        return dict(self._all("name, n", "count"))

    def has(self, source: str, table: str, key: int) -> bool:
        found = self.db.execute("SELECT 1 FROM row WHERE (source, name, key) = (?, ?, ?)", (source, table, json.dumps([key])))
        return found.fetchone() is not None

    def confirmed(self, place: Place) -> tuple[int, ...]:
        """Up to where the engine has said that acks are kept; (): nowhere yet."""
        found = self.db.execute("SELECT confirmed FROM place WHERE (part, source) = (?, ?)", place).fetchone()
        return tuple(json.loads(found[0])) if found and found[0] else ()

    def rows(self, source: str, table: str) -> Iterator[dict[str, Any]]:
        found = self.db.execute("SELECT value FROM row WHERE (source, name) = (?, ?)", (source, table))
        return (json.loads(value) for (value,) in found)


def _identity(change: Change) -> tuple[int, ...]:
    """Grows, also from one database server to the next."""
    return change.source_number, *change.identity


def _fits(kept: dict[str, Any], before: dict[str, Any] | None) -> bool:
    """Columns that an ALTER has added or dropped since are in one of them only."""
    return before is not None and all(kept[name] == before[name] for name in kept.keys() & before.keys())
