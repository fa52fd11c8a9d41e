"""XA transactions: changes come once, when and if they are committed, wherever they were prepared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest

from engine.errors import BinlogError, PositionError
from engine.meta.file import FileMeta
from engine.record import CHANGES, Kind
from engine.source.files import FileFeed, decode_files, find_files
from engine.source.ledger import Ledger
from engine.source.live import LiveFeed
from engine.source.servers import Servers
from engine.source.xa import PreparedGroups, Xid, parse_ending, parse_prepare
from tests.servers.database import Database
from tests.source.decoding import AFTER, BEFORE, EVENT, KIND, START, Decoding, Record, identity, without_schemas
from tests.source.packets import config

KINDS = [Kind.BEGIN, Kind.INSERT, Kind.COMMIT]


def xa(server: Database, xid: str, *statements: str, one_phase: bool = False, setup: str = "SELECT 1") -> None:
    """Prepare a transaction (or commit it in one phase) on a connection of its own, and wait until that has let go of it."""
    ending = [f"XA COMMIT {xid} ONE PHASE"] if one_phase else [f"XA PREPARE {xid}"]
    with server.connect() as connection, connection.cursor() as cursor:
        number = connection.thread_id()
        for statement in (setup, f"XA START {xid}", *statements, f"XA END {xid}", *ending):
            cursor.execute(statement)
    gone = f"SELECT count(*) = 0 FROM information_schema.processlist WHERE id = {number}"
    server.process.wait_until(lambda: server.sql(gone) == ((1,),))


def read(paths: list[Path]) -> list[Record]:
    records: list[Record] = []
    for view, _ in decode_files(paths):
        unpacker = msgpack.Unpacker(max_buffer_size=0, strict_map_key=False)
        unpacker.feed(view)
        records += list(unpacker)
    return without_schemas(records)


def rows(records: list[Record]) -> list[Any]:
    return [record[AFTER] or record[BEFORE] for record in records if record[KIND] in CHANGES]


@pytest.fixture
def xa_server(make_server: Callable[..., Database], request: pytest.FixtureRequest) -> Database:
    server = make_server(**getattr(request, "param", {}))
    server.sql("CREATE DATABASE s", "CREATE TABLE s.t (id INT PRIMARY KEY)", "CREATE TABLE s.u (id INT PRIMARY KEY)")
    return server


def test_prepared_changes_come_with_their_commit_and_rolled_back_ones_never(xa_server: Database) -> None:
    server = xa_server
    xa(server, "'a','b',7", "INSERT INTO s.t VALUES (1), (2)", "INSERT INTO s.u VALUES (1)", "DELETE FROM s.u WHERE id = 1")
    xa(server, "'r'", "INSERT INTO s.t VALUES (100)")
    server.sql("INSERT INTO s.t VALUES (3)", "FLUSH BINARY LOGS", "INSERT INTO s.t VALUES (4)", "XA ROLLBACK 'r'")
    xa(server, "'r'", "INSERT INTO s.t VALUES (5)")  # the same name again
    server.sql("INSERT INTO s.t VALUES (6)", "XA COMMIT 'a','b',7", "XA COMMIT 'r'")
    xa(server, "'one'", "INSERT INTO s.t VALUES (7)", one_phase=True)
    xa(server, "'open'", "INSERT INTO s.t VALUES (200)")
    server.sql("INSERT INTO s.t VALUES (8)")
    records = [record for record in read(server.binlog_files()) if record[KIND] != Kind.DDL]
    assert rows(records) == [[3], [4], [6], [1], [2], [1], [1], [5], [7], [8]]
    assert [r[KIND] for r in records[:9]] == KINDS * 3
    commit = [r for r in records if r[START] == records[9][START]]
    assert [r[KIND] for r in commit] == [Kind.BEGIN, *[Kind.INSERT] * 3, Kind.DELETE, Kind.COMMIT]
    assert len({r[AFTER][0] for r in commit if r[KIND] in (Kind.BEGIN, Kind.COMMIT)}) == 1
    assert [identity(r) for r in records] == sorted({identity(r) for r in records})
    assert commit[0][EVENT] == 1


@pytest.mark.parametrize("compression", ["", "SET GLOBAL binlog_transaction_compression=ON"])
def test_what_was_prepared_before_the_start_is_looked_for_in_older_files(xa_server: Database, compression: str) -> None:
    server = xa_server
    if compression and server.name == "mysql":
        server.sql(compression)
    xa(server, "'x'", "INSERT INTO s.t VALUES (1)")
    xa(server, "'y'", "INSERT INTO s.t VALUES (2)")
    server.sql("FLUSH BINARY LOGS", "FLUSH BINARY LOGS", "INSERT INTO s.t VALUES (3)")
    start = server.position()
    server.sql("XA COMMIT 'y'", "XA COMMIT 'x'")
    paths = server.binlog_files()
    name, offset = start.split(":")
    place = ("binlog", int(name.split(".")[1]), int(offset))
    with from_files(paths, place) as records:
        assert rows(records) == [[2], [1]]
    with from_files(paths[1:], place, fails=True) as message:
        assert "not in the binlog any more" in message
        assert "xid=b'y',b'',1" in message


@contextmanager
def from_files(paths: list[Path], place: tuple[str, int, int], *, fails: bool = False) -> Iterator[Any]:
    decoding = Decoding()
    feed = FileFeed(decoding.decoder, find_files([str(path) for path in paths]), "test")
    decoding.decoder.prepared = PreparedGroups(feed, "test")
    feed.open(*place)

    def all_records() -> list[Record]:
        while True:
            decoding.decoder.advance(1 << 20)
            decoding.drain()
            if not feed.fill() and feed.finished:
                return decoding.records

    try:
        if fails:
            with pytest.raises(PositionError) as caught:
                all_records()
            yield str(caught.value)
        else:
            yield all_records()
    finally:
        feed.close()
        decoding.close()


@pytest.mark.parametrize("xa_server", [{}, {"binlog_checksum": "NONE"}], indirect=True)
def test_a_live_source_reads_the_group_again_from_its_server(xa_server: Database, tmp_path: Path) -> None:
    server = xa_server
    xa(server, "'before'", "INSERT INTO s.t VALUES (1)")
    server.sql("FLUSH BINARY LOGS")
    start = server.position()
    xa(server, "'large'", *(f"INSERT INTO s.t SELECT {i}" for i in range(100, 150)))
    server.sql("INSERT INTO s.t VALUES (3)", "XA COMMIT 'large'", "XA COMMIT 'before'", "INSERT INTO s.t VALUES (4)")
    decoding = Decoding(packets=True)
    meta = FileMeta(tmp_path / "meta.sqlite")
    ledger = Ledger(meta, "test", lambda: None)
    ledger.attach(decoding.decoder)
    settings = config(server, start)
    feed = LiveFeed(decoding.decoder, settings, "test", ledger, Servers(settings))
    decoding.decoder.prepared = PreparedGroups(feed, "test")
    feed.open("", 0, 0)
    deadline = time.monotonic() + 20
    while rows(decoding.records)[-1:] != [[4]] and time.monotonic() < deadline:
        decoding.decoder.advance(1 << 20)
        decoding.drain()
        if not feed.fill():
            feed.wait(50_000_000)
    feed.close()
    meta.close()
    assert rows(decoding.records) == [[3], *([i] for i in range(100, 150)), [1], [4]]
    decoding.close()


def test_a_compressed_binlog_s_prepared_changes_come_too(make_server: Callable[..., Database]) -> None:
    server = make_server()
    if server.name == "mariadb":
        server.sql("SET GLOBAL log_bin_compress=ON", "SET GLOBAL log_bin_compress_min_len=10")
    else:
        server.sql("SET GLOBAL binlog_transaction_compression=ON")
    server.sql("CREATE DATABASE s", "CREATE TABLE s.t (id INT PRIMARY KEY, v TEXT)")
    xa(server, "'a'", "INSERT INTO s.t VALUES (1, REPEAT('x', 1000))", "INSERT INTO s.t VALUES (2, REPEAT('z', 1000))")
    server.sql("INSERT INTO s.t VALUES (9, REPEAT('y', 1000))", "XA COMMIT 'a'")
    xa(server, "'b'", "INSERT INTO s.t VALUES (10, REPEAT('x', 1000))", one_phase=True)
    assert [row[0] for row in rows(read(server.binlog_files()))] == [9, 1, 2, 10]


def test_statements_inside_come_with_the_commit(make_server: Callable[..., Database]) -> None:
    server = make_server()
    server.sql("CREATE DATABASE s", "CREATE TABLE s.t (id INT PRIMARY KEY)")
    try:
        xa(server, "'a'", "INSERT INTO s.t VALUES (1)", setup="SET SESSION binlog_format=STATEMENT")
    finally:
        server.sql("INSERT INTO s.t VALUES (2)", "XA COMMIT 'a'")
    records = [record for record in read(server.binlog_files()) if record[KIND] != Kind.DDL]
    assert [r[KIND] for r in records] == [*KINDS, Kind.BEGIN, Kind.STATEMENT, Kind.COMMIT]


def test_names_are_read_from_events_and_statements() -> None:
    xid = Xid(7, b"a", b"b")
    assert parse_prepare(bytes.fromhex("000700000001000000010000006162")) == (False, xid)
    assert parse_prepare(bytes.fromhex("010700000001000000010000006162")) == (True, xid)
    assert parse_prepare(b"\0" * 12) is None
    assert parse_prepare(bytes.fromhex("0007000000ff000000010000006162")) is None
    assert parse_ending("XA COMMIT X'61',X'62',7") == (True, xid)
    assert parse_ending("XA ROLLBACK X'',X'',1") == (False, Xid(1, b"", b""))
    assert parse_ending("XA RECOVER") is None


def test_a_group_that_is_damaged_when_read_again_is_named(xa_server: Database, tmp_path: Path) -> None:
    server = xa_server
    xa(server, "'x'", "INSERT INTO s.t VALUES (1)")
    server.sql("FLUSH BINARY LOGS", "XA COMMIT 'x'")
    paths = server.binlog_files()
    copies = [tmp_path / path.name for path in paths]
    for path, copy in zip(paths, copies, strict=True):
        copy.write_bytes(path.read_bytes())
    data = bytearray(copies[0].read_bytes())
    at = next(at for at, kind in events(data) if kind in (23, 30))
    data[at + 25] ^= 1
    copies[0].write_bytes(data)
    end = server.position().split(":")[1]
    assert int(end) > 4
    with (
        pytest.raises(BinlogError, match=r"checksum.*prepared_file=binlog.000001.*event_at=" + str(at)),
        from_files(copies, ("binlog", 2, 4)),
    ):
        pass


def events(data: bytes | bytearray) -> Iterator[tuple[int, int]]:
    at = 4
    while at < len(data):
        yield at, data[at + 4]
        at += int.from_bytes(data[at + 9 : at + 13], "little")
