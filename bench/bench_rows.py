"""How fast one column of each type, and a whole row of the orders table, become msgpack; on one core, the answer checked.

    row images ─▶ row_image ─▶ msgpack arrays

The time is that of RowPlan.images, so it has the copy of the result into a bytes object in it (about a tenth).
"""

from __future__ import annotations

import os
import struct
from io import BytesIO
from typing import Any

import msgpack
import pytest
from engine.source._rows import RowPlan

from engine.ring import PROFILE
from engine.schema import Column, TableSchema
from engine.source.table_map import MapColumn, TableMap, Type

ROWS = 20_000


def _packed_datetime(n: int, fraction: bytes) -> bytes:
    """2026-05-(1..28) of some clock, as DATETIME stores it."""
    packed = (2026 * 13 + 5) << 22 | (n % 28 + 1) << 17 | n % 24 << 12 | n % 60 << 6 | n * 7 % 60
    return (packed + 0x8000000000).to_bytes(5, "big") + fraction


def _datetime(n: int) -> str:
    return f"2026-05-{n % 28 + 1:02} {n % 24:02}:{n % 60:02}:{n * 7 % 60:02}"


def _decimal(n: int) -> bytes:
    """n hundredths of DECIMAL(12,2): one leading digit, a group of nine, two digits."""
    return bytes([0x80]) + (n // 100).to_bytes(4, "big") + bytes([n % 100])


def _string(text: str, prefix: str = "B") -> bytes:
    return struct.pack("<" + prefix, len(text.encode())) + text.encode()


def _json(n: int) -> bytes:
    """{"k": n} with n inline as int16."""
    document = b"\0" + struct.pack("<HHHHBh", 1, 12, 11, 1, 5, n % 30000) + b"k"
    return struct.pack("<I", len(document)) + document


# name → (column of the map, of the schema, source bytes of row n, its value)
COLUMNS: dict[str, tuple[MapColumn, Column, Any, Any]] = {
    "tinyint": (
        MapColumn(Type.TINY), Column("c", "tinyint"), lambda n: struct.pack("<b", n % 256 - 128), lambda n: n % 256 - 128
    ),
    "mediumint": (
        MapColumn(Type.INT24), Column("c", "mediumint"), lambda n: struct.pack("<i", n * 400 - 4_000_000)[:3],
        lambda n: n * 400 - 4_000_000,
    ),
    "bigint unsigned": (
        MapColumn(Type.LONGLONG), Column("c", "bigint", unsigned=True), lambda n: struct.pack("<Q", n * n), lambda n: n * n
    ),
    "int": (MapColumn(Type.LONG), Column("c", "int"), lambda n: struct.pack("<i", n - 10000), lambda n: n - 10000),
    "double": (MapColumn(Type.DOUBLE), Column("c", "double"), lambda n: struct.pack("<d", n / 7), lambda n: n / 7),
    "float": (MapColumn(Type.FLOAT), Column("c", "float"), lambda n: struct.pack("<f", n / 8), lambda n: n / 8),
    "decimal(12,2)": (
        MapColumn(Type.NEWDECIMAL, precision=12, scale=2), Column("c", "decimal(12,2)"), lambda n: _decimal(n * 77),
        lambda n: f"{n * 77 // 100}.{n * 77 % 100:02}",
    ),
    "date": (
        MapColumn(Type.DATE), Column("c", "date"), lambda n: (2026 << 9 | 5 << 5 | n % 28 + 1).to_bytes(3, "little"),
        lambda n: f"2026-05-{n % 28 + 1:02}",
    ),
    "time": (
        MapColumn(Type.TIME2), Column("c", "time"),
        lambda n: (0x800000 + (n % 24 << 12 | n % 60 << 6 | n * 7 % 60)).to_bytes(3, "big"),
        lambda n: f"{n % 24:02}:{n % 60:02}:{n * 7 % 60:02}",
    ),
    "year": (MapColumn(Type.YEAR), Column("c", "year"), lambda n: bytes([n % 200 + 1]), lambda n: 1901 + n % 200),
    "datetime(3)": (
        MapColumn(Type.DATETIME2, fraction=3), Column("c", "datetime(3)"),
        lambda n: _packed_datetime(n, (n % 1000 * 10).to_bytes(2, "big")), lambda n: f"{_datetime(n)}.{n % 1000:03}",
    ),
    "timestamp": (
        MapColumn(Type.TIMESTAMP2), Column("c", "timestamp"), lambda n: (1767225600 + n % 86400).to_bytes(4, "big"),
        lambda n: f"2026-01-01 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}",
    ),
    "varchar of 20 ASCII": (
        MapColumn(Type.VARCHAR, length=128), Column("c", "varchar(32)", charset="utf8mb4"),
        lambda n: _string(f"{n:020}"), lambda n: f"{n:020}",
    ),
    "varchar of 20 Chinese": (
        MapColumn(Type.VARCHAR, length=128), Column("c", "varchar(32)", charset="utf8mb4"),
        lambda n: _string("汉" * 19 + chr(0x4E00 + n % 1000)), lambda n: "汉" * 19 + chr(0x4E00 + n % 1000),
    ),
    "varchar of 20 latin1": (
        MapColumn(Type.VARCHAR, length=32), Column("c", "varchar(32)", charset="latin1"),
        lambda n: b"\x14" + b"\xe9" * 10 + b"%010d" % n, lambda n: "é" * 10 + f"{n:010}",
    ),
    "text of 1000": (
        MapColumn(Type.BLOB, length=2), Column("c", "text", charset="utf8mb4"), lambda n: _string(f"{n:01000}", "H"),
        lambda n: f"{n:01000}",
    ),
    "char(8)": (
        MapColumn(Type.STRING, length=32), Column("c", "char(8)", charset="utf8mb4"), lambda n: _string(f"{n:08}"),
        lambda n: f"{n:08}",
    ),
    "varbinary of 20": (
        MapColumn(Type.VARCHAR, length=32), Column("c", "varbinary(32)"), lambda n: b"\x14" + n.to_bytes(20, "big"),
        lambda n: n.to_bytes(20, "big"),
    ),
    "blob of 1000": (
        MapColumn(Type.BLOB, length=2), Column("c", "blob"), lambda n: struct.pack("<H", 1000) + n.to_bytes(1000, "big"),
        lambda n: n.to_bytes(1000, "big"),
    ),
    "bit(12)": (
        MapColumn(Type.BIT, length=2, bits=12), Column("c", "bit(12)"), lambda n: (n % 4096).to_bytes(2, "big"),
        lambda n: n % 4096,
    ),
    "enum": (
        MapColumn(Type.ENUM, length=1), Column("c", "enum", labels=("new", "paid", "shipped")), lambda n: bytes([n % 3 + 1]),
        lambda n: ("new", "paid", "shipped")[n % 3],
    ),
    "set": (
        MapColumn(Type.SET, length=1), Column("c", "set", labels=("a", "b", "c")), lambda n: bytes([n % 8]),
        lambda n: ",".join(label for i, label in enumerate("abc") if n >> i & 1),
    ),
    "json": (MapColumn(Type.JSON, length=4), Column("c", "json"), _json, lambda n: f'{{"k": {n % 30000}}}'),
    "null": (MapColumn(Type.LONG), Column("c", "int"), None, lambda n: None),
}  # fmt: skip

ORDERS = [
    COLUMNS["bigint unsigned"], COLUMNS["int"], COLUMNS["varchar of 20 ASCII"], COLUMNS["enum"], COLUMNS["decimal(12,2)"],
    (MapColumn(Type.SHORT), Column("c", "smallint"), lambda n: struct.pack("<h", n % 500), lambda n: n % 500),
    COLUMNS["datetime(3)"],
    (
        MapColumn(Type.TIMESTAMP2, fraction=6), Column("c", "timestamp(6)"),
        lambda n: (1767225600 + n).to_bytes(4, "big") + (n * 40 % 1000000).to_bytes(3, "big"),
        lambda n: f"2026-01-01 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}.{n * 40 % 1000000:06}",
    ),
    (
        MapColumn(Type.VARCHAR, length=480), Column("c", "varchar(120)", charset="utf8mb4"),
        lambda n: _string(f"a note of some length, number {n}", "H"), lambda n: f"a note of some length, number {n}",
    ),
]  # fmt: skip


def measure(benchmark: Any, columns: list[tuple[MapColumn, Column, Any, Any]], key: tuple[int, ...] = ()) -> None:
    if benchmark.enabled and PROFILE != "release":
        pytest.fail(f"a {PROFILE} build is not measured")
    rows = ROWS if benchmark.enabled else ROWS // 10  # as a test it only shows that the answer is right
    schema = TableSchema("bench", "s", "t", tuple(column for _, column, _, _ in columns), key)
    plan = RowPlan(schema, TableMap(1, 0, "s", "t", tuple(column for column, *_ in columns)))
    nulls = sum(1 << i for i, (_, _, source, _) in enumerate(columns) if source is None)
    head = nulls.to_bytes((len(columns) + 7) // 8, "little")
    source = b"".join(head + b"".join(make(n) for _, _, make, _ in columns if make) for n in range(rows))
    stream = benchmark.pedantic(plan.images, args=(source,), rounds=100 if benchmark.enabled else 1)
    expected = [[value(n) for _, _, _, value in columns] for n in range(rows)]
    assert list(msgpack.Unpacker(BytesIO(stream))) == expected
    benchmark.extra_info.update(
        profile=PROFILE, rows=rows, source_bytes=len(source), msgpack_bytes=len(stream), cores_needed=1, cores_had=os.cpu_count()
    )
    if benchmark.enabled:
        benchmark.extra_info["ns_per_row"] = round(benchmark.stats.stats.min / rows * 1e9, 1)


@pytest.mark.benchmark(group="one column to msgpack")
@pytest.mark.parametrize("name", COLUMNS)
def test_one_column(benchmark: Any, name: str) -> None:
    measure(benchmark, [COLUMNS[name]])


@pytest.mark.benchmark(group="a row of orders to msgpack")
def test_a_row_of_orders(benchmark: Any) -> None:
    measure(benchmark, ORDERS, key=(0,))
