"""Row images of real servers, decoded, against what SELECT shows."""

from __future__ import annotations

import random
from typing import Any

import pytest

from engine.source.table_map import Type
from tests.servers.database import Database
from tests.servers.selected import differences, selected
from tests.source.row_images import decoded, inserted

ANY_DATE = "SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'"
RANDOM = random.Random(20261123)
ROWS = 60  # random values of each column


def _edges(bits: int) -> list[int]:
    """Where msgpack changes its encoding, and the ends of the type, signed."""
    borders = [0, 1, -1, -32, -33, 127, 128, -128, -129, 255, 256, 32767, 32768, -32768, -32769, 65535, 65536, 2**31 - 1]
    borders += [2**31, -(2**31), -(2**31) - 1, 2**32 - 1, 2**32, 2**53, -(2**53), 2**63 - 1, -(2**63)]
    drawn = [RANDOM.randrange(-(2 ** (bits - 1)), 2 ** (bits - 1)) >> RANDOM.randrange(bits) for _ in range(ROWS)]
    return [n for n in borders + drawn if -(2 ** (bits - 1)) <= n < 2 ** (bits - 1)]


def _unsigned(bits: int) -> list[int]:
    return [2**bits - 1, 2 ** (bits - 1), *[abs(n) for n in _edges(bits)]]


