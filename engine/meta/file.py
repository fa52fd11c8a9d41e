"""Meta in an SQLite file: the embedded default. Every process of the engine opens it for itself."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import sqlite3
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.errors import MetaError, MetaFull
from engine.meta import Place, Presence, SourceHistory
from engine.position import Identity

APPLICATION_ID = 0x424C454E  # "BLEN" in the file's header, so that `file` and a careful open know it
VERSION = 2  # 1: source numbers without identity
BUSY_S = 20.0  # how long to wait for another process's transaction; they take milliseconds
MAX_SOURCE_NUMBER = 0xFFFF  # the widths of the record's fields
MAX_TABLE_KEY = 0xFFFF_FFFF
KEYS_KEPT = 16_384  # known without asking SQLite, about 200 bytes each

_PROBE_BYTES = 1 << 20  # more than SQLite asks for at a time
_WRITING = ("SQLITE_IOERR", "SQLITE_CANTOPEN")
_ANEW = "start anew with another data_dir"
_TABLES = """
CREATE TABLE source_number (
    number INTEGER PRIMARY KEY, source TEXT NOT NULL, binlog TEXT NOT NULL, identity TEXT NOT NULL,
    UNIQUE (source, binlog, identity)) STRICT;
CREATE TABLE table_key (key INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, packed_schema BLOB NOT NULL) STRICT;
CREATE TABLE acked (
    destination TEXT NOT NULL, consumer TEXT NOT NULL, partition INTEGER NOT NULL, source INTEGER NOT NULL,
    file INTEGER NOT NULL, start INTEGER NOT NULL, event INTEGER NOT NULL, row INTEGER NOT NULL,
    PRIMARY KEY (destination, consumer, partition, source)) STRICT, WITHOUT ROWID;
CREATE TABLE first_position (
    source INTEGER PRIMARY KEY,
    file INTEGER NOT NULL, start INTEGER NOT NULL, event INTEGER NOT NULL, row INTEGER NOT NULL) STRICT;
"""
_FROM_1 = """
ALTER TABLE source_number RENAME TO source_number_1;
CREATE TABLE source_number (
    number INTEGER PRIMARY KEY, source TEXT NOT NULL, binlog TEXT NOT NULL, identity TEXT NOT NULL,
    UNIQUE (source, binlog, identity)) STRICT;
INSERT INTO source_number SELECT number, source, binlog, '' FROM source_number_1;
DROP TABLE source_number_1;
"""
# Made in files that were written before there was one, too.
_HISTORY = """
CREATE TABLE IF NOT EXISTS schema_history (
    number INTEGER PRIMARY KEY, source INTEGER NOT NULL,
    file INTEGER NOT NULL, start INTEGER NOT NULL, event INTEGER NOT NULL, row INTEGER NOT NULL, entry BLOB NOT NULL) STRICT
"""
_GTID_SETS = """
CREATE TABLE IF NOT EXISTS gtid_set (
    source INTEGER NOT NULL, file INTEGER NOT NULL, start INTEGER NOT NULL, gtid_set TEXT NOT NULL,
    PRIMARY KEY (source, file, start)) STRICT, WITHOUT ROWID
"""
_FILE_MARKS = """
CREATE TABLE IF NOT EXISTS file_mark (
    source INTEGER NOT NULL, file INTEGER NOT NULL, mark TEXT NOT NULL, PRIMARY KEY (source, file)) STRICT, WITHOUT ROWID
"""
_PRESENCE = """
CREATE TABLE IF NOT EXISTS presence (
    destination TEXT NOT NULL, consumer TEXT NOT NULL, away_s REAL NOT NULL, expired_at REAL NOT NULL,
    PRIMARY KEY (destination, consumer)) STRICT, WITHOUT ROWID
