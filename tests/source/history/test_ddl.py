"""Statements applied to tables, one rule each."""

from __future__ import annotations

from typing import Any

import pytest

from engine.position import Identity
from engine.source.history.catalog import Catalog, Entry
from engine.source.history.ddl import apply
from engine.source.history.definition import NotUnderstood, TableDefinition
from engine.source.history.draft import Draft, Session
from engine.source.statements import NO_BACKSLASH_ESCAPES


def after(*statements: str, case_sensitive: bool | None = True, **session: Any) -> Catalog:
    catalog = Catalog(case_sensitive)
    for number, text in enumerate(statements):
        entry = Entry(Identity(1, number, 1, 0), "ddl", text)
        apply(text, Session(**{"schema": "s", "collation": 8, **session}), Draft(catalog, entry))
        catalog.apply(Entry.unpack(entry.position, entry.pack()))  # as after a restart
    return catalog


def table(*statements: str, name: str = "t", **session: Any) -> TableDefinition:
    found = after(*statements, **session).find(("s", name))
    assert isinstance(found, TableDefinition)
    return found


def names(*statements: str, **options: Any) -> list[str]:
    return [column.name for column in table(*statements, **options).columns]


def column(definition: str, **session: Any) -> dict[str, Any]:
    return table(f"CREATE TABLE t (c {definition})", **session).columns[0].to_map()


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("INT(10) UNSIGNED ZEROFILL", {"type": "int", "unsigned": True}),
        ("BOOLEAN NOT NULL", {"type": "tinyint", "nullable": False}),
        ("DECIMAL", {"type": "decimal", "size": [10, 0]}),
        ("DEC(7)", {"type": "decimal", "size": [7, 0]}),
        ("FLOAT(25)", {"type": "double"}),
        ("FLOAT(7,3)", {"type": "float"}),
        ("CHAR", {"type": "char", "size": [1], "charset": "latin1"}),
        ("CHAR(3) CHARACTER SET utf8", {"type": "char", "size": [3], "charset": "utf8mb3"}),
        ("VARCHAR(3) COLLATE utf8mb4_0900_ai_ci", {"type": "varchar", "size": [3], "charset": "utf8mb4"}),
        ("VARCHAR(3) COLLATE uca1400_ai_ci", {"type": "varchar", "size": [3], "charset": "latin1"}),
        ("NATIONAL VARCHAR(3)", {"type": "varchar", "size": [3], "charset": "utf8mb3"}),
        ("CHAR(3) CHARACTER SET binary", {"type": "binary", "size": [3]}),
        ("TEXT CHARACTER SET binary", {"type": "blob"}),
        ("TEXT(100) CHARACTER SET utf8mb4", {"type": "text", "charset": "utf8mb4"}),
        ("TEXT(63)", {"type": "tinytext", "charset": "latin1"}),
        ("LONG", {"type": "mediumtext", "charset": "latin1"}),
        ("LONG VARBINARY", {"type": "mediumblob"}),
        ("ENUM('a','b''c','d\\'e', 'f' 'g', x'68', 'i  ')", {"type": "enum", "charset": "latin1",
                                                             "labels": ["a", "b'c", "d'e", "fg", "h", "i"]}),
        ("SERIAL", {"type": "bigint", "unsigned": True, "nullable": False}),
        ("INT DEFAULT NULL COMMENT 'NOT NULL, UNSIGNED'", {"type": "int"}),
        ("INT NOT NULL DEFAULT (1 + (2)) CHECK (c <> 3) REFERENCES o (c) ON DELETE SET NULL", {"type": "int", "nullable": False}),
        ("INT INVISIBLE", {"type": "int", "visible": False}),
        ("INT /*!80023 INVISIBLE */", {"type": "int", "visible": False}),
        ("INT /*M!100301 UNSIGNED */", {"type": "int"}),
        ("TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)",
         {"type": "timestamp", "size": [3], "nullable": False}),
        ("JSON", {"type": "json"}),
        ("POINT NOT NULL SRID 4326", {"type": "point", "nullable": False}),
        ("INT PRIMARY KEY", {"type": "int", "nullable": False}),
    ],
)  # fmt: skip
def test_a_column_is_what_the_server_makes_of_it(definition: str, expected: dict[str, Any]) -> None:
    assert column(definition) == {"name": "c", **expected}


