"""sqlglot as the servers read DDL: what it doesn't look at, and the limits that keep a statement from holding up a source."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress

import pytest
from sqlglot import exp

from engine.position import Identity
from engine.source.history.catalog import Unknown
from engine.source.history.definition import NotUnderstood, TableDefinition
from engine.source.history.dialect import MOST_CHARACTERS, MOST_PIECES, column, parse
from engine.source.history.draft import Session
from engine.source.history.history import Moment, SchemaHistory

MEGABYTE = 1_000_000


def test_a_source_without_ddl_does_not_load_sqlglot() -> None:
    """It takes 14 MB and a fifth of a second."""
    code = "import sys, engine.source.stage; sys.exit('sqlglot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize(
    "text",
    ["", ";", "BEGIN", "COMMIT /* ALTER TABLE t */", "GRANT ALL ON t TO u", "SAVEPOINT `DROP TABLE t`", "XA PREPARE 'x'",
     "FLUSH TABLES", "/* DROP TABLE t */", "-- DROP TABLE t", "INSERT INTO t VALUES (1)"],
)  # fmt: skip
def test_other_statements_than_ddl_are_not_parsed(text: str) -> None:
    assert parse(text) == []


@pytest.mark.parametrize(
    ("text", "mysql", "mariadb"),
    [
        ("DROP TABLE a /*! , b */", ["a", "b"], ["a", "b"]),
        ("DROP TABLE a /*!50503 , b */", ["a", "b"], ["a", "b"]),
        ("DROP TABLE a /*!80013, b*/, c", ["a", "b", "c"], ["a", "c"]),
        ("DROP TABLE a /*M! , b */", ["a"], ["a", "b"]),
        ("DROP TABLE a /*M!100301 , b */", ["a"], ["a", "b"]),
        ("DROP TABLE a /*!100301 , b */", ["a"], ["a", "b"]),
        ("DROP TABLE a /*!99999 , b */ /*M!999999\\- , c */", ["a"], ["a"]),
        ("DROP TABLE a /*!50503RESTRICT*/", ["a"], ["a"]),
        ("/*!40000 DROP TABLE a */", ["a"], ["a"]),
        ("DROP TABLE a /*!50503 /* inside */, b */, c", ["a", "b", "c"], ["a", "b", "c"]),
        ("DROP TABLE a /*!*/, b", ["a", "b"], ["a", "b"]),
    ],
)
def test_versioned_comments_are_read_where_they_apply(text: str, mysql: list[str], mariadb: list[str]) -> None:
    for names, is_mariadb in ((mysql, False), (mariadb, True)):
        (tree,) = parse(text, mariadb=is_mariadb)
        assert [table.name for table in tree.args["tables"]] == names


def test_statements_in_one_text_are_parsed_one_by_one() -> None:
    assert [type(tree) for tree in parse(";CREATE TABLE a (b INT); DROP TABLE a ; -- end\n;")] == [exp.Create, exp.Drop]


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE t (a INT DEFAULT " + "(" * 50_000 + "1" + ")" * 50_000 + ", b INT)",
        "CREATE TABLE t (a INT, b INT AS (" + "f(" * 40_000 + "1" + ")" * 40_000 + "))",
        "CREATE TABLE t (a INT, b INT, CHECK (" + "(" * 50_000 + "a" + ")" * 50_000 + " > 1))",
    ],
)
def test_deep_nesting_is_passed_over(text: str) -> None:
    (tree,) = parse(text)
    assert [name.name for name in tree.this.expressions if isinstance(name, exp.ColumnDef)] == ["a", "b"]


@pytest.mark.parametrize(
    "filling",
    [*"().-/'\"`\\1\né", "''", "a b, ", "/*! ", "/* ", "*/", "* ", "ENUM('", "0x", "b'"],
)
def test_no_statement_takes_long(filling: str) -> None:
    """Half a second where the machine is free, mostly; what takes longer isn't looked at."""
    begun = time.process_time()
    for text in (filling * (MEGABYTE // len(filling)), "CREATE TABLE t (a INT, " + filling * (MEGABYTE // len(filling))):
        with suppress(NotUnderstood):
            parse(text)
    assert time.process_time() - begun < 15


def test_longer_statements_make_their_table_unknown_at_once() -> None:
    history = SchemaHistory()
    number = iter(range(1, 9))

    def learn(text: str) -> object:
        moment = Moment(1, "binlog", Identity(1, next(number), 1, 0))
        history.learn(text, Session("s", collation=8), [("s", "t")], moment)
        return history.definition(("s", "t"), moment)

    assert isinstance(learn("CREATE TABLE t (a INT)"), TableDefinition)
    begun = time.process_time()
    for text in ("ALTER TABLE t COMMENT '" + "x" * MOST_CHARACTERS + "'", "ALTER TABLE t ADD b SET(" + "." * MOST_PIECES):
        known = learn(text)
        assert isinstance(known, Unknown)
        assert "too many" in known.why
    assert time.process_time() - begun < 2


def test_an_enum_of_65535_labels_is_within_the_limits() -> None:
    labels = [f"label {i}" for i in range(65_535)]
    (tree,) = parse("CREATE TABLE t (e ENUM(" + ", ".join(f"'{label}'" for label in labels) + "))")
    assert [label.name for label in tree.this.expressions[0].kind.expressions] == labels


def test_types_are_read_as_information_schema_writes_them() -> None:
    assert column("c enum('a','it''s')", mariadb=False).kind.expressions[1].name == "it's"
    assert column("c decimal(10,2) unsigned", mariadb=False).kind.args["kind"] == "decimal unsigned"
    assert column("c text /*M!100301 COMPRESSED*/", mariadb=True).kind.args["kind"] == "text"
    with pytest.raises(NotUnderstood, match="the type WOBBLE is not known"):
        column("c wobble(3)", mariadb=False)
