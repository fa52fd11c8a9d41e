"""One column definition, from its syntax tree to what the history keeps of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from sqlglot import exp

from engine.source.charsets import decode_text, max_character_bytes
from engine.source.history.definition import CHARSET_TYPES, ColumnDefinition, charset_of_collation_name, known_charset

REAL_AS_FLOAT = 1
ORACLE = 1 << 9
MAXDB = 1 << 12

_AS_BYTES = {"char": "binary", "varchar": "varbinary", "tinytext": "tinyblob", "text": "blob", "mediumtext": "mediumblob",
             "longtext": "longblob"}  # fmt: skip
_ONE_BY_DEFAULT = {"char", "binary", "bit"}
_SIZED = {"char", "varchar", "binary", "varbinary", "bit", "decimal", "time", "datetime", "timestamp", "vector"}
_TIMES = {"time", "datetime", "timestamp"}
_UTF8 = "utf8mb3"
_IN_MODE = {"oracle": {"date": "datetime", "blob": "longblob"}, "maxdb": {"timestamp": "datetime"}}  # MariaDB's sql_modes


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
    unsigned: bool = False
    size: tuple[int, ...] = ()
    labels: list[exp.Expr] = field(default_factory=list)
    charset: str | None = None  # told
    collation: str | None = None
    nullable: bool = True
    visible: bool = True
    system: str = ""


def read_column(tree: exp.ColumnDef, context: Context) -> ParsedColumn:
    """A ColumnDef as grammar.Grammar makes it."""
    draft = _type(tree.args["kind"], context)
    parsed = ParsedColumn(ColumnDefinition(tree.name, draft.type))
    if draft.type == "serial":
        draft.type, draft.unsigned, draft.nullable, parsed.unique = "bigint", True, False, True
    for constraint in tree.args.get("constraints") or ():
        if isinstance(constraint, exp.ColumnConstraint):
            _attribute(constraint.args["kind"], draft, parsed)
    if position := tree.args.get("position"):
        parsed.first = position.args["position"] == "FIRST"
        parsed.after = position.name
    parsed.column = _finished(tree.name, draft, context)
    return parsed


def _type(tree: exp.DataType, context: Context) -> _Draft:
    kind = str(tree.args["kind"])
    bare = kind.removesuffix(" unsigned")
    draft = _Draft(bare, unsigned=bare != kind)
    if bare in ("enum", "set"):
        draft.labels = tree.expressions
    else:
        draft.size = tuple(int(size.name) for size in tree.expressions)
    if bare.startswith("national "):
        draft.type, draft.charset = bare.removeprefix("national "), _UTF8
    elif bare == "real":
        draft.type = "float" if context.sql_mode & REAL_AS_FLOAT else "double"
    elif bare == "json" and context.mariadb:
        draft.type, draft.charset = "longtext", "utf8mb4"
    elif "." in bare:
        prefix, draft.type = bare.split(".")
        draft.type = _IN_MODE.get(prefix.removesuffix("_schema"), {}).get(draft.type, draft.type)
    elif context.mariadb and context.sql_mode & (ORACLE | MAXDB):
        draft.type = _IN_MODE["oracle" if context.sql_mode & ORACLE else "maxdb"].get(bare, bare)
    if draft.type == "number":
        draft.type = "decimal" if draft.size or not context.sql_mode & ORACLE else "double"
    return draft


def _attribute(kind: exp.Expr, draft: _Draft, parsed: ParsedColumn) -> None:
    """What says nothing about a row's bytes or their meaning is passed over."""
    match kind:
        case exp.NotNullColumnConstraint():
            draft.nullable = bool(kind.args.get("allow_null"))
        case exp.CharacterSetColumnConstraint():
            draft.charset = known_charset(kind.name)
        case exp.CollateColumnConstraint():
            draft.collation = kind.name
        case exp.AutoIncrementColumnConstraint():
            draft.nullable = False
        case exp.GeneratedAsIdentityColumnConstraint():  # SERIAL DEFAULT VALUE
            draft.nullable, parsed.unique = False, True
        case exp.GeneratedAsRowColumnConstraint():
            draft.system, draft.nullable = ("start" if kind.args["start"] else "end"), False
        case exp.PrimaryKeyColumnConstraint():
            parsed.primary = True
        case exp.UniqueColumnConstraint():
            parsed.unique = True
        case exp.InvisibleColumnConstraint():
            draft.visible = False


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
    elif kind not in _SIZED or (kind in _TIMES and size == (0,)):
        size = ()
    column = ColumnDefinition(name, kind, size, draft.unsigned, charset, (), draft.nullable, draft.visible, draft.system)
    return replace(column, labels=tuple(_label(label, charset) for label in draft.labels)) if draft.labels else column


def _label(tree: exp.Expr, charset: str | None) -> str:
    """Trailing spaces are no part of a label, but in byte strings."""
    text = tree.name
    if not isinstance(tree, exp.Literal):
        text = decode_text(charset or "utf8mb4", _bytes(tree))
    return text if charset == "binary" else text.rstrip(" ")


def _bytes(tree: exp.Expr) -> bytes:
    digits = tree.name
    if isinstance(tree, exp.BitString):
        return int(digits, 2).to_bytes((len(digits) + 7) // 8, "big")
    return bytes.fromhex(digits if len(digits) % 2 == 0 else "0" + digits)


def _sized(kind: str, size: tuple[int, ...], charset: str | None) -> str:
    """TEXT(n) and BLOB(n) are the smallest of their kind that holds n characters."""
    if not size or not size[0]:
        return kind
    length = size[0] * (max_character_bytes(charset) if charset and kind == "text" else 1)
    return ("tiny" if length < 1 << 8 else "" if length < 1 << 16 else "medium" if length < 1 << 24 else "long") + kind
