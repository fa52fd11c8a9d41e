"""TABLE_MAP events of real servers, against information_schema."""

from __future__ import annotations

import pytest

from engine.errors import BinlogError, ServerSetupError
from engine.source.table_map import Field, TableMap, has_full_metadata, parse_table_map, table_schema
from tests.servers.database import Database
from tests.source.row_images import TABLE_MAP, events

COLUMNS = """
    a TINYINT UNSIGNED, b SMALLINT, c MEDIUMINT UNSIGNED, d INT NOT NULL, e BIGINT UNSIGNED, f FLOAT UNSIGNED, g DOUBLE,
    h DECIMAL(12,2) UNSIGNED, i YEAR, j BIT(5), k BIT(64), l DATE, m TIME, n TIME(3), o DATETIME, p DATETIME(6),
    q TIMESTAMP NULL, r TIMESTAMP(2) NULL, s CHAR(10), t CHAR(255), u CHAR(20) CHARACTER SET latin1, v VARCHAR(32),
    w VARCHAR(300) CHARACTER SET utf16, x BINARY(3), y VARBINARY(500), z TINYTEXT,
    aa TEXT CHARACTER SET gbk, ab MEDIUMTEXT, ac LONGTEXT, ad TINYBLOB, ae BLOB, af MEDIUMBLOB, ag LONGBLOB,
    ah POINT, ai GEOMETRY,
    aj VARCHAR(5) CHARACTER SET sjis, ak ENUM('x', 'é', 'it''s') CHARACTER SET latin1, al SET('a', 'b'),
    am ENUM('日本') CHARACTER SET utf16, an LINESTRING, ao VARCHAR(7) CHARACTER SET ascii
"""


def last_map(server: Database, schema: str, mariadb: bool | None = None) -> TableMap:
    bodies = [body for path in server.binlog_files() for kind, body in events(path) if kind == TABLE_MAP]
    parsed = [parse_table_map(body, mariadb=mariadb) for body in bodies if schema.encode() in body]
    return parsed[-1]


def with_row(server: Database, schema: str, columns: str, values: str = "() VALUES ()") -> None:
    server.sql(
        f"USE `{schema}`", "SET sql_mode = ''", f"CREATE TABLE t ({columns})", f"INSERT INTO t {values}"
    )  # fmt: skip


@pytest.mark.parametrize("told", [True, False])
def test_the_schema_equals_what_the_server_says_of_its_columns(server: Database, unique_schema: str, told: bool) -> None:
    with_row(server, unique_schema, COLUMNS)
    schema = table_schema("test", last_map(server, unique_schema, server.name == "mariadb" if told else None))
    shown = server.sql(
        "SELECT column_name, column_type, is_nullable, character_set_name FROM information_schema.columns"
        f" WHERE table_schema = '{unique_schema}' AND table_name = 't' ORDER BY ordinal_position"
    )
    assert [column.name for column in schema.columns] == [name for name, *_ in shown]
    for column, (_, kind, nullable, charset) in zip(schema.columns, shown, strict=True):
        unsigned = kind.endswith(" unsigned")
        kind = kind.removesuffix(" unsigned")
        if kind.startswith(("enum", "set")):
            kind, _, labels = kind.partition("(")
            assert "".join(f"'{label}'," for label in column.labels) == labels.replace("''", "\0")[:-1].replace("\0", "'") + ","
        for name in ("tinyint", "smallint", "mediumint", "bigint", "int", "year"):  # MariaDB shows their display width
            if kind.startswith(name + "("):
                kind = name
        assert column.type == kind
        assert column.unsigned == unsigned
        assert column.nullable == (nullable == "YES")
        text = column.type.startswith(("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"))
        assert column.charset == (charset if text else "binary" if "bina" in kind or "blob" in kind else None)


def test_geometry_before_text_does_not_shift_the_character_sets(server: Database, unique_schema: str) -> None:
    with_row(server, unique_schema, "a POINT, b VARCHAR(5) CHARACTER SET latin1, c GEOMETRY, d VARCHAR(5) CHARACTER SET gbk")
    schema = table_schema("test", last_map(server, unique_schema))
    assert [column.charset for column in schema.columns] == [None, "latin1", None, "gbk"]
    assert [column.type for column in schema.columns] == ["point", "varchar(5)", "geometry", "varchar(5)"]