def test_mariadb_reads_some_things_otherwise() -> None:
    assert column("JSON", mariadb=True) == {"name": "c", "type": "longtext", "charset": "utf8mb4"}
    assert column("INT /*!80023 INVISIBLE */", mariadb=True) == {"name": "c", "type": "int"}
    assert column("INT /*M!100301 UNSIGNED */", mariadb=True) == {"name": "c", "type": "int", "unsigned": True}


def test_the_default_character_set_comes_from_table_schema_and_server_in_this_order() -> None:
    def charset(*statements: str) -> str | None:
        return table(*statements, "ALTER TABLE t ADD z CHAR(1)").columns[-1].charset

    assert charset("CREATE TABLE t (a INT)") == "latin1"
    assert charset("CREATE DATABASE s CHARACTER SET ucs2", "CREATE TABLE t (a INT)") == "ucs2"
    assert charset("CREATE DATABASE s COLLATE = gbk_bin", "ALTER DATABASE s CHARSET utf8", "CREATE TABLE t (a INT)") == "utf8mb3"
    assert (
        charset("CREATE DATABASE s CHARSET ucs2", "CREATE TABLE t (a INT) ENGINE=x DEFAULT CHARSET=koi8r COMMENT='CHARSET=gbk'")
        == "koi8r"
    )
    assert charset("CREATE TABLE t (a INT) CHARSET gbk", "ALTER TABLE t CONVERT TO CHARACTER SET sjis") == "sjis"


def test_clauses_of_one_alter_are_carried_out_as_the_servers_do() -> None:
    made = "CREATE TABLE t (a INT, b INT, c INT, d INT)"
    assert names(made, "ALTER TABLE t ADD x INT FIRST, ADD y INT AFTER b, DROP c") == ["x", "a", "b", "y", "d"]
    assert names(made, "ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN b TO a") == ["b", "a", "c", "d"]
    assert names(made, "ALTER TABLE t MODIFY d INT FIRST, MODIFY c INT AFTER d") == ["d", "c", "a", "b"]
    assert names(made, "ALTER TABLE t CHANGE a z INT AFTER c, ADD y INT AFTER z") == ["b", "c", "z", "y", "d"]
    assert names(made, "ALTER TABLE t DROP a, ADD a INT UNSIGNED, ADD COLUMN (e INT, f INT)") == ["b", "c", "d", "a", "e", "f"]
    assert names(made, "ALTER ONLINE TABLE s.t ADD COLUMN IF NOT EXISTS a INT, DROP COLUMN IF EXISTS z, FORCE") == [
        "a",
        "b",
        "c",
        "d",
    ]


@pytest.mark.parametrize(
    ("statements", "key"),
    [
        (["CREATE TABLE t (a INT, b INT, PRIMARY KEY (b, a))"], (1, 0)),
        (["CREATE TABLE t (a INT PRIMARY KEY, b INT)", "ALTER TABLE t DROP PRIMARY KEY"], ()),
        (["CREATE TABLE t (a INT PRIMARY KEY, b INT)", "ALTER TABLE t ADD x INT FIRST, CHANGE a z INT AFTER b"], (2,)),
        (["CREATE TABLE t (a INT NOT NULL, b INT, UNIQUE (b), UNIQUE (a))"], (0,)),
        (["CREATE TABLE t (a INT NOT NULL, UNIQUE (a))", "ALTER TABLE t DROP INDEX a"], ()),
        (["CREATE TABLE t (a INT NOT NULL, UNIQUE u (a))", "ALTER TABLE t RENAME KEY u TO v", "DROP INDEX v ON t"], ()),
        (["CREATE TABLE t (a CHAR(9) NOT NULL, UNIQUE (a(3)))"], ()),
        (["CREATE TABLE t (a INT NOT NULL)", "CREATE UNIQUE INDEX u USING BTREE ON t (a)"], (0,)),
        (["CREATE TABLE t (a INT NOT NULL, b INT NOT NULL, UNIQUE (a), PRIMARY KEY (b))"], (1,)),
        (["CREATE TABLE t (a INT NOT NULL, CONSTRAINT c UNIQUE KEY (a))", "ALTER TABLE t DROP CONSTRAINT c"], ()),
        (["CREATE TABLE t (a INT PRIMARY KEY, b INT, FOREIGN KEY (b) REFERENCES o (x), KEY (b), CHECK (b > 0))"], (0,)),
    ],
)
def test_the_primary_key_is_followed(statements: list[str], key: tuple[int, ...]) -> None:
    assert table(*statements).primary_key() == key


