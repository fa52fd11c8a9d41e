"""The row image as a whole: NULL bits, absent columns, key hashes, damage, and the room that is promised."""

from __future__ import annotations

import ctypes
import mmap
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any

import msgpack
import pytest
from engine.source._rows import RowPlan

from engine.errors import BinlogError
from engine.record import ABSENT
from engine.schema import Column, TableSchema
from engine.source.table_map import MapColumn, TableMap, Type, parse_table_map, table_schema
from tests.servers.database import Database
from tests.source.row_images import TABLE_MAP, decoded, events, inserted

INT = MapColumn(Type.LONG)
TEXT = MapColumn(Type.VARCHAR, length=200)


def plan_of(*columns: MapColumn, key: tuple[int, ...] = (), **described: Any) -> RowPlan:
    """A plan without a server; `described` goes to every column of the schema."""
    described = {"charset": "utf8mb4", **described}
    schema = TableSchema("test", "s", "t", tuple(Column(f"c{i}", "", **described) for i in range(len(columns))), key)
    return RowPlan(schema, TableMap(1, 0, "s", "t", columns))


def unpacked(stream: bytes) -> list[list[Any]]:
    return list(msgpack.Unpacker(BytesIO(stream)))


def protocol_hash(schema: str, table: str, key: list[Any]) -> int:
    """docs/protocol.md, "The key hash", word for word."""
    mask = 2**64 - 1
    value = 0xCBF29CE484222325
    for byte in f"{schema}\0{table}\0".encode() + b"".join(map(msgpack.packb, key)):
        value = (value ^ byte) * 0x100000001B3 & mask
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        value = (value ^ value >> 33) * factor & mask
    return value ^ value >> 33


def test_every_combination_of_nulls_is_read(server: Database, unique_schema: str) -> None:
    draw = random.Random(1)
    rows = [[draw.choice([None, draw.randrange(10**6)]) for _ in range(19)] for _ in range(200)]
    values = ", ".join("(" + ", ".join("NULL" if v is None else str(v) for v in row) + ")" for row in rows)
    columns = ", ".join(f"c{i} INT" for i in range(19))
    server.sql(f"CREATE TABLE `{unique_schema}`.t ({columns})", f"INSERT INTO `{unique_schema}`.t VALUES {values}")
    assert [list(row.values()) for row in decoded(inserted(server, unique_schema)["t"])] == rows


def test_a_table_of_a_thousand_columns_is_read(server: Database, unique_schema: str) -> None:
    columns = ", ".join(f"c{i} INT" for i in range(1000))
    values = ", ".join("NULL" if i % 3 == 0 else str(i) for i in range(1000))
    server.sql(f"CREATE TABLE `{unique_schema}`.big ({columns})", f"INSERT INTO `{unique_schema}`.big VALUES ({values})")
    # The bitmap's length stands in three bytes here, which tests/source/row_images.py does not read.
    schema = table_schema("test", _last_map(server, unique_schema))
    assert len(schema.columns) == 1000
    plan = RowPlan(schema, _last_map(server, unique_schema))
    nulls = sum(1 << i for i in range(0, 1000, 3)).to_bytes(125, "little")
    image = nulls + b"".join(i.to_bytes(4, "little") for i in range(1000) if i % 3)
    assert unpacked(plan.images(image)) == [[None if i % 3 == 0 else i for i in range(1000)]]


def _last_map(server: Database, schema: str) -> TableMap:
    bodies = [body for path in server.binlog_files() for kind, body in events(path) if kind == TABLE_MAP]
    return next(m for m in map(parse_table_map, reversed(bodies)) if m.schema == schema)


def test_columns_that_the_image_does_not_hold_are_absent_and_not_null() -> None:
    plan = plan_of(INT, TEXT, INT, INT, key=(0,))
    image = bytes([0b10]) + b"\5\0\0\0"  # of the two present columns the second is NULL
    assert unpacked(plan.images(image, bytes([0b1001]))) == [[5, ABSENT, ABSENT, None]]


