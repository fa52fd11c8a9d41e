"""Compressed binlog and compressed columns give what plain ones give; damaged ones end in an error."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import pytest

from engine.errors import BinlogError
from engine.record import CHANGES, Kind
from tests.servers.database import Database
from tests.source.decoding import AFTER, BEFORE, KIND, Record, decode, joined
from tests.source.made_binlog import MadeBinlog, write_rows

LONG = "a text that repeats, " * 60
STATEMENTS = [
    "CREATE DATABASE s CHARACTER SET utf8mb4",
    "CREATE TABLE s.t (id INT PRIMARY KEY, v LONGTEXT, b BLOB) COMMENT '" + "long enough to be compressed " * 20 + "'",
    *(f"INSERT INTO s.t VALUES ({i}, CONCAT('{LONG}', {i}), REPEAT('b', {i}))" for i in range(1, 20)),
    "INSERT INTO s.t VALUES (100, 'short', NULL), (101, '', '')",
    f"UPDATE s.t SET v = CONCAT(v, '{LONG}') WHERE id < 10",
    "UPDATE s.t SET id = id + 1000 WHERE id > 15",
    "DELETE FROM s.t WHERE id BETWEEN 3 AND 6",
    "INSERT INTO s.t VALUES (7000, REPEAT('large ', 1000000), REPEAT('x', 60000))",
]


def binlog(server: Database) -> bytes:
    """All files from the first on, as if they were one."""
    files = [path.read_bytes() for path in server.binlog_files()]
    return files[0] + b"".join(data[4:] for data in files[1:])


def shown(records: list[Record]) -> list[Any]:
    """What does not depend on offsets and GTIDs."""
    kept = [record for record in joined(records) if record[KIND] in (*CHANGES, Kind.DDL)]
    return [(r[KIND], r[BEFORE], r[AFTER][:2] if r[KIND] == Kind.DDL else r[AFTER]) for r in kept]


def written(server: Database) -> list[Any]:
    with server.connect() as connection, connection.cursor() as cursor:
        for statement in STATEMENTS:
            cursor.execute(statement)
    return shown(decode(binlog(server)))


def test_a_compressed_binlog_of_mariadb_gives_the_changes_of_a_plain_one(make_mariadb: Callable[..., Database]) -> None:
    plain, packed = make_mariadb(), make_mariadb(log_bin_compress="ON", log_bin_compress_min_len=10)
    assert written(packed) == written(plain)
    kinds = {event[4] for event in _events(binlog(packed))}
    assert 165 in kinds
    assert kinds & {166, 169}
    assert kinds & {167, 170}
    assert kinds & {168, 171}


def test_a_compressed_binlog_of_mysql_gives_the_changes_of_a_plain_one(make_mysql: Callable[..., Database]) -> None:
    plain, packed = make_mysql(), make_mysql(binlog_transaction_compression="ON")
    assert written(packed) == written(plain)
    assert 40 in {event[4] for event in _events(binlog(packed))}


def _events(data: bytes) -> list[bytes]:
    found, at = [], 4
    while at < len(data):
        size = int.from_bytes(data[at + 9 : at + 13], "little")
        found.append(data[at : at + size])
        at += size
    return found


def test_compressed_columns_hold_what_select_shows(make_mariadb: Callable[..., Database]) -> None:
    server = make_mariadb()
    values = [None, "", "a", "é", LONG, "é" * 5000, "x" * 200_000]
    columns = {
        "vc": "VARCHAR(10000) COMPRESSED CHARACTER SET utf8mb4",
        "lt": "LONGTEXT COMPRESSED CHARACTER SET utf8mb4",
        "l1": "MEDIUMTEXT COMPRESSED CHARACTER SET latin1",
        "vb": "VARBINARY(10000) COMPRESSED",
        "bl": "MEDIUMBLOB COMPRESSED",
        "plain": "TEXT",
    }
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE s")
        cursor.execute(f"CREATE TABLE s.t (id INT PRIMARY KEY, {', '.join(f'{n} {d}' for n, d in columns.items())})")
        for wrap in (0, 1):
            cursor.execute(f"SET column_compression_zlib_wrap={wrap}")
            for number, value in enumerate(values):
                fits = value if value is None or len(value) <= 5000 else value[:5000]
                row = [wrap * 100 + number, fits, value, value, fits, value, "plain"]
                cursor.execute("INSERT INTO s.t VALUES (%s, %s, %s, %s, %s, %s, %s)", row)
        cursor.execute("UPDATE s.t SET lt = CONCAT(lt, lt), plain = 'changed'")
        cursor.execute("SELECT * FROM s.t ORDER BY id")
        selected = [list(row) for row in cursor.fetchall()]
    records = joined(decode(binlog(server)))
    assert [r[AFTER] for r in records if r[KIND] == Kind.UPDATE] == selected
    assert len([r for r in records if r[KIND] == Kind.INSERT]) == 2 * len(values)


# ---- damaged --------------------------------------------------------------------------------------------------------


def packed_rows(head: bytes, stream: bytes) -> MadeBinlog:
    """A WRITE_ROWS_COMPRESSED event whose rows are these bytes."""
    made = MadeBinlog(version="10.11.6-MariaDB")
    made.gtid()
    made.query("BEGIN")
    made.table_map()
    body = write_rows([])
    made.add(169, body + head + stream)
    made.xid()
    return made


ROWS = write_rows([(1, b"a" * 100)])[len(write_rows([])) :]


def test_a_packed_event_made_by_hand_is_read() -> None:
    made = packed_rows(b"\x81" + bytes([len(ROWS)]), zlib.compress(ROWS))
    assert [r[AFTER] for r in decode(bytes(made.data)) if r[KIND] == Kind.INSERT] == [[1, b"a" * 100]]


@pytest.mark.parametrize(
    ("head", "stream"),
    [
        (b"\x81" + bytes([len(ROWS)]), zlib.compress(ROWS)[:-6]),
        (b"\x81" + bytes([len(ROWS) + 1]), zlib.compress(ROWS)),
        (b"\x81" + bytes([len(ROWS) - 1]), zlib.compress(ROWS)),
        (b"\x84\x3f\xff\xff\xff", zlib.compress(ROWS)),
        (b"\x80", zlib.compress(ROWS)),
        (b"\x91" + bytes([len(ROWS)]), zlib.compress(ROWS)),
        (b"\x85\0\0\0\0\1", zlib.compress(ROWS)),
        (b"\x81" + bytes([len(ROWS)]), b"no stream at all"),
        (b"\x82\1", b""),
        (b"", b""),
    ],
)
def test_a_packed_event_that_is_damaged_ends_in_an_error(head: bytes, stream: bytes) -> None:
    with pytest.raises(BinlogError, match=r"event=WRITE_ROWS_COMPRESSED"):
        decode(bytes(packed_rows(head, stream).data))