def test_tables_move_and_go() -> None:
    catalog = after(
        "CREATE TABLE a (x INT)", "CREATE TABLE b (y INT)", "RENAME TABLE a TO c, b TO a, c TO b", "CREATE TABLE d LIKE a",
        "ALTER TABLE d RENAME AS o.e", "DROP TABLE IF EXISTS nothing, b RESTRICT", "CREATE TABLE IF NOT EXISTS a (z INT)",
        "TRUNCATE a", "CREATE TABLE o.f (z INT)", "RENAME TABLE o.f TO f", "DROP DATABASE o",
    )  # fmt: skip
    found = {
        ".".join(name): [c.name for c in known.columns]
        for name, known in catalog.tables.items()
        if isinstance(known, TableDefinition)
    }
    assert found == {"s.a": ["y"], "s.f": ["z"]}


def test_names_of_tables_are_one_in_upper_and_lower_case_where_the_server_says_so() -> None:
    made = ["CREATE TABLE Orders (a INT)", "ALTER TABLE ORDERS ADD b INT"]
    for case_sensitive in (False, None):
        assert names(*made, name="orders", case_sensitive=case_sensitive) == ["a", "b"]
    both = after("CREATE TABLE T (a INT)", "CREATE TABLE t (b INT)", "DROP TABLE T")
    assert set(both.tables) == {("s", "t")}


def test_sql_modes_change_what_a_string_is() -> None:
    made = 'CREATE TABLE "t" ("a ""b" ENUM(\'x\\\', \'y\'))'
    (quoted,) = table(made, sql_mode=4 | NO_BACKSLASH_ESCAPES).columns
    assert (quoted.name, quoted.labels) == ('a "b', ("x\\", "y"))


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE t SELECT 1", "CREATE TABLE t (a INT) AS SELECT 1 AS b", "CREATE TABLE t LIKE unheard",
        "CREATE TABLE t (a NOTYPE)", "ALTER TABLE k DROP nothing", "ALTER TABLE k ADD a INT", "ALTER TABLE k WOBBLE a",
        "ALTER TABLE k ADD b INT AFTER nothing",
        "ALTER TABLE k ADD b ENUM('x", "CREATE TABLE t (a INT", "ALTER TABLE k MODIFY",
    ],
)  # fmt: skip
def test_what_cannot_be_followed_says_so(text: str) -> None:
    with pytest.raises(NotUnderstood):
        after("CREATE TABLE k (a INT)", text)


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TEMPORARY TABLE k (b INT)", "DROP TEMPORARY TABLE k", "CREATE VIEW k AS SELECT 1", "GRANT ALL ON k TO x",
        "CREATE TRIGGER k BEFORE INSERT ON k FOR EACH ROW SET @a = 1", "ALTER TABLE k ADD INDEX (a), ADD FULLTEXT KEY f (a)",
        "ALTER TABLE k ENGINE=InnoDB, COMMENT='a, DROP a'", "CREATE INDEX i ON k (a)", "ALTER TABLE unheard ADD x INT", "",
        "ALTER TABLE k ADD PARTITION (PARTITION p1 VALUES LESS THAN (3))", "ALTER TABLE k DROP PARTITION p1", "; /* nothing */ ;",
        "ALTER TABLE k EXCHANGE PARTITION p WITH TABLE o", "ALTER TABLE k ALTER COLUMN a SET DEFAULT 4, ALTER INDEX i INVISIBLE",
    ],
)  # fmt: skip
def test_what_changes_no_columns_changes_nothing(text: str) -> None:
    assert names("CREATE TABLE k (a INT)", text, name="k") == ["a"]
