"""DDL in the character sets of other clients, whose characters may end in a byte that is a backslash or a backtick elsewhere."""

from __future__ import annotations

from engine.client.items import Change
from engine.source.statements import NO_BACKSLASH_ESCAPES, Kind, Statement, classify
from tests.fidelity.reading import read_files
from tests.servers.database import Database
from tests.source.history.test_live import SCHEMA, bare

__all__ = ["bare"]


def ending_in(second: int, charset: str) -> str:
    """Three letters of two bytes, of which the second is this one, and which both servers and Unicode have."""
    found = []
    for first in range(0x88, 0xE0):
        try:
            found.append(bytes([first, second]).decode(charset))
        except UnicodeDecodeError:
            continue
    letters = [text for text in found if len(text) == 1 and "\u4e00" <= text <= "\u9fff"]
    return "".join(letters[:3])


def test_ddl_is_read_in_the_character_set_of_its_session(bare: Database) -> None:
    """By the history alone: from files there is no server to ask. MariaDB itself takes 0x60 for the end of a quoted name."""
    for charset in ("gbk", "sjis", "big5", "cp932"):
        check(bare, charset)


def check(bare: Database, charset: str) -> None:
    slash, pipe = ending_in(0x5C, charset), ending_in(0x7C, charset)
    tick = ending_in(0x60, charset) if bare.name == "mysql" else pipe[::-1]
    assert all(len(text) == 3 for text in (slash, pipe, tick))
    with bare.connect(database=SCHEMA, charset=charset) as connection, connection.cursor() as cursor:
        for statement in (
            "FLUSH BINARY LOGS",
            f"DROP TABLE IF EXISTS `{slash}`, `{tick}2{pipe}`",
            f"CREATE TABLE `{slash}` (`{slash}` INT PRIMARY KEY COMMENT '{slash}', `{tick}1` INT UNSIGNED, "
            f"e ENUM('{pipe}', '{slash}') CHARACTER SET utf8mb4 COMMENT \"{slash}\", {slash}2 INT)",
            f"INSERT INTO `{slash}` VALUES (1, 4294967295, '{slash}', 2)",
            f"ALTER TABLE `{slash}` CHANGE `{slash}` `{slash}{tick}` INT, ADD x ENUM('a', '{slash}') CHARSET utf8mb4 FIRST",
            f"ALTER TABLE {slash} COMMENT '{slash}', RENAME COLUMN {slash}2 TO {pipe}, RENAME TO `{tick}2{pipe}`",
            f"INSERT INTO `{tick}2{pipe}` VALUES ('{slash}', 2, 4294967294, '{pipe}', 3)",
            "FLUSH BINARY LOGS",
        ):
            cursor.execute(statement)
    changes = [item for item in read_files(bare.binlog_files()[-2:-1]) if isinstance(item, Change)]
    assert [(change.table, change.after) for change in changes] == [
        (slash, {slash: 1, f"{tick}1": 4294967295, "e": slash, f"{slash}2": 2}),
        (f"{tick}2{pipe}", {"x": slash, f"{slash}{tick}": 2, f"{tick}1": 4294967294, "e": pipe, pipe: 3}),
    ]


def test_backslashes_are_letters_where_the_session_says_so() -> None:
    text = "ALTER TABLE t COMMENT '\\', RENAME TO u, COMMENT '\\'"
    assert classify(Statement("s", text, NO_BACKSLASH_ESCAPES)) == (Kind.DDL, [("s", "t"), ("s", "u")])
    assert classify(Statement("s", "DROP TABLE `a\\`, b")) == (Kind.DDL, [("s", "a\\"), ("s", "b")])
