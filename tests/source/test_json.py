"""MySQL's binary JSON as text: against what SELECT shows, and damaged in every way."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

import msgpack
import pytest
from engine.source._rows import RowPlan

from engine.errors import BinlogError
from engine.source.table_map import table_schema
from tests.source.row_images import Images, decoded, inserted

NUMBERS = [0, -1, 1, 32767, 32768, -32768, -32769, 65535, 65536, 2**31, -(2**31), 2**32, 2**53, 2**63 - 1, -(2**63), 2**64 - 1]
DOUBLES = [0.5, -0.0, 1e22, 1e-7, 1.7976931348623157e308, 5e-324, 0.1, 123456789.125, 1 / 3, 1e15, 1e16, 12345678901234567.0]
STRINGS = [
    "",
    "a",
    'quote " backslash \\ slash /',
    "".join(map(chr, range(1, 33))),
    "\0",
    "\x7f",
    "é日本😀",
    "x" * 127,
    "y" * 128,
]
STRINGS += ["z" * 20000, "tab\tin the middle of a longer string, and\nnewlines"]
DOCUMENTS: list[Any] = [
    None, True, False, *NUMBERS, *DOUBLES, *STRINGS, [], {}, [[]], [{}], {"": ""}, {"a": None, "b": True, "aa": [False]},
    NUMBERS, DOUBLES, STRINGS, {name or "empty": name for name in STRINGS if len(name) < 1000},
    {"large": ["x" * 1000] * 100}, {f"key{i}": i for i in range(5000)}, [list(range(n)) for n in range(40)],
    {"é日本": {"😀": [1, {"deep": [[[[{"er": "…"}]]]]}]}},
]  # fmt: skip
OPAQUE = [
    "CAST(1.50 AS JSON)", "CAST(CAST(-0.05 AS DECIMAL(20,10)) AS JSON)", "CAST(CAST(1 AS DECIMAL(65,30)) AS JSON)",
    "CAST(CAST('2026-02-03' AS DATE) AS JSON)", "CAST(CAST('-12:34:56.789' AS TIME(3)) AS JSON)",
    "CAST(CAST('838:59:59' AS TIME) AS JSON)", "CAST(CAST('2026-02-03 04:05:06.7' AS DATETIME(1)) AS JSON)",
    "CAST(TIMESTAMP('2026-02-03 04:05:06') AS JSON)", "JSON_ARRAY(x'00ff10', CAST('abc' AS BINARY), b'101')",
    "JSON_OBJECT('bit', b'1', 'time', CAST('01:02:03' AS TIME), 'decimal', 99999999999999999999.5)",
    "JSON_ARRAY(CAST(REPEAT('binary', 100) AS BINARY), CAST(REPEAT('x', 57) AS BINARY), CAST(REPEAT('x', 114) AS BINARY))",
    "JSON_ARRAY(ST_GeomFromText('POINT(1 2)'), CAST(2026 AS YEAR), 1e0, 1e100, PI())",
]  # fmt: skip


def _fill(mysql: Any, schema: str, expressions: list[str], values: list[Any]) -> list[str]:
    """Table t of JSON documents; returns what SELECT shows of them."""
    with mysql.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY AUTO_INCREMENT, j JSON)")
        for expression in expressions:
            cursor.execute(f"INSERT INTO `{schema}`.t (j) VALUES ({expression})")
        for value in values:
            cursor.execute(f"INSERT INTO `{schema}`.t (j) VALUES (%s)", [json.dumps(value)])
        cursor.execute(f"SELECT j FROM `{schema}`.t ORDER BY id")
        return [row[0] for row in cursor.fetchall()]


def _same(text: str, shown: str) -> bool:
    """Equal as JSON values, doubles and integers told apart, exponents aside (1e22 and 1e+22 are one number)."""
    return repr(json.loads(text)) == repr(json.loads(shown))


def test_documents_equal_what_select_shows(mysql: Any, unique_schema: str) -> None:
    shown = _fill(mysql, unique_schema, [], DOCUMENTS)
    rows = decoded(inserted(mysql, unique_schema)["t"])
    for row, text in zip(rows, shown, strict=True):
        assert _same(row["j"], text)


def test_spaces_and_order_of_keys_are_those_of_select(mysql: Any, unique_schema: str) -> None:
    shown = _fill(mysql, unique_schema, [], [{"bb": 1, "a": [1, 2, {"c": None}], "": "x"}])
    assert decoded(inserted(mysql, unique_schema)["t"])[0]["j"] == shown[0]


def test_values_of_column_types_equal_what_select_shows(mysql: Any, unique_schema: str) -> None:
    shown = _fill(mysql, unique_schema, OPAQUE, [])
    rows = decoded(inserted(mysql, unique_schema)["t"])
    for row, text in zip(rows, shown, strict=True):
        assert _same(row["j"], text)


def test_random_documents_equal_what_select_shows(mysql: Any, unique_schema: str) -> None:
    draw = random.Random(5)

    def document(depth: int) -> Any:
        kind = draw.randrange(9 if depth else 7)
        if kind < 3:
            return draw.choice([None, True, draw.getrandbits(64) >> draw.randrange(64), -draw.getrandbits(63)])
        if kind < 5:
            return draw.uniform(-1, 1) * 10.0 ** draw.randrange(-300, 300)
        if kind < 7:
            return "".join(draw.choices('ab\\"\n\té日😀\x01 ', k=draw.randrange(60)))
        if kind == 7:
            return [document(depth - 1) for _ in range(draw.randrange(8))]
        return {"k" * draw.randrange(9) + str(i): document(depth - 1) for i in range(draw.randrange(8))}

    shown = _fill(mysql, unique_schema, [], [document(5) for _ in range(300)])
    rows = decoded(inserted(mysql, unique_schema)["t"])
    for row, text in zip(rows, shown, strict=True):
        assert _same(row["j"], text)


def test_the_deepest_document_of_the_server_is_read(mysql: Any, unique_schema: str) -> None:
    deep = json.loads("[" * 100 + "]" * 100)
    shown = _fill(mysql, unique_schema, [], [deep])
    assert decoded(inserted(mysql, unique_schema)["t"])[0]["j"] == shown[0]


def test_an_empty_document_is_null(mysql: Any, unique_schema: str) -> None:
    """What INSERT IGNORE of a NULL into a NOT NULL column leaves."""
    mysql.sql(
        f"CREATE TABLE `{unique_schema}`.t (id INT PRIMARY KEY AUTO_INCREMENT, i INT, j JSON NOT NULL)",
        "SET sql_mode = ''",
        f"INSERT IGNORE INTO `{unique_schema}`.t (i, j) SELECT 1, NULL",
    )
    shown = mysql.sql(f"SELECT j FROM `{unique_schema}`.t")[0][0]
    assert decoded(inserted(mysql, unique_schema)["t"])[0]["j"] == shown == "null"


@pytest.fixture
def documents(mysql: Any, unique_schema: str) -> list[Images]:
    _fill(mysql, unique_schema, OPAQUE[:-2], [{"a": [1, 2.5, "x" * 200], "b": {"c": None, "d": "\x01" * 50}}, ["x"] * 40])
    return inserted(mysql, unique_schema)["t"]


def test_damaged_documents_give_text_or_an_error_that_names_the_column(documents: list[Images]) -> None:
    draw = random.Random(3)
    plan = RowPlan(table_schema("test", documents[0].table_map), documents[0].table_map)
    columns = []
    for event in documents:
        for _ in range(3000):
            damaged = bytearray(event.source)
            for _ in range(draw.randrange(1, 4)):
                damaged[draw.randrange(9, len(damaged))] = draw.choice([0, 1, 127, 128, 255, draw.randrange(256)])
            try:
                plan.images(bytes(damaged))
            except BinlogError as error:
                columns.append(error.facts["column"])
    assert len(columns) > 1000
    assert set(columns) <= {"id", "j", "NULL bits"}


def test_a_document_that_uses_one_value_many_times_cannot_grow_without_end(documents: list[Images]) -> None:
    """A few bytes could stand for gigabytes if entries share what they point to; no server writes that."""
    plan = RowPlan(table_schema("test", documents[0].table_map), documents[0].table_map)
    count, width = 1000, 3
    text = b"\xe8\x07" + b"x" * 1000
    entries = b"".join(b"\x0c" + (4 + count * width).to_bytes(2, "little") for _ in range(count))
    size = 4 + len(entries) + len(text)
    document = b"\x02" + count.to_bytes(2, "little") + size.to_bytes(2, "little") + entries + text
    image = b"\0" + (1).to_bytes(4, "little") + len(document).to_bytes(4, "little") + document
    with pytest.raises(BinlogError, match="binary JSON"):
        plan.images(image)


def test_a_document_deeper_than_the_server_allows_is_an_error(documents: list[Images]) -> None:
    plan = RowPlan(table_schema("test", documents[0].table_map), documents[0].table_map)
    document = b""
    for _ in range(101):
        inner = document or b"\0\0\4\0"
        document = b"\1\0" + (7 + len(inner)).to_bytes(2, "little") + b"\2\7\0" + inner
    document = b"\2" + document
    image = b"\0" + (1).to_bytes(4, "little") + len(document).to_bytes(4, "little") + document
    with pytest.raises(BinlogError, match="binary JSON"):
        plan.images(image)


@pytest.mark.parametrize("large", [False, True])
def test_keys_and_values_that_lie_outside_their_document_are_an_error(documents: list[Images], large: bool) -> None:
    plan = RowPlan(table_schema("test", documents[0].table_map), documents[0].table_map)
    word, size = ("I", 4) if large else ("H", 2)
    behind = 2 * size + size + 2 + 1 + size  # count and size, one key entry, one value entry

    def image(key_at: int, key_bytes: int, kind: int = 5, value: int = 7, told: int = behind + 3) -> bytes:
        """{"a": 7} unless told otherwise, or with kind 12 {"a": "x"}, the text two bytes behind the key."""
        entries = struct.pack(f"<{word}HB{word}", key_at, key_bytes, kind, value)
        document = bytes([large]) + struct.pack(f"<2{word}", 1, told) + entries + b"a\x01x"
        return b"\0" + (1).to_bytes(4, "little") + len(document).to_bytes(4, "little") + document

    most = 2 ** (8 * size) - 1
    for good, text in ((image(behind, 1), '{"a": 7}'), (image(behind, 1, 12, behind + 1), '{"a": "x"}')):
        assert msgpack.unpackb(plan.images(good)) == [1, text]
    for bad in (
        image(behind + 3, 1), image(behind + 2, 2), image(most, 1), image(behind, 4), image(behind, 65535),
        image(behind, 1, 12, behind + 3), image(behind, 1, 12, most), image(behind, 1, 12, behind + 2),
        image(behind, 1, told=behind + 4), image(behind, 1, told=most), image(behind, 1, told=4), image(behind, 1, 0, most),
    ):  # fmt: skip
        with pytest.raises(BinlogError, match=r"binary JSON.*column=j"):
            plan.images(bad)
