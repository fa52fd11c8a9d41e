"""SQLite meta after a power cut: its recorded write sequence, cut off or torn at every offset, gives a state that there was."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine.meta import Place
from engine.meta.file import FileMeta
from engine.position import Identity

PAGE_BYTES = 512  # the smallest: so many more offsets mean something
TABLES = ("source_number", "table_key", "acked", "first_position", "schema_history")


@dataclass
class Recorded:
    """The files after each call: states[i] is what meta showed when the log was ends[i] bytes long."""

    db: bytes = b""
    log: bytes = b""
    checkpointed: bytes = b""  # the file after the log was brought into it
    ends: list[int] = field(default_factory=list)
    states: list[Any] = field(default_factory=list)


def read(db: sqlite3.Connection) -> Any:
    return [db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in TABLES]


def calls(meta: FileMeta) -> Iterator[None]:
    """What an engine does with its meta, one call after the other."""
    meta.source_number("shop", "binlog")
    yield
    meta.first_position(1, Identity(1, 4, 0, 0))
    yield
    meta.table_key(b"schema " * 40)
    yield
    meta.ack({Place("orders", consumer, 0, 1): Identity(1, 1000, 2, 3) for consumer in ("cache", "audit")})
    yield
    meta.keep_history(1, Identity(1, 4, 0, 0), b"CREATE TABLE t (id INT) " * 10)
    yield
    meta.ack({Place("orders", "cache", 0, 1): Identity(2, 4, 2, 3)})
    yield
    meta.table_key(b"another " * 30, later=True)  # one transaction
    meta.keep_history(1, Identity(1, 5, 0, 0), b"DROP TABLE t", later=True)
    meta.sync()
    yield
    meta.source_number("shop", "other")
    yield


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory: thousands of files are made."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    path = tmp_path / "recorded.sqlite"
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("VACUUM")
    db.close()
    FileMeta(path).close()  # the tables are in the file, and the log is gone
    meta, seen, found = FileMeta(path), sqlite3.connect(path), Recorded()
    seen.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    found.db, log = path.read_bytes(), path.with_name(path.name + "-wal")
    found.states.append(read(seen))
    found.ends.append(0)
    for _ in calls(meta):
        found.states.append(read(seen))
        found.ends.append(len(log.read_bytes()))
    found.log = log.read_bytes()
    assert path.read_bytes() == found.db, "nothing was brought from the log into the file meanwhile"
    seen.execute("PRAGMA wal_checkpoint(FULL)")
    found.checkpointed = path.read_bytes()
    seen.close()
    meta.close()
    return found


def opened(folder: Path, db: bytes, log: bytes) -> Any:
    """What SQLite makes of the two files."""
    path = folder / "cut.sqlite"
    path.write_bytes(db)
    path.with_name(path.name + "-wal").write_bytes(log)
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA synchronous = OFF")
        return read(connection)
    finally:
        connection.close()


def test_a_log_cut_off_at_every_offset_holds_the_calls_that_were_whole_and_no_part_of_another(tmp_path, recorded) -> None:
    assert recorded.ends == sorted(recorded.ends)
    for end in range(len(recorded.log) + 1):
        whole = max(i for i, written in enumerate(recorded.ends) if written <= end)
        assert opened(tmp_path, recorded.db, recorded.log[:end]) == recorded.states[whole]


def test_a_log_whose_end_was_allocated_but_not_written_is_as_good_as_cut_off(tmp_path, recorded) -> None:
    for end in range(0, len(recorded.log), 64):
        torn = recorded.log[:end] + bytes(len(recorded.log) - end)
        whole = max(i for i, written in enumerate(recorded.ends) if torn[:written] == recorded.log[:written])
        assert opened(tmp_path, recorded.db, torn) == recorded.states[whole]


def test_a_file_torn_while_the_log_is_brought_into_it_is_whole_with_the_log(tmp_path, recorded) -> None:
    old, new = recorded.db.ljust(len(recorded.checkpointed), b"\0"), recorded.checkpointed
    assert old != new
    for offset in range(0, len(new) + 1, 128):
        for torn in (new[:offset] + old[offset:], old[:offset] + new[offset:]):
            assert opened(tmp_path, torn, recorded.log) == recorded.states[-1]


def test_what_was_cut_off_is_opened_by_meta_and_gone_on_with(tmp_path, recorded) -> None:
    for number, end in enumerate(recorded.ends):
        for cut in {max(end - 1, 0), end, end + 100}:
            path = tmp_path / "meta.sqlite"
            opened(tmp_path, recorded.db, recorded.log[:cut])
            (tmp_path / "cut.sqlite").rename(path)
            for ending in ("-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
            path.with_name(path.name + "-wal").write_bytes(recorded.log[:cut])
            path.write_bytes(recorded.db)
            meta = FileMeta(path)
            for _ in calls(meta):
                """All of it is done again, and comes to the same."""
            numbers = {history.binlog: given for given, history in meta.histories().items()}
            assert numbers == {"binlog": 1, "other": 2}, (number, cut)
            assert meta.acked()[Place("orders", "cache", 0, 1)] == Identity(2, 4, 2, 3)
            meta.close()


def test_what_is_kept_for_later_is_seen_by_others_once_it_is_synced(tmp_path) -> None:
    path = tmp_path / "meta.sqlite"
    first, second = FileMeta(path), FileMeta(path)
    second.sync()
    log = path.with_name(path.name + "-wal")
    try:
        key = first.table_key(b"a schema", later=True)
        first.keep_history(1, Identity(1, 4, 0, 0), b"an entry", later=True)
        assert second.packed_schema(key) is None
        assert second.history(1) == []
        before = log.stat().st_size
        first.sync()
        after = log.stat().st_size
        assert after > before
        assert second.table_key(b"a schema", later=True) == key
        assert second.history(1) == [(Identity(1, 4, 0, 0), b"an entry")]
        first.sync()
        second.sync()
        assert log.stat().st_size == after, "nothing is left to be synced"
    finally:
        first.close()
        second.close()


def test_a_key_that_there_is_already_is_found_whatever_was_kept_first(tmp_path) -> None:
    path = tmp_path / "meta.sqlite"
    with closing(FileMeta(path)) as before:
        key = before.table_key(b"a schema")
    with closing(FileMeta(path)) as meta, closing(FileMeta(path)) as other:
        meta.keep_history(1, Identity(1, 4, 0, 0), b"an entry", later=True)
        assert meta.table_key(b"a schema", later=True) == key
        meta.sync()
        second = other.table_key(b"another schema")
        meta.keep_history(1, Identity(1, 5, 0, 0), b"an entry", later=True)
        assert meta.table_key(b"another schema", later=True) == second
        assert meta.table_key(b"a third", later=True) == second + 1
        meta.sync()
        assert other.table_key(b"a third", later=True) == second + 1


def test_more_keys_than_are_known_by_heart_are_each_one_found(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("engine.meta.file.KEYS_KEPT", 10)
    schemas = [b"schema %d" % n for n in range(35)]
    with closing(FileMeta(tmp_path / "meta.sqlite")) as meta, closing(FileMeta(tmp_path / "meta.sqlite")) as other:
        given = []
        for n, schema in enumerate(schemas):
            given.append(meta.table_key(schema, later=True))
            if n % 4 == 3:
                meta.sync()
                given[n - 1 : n + 1] = [other.table_key(each, later=True) for each in schemas[n - 1 : n + 1]]
        meta.sync()
        assert given == [*range(1, 36)]
        assert [meta.table_key(schema, later=True) for schema in schemas] == given
        assert [other.table_key(schema) for schema in schemas] == given


def test_a_killed_process_leaves_nothing_of_what_it_had_not_synced_and_its_number_is_given_anew(tmp_path) -> None:
    path = tmp_path / "meta.sqlite"
    killed = FileMeta(path)
    key = killed.table_key(b"a schema", later=True)
    killed.close()  # without a commit, as SIGKILL
    with closing(FileMeta(path)) as meta:
        assert meta.packed_schema(key) is None
        assert meta.table_key(b"another schema") == key