"""
_FIND_KEY = "SELECT key FROM table_key WHERE digest = ?"
_ADD_KEY = "INSERT INTO table_key (key, digest, packed_schema) VALUES (?, ?, ?)"
_ADD_ENTRY = "INSERT INTO schema_history (source, file, start, event, row, entry) VALUES (?, ?, ?, ?, ?, ?)"
_ACK = """
INSERT INTO acked VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
SET file = excluded.file, start = excluded.start, event = excluded.event, row = excluded.row
WHERE (excluded.file, excluded.start, excluded.event, excluded.row) > (file, start, event, row)
"""


class FileMeta:
    """The contract of engine.meta.Meta in the SQLite file `path`, which is made if it isn't there.

    What it keeps outlives the death of any process at any moment. Numbers, keys and first positions also outlive the
    machine's; of the acks of the last moments before a power cut some may be gone (their changes are delivered again).
    Not for two threads at a time.

    What is kept with `later` is one transaction, from its first call to `sync`: other processes see all of it or nothing, and
    wait meanwhile when they want to write. When any part of it fails all is lost, and this meta keeps nothing more. It is
    written at the end, for all tables at once, since thousands may be new in a moment.

    Raises:
        MetaError: the file can't be opened or written, is damaged, or belongs to something else or another version.
    """

    survives_power_cut = True

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._unsynced = True  # a process before may have died between writing and syncing what this one finds
        self._open_batch = False  # of what is kept with `later`
        self._failed: MetaError | None = None  # why it is lost
        self._new_keys: dict[bytes, tuple[int, bytes]] = {}  # by digest
        self._new_entries: list[tuple[object, ...]] = []
        self._last_key = 0  # of all in the file, and the new ones
        self._keys: dict[bytes, int] = {}  # by digest: all up to _keys_read, until they are KEYS_KEPT
        self._keys_read = 0
        with self._errors_named():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            try:
                with _alone_in(self.path.parent):
                    self._open()
            except BaseException:
                self._db.close()
                raise

    def source_number(
        self, source: str, binlog: str, identity: str = "", newest: int | None = None, under: Iterable[str] = ()
    ) -> int:
        if not identity:
            last = "SELECT max(number) FROM source_number WHERE source = ? AND binlog = ?"
            with self._errors_named():
                (found,) = self._db.execute(last, (source, binlog)).fetchone()
            if found is not None:
                return int(found)
        else:
            with self._errors_named(), self._durably():
                self._db.execute(
                    "UPDATE source_number SET identity = ?3 WHERE source = ?1 AND binlog = ?2 AND identity = ''"
                    " AND NOT EXISTS (SELECT 1 FROM source_number WHERE source = ?1 AND binlog = ?2 AND identity = ?3)",
                    (source, binlog, identity),
                )
        wanted = (source, binlog, identity)
        found = "SELECT number FROM source_number WHERE source = ? AND binlog = ? AND identity = ?"
        insert = (
            "INSERT INTO source_number (source, binlog, identity) SELECT ?1, ?2, ?3 WHERE ?4 IS NULL OR ?4 ="
            " (SELECT coalesce(max(number), 0) FROM source_number WHERE source = ?1)"
        )
        return self._number(found, wanted, insert, (*wanted, newest), MAX_SOURCE_NUMBER, "source numbers")

    def change_history(self, number: int, was: str, identity: str, under: Iterable[str] = ()) -> bool:
        with self._errors_named(), self._durably():
            change = "UPDATE source_number SET identity = ? WHERE number = ? AND identity = ?"
            return self._db.execute(change, (identity, number, was)).rowcount == 1

    def histories(self) -> dict[int, SourceHistory]:
        with self._errors_named():
            rows = self._db.execute("SELECT number, source, binlog, identity FROM source_number ORDER BY number").fetchall()
        return {number: SourceHistory(*history) for number, *history in rows}

    def table_key(self, packed_schema: bytes, *, later: bool = False) -> int:
        digest = hashlib.sha256(packed_schema).digest()
        if later:
            return self._keys.get(digest) or self._table_key_later(digest, packed_schema)
        return self._number(_FIND_KEY, (digest,), _ADD_KEY, (None, digest, packed_schema), MAX_TABLE_KEY, "table keys")

    def _table_key_later(self, digest: bytes, packed_schema: bytes) -> int:
        if (new := self._new_keys.get(digest)) is not None:
            return new[0]
        try:
            if self._failed is not None:
                raise self._failed
            if not (self._open_batch and len(self._keys) < KEYS_KEPT):  # or else it isn't in the file
                key = self._find_key(digest)
                if key is None and self._begin_batch():
                    key = self._find_key(digest)  # another process may have been quicker
                if key is not None:
                    return key
            if self._last_key == MAX_TABLE_KEY:
                raise self._no_more("table keys", MAX_TABLE_KEY)
        except (MetaError, sqlite3.Error) as error:
            raise self._refused(error) from None
        self._last_key += 1
        self._new_keys[digest] = self._last_key, packed_schema
        return self._last_key

    def _find_key(self, digest: bytes) -> int | None:
        """Of the keys in the file. Thousands of tables may be new in a moment, and asking for each would take as long as all the
        rest: so all keys are known, of which no more come while a batch is open."""
        if not self._open_batch:
            self._read_keys()
        if len(self._keys) < KEYS_KEPT:
            return self._keys.get(digest)
        found = self._db.execute(_FIND_KEY, (digest,)).fetchone()
        return found and int(found[0])

    def _read_keys(self) -> None:
        if len(self._keys) < KEYS_KEPT:
            newer = "SELECT digest, key FROM table_key WHERE key > ? ORDER BY key LIMIT ?"
            self._know_keys(self._db.execute(newer, (self._keys_read, KEYS_KEPT)).fetchall())

    def _know_keys(self, keys: list[tuple[bytes, int]]) -> None:
        if keys and len(self._keys) < KEYS_KEPT:
            self._keys.update(keys)
            self._keys_read = keys[-1][1]

    def packed_schema(self, table_key: int) -> bytes | None:
        return self.packed_schemas([table_key]).get(table_key)

    def packed_schemas(self, table_keys: Collection[int]) -> dict[int, bytes]:
        find = "SELECT key, packed_schema FROM table_key WHERE key IN (SELECT value FROM json_each(?))"
        with self._errors_named():
            self._end_batch()
            return dict(self._db.execute(find, (json.dumps([*table_keys]),)).fetchall())

    def ack(self, positions: dict[Place, Identity]) -> None:
        rows = [(*place, *identity) for place, identity in positions.items()]
        with self._errors_named():
            if len(rows) == 1:  # a transaction of its own, for half the work: this is done hundreds of times a second
                self._end_batch()
                self._db.execute(_ACK, rows[0])
            else:
                with self._transaction():
                    self._db.executemany(_ACK, rows)

    def acked(self, destination: str | None = None) -> dict[Place, Identity]:
        with self._errors_named():
            rows = self._db.execute("SELECT * FROM acked WHERE ?1 IS NULL OR destination = ?1", (destination,)).fetchall()
        return {Place(*row[:4]): Identity(*row[4:]) for row in rows}

    def forget_consumer(self, destination: str, consumer: str) -> None:
        with self._errors_named(), self._transaction():
            self._db.execute("DELETE FROM acked WHERE destination = ? AND consumer = ?", (destination, consumer))

    def replace_acked(self, destination: str, positions: dict[str, dict[tuple[int, int], Identity]]) -> None:
        with self._errors_named(), self._durably():
            for consumer, places in positions.items():
                self._db.execute("DELETE FROM acked WHERE destination = ? AND consumer = ?", (destination, consumer))
                rows = [(destination, consumer, *place, *identity) for place, identity in places.items()]
                self._db.executemany("INSERT INTO acked VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def keep_presence(self, destination: str, presence: dict[str, Presence | None]) -> None:
        with self._errors_named(), self._transaction():
            for consumer, seen in presence.items():
                if seen is None:
                    self._db.execute("DELETE FROM presence WHERE destination = ? AND consumer = ?", (destination, consumer))
                else:
                    self._db.execute("INSERT OR REPLACE INTO presence VALUES (?, ?, ?, ?)", (destination, consumer, *seen))

    def presence(self, destination: str) -> dict[str, Presence]:
        with self._errors_named():
            query = "SELECT consumer, away_s, expired_at FROM presence WHERE destination = ?"
            return {row[0]: Presence(*row[1:]) for row in self._db.execute(query, (destination,))}

    def first_position(self, source: int, position: Identity | None = None) -> Identity | None:
        with self._errors_named():
            if position is not None:
                with self._durably():
                    self._db.execute(
                        "INSERT INTO first_position VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
                        " SET file = excluded.file, start = excluded.start, event = excluded.event, row = excluded.row"
                        " WHERE (excluded.file, excluded.start, excluded.event, excluded.row) < (file, start, event, row)",
                        (source, *position),
                    )
            row = self._db.execute("SELECT file, start, event, row FROM first_position WHERE source = ?", (source,))
            kept = row.fetchone()
        return kept and Identity(*kept)

    def keep_history(self, source: int, position: Identity, entry: bytes, *, later: bool = False) -> None:
        with self._errors_named():
            if later:
                self._begin_batch()
                self._new_entries.append((source, *position, entry))
            else:
                with self._durably():
                    self._db.execute(_ADD_ENTRY, (source, *position, entry))

    def history(self, source: int) -> list[tuple[Identity, bytes]]:
        with self._errors_named():
            self._end_batch()
            rows = self._db.execute(
                "SELECT file, start, event, row, entry FROM schema_history WHERE source = ?"
                " ORDER BY file, start, event, row, number",
                (source,),
            ).fetchall()
        return [(Identity(*row[:4]), row[4]) for row in rows]

    def keep_gtid_set(self, source: int, position: Identity, gtid_set: str) -> None:
        with self._errors_named(), self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO gtid_set VALUES (?, ?, ?, ?)", (source, position.file, position.start, gtid_set)
            )

    def gtid_sets(self, source: int) -> list[tuple[Identity, str]]:
        with self._errors_named():
            rows = self._db.execute(
                "SELECT file, start, gtid_set FROM gtid_set WHERE source = ? ORDER BY file, start", (source,)
            ).fetchall()
        return [(Identity(file, start, 0, 0), gtid_set) for file, start, gtid_set in rows]

    def keep_file_mark(self, source: int, file: int, mark: str) -> None:
        with self._errors_named(), self._durably():
            self._db.execute("INSERT OR REPLACE INTO file_mark VALUES (?, ?, ?)", (source, file, mark))

    def file_marks(self, source: int) -> dict[int, str]:
        with self._errors_named():
            return dict(self._db.execute("SELECT file, mark FROM file_mark WHERE source = ?", (source,)).fetchall())

    def prune_marks(self, source: int, before: Identity) -> None:
        earlier = "SELECT file, start FROM gtid_set WHERE source = ?1 AND file > 0 AND (file, start) <= (?2, ?3)"
        with self._errors_named(), self._transaction():
            self._db.execute(
                f"DELETE FROM gtid_set WHERE source = ?1 AND (file, start) IN ({earlier})"
                f" AND (file, start) != ({earlier} ORDER BY file DESC, start DESC LIMIT 1)",
                (source, before.file, before.start),
            )
            self._db.execute("DELETE FROM file_mark WHERE source = ? AND file < ?", (source, before.file))

    def sync(self) -> None:
        with self._errors_named():
            self._end_batch()
            if self._unsynced and self.survives_power_cut:
                with self._durably():
                    self._db.execute(f"PRAGMA user_version = {VERSION}")  # a commit that changes nothing
                self._unsynced = False

    def close(self) -> None:
        """Closing twice is harmless."""
        with suppress(sqlite3.Error):  # everything is committed already; a failed checkpoint loses nothing
            self._db.close()

    def _open(self) -> None:
        application, version = self._pragma("application_id"), self._pragma("user_version")
        empty = not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application != APPLICATION_ID and not (empty and application == 0):
            raise MetaError(
                "this SQLite file is not meta of binlog-engine", file=self.path,
                remedy="move it away, or name another data_dir",
            )  # fmt: skip
        if not empty and version not in (1, VERSION):
            raise MetaError(
                "meta was written by another version of binlog-engine", file=self.path, found=version, known=VERSION,
                remedy="run the version that wrote it, or move the file away and start anew",
            )  # fmt: skip
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(f"PRAGMA synchronous = {'NORMAL' if self.survives_power_cut else 'OFF'}")
        if empty:
            script = f"{_TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
            self._db.executescript(f"BEGIN IMMEDIATE; {script} COMMIT;")
        elif (fault := self._pragma("quick_check(1)")) != "ok":
            raise MetaError(
                "meta is damaged", file=self.path, error=" ".join(str(fault).split()),
                remedy="restore it from a backup, or move it away and start anew",
            )  # fmt: skip
        if not empty and version == 1:
            self._db.executescript(f"BEGIN IMMEDIATE; {_FROM_1} PRAGMA user_version = {VERSION}; COMMIT;")
        with self._transaction():  # a file that can be read but not written is better known now than at the first ack
            self._db.execute(f"PRAGMA user_version = {VERSION}")
            for table in (_HISTORY, _GTID_SETS, _FILE_MARKS, _PRESENCE):
                self._db.execute(table)

    def _number(
        self, find: str, wanted: tuple[object, ...], insert: str, values: tuple[object, ...], most: int, what: str
    ) -> int:
        with self._errors_named():
            found = self._db.execute(find, wanted).fetchone()
            if found is None:
                with self._durably():
                    if self._db.execute(find, wanted).fetchone() is None:  # another process may have been quicker
                        self._db.execute(insert, values)
                    found = self._db.execute(find, wanted).fetchone() or (0,)  # 0: what was to be added isn't wanted any more
                    if found[0] > most:
                        raise self._no_more(what, most)
        return found[0]

    def _no_more(self, what: str, most: int) -> MetaError:
        return MetaError(f"meta has no more {what}", file=self.path, most=most, remedy=_ANEW)

    def _pragma(self, name: str) -> int | str:
        return self._db.execute(f"PRAGMA {name}").fetchone()[0]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._end_batch()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    @contextmanager
    def _durably(self) -> Iterator[None]:
        """What is rare and must never be given out twice is synced when it returns; acks, many a second, are not."""
        self._end_batch()
        self._sync_commits(True)
        try:
            with self._transaction():
                yield
        finally:
            self._sync_commits(False)

    def _begin_batch(self) -> bool:
        """False: it has begun already."""
        if self._failed is not None:
            raise self._failed
        if self._open_batch:
            return False
        self._sync_commits(True)
        self._db.execute("BEGIN IMMEDIATE")
        self._open_batch = True
        self._last_key = self._db.execute("SELECT coalesce(max(key), 0) FROM table_key").fetchone()[0]
        self._read_keys()
        return True

    def _end_batch(self) -> None:
        if self._failed is not None:
            raise self._failed
        if self._open_batch:
            keys = [(key, digest, packed_schema) for digest, (key, packed_schema) in self._new_keys.items()]
            self._db.executemany(_ADD_KEY, keys)
            self._db.executemany(_ADD_ENTRY, self._new_entries)
            self._db.execute("COMMIT")
            self._open_batch = self._unsynced = False  # with this commit all of the log is synced
            self._know_keys([(digest, key) for key, digest, _ in keys])
            self._new_keys.clear()
            self._new_entries.clear()
            self._sync_commits(False)

    def _sync_commits(self, sync: bool) -> None:
        if self.survives_power_cut:
            self._db.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except (MetaError, OSError, sqlite3.Error) as error:
            raise self._refused(error) from None

    def _refused(self, error: MetaError | OSError | sqlite3.Error) -> MetaError:
        named = error if isinstance(error, MetaError) else self._named(error)
        if self._open_batch:
            self._failed = self._failed or named
            self._roll_back()
        return named

    def _named(self, error: OSError | sqlite3.Error) -> MetaError:
        if isinstance(error, OSError):
            return MetaError(
                "meta's folder can't be used", file=self.path, error=error.strerror,
                remedy="name a data_dir that this account may write to",
            )  # fmt: skip
        code = getattr(error, "sqlite_errorname", None) or ""
        what = "meta can't be read or written"
        if code == "SQLITE_FULL" or (code.startswith(_WRITING) and _is_full(self.path.parent)):
            return MetaFull(what, file=self.path, error=error, code=code, remedy="make room on its file system")
        reason = "io_error" if code.startswith("SQLITE_IOERR") else ""
        return MetaError(what, file=self.path, error=error, code=code, reason=reason, remedy=_remedy(code))


def _is_full(folder: Path) -> bool:
    """SQLite tells a quota, a limit of file sizes and a full disk under its own shared memory from no other I/O error."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, _PROBE_BYTES)
    except OSError as error:
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return False


def _remedy(code: str) -> str:
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return "the file is damaged: restore it from a backup, or move it away and start anew"
    if code.startswith("SQLITE_IOERR"):
        return "see what the kernel's log says about this disk; what was confirmed is kept. Start again when it is mended"
    if code.startswith("SQLITE_BUSY"):
        return "another process holds it; end whatever else has opened the file"
    return "see that this account may write to the file and its folder"


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """One process at a time makes the tables: SQLite's own waiting doesn't cover the switch to WAL."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