def test_a_vector_before_text_does_not_shift_the_character_sets(mysql: Database, unique_schema: str) -> None:
    with_row(mysql, unique_schema, "a VECTOR(5), b VARCHAR(5), c VECTOR(2048), d POINT, e CHAR(5) CHARACTER SET latin1")
    schema = table_schema("test", last_map(mysql, unique_schema))
    assert [column.type for column in schema.columns] == ["vector(5)", "varchar(5)", "vector(2048)", "point", "char(5)"]
    assert [column.charset for column in schema.columns] == [None, "utf8mb4", None, None, "latin1"]


def test_invisible_columns_are_told(mysql: Database, unique_schema: str) -> None:
    with_row(mysql, unique_schema, "a INT, b INT INVISIBLE, c INT")
    assert [column.visible for column in table_schema("test", last_map(mysql, unique_schema)).columns] == [True, False, True]


def test_the_primary_key_keeps_its_own_order(server: Database, unique_schema: str) -> None:
    with_row(server, unique_schema, "a INT, b INT, c INT, PRIMARY KEY (c, a)")
    assert table_schema("test", last_map(server, unique_schema)).primary_key == (2, 0)


def test_a_primary_key_on_prefixes_is_told(server: Database, unique_schema: str) -> None:
    with_row(server, unique_schema, "a INT, b VARCHAR(50), PRIMARY KEY (b(5), a)")
    table_map = last_map(server, unique_schema)
    assert Field.PRIMARY_KEY_WITH_PREFIX in table_map.fields
    assert table_map.primary_key == (1, 0)


def test_a_table_without_a_primary_key_has_an_empty_one(server: Database, unique_schema: str) -> None:
    with_row(server, unique_schema, "a INT, b INT, UNIQUE (b)")
    assert table_schema("test", last_map(server, unique_schema)).primary_key == ()


def test_uuid_and_addresses_of_mariadb_are_bytes_in_the_map(mariadb: Database, unique_schema: str) -> None:
    with_row(mariadb, unique_schema, "a UUID, b INET6, c INET4, d JSON")
    types = [column.type for column in table_schema("test", last_map(mariadb, unique_schema)).columns]
    assert types == ["binary(16)", "binary(16)", "binary(4)", "longtext"]


def test_compressed_columns_of_mariadb_are_named_as_declared(mariadb: Database, unique_schema: str) -> None:
    with_row(mariadb, unique_schema, "a TEXT COMPRESSED, b VARCHAR(100) COMPRESSED, c BLOB COMPRESSED, d VARBINARY(9) COMPRESSED")
    types = [column.type for column in table_schema("test", last_map(mariadb, unique_schema)).columns]
    assert types == ["text", "varchar(100)", "blob", "varbinary(9)"]


def test_a_map_without_names_names_the_setting_that_mends_it(server: Database, unique_schema: str) -> None:
    server.sql(f"CREATE TABLE `{unique_schema}`.t (a INT)")
    server.sql("SET GLOBAL binlog_row_metadata = MINIMAL")
    try:
        server.sql(f"INSERT INTO `{unique_schema}`.t VALUES (1)")
    finally:
        server.sql("SET GLOBAL binlog_row_metadata = FULL")
    table_map = last_map(server, unique_schema)
    assert not has_full_metadata(table_map)
    assert table_map.primary_key is None
    with pytest.raises(ServerSetupError, match="SET GLOBAL binlog_row_metadata=FULL"):
        table_schema("test", table_map)


def test_unknown_fields_are_skipped_by_their_length(server: Database, unique_schema: str) -> None:
    with_row(server, unique_schema, "a INT PRIMARY KEY")
    body = [body for path in server.binlog_files() for kind, body in events(path) if kind == TABLE_MAP][-1]
    table_map = parse_table_map(body + b"\xc8\xfc\x03\x00abc" + b"\x0f\x00")
    assert table_schema("test", table_map) == table_schema("test", parse_table_map(body))
    assert {0xC8, 0x0F} <= table_map.fields


def test_a_map_that_ends_too_soon_is_an_error(server: Database, unique_schema: str) -> None:
    with_row(server, unique_schema, "a INT PRIMARY KEY, b VARCHAR(5), c ENUM('x', 'y')")
    body = [body for path in server.binlog_files() for kind, body in events(path) if kind == TABLE_MAP][-1]
    errors = 0
    for length in range(len(body)):
        try:
            parse_table_map(body[:length])  # a cut between two optional fields leaves a whole map
        except BinlogError:
            errors += 1
    assert errors > len(body) - 20


def test_a_type_that_is_not_known_is_named() -> None:
    body = bytes(8) + b"\1s\0" + b"\1t\0" + b"\1\x63" + b"\0" + b"\0"
    with pytest.raises(BinlogError, match=r"type is not known.*table=s\.t column=0 type=99"):
        parse_table_map(body)