def test_bits_beyond_the_columns_mean_nothing() -> None:
    """MySQL sets those of the NULL bits and leaves those of the bitmap of present columns as they come."""
    plan = plan_of(INT, INT)
    assert unpacked(plan.images(b"\xfc" + b"\1\0\0\0\2\0\0\0", b"\xff")) == [[1, 2]]
    assert unpacked(plan.images(b"\xfc" + b"\1\0\0\0\2\0\0\0", b"\x03")) == [[1, 2]]


def test_the_key_hash_is_that_of_the_protocol(server: Database, unique_schema: str) -> None:
    keys = [[f"k{'x' * n}é", n * 12345678 - 40] for n in range(60)]
    values = ", ".join(f"('v', {number}, 1, '{text}')" for text, number in keys)
    server.sql(
        f"CREATE TABLE `{unique_schema}`.t (v TEXT, n BIGINT, i INT, k VARCHAR(80), PRIMARY KEY (k, n))",
        f"INSERT INTO `{unique_schema}`.t VALUES {values}",
    )
    (event,) = inserted(server, unique_schema)["t"]
    schema = table_schema("test", event.table_map)
    assert schema.primary_key == (3, 1), "in the key's own order"
    hashes: list[int] = []
    RowPlan(schema, event.table_map).images(event.source, event.present, hashes)
    assert hashes == [protocol_hash(unique_schema, "t", key) for key in keys]


def test_a_table_without_a_key_has_one_hash_for_all_rows() -> None:
    hashes: list[int] = []
    plan_of(INT).images(b"\0\1\0\0\0\0\2\0\0\0", None, hashes)
    assert hashes == [protocol_hash("s", "t", [])] * 2


def test_an_image_without_the_whole_key_has_the_hash_zero() -> None:
    hashes: list[int] = []
    plan = plan_of(INT, INT, key=(0, 1))
    plan.images(b"\0\1\0\0\0", b"\1", hashes)
    assert hashes == [0]


def test_schema_and_map_must_have_the_same_columns() -> None:
    schema = TableSchema("test", "s", "t", (Column("a", "int"),))
    with pytest.raises(BinlogError, match=r"different columns.*map=2 schema=1"):
        RowPlan(schema, TableMap(1, 0, "s", "t", (INT, INT)))


def test_an_enum_value_beyond_the_labels_is_an_error() -> None:
    plan = plan_of(MapColumn(Type.ENUM, length=1), labels=("a", "b"))
    assert unpacked(plan.images(b"\0\0\0\1\0\2")) == [[""], ["a"], ["b"]]
    with pytest.raises(BinlogError, match=r"labels.*column=c0"):
        plan.images(b"\0\3")


def test_an_image_that_ends_too_soon_names_the_column() -> None:
    plan = plan_of(INT, TEXT)
    image = b"\0\1\0\0\0\5hello"
    assert unpacked(plan.images(image)) == [[1, "hello"]]
    for length in range(1, len(image)):
        with pytest.raises(BinlogError, match=r"ends inside a value.*column=c[01]"):
            plan.images(image[:length])


def test_the_shortest_encoding_is_used_for_every_integer() -> None:
    numbers = [sign * (1 << bits) + by for bits in range(64) for by in (-1, 0, 1) for sign in (1, -1)]
    signed = [n for n in numbers if -(2**63) <= n < 2**63]
    plan = plan_of(MapColumn(Type.LONGLONG))
    assert plan.images(b"".join(b"\0" + n.to_bytes(8, "little", signed=True) for n in signed)) == b"".join(
        msgpack.packb([n]) for n in signed
    )
    unsigned = [n for n in [*numbers, 2**64 - 1] if n >= 0]
    plan = plan_of(MapColumn(Type.LONGLONG), unsigned=True)
    assert plan.images(b"".join(b"\0" + n.to_bytes(8, "little") for n in unsigned)) == b"".join(
        msgpack.packb([n]) for n in unsigned
    )