def _decimals(precision: int, scale: int) -> list[str]:
    def text(digits: int) -> str:
        padded = str(digits).rjust(scale + 1, "0")
        return padded[: len(padded) - scale] + ("." + padded[len(padded) - scale :] if scale else "")

    drawn = [RANDOM.randrange(10 ** RANDOM.randrange(1, precision + 1)) for _ in range(ROWS)]
    numbers = [0, 1, 10**precision - 1, 10 ** (precision - 1), 10**scale, 10**scale // 2, *drawn]
    numbers = [n for n in numbers if n < 10**precision]
    return [sign + text(n) for n in numbers for sign in ("", "-")]


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0") + "'"


def _texts(most: int) -> list[str]:
    """Of all lengths around the borders of headers and copied blocks; in ASCII and with 2, 3 and 4 bytes a character."""
    lengths = {0, 1, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 200, 254, 255, 256, 300, 5000, 65535, 65536, 70000}
    texts = ["".join(RANDOM.choices("abcXYZ 019~", k=n)).rstrip() + "!" * (n > 0) for n in sorted(lengths) if n < most]
    for alphabet in ("aé", "日本語x", "😀a", "ßé€😀 z"):
        texts += ["".join(RANDOM.choices(alphabet, k=n)).rstrip() for n in (1, 5, 10, 11, 20, 40, 63, 64, 90) if n <= most]
    return texts


def _bytes(most: int) -> list[str]:
    lengths = [0, 1, 2, 15, 16, 31, 32, 33, 255, 256, 300, 65536]
    strings = [RANDOM.randbytes(n) for n in lengths if n <= most] + [b"\0" * min(3, most), b"a\0\0"[:most], b"\xff"]
    return [f"x'{data.hex()}'" for data in strings]


def _moments(first: str, last: str, digits: int) -> list[str]:
    fraction = f".{0:0{digits}d}" if digits else ""
    drawn = [
        f"'{RANDOM.randrange(1971, 2037)}-{RANDOM.randrange(1, 13):02}-{RANDOM.randrange(1, 29):02}"
        f" {RANDOM.randrange(24):02}:{RANDOM.randrange(60):02}:{RANDOM.randrange(60):02}"
        + (f".{RANDOM.randrange(10**digits):0{digits}d}'" if digits else "'")
        for _ in range(ROWS)
    ]
    leap = [f"'{day} 23:59:59{fraction}'" for day in ("2000-02-29", "2024-02-29", "2023-02-28", "1999-12-31", "2024-03-01")]
    partial = [f"'{day} 01:02:03{fraction}'" for day in ("2026-00-00", "2026-05-00", "0000-05-07", "2026-02-31")]
    return [f"'{first}'", f"'{last}'", "'0000-00-00 00:00:00'", *partial, *leap, *drawn]


def _times(digits: int) -> list[str]:
    full = "." + "9" * digits if digits else ""
    texts = ["00:00:00", "-00:00:01", "838:59:59", "-838:59:59", "99:59:59", "100:00:00", f"-00:00:00{full}", f"-01:00:00{full}"]
    for _ in range(ROWS):
        part = f".{RANDOM.randrange(10**digits):0{digits}d}" if digits else ""
        sign = RANDOM.choice(["", "-"])
        texts.append(f"{sign}{RANDOM.randrange(838)}:{RANDOM.randrange(60):02}:{RANDOM.randrange(60):02}{part}")
    return [f"'{text}'" for text in texts]


MEMBERS = [f"m{i}" for i in range(64)]
MANY_LABELS = [f"label-{i}-{'x' * (i % 40)}" for i in range(400)]


def _labels(labels: list[str]) -> str:
    return "(" + ",".join(map(_quoted, labels)) + ")"


CASES: dict[str, tuple[str, list[Any]]] = {
    "tinyint": ("TINYINT", _edges(8)),
    "tinyint unsigned": ("TINYINT UNSIGNED", _unsigned(8)),
    "smallint": ("SMALLINT", _edges(16)),
    "smallint unsigned": ("SMALLINT UNSIGNED", _unsigned(16)),
    "mediumint": ("MEDIUMINT", _edges(24)),
    "mediumint unsigned": ("MEDIUMINT UNSIGNED", _unsigned(24)),
    "int": ("INT", _edges(32)),
    "int unsigned": ("INT UNSIGNED", _unsigned(32)),
    "bigint": ("BIGINT", _edges(64)),
    "bigint unsigned": ("BIGINT UNSIGNED", _unsigned(64)),
    "year": ("YEAR", [0, 1901, 1999, 2026, 2155]),
    "float": ("FLOAT", [0, -0.0, 1.5, -2.25, 3.4e38, 1.2e-38, *[RANDOM.uniform(-1e6, 1e6) for _ in range(ROWS)]]),
    "double": ("DOUBLE", [0, 1.5, -0.1, 1.7e308, 2.3e-308, *[RANDOM.uniform(-1e12, 1e12) for _ in range(ROWS)]]),
    "date": ("DATE", ["'0000-00-00'", "'0001-01-01'", "'9999-12-31'", "'2026-00-00'", "'2026-02-31'", "'2024-02-29'"]),
    "varchar": ("VARCHAR(60)", [_quoted(text) for text in _texts(60)]),
    "varchar of two length bytes": ("VARCHAR(300)", [_quoted(text) for text in _texts(301)]),
    "char": ("CHAR(50)", [_quoted(text) for text in _texts(50)]),
    "char with hidden length bits": ("CHAR(255)", [_quoted(text) for text in _texts(255)]),
    "tinytext": ("TINYTEXT", [_quoted(text) for text in _texts(63)]),
    "text": ("TEXT", [_quoted(text) for text in _texts(16000)]),
    "mediumtext": ("MEDIUMTEXT", [_quoted(text) for text in _texts(80000)]),
    "longtext": ("LONGTEXT", [_quoted(text) for text in _texts(80000)]),
    "latin1": ("VARCHAR(90) CHARACTER SET latin1", ["'abc'", "x'e9'", "x'80819fff'", "'plain text of more than 32 bytes, é'"]),
    "ucs2": ("CHAR(90) CHARACTER SET ucs2", ["'abc'", "'é日本'", "''", "'plain text of more than thirty-two bytes'"]),
    "utf16": ("VARCHAR(90) CHARACTER SET utf16", ["'abc'", "'é日本😀'"]),
    "utf16le": ("TEXT CHARACTER SET utf16le", ["'abc'", "'é日本😀'"]),
    "utf32": ("VARCHAR(90) CHARACTER SET utf32", ["'abc'", "'é日本😀'"]),
    "gbk": ("VARCHAR(90) CHARACTER SET gbk", ["'abc'", "'中文abc€'"]),
    "sjis": ("VARCHAR(90) CHARACTER SET sjis", ["'abc'", "'日本語カナ'", "x'b1b2b3'"]),
    "ujis": ("VARCHAR(90) CHARACTER SET ujis", ["'abc'", "'日本語'", "x'8fb0a1'", "x'8eb1'"]),
    "swe7": ("VARCHAR(90) CHARACTER SET swe7", ["'abc'", "'åäöÅÄÖ'"]),
    "binary": ("BINARY(16)", _bytes(16)),
    "binary of most bytes": ("BINARY(255)", _bytes(255)),
    "varbinary": ("VARBINARY(255)", _bytes(255)),
    "varbinary of two length bytes": ("VARBINARY(300)", _bytes(300)),
    "tinyblob": ("TINYBLOB", _bytes(255)),
    "blob": ("BLOB", _bytes(60000)),
    "mediumblob": ("MEDIUMBLOB", _bytes(70000)),
    "longblob": ("LONGBLOB", _bytes(70000)),
    "enum": ("ENUM('a', 'déjà vu', 'a label that takes more than sixteen bytes')", [1, 2, 3, "'no such label'"]),
    "enum of two bytes": (f"ENUM{_labels(MANY_LABELS)}", [1, 2, 255, 256, 300, 399, 400]),
    "enum in latin1": ("ENUM('é', 'x') CHARACTER SET latin1", [1, 2]),
    "enum in utf16": ("ENUM('é', 'x') CHARACTER SET utf16", [1, 2]),
    "set": ("SET('a', 'b', 'é')", [0, 1, 2, 3, 4, 5, 6, 7]),
    "set of 64": (f"SET{_labels(MEMBERS)}", [0, 1, 2**63, 2**64 - 1, 2**40 + 5, *[RANDOM.getrandbits(64) for _ in range(20)]]),
    "geometry": ("GEOMETRY", ["ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('LINESTRING(0 0,1 1,2 5)')"]),
    "point": ("POINT", ["ST_GeomFromText('POINT(-1.5 2)', 4326)"]),
}
CASES |= {f"set of {n}": (f"SET{_labels(MEMBERS[:n])}", [0, 1, 2**n - 1, 2 ** (n - 1)]) for n in (8, 9, 17, 25, 33, 63)}
CASES |= {
    f"bit of {n}": (f"BIT({n})", [0, 1, 2**n - 1, 2 ** (n - 1), RANDOM.getrandbits(n)]) for n in (1, 5, 8, 9, 17, 33, 63, 64)
}
CASES |= {
    f"decimal({p},{s})": (f"DECIMAL({p},{s})", _decimals(p, s))
    for p, s in ((1, 0), (1, 1), (5, 2), (9, 0), (9, 9), (10, 2), (12, 2), (17, 8), (18, 0), (18, 9),
                 (20, 5), (30, 30), (65, 30), (65, 0))
}  # fmt: skip
CASES["decimal unsigned"] = ("DECIMAL(10,2) UNSIGNED", ["0", "1.5", "99999999.99"])
for _digits in range(7):
    CASES[f"datetime({_digits})"] = (f"DATETIME({_digits})", _moments("0000-01-01 00:00:00", "9999-12-31 23:59:59", _digits))
    CASES[f"timestamp({_digits})"] = (
        f"TIMESTAMP({_digits}) NULL", _moments("1970-01-01 00:00:01", "2038-01-19 03:14:07", _digits)
    )  # fmt: skip
    CASES[f"time({_digits})"] = (f"TIME({_digits})", _times(_digits))

MYSQL_CASES = {
    "vector": ("VECTOR(2000)", ["TO_VECTOR('[1,-2.5,3e30]')", f"TO_VECTOR('{[i / 8 for i in range(2000)]}')"]),
    "vector of fifteen": ("VECTOR(15)", [f"TO_VECTOR('{list(range(15))}')"]),
    "gb18030": ("VARCHAR(90) CHARACTER SET gb18030", ["'abc'", "'中文😀€'", "x'81308130'"]),
}
UUIDS = ["00112233-4455-6677-8899-aabbccddeeff", "123e4567-e89b-12d3-a456-426655440000", "00000000-0000-0000-0000-000000000000"]
ADDRESSES = ["::", "::1", "2001:db8::ff", "1::2:0:0:3", "::ffff:1.2.3.4", "::1.2.3.4", "1:2:3:4:5:6:7:8", "1:0:0:4::"]
ADDRESSES += [
    "::2:0:0:0:0:0",
    "::5",
    "::1:0",
    "::ffff",
    "0:1:0:1:0:1:0:1",
    "::ffff:0:0",
    "0:0:0:0:0:1:2:3",
    "fe80::a:b:c:0",
    "0:1::",
    "1:0:2:0:3:0:4:0",
]
MARIADB_CASES = {
    "uuid": ("UUID", [_quoted(text) for text in UUIDS]),
    "inet6": ("INET6", [_quoted(text) for text in ADDRESSES]),
    "inet4": ("INET4", ["'0.0.0.0'", "'1.2.3.4'", "'255.255.255.255'", "'10.0.0.0'"]),
    "json": ("JSON", ["'{\"a\": [1, 2]}'"]),
}


def _fill(server: Database, schema: str, definition: str, values: list[Any]) -> None:
    """Table t with the values and a NULL in column v, between two others that show whether their borders are kept."""
    rows = ", ".join(f"(7, {value}, 'end')" for value in [*values, "NULL"])
    server.sql(
        ANY_DATE,
        f"USE `{schema}`",
        f"CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, b SMALLINT, v {definition}, e VARCHAR(10))",
        f"INSERT IGNORE INTO t (b, v, e) VALUES {rows}",
    )


def _check(server: Database, schema: str, types: dict[str, str] | None = None) -> None:
    rows = decoded(inserted(server, schema)["t"], types)
    with server.connect() as connection:
        expected = selected(connection, schema, "t")
    assert len(rows) == len(expected)
    for got, row in zip(rows, expected, strict=True):
        assert differences(got, row) == {}


@pytest.mark.parametrize("case", CASES)
def test_every_value_of_a_type_equals_what_select_shows(server: Database, unique_schema: str, case: str) -> None:
    _fill(server, unique_schema, *CASES[case])
    _check(server, unique_schema)


@pytest.mark.parametrize("case", MYSQL_CASES)
def test_every_value_of_a_type_that_only_mysql_has_equals_what_select_shows(mysql: Any, unique_schema: str, case: str) -> None:
    _fill(mysql, unique_schema, *MYSQL_CASES[case])
    _check(mysql, unique_schema)


@pytest.mark.parametrize("case", MARIADB_CASES)
def test_every_value_of_a_type_that_only_mariadb_has_equals_what_select_shows(
    mariadb: Any, unique_schema: str, case: str
) -> None:
    _fill(mariadb, unique_schema, *MARIADB_CASES[case])
    _check(mariadb, unique_schema, {"v": case})


def test_the_time_formats_before_mysql_5_6_equal_what_select_shows(make_mariadb: Any) -> None:
    server = make_mariadb(mysql56_temporal_format="OFF")
    server.sql(
        ANY_DATE,
        "CREATE DATABASE old",
        "CREATE TABLE old.t (id INT PRIMARY KEY AUTO_INCREMENT, a TIME, b DATETIME, c TIMESTAMP NULL, d DATE)",
        "INSERT INTO old.t (a, b, c, d) VALUES ('-12:34:56', '2026-01-02 03:04:05', '2026-01-02 03:04:05', '2026-01-02'),"
        " ('838:59:59', '0000-00-00', '0000-00-00', NULL),"
        " ('-838:59:59', '9999-12-31 23:59:59', '1970-01-01 00:00:01', '9999-12-31')",
    )
    images = inserted(server, "old")["t"]
    assert {Type.TIME, Type.DATETIME, Type.TIMESTAMP} <= {column.type for column in images[0].table_map.columns}
    _check(server, "old")
