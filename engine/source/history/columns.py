"""One column definition, from `name type` to the attributes behind it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from engine.source.charsets import decode_text, max_character_bytes
from engine.source.history.definition import ColumnDefinition, charset_of_collation_name, known_charset
from engine.source.history.tokens import Cursor, Is, NotUnderstood

REAL_AS_FLOAT = 1

_PLAIN = {
    "INT1": "tinyint", "TINYINT": "tinyint", "BOOL": "tinyint", "BOOLEAN": "tinyint", "INT2": "smallint", "SMALLINT": "smallint",
    "INT3": "mediumint", "MIDDLEINT": "mediumint", "MEDIUMINT": "mediumint", "INT": "int", "INTEGER": "int", "INT4": "int",
    "INT8": "bigint", "BIGINT": "bigint", "DECIMAL": "decimal", "DEC": "decimal", "NUMERIC": "decimal", "FIXED": "decimal",
    "NUMBER": "decimal", "FLOAT": "float", "FLOAT4": "float", "DOUBLE": "double", "FLOAT8": "double", "REAL": "double",
    "BIT": "bit", "DATE": "date", "TIME": "time", "DATETIME": "datetime", "TIMESTAMP": "timestamp", "YEAR": "year",
    "CHAR": "char", "CHARACTER": "char", "VARCHAR": "varchar", "VARCHARACTER": "varchar", "VARCHAR2": "varchar",
    "BINARY": "binary", "VARBINARY": "varbinary", "RAW": "varbinary", "TINYTEXT": "tinytext", "TEXT": "text",
    "MEDIUMTEXT": "mediumtext", "LONGTEXT": "longtext", "CLOB": "longtext", "TINYBLOB": "tinyblob", "BLOB": "blob",
    "MEDIUMBLOB": "mediumblob", "LONGBLOB": "longblob", "ENUM": "enum", "SET": "set", "JSON": "json", "GEOMETRY": "geometry",
    "POINT": "point", "LINESTRING": "linestring", "POLYGON": "polygon", "MULTIPOINT": "multipoint",
    "MULTILINESTRING": "multilinestring", "MULTIPOLYGON": "multipolygon", "GEOMETRYCOLLECTION": "geomcollection",
    "GEOMCOLLECTION": "geomcollection", "UUID": "uuid", "INET4": "inet4", "INET6": "inet6", "VECTOR": "vector",
}  # fmt: skip
TEXT_TYPES = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext"}
CHARSET_TYPES = TEXT_TYPES | {"enum", "set"}
_AS_BYTES = {"char": "binary", "varchar": "varbinary", "tinytext": "tinyblob", "text": "blob", "mediumtext": "mediumblob",
             "longtext": "longblob"}  # fmt: skip
_ONE_BY_DEFAULT = {"char", "binary", "bit"}
_UTF8 = "utf8mb3"


class Context(NamedTuple):
    """What a definition means depends on: the table's default character set, whose server it is, the session's sql_mode."""

    charset: str | None
    mariadb: bool
    sql_mode: int = 0


@dataclass
class ParsedColumn:
    """A definition and what it says beside the column itself. first, after: where to put it, in ALTER."""

    column: ColumnDefinition
    primary: bool = False
    unique: bool = False
    first: bool = False
    after: str = ""


@dataclass
class _Draft:
    type: str
    size: tuple[int, ...] = ()
    labels: list[str | bytes] = field(default_factory=list)
    charset: str | None = None  # told
    collation: str | None = None
    unsigned: bool = False
    nullable: bool = True
    visible: bool = True
    system: str = ""


def parse_column(cursor: Cursor, context: Context) -> ParsedColumn:
    """`name type attributes`, to the end of the cursor.

    Raises:
        NotUnderstood: a type that no server has.
    """
    name = cursor.name()
    draft = _type(cursor, context)
    parsed = ParsedColumn(ColumnDefinition(name, draft.type))
    if draft.type == "serial":
        draft.type, draft.unsigned, draft.nullable, parsed.unique = "bigint", True, False, True
    while cursor:
        _attribute(cursor, draft, parsed)
    parsed.column = _finished(name, draft, context)
    return parsed


def parse_column_type(name: str, cursor: Cursor, charset: str | None, *, mariadb: bool) -> ColumnDefinition:
    """From a type as information_schema shows it, `enum('a','b')`, and the character set that stands beside it."""
    draft = _type(cursor, Context(charset, mariadb))
    parsed = ParsedColumn(ColumnDefinition(name, draft.type))
    while cursor:
        _attribute(cursor, draft, parsed)
    return _finished(name, draft, Context(charset, mariadb))


def _type(cursor: Cursor, context: Context) -> _Draft:
    word = cursor.take().keyword
    draft = _Draft(_PLAIN.get(word, ""))
    if word in ("NATIONAL", "NCHAR", "NVARCHAR"):
        if word == "NATIONAL":
            word = cursor.accept_one("CHAR", "CHARACTER", "VARCHAR", "VARCHARACTER")
        varying = cursor.accept_one("VARYING", "VARCHAR", "VARCHARACTER") or word in ("NVARCHAR", "VARCHAR", "VARCHARACTER")
        draft.type, draft.charset = ("varchar" if varying else "char"), _UTF8
    elif word in ("CHAR", "CHARACTER") and cursor.accept("VARYING"):
        draft.type = "varchar"
    elif word == "LONG":
        kind = cursor.accept_one("VARBINARY", "VARCHAR", "CHAR", "CHARACTER", "VARCHARACTER")
        cursor.accept("VARYING")
        draft.type = "mediumblob" if kind == "VARBINARY" else "mediumtext"
    elif word == "DOUBLE":
        cursor.accept("PRECISION")
    elif word == "REAL" and context.sql_mode & REAL_AS_FLOAT:
        draft.type = "float"
    elif word == "SERIAL":
        draft.type = "serial"
    elif word == "JSON" and context.mariadb:
        draft.type, draft.charset = "longtext", "utf8mb4"
    if not draft.type:
        raise NotUnderstood(f"the type {word or 'of a column'} is not known")
    if cursor.word() == "(":
        inside = cursor.group()
        if draft.type in ("enum", "set"):
            draft.labels = [_label(element) for element in inside.elements()]
        else:
            draft.size = tuple(int(size.take().text) for size in inside.elements())
    return draft


def _label(cursor: Cursor) -> str | bytes:
    """One label; strings that stand side by side are one."""
    pieces: list[str] = []
    while cursor:
        token = cursor.take()
        if token.kind is Is.BYTES:
            digits = token.text[2:].rstrip("'")
            if token.text[0] in "bB":
                return int(digits, 2).to_bytes((len(digits) + 7) // 8, "big")
            return bytes.fromhex(digits if len(digits) % 2 == 0 else "0" + digits)
        if token.kind is Is.STRING:
            pieces.append(token.text)
        elif not token.text.startswith("_") and token.keyword != "N":
            raise NotUnderstood("a label expected")
    return "".join(pieces)


def _attribute(cursor: Cursor, draft: _Draft, parsed: ParsedColumn) -> None:
    """Past one attribute; what says nothing about a row's bytes or their meaning is only skipped."""
    word = cursor.word()
    if cursor.accept("NOT", "NULL"):
        draft.nullable = False
    elif cursor.accept("CHARACTER", "SET") or cursor.accept("CHAR", "SET") or cursor.accept("CHARSET"):
        draft.charset = known_charset(_option_value(cursor))
    elif cursor.accept("COLLATE"):
        draft.collation = _option_value(cursor)
    elif cursor.accept("DEFAULT") or cursor.accept("ON", "UPDATE") or cursor.accept("ON", "DELETE"):
        cursor.accept("SET")
        cursor.skip()
    elif cursor.accept("SERIAL", "DEFAULT", "VALUE"):
        draft.nullable, parsed.unique = False, True
    elif cursor.accept("GENERATED", "ALWAYS", "AS", "ROW"):
        draft.system, draft.nullable = cursor.take().keyword.lower(), False
    elif cursor.accept("AFTER"):
        parsed.after = cursor.name()
    elif cursor.accept("COMMENT") or cursor.accept("REFERENCES") or cursor.accept("COLUMN_FORMAT") or cursor.accept("STORAGE"):
        cursor.skip()
    elif word == "NULL":
        draft.nullable = True
        cursor.take()
    elif word == "PARTITION":  # of the table, behind the last clause of an ALTER
        while cursor:
            cursor.skip()
    else:
        cursor.skip()
        if word in ("UNSIGNED", "ZEROFILL"):
            draft.unsigned = True
        elif word == "AUTO_INCREMENT":
            draft.nullable = False
        elif word == "PRIMARY" or (word == "KEY" and not parsed.unique):
            parsed.primary = True
            cursor.accept("KEY")
        elif word == "UNIQUE":
            parsed.unique = True
            cursor.accept("KEY")
        elif word in ("ASCII", "UNICODE", "BYTE"):
            draft.charset = {"ASCII": "latin1", "UNICODE": "ucs2", "BYTE": "binary"}[word]
        elif word in ("VISIBLE", "INVISIBLE"):
            draft.visible = word == "VISIBLE"
        elif word == "FIRST":
            parsed.first = True