EVERY_TYPE = [
    *[MapColumn(kind) for kind in (Type.TINY, Type.SHORT, Type.INT24, Type.LONG, Type.LONGLONG, Type.FLOAT, Type.DOUBLE)],
    *[MapColumn(kind) for kind in (Type.YEAR, Type.DATE, Type.DATETIME, Type.TIMESTAMP, Type.TIME)],
    *[MapColumn(k, fraction=n) for k in (Type.TIMESTAMP2, Type.DATETIME2, Type.TIME2) for n in range(7)],
    *[MapColumn(Type.NEWDECIMAL, precision=p, scale=s) for p, s in ((5, 2), (12, 2), (18, 9), (30, 30), (65, 30), (65, 0))],
    *[MapColumn(Type.BIT, bits=8 * n, length=n) for n in range(1, 9)],
    *[MapColumn(Type.VARCHAR, length=n) for n in (200, 1000)],
    *[MapColumn(Type.BLOB, length=n) for n in (1, 2, 3, 4)],
    *[MapColumn(Type.STRING, length=n) for n in (100, 1000)],
    *[MapColumn(Type.ENUM, length=n) for n in (1, 2)],
    *[MapColumn(Type.SET, length=n) for n in (1, 2, 3, 4, 8)],
    *[MapColumn(kind, length=4) for kind in (Type.JSON, Type.VECTOR, Type.GEOMETRY)],
]
CHARSETS = ["utf8mb4", "latin1", "gbk", "ujis", "gb18030", "utf16", "utf32", "swe7", "binary"]


@pytest.fixture(scope="module")
def before_a_wall() -> Iterator[Callable[[bytes], memoryview]]:
    """Puts bytes right in front of a page that can't be read: one byte too far and the process dies."""
    page = mmap.PAGESIZE
    area = mmap.mmap(-1, 3 * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(address + 2 * page), ctypes.c_size_t(page), 0) == 0

    def place(data: bytes) -> memoryview:
        begin = 2 * page - len(data)
        area[begin : 2 * page] = data
        return memoryview(area)[begin : 2 * page]

    yield place
    libc.mprotect(ctypes.c_void_p(address + 2 * page), ctypes.c_size_t(page), mmap.PROT_READ | mmap.PROT_WRITE)


@pytest.mark.parametrize("charset", CHARSETS)
def test_garbage_is_never_read_past_its_end(before_a_wall: Callable[[bytes], memoryview], charset: str) -> None:
    draw = random.Random(charset)
    labels = tuple(f"label {i}" for i in range(60))
    named = set()
    columns = [c for c in EVERY_TYPE if charset == "utf8mb4" or c.type in (Type.VARCHAR, Type.BLOB, Type.STRING)]
    for column in columns:
        plan = plan_of(column, charset=charset, labels=labels[: 8 * min(column.length, 7)] if column.type == Type.SET else labels)
        for _ in range(400):
            data = bytearray(draw.randbytes(draw.randrange(1, 90)))
            if draw.random() < 0.7:
                data[0] = 0
            if len(data) > 3 and draw.random() < 0.7:
                data[1] = draw.randrange(len(data))
                data[2:4] = b"\0\0"
            try:
                stream = plan.images(before_a_wall(bytes(data)))
            except BinlogError as error:
                named.add(error.facts["column"])
            else:
                assert all(len(row) == 1 for row in unpacked(stream))
    assert named == {"c0"}


@pytest.mark.parametrize("charset", CHARSETS)
def test_the_bound_holds_for_the_longest_values(charset: str) -> None:
    """`images` hands the decoder room for the bound, not more, so what is too long would end the process in a debug build."""
    draw = random.Random(charset)
    for length in (0, 1, 31, 32, 85, 86, 200):
        for column in (MapColumn(Type.VARCHAR, length=800), MapColumn(Type.STRING, length=200), MapColumn(Type.BLOB, length=4)):
            prefix = {Type.VARCHAR: 2, Type.STRING: 1, Type.BLOB: 4}[Type(column.type)]
            plan = plan_of(column, charset=charset)
            for data in (b"\xff" * length, b"\x80" * length, draw.randbytes(length)):
                image = b"\0" + length.to_bytes(prefix, "little") + data
                assert len(plan.images(image)) <= plan.bound(len(image)) - 64


def test_images_of_many_rows_come_out_whole() -> None:
    """More than the working buffer holds, so that it is emptied in between."""
    plan = plan_of(replace(TEXT, type=Type.STRING, length=255), charset="binary")
    rows = unpacked(plan.images(b"\0\1x" * 20000))
    assert rows == [[b"x" + bytes(254)]] * 20000
