"""The tables of character sets, and what the native code makes of them, against both servers."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import msgpack
import pytest
from engine.source._rows import RowPlan

from engine.errors import BinlogError
from engine.schema import Column, TableSchema
from engine.source.charsets import COLLATIONS, charset_of_collation, decode_text, max_character_bytes
from engine.source.table_map import MapColumn, TableMap, Type
from tests.data.make_charsets import DOUBLE, SINGLE, codes, forms
from tests.servers.database import Database


def converted(charset: str, strings: list[bytes]) -> list[Any]:
    """Values of a VARCHAR column of this set, by the native code."""
    table_map = TableMap(1, 0, "s", "t", (MapColumn(Type.VARCHAR, length=1000),))
    plan = RowPlan(TableSchema("test", "s", "t", (Column("v", "varchar(250)", charset=charset),)), table_map)
    images = b"".join(b"\0" + len(string).to_bytes(2, "little") + string for string in strings)
    return [row[0] for row in msgpack.Unpacker(BytesIO(plan.images(images)))]


def check_codes(server: Database, charset: str) -> None:
    with server.connect() as connection:
        for form in forms(charset):
            told = codes(connection, charset, form)
            # A longer code that stands for nothing is not stored by the server, so there is no right answer.
            told = {code: text for code, text in told.items() if text != "?" or charset in SINGLE}
            assert told
            assert converted(charset, list(told)) == list(told.values())
            assert [decode_text(charset, code) for code in told] == list(told.values())


@pytest.mark.parametrize("charset", SINGLE + [charset for charset in DOUBLE if charset != "gb18030"])
def test_every_code_becomes_the_character_that_the_server_makes_of_it(server: Database, charset: str) -> None:
    check_codes(server, charset)


def test_every_code_of_gb18030_becomes_the_character_that_mysql_makes_of_it(mysql: Any) -> None:
    check_codes(mysql, "gb18030")


def check_unicode(server: Database, charset: str) -> None:
    points = [*range(1, 0xD800, 7), *range(0xE000, 0x10000, 7), *range(0x10000, 0x110000, 997), 0x10FFFF]
    if charset in ("ucs2", "utf8mb3"):
        points = [point for point in points if point < 0x10000]
    with server.connect() as connection, connection.cursor() as cursor:
        strings = []
        for first in range(0, len(points), 500):
            text = "".join(map(chr, points[first : first + 500]))
            cursor.execute(f"SELECT HEX(CONVERT(CONVERT(x'{text.encode().hex()}' USING utf8mb4) USING {charset}))")
            strings.append((bytes.fromhex(cursor.fetchone()[0]), text))
    assert converted(charset, [string for string, _ in strings]) == [text for _, text in strings]
    assert [decode_text(charset, string) for string, _ in strings] == [text for _, text in strings]


@pytest.mark.parametrize("charset", ["ucs2", "utf16", "utf16le", "utf32", "utf8mb3", "utf8mb4"])
def test_unicode_sets_are_converted_as_the_server_does(server: Database, charset: str) -> None:
    check_unicode(server, charset)


def test_all_of_unicode_in_gb18030_is_converted_as_mysql_does(mysql: Any) -> None:
    check_unicode(mysql, "gb18030")


@pytest.mark.parametrize(
    ("charset", "string"),
    [
        ("utf8mb4", b"caf\xe9"), ("utf8mb4", b"\xed\xa0\x80"), ("utf8mb4", b"\xf4\x90\x80\x80"), ("utf8mb4", b"\xc0\x80"),
        ("utf8mb4", b"a long text that is not utf-8 at its end \xe2\x82"), ("utf8mb3", b"\xff"), ("ucs2", b"\xd8\0"),
        ("ucs2", b"a"), ("utf16", b"\xd8\0\0a"), ("utf16", b"\xdc\0\xdc\0"), ("utf16le", b"a\0b"), ("utf32", b"\0\x11\0\0"),
        ("utf32", b"\0\0\xd8\0"),
    ],
)  # fmt: skip
def test_text_that_cannot_be_utf8_is_delivered_as_its_bytes(charset: str, string: bytes) -> None:
    assert converted(charset, [b"", string]) == ["", string]


def test_a_character_cut_off_at_the_end_becomes_a_question_mark() -> None:
    assert converted("gbk", [b"ab\xd6"]) == ["ab?"]
    assert converted("ujis", [b"ab\x8f\xb0"]) == ["ab?" + decode_text("ujis", b"\xb0")]
    assert decode_text("gbk", b"ab\xd6") == "ab?"


def test_text_of_every_length_keeps_its_characters() -> None:
    for charset in ("latin1", "utf8mb4", "gbk", "utf16"):
        texts = [letter * n for n in range(90) for letter in ("a", "é" if charset != "gbk" else "中")]
        codec = {"utf16": "utf-16-be", "utf8mb4": "utf-8"}.get(charset, charset)
        assert converted(charset, [text.encode(codec) for text in texts]) == texts


def test_every_collation_of_the_server_is_known(server: Database) -> None:
    table, column = ("collation_character_set_applicability", "id") if server.name == "mariadb" else ("collations", "id")
    for collation, charset in server.sql(f"SELECT {column}, character_set_name FROM information_schema.{table}"):
        assert charset_of_collation(int(collation)) == charset


def test_characters_are_as_long_as_the_server_says(server: Database) -> None:
    for charset, length in server.sql("SELECT character_set_name, maxlen FROM information_schema.character_sets"):
        assert charset in COLLATIONS
        assert max_character_bytes(charset) == length


def test_a_collation_that_no_server_has_is_named() -> None:
    with pytest.raises(BinlogError, match="collation=5000"):
        charset_of_collation(5000)


def test_a_set_that_no_server_has_is_named() -> None:
    with pytest.raises(BinlogError, match="charset=ebcdic"):
        decode_text("ebcdic", b"\xc1")