def _option_value(cursor: Cursor) -> str:
    cursor.accept("=")
    return cursor.take().text


def _finished(name: str, draft: _Draft, context: Context) -> ColumnDefinition:
    kind, size, charset = draft.type, draft.size, None
    if kind in CHARSET_TYPES:
        charset = draft.charset or (draft.collation and charset_of_collation_name(draft.collation)) or context.charset
        if charset == "binary" and kind in _AS_BYTES:
            kind, charset = _AS_BYTES[kind], None
    if kind in _ONE_BY_DEFAULT and not size:
        size = (1,)
    elif kind == "decimal":
        size = (size + (10, 0)[len(size) :])[:2] if len(size) != 1 else (size[0], 0)
        size = (size[0] or 10, size[1])
    elif kind == "float" and len(size) == 1 and size[0] > 24:
        kind, size = "double", ()
    elif kind in ("text", "blob"):
        kind, size = _sized(kind, size, charset), ()
    elif kind == "vector" and not size:
        size = (2048,)
    elif kind not in ("char", "varchar", "binary", "varbinary", "bit", "time", "datetime", "timestamp", "vector"):
        size = ()
    column = ColumnDefinition(name, kind, size, draft.unsigned, charset, (), draft.nullable, draft.visible, draft.system)
    return replace(column, labels=tuple(_label_text(label, charset) for label in draft.labels)) if draft.labels else column


def _label_text(label: str | bytes, charset: str | None) -> str:
    """Trailing spaces are no part of a label, but in byte strings."""
    text = decode_text(charset or "utf8mb4", label) if isinstance(label, bytes) else label
    return text if charset == "binary" else text.rstrip(" ")


def _sized(kind: str, size: tuple[int, ...], charset: str | None) -> str:
    """TEXT(n) and BLOB(n) are the smallest of their kind that holds n characters."""
    if not size or not size[0]:
        return kind
    length = size[0] * (max_character_bytes(charset) if charset and kind == "text" else 1)
    return ("tiny" if length < 1 << 8 else "" if length < 1 << 16 else "medium" if length < 1 << 24 else "long") + kind
