"""Every column type of both servers, with the edges of its values: the rows of docs/fidelity.md."""

from __future__ import annotations

from typing import Any

from tests.source.test_rows import CASES, MARIADB_CASES, MYSQL_CASES

MYSQL = frozenset({"mysql"})
MARIADB = frozenset({"mariadb", "mariadb_next"})
MARIADB_NEXT = frozenset({"mariadb_next"})
ALL = MYSQL | MARIADB

# What SHOW CHARACTER SET lists, without those that test_rows has; text beyond a charset becomes '?' in the server.
CHARSETS = (
    "armscii8", "ascii", "big5", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "cp932", "dec8", "eucjpms",
    "euckr", "gb2312", "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin2", "latin5", "latin7",
    "macce", "macroman", "tis620", "utf8mb3", "utf8mb4",
)  # fmt: skip
TEXTS = ["'abc'", "''", "'é à ü ß'", "'Привет'", "'日本語'", "'한국어'", "'中文'", "'שלום'", "'Ελλ'", "'ไทย'", "'ąęł'", "'£€¥'"]

POLYGON = "POLYGON((0 0,0 10,10 10,10 0,0 0),(1 1,1 2,2 2,2 1,1 1))"
GEOMETRIES = {
    "linestring": ["LINESTRING(0 0,1 1,2 5)"],
    "polygon": [POLYGON],
    "multipoint": ["MULTIPOINT(0 0,1 1)"],
    "multilinestring": ["MULTILINESTRING((0 0,1 1),(2 2,3 3))"],
    "multipolygon": [f"MULTIPOLYGON({POLYGON[7:]})"],
    "geometrycollection": ["GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))", "GEOMETRYCOLLECTION EMPTY"],
}

DEEP = "REPEAT('[', 90), '1', REPEAT(']', 90)"
DOCUMENTS = [
    "'{}'", "'[]'", "'null'", "'true'", "'\"text\"'", "'0'", "'-1'", "'65536'", "'18446744073709551615'", "'0.1'", "'-1.5e300'",
    "'1e-7'", "'{\"b\": 1, \"a\": [1, 2.5, \"ü🐙\", null]}'", "'{\"\": 0, \"aa\": 1, \"b\": 2, \"ccc\": {\"d\": [[], {}]}}'",
    f"CONCAT({DEEP})", "'\"quotes \\\\\" and \\\\\\\\ and \\\\n \\\\u0001\"'",
]  # fmt: skip
OPAQUE_DOCUMENTS = [
    "JSON_ARRAY(CAST('2026-01-02' AS DATE), CAST('2026-01-02 03:04:05.678901' AS DATETIME(6)), CAST('-12:34:56.789' AS TIME(3)))",
    "CAST(CAST(-123.4500 AS DECIMAL(20,4)) AS JSON)",
    "JSON_ARRAY(0.5, -0.50, 12345678901234567890.123456789)",
    "JSON_OBJECT('blob', x'00ff10', 'bit', b'101', 'empty', x'')",
    "JSON_ARRAY(ST_GeomFromText('POINT(1 2)'))",
    "JSON_OBJECT('large', REPEAT('d', 70000), 'i', 1, 'u', 65535, 'm', 65536)",
    "JSON_ARRAY(JSON_OBJECT('inner', REPEAT('f', 66000)), JSON_OBJECT('small', 1))",
]

MANY = ",".join(f"'l{n}'" for n in range(1500))

Case = tuple[str, list[Any]]  # definition, literals


def _types() -> dict[str, tuple[frozenset[str], Case]]:
    found: dict[str, tuple[frozenset[str], Case]] = {name: (ALL, case) for name, case in CASES.items()}
    found |= {name: (MYSQL, case) for name, case in MYSQL_CASES.items()}
    found |= {name: (MARIADB, case) for name, case in MARIADB_CASES.items() if name != "json"}
    found |= {f"charset {name}": (ALL, (f"VARCHAR(60) CHARACTER SET {name}", TEXTS)) for name in CHARSETS}
    found |= {kind: (ALL, (kind.upper(), [f"ST_GeomFromText('{text}')" for text in texts])) for kind, texts in GEOMETRIES.items()}
    found |= {f"bit of {n}": (ALL, (f"BIT({n})", [0, 1, 2**n - 1, 2 ** (n - 1)])) for n in range(1, 65)}
    found |= {
        "float denormal": (ALL, ("FLOAT", ["1e-45", "-1e-45", "1.1754943e-38", "3.4028235e38", "-3.4028235e38", "0"])),
        "double denormal": (ALL, ("DOUBLE", ["5e-324", "-5e-324", "2.2250738585072014e-308", "1.7976931348623157e308", "0.1"])),
        "float unsigned": (ALL, ("FLOAT UNSIGNED", ["0", "1.5", "1e-45"])),
        "decimal(65,30) full": (ALL, ("DECIMAL(65,30)", ["'" + s + "9" * 35 + "." + "9" * 30 + "'" for s in ("", "-")])),
        "int zerofill": (ALL, ("INT(8) ZEROFILL", [0, 42, 4294967295])),
        "boolean": (ALL, ("BOOLEAN", ["TRUE", "FALSE", "-128"])),
        "char(0)": (ALL, ("CHAR(0)", ["''"])),
        "varchar of binary collation": (ALL, ("VARCHAR(40) CHARACTER SET latin1 COLLATE latin1_bin", ["'é'", "'x  '", "''"])),
        "char with trailing spaces": (ALL, ("CHAR(10)", ["'a  '", "'  a'", "'   '"])),
        "enum of 1,500": (ALL, (f"ENUM({MANY})", [1, 255, 256, 257, 1500, "'none'"])),
        "enum with odd labels": (ALL, ("ENUM('', 'it''s', 'a,b', '日本', ' x')", [1, 2, 3, 4, 5, "'none'"])),
        "set with odd labels": (ALL, ("SET('', 'it''s', '日本', ' x')", [0, 1, 2, 3, 7, 15])),
        "json": (ALL, ("JSON", DOCUMENTS)),
        "json of opaque values": (MYSQL, ("JSON", OPAQUE_DOCUMENTS)),
        "varchar compressed": (MARIADB, ("VARCHAR(3000) COMPRESSED", ["''", "'a'", "REPEAT('abc', 900)", "'é€'"])),
        "varbinary compressed": (MARIADB, ("VARBINARY(3000) COMPRESSED", ["''", "x'00'", "REPEAT('abc', 900)"])),
        "text compressed": (MARIADB, ("TEXT COMPRESSED", ["''", "'a'", "REPEAT('abc', 9000)", "'é€'"])),
        "blob compressed": (MARIADB, ("MEDIUMBLOB COMPRESSED", ["''", "x'00ff'", "REPEAT('abc', 90000)"])),
        "vector of mariadb": (MARIADB_NEXT, ("VECTOR(3)", ["VEC_FromText('[1,-2.5,3e30]')", "VEC_FromText('[0,0.1,-1e-30]')"])),
    }
    return found


TYPES = _types()


def types_of(server: str) -> dict[str, Case]:
    """The types that a server has: name → (definition, literals)."""
    return {name: case for name, (servers, case) in TYPES.items() if server in servers}
