"""What CREATE TABLE and ALTER TABLE share: columns and keys as elements of a list, and options."""

from __future__ import annotations

from dataclasses import replace

from engine.source.history.columns import Context, ParsedColumn, parse_column
from engine.source.history.definition import (
    PRIMARY,
    ColumnDefinition,
    Key,
    TableDefinition,
    charset_of_collation_name,
    known_charset,
    same,
)
from engine.source.history.tokens import Cursor

KEY_WORDS = {"CONSTRAINT", "PRIMARY", "UNIQUE", "INDEX", "KEY", "FULLTEXT", "SPATIAL", "FOREIGN", "CHECK"}


def exists_clause(cursor: Cursor) -> bool:
    """Past IF EXISTS or IF NOT EXISTS, if it comes."""
    return cursor.accept("IF", "EXISTS") or cursor.accept("IF", "NOT", "EXISTS")


def charset_option(cursor: Cursor) -> str | None:
    """Go to the end; the last character set that an option on the way names, if one does."""
    charset = None
    while cursor:
        if cursor.accept("CHARACTER", "SET") or cursor.accept("CHAR", "SET") or cursor.accept("CHARSET"):
            cursor.accept("=")
            charset = known_charset(cursor.take().text)
        elif cursor.accept("COLLATE"):
            cursor.accept("=")
            charset = charset_of_collation_name(cursor.take().text) or charset
        else:
            cursor.skip()
    return None if charset == "default" else charset


class TableMaker:
    """Gathers columns and keys from the elements between CREATE TABLE's parentheses, and from ALTER TABLE's ADD."""

    def __init__(self, context: Context, columns: list[ColumnDefinition] | None = None, keys: list[Key] | None = None) -> None:
        self.context = context
        self.columns = columns if columns is not None else []
        self.keys = keys if keys is not None else []

    def element(self, cursor: Cursor) -> ParsedColumn | None:
        """One element; a column is put at the end, and returned."""
        if is_key(cursor):
            self.key(cursor)
            return None
        parsed = parse_column(cursor, self.context)
        self.columns.append(parsed.column)
        self.column_keys(parsed)
        return parsed

    def column_keys(self, parsed: ParsedColumn) -> None:
        name = parsed.column.name
        if parsed.primary:
            self.keys.append(Key(PRIMARY, ((name, 0),)))
        elif parsed.unique:
            self.keys.append(Key(self._free_name(name), ((name, 0),)))

    def key(self, cursor: Cursor) -> None:
        """CONSTRAINT, PRIMARY KEY, UNIQUE; the others say nothing of interest."""
        symbol = ""
        if cursor.accept("CONSTRAINT") and cursor.word() not in ("PRIMARY", "UNIQUE", "FOREIGN", "CHECK"):
            symbol = cursor.name()
        if cursor.accept("PRIMARY"):
            self._declare(cursor, PRIMARY)
        elif cursor.accept("UNIQUE"):
            cursor.accept_one("INDEX", "KEY")
            exists_clause(cursor)
            if cursor.word() not in ("(", "USING"):
                symbol = cursor.name()
            self._declare(cursor, symbol)

    def _declare(self, cursor: Cursor, name: str) -> None:
        while cursor and cursor.word() != "(":
            cursor.take()
        parts = key_parts(cursor.group())
        self.keys.append(Key(name or self._free_name(parts[0][0] or "functional_index"), parts))

    def _free_name(self, column: str) -> str:
        """What the servers call a key that has no name: its first column, then with _2, _3 ..."""
        taken = {key.name.lower() for key in self.keys}
        names = [column, *(f"{column}_{i}" for i in range(2, len(taken) + 3))]
        return next(name for name in names if name.lower() not in taken)


def is_key(cursor: Cursor) -> bool:
    """Whether an element is a key, a constraint or a PERIOD, and not a column."""
    word = cursor.word()
    if word == "VECTOR":
        return cursor.word(1) in ("INDEX", "KEY", "(")
    return word in KEY_WORDS or (word == "PERIOD" and cursor.word(1) == "FOR")


def key_parts(cursor: Cursor) -> tuple[tuple[str, int], ...]:
    """(column, characters of its prefix or 0) each; the column of an expression is ""."""
    parts = []
    for element in cursor.elements():
        if element.word() == "(":
            parts.append(("", 0))
            continue
        name = element.name()
        prefix = int(element.group().take().text) if element.word() == "(" else 0
        parts.append((name, prefix))
    return tuple(parts)


def with_versioning(table: TableDefinition) -> TableDefinition:
    """MariaDB's WITH SYSTEM VERSIONING adds two columns that nobody sees, unless the table declares its own."""
    if any(column.system for column in table.columns):
        return table
    hidden = (hidden_column(f"row_{system}", system) for system in ("start", "end"))
    return replace(table, columns=(*table.columns, *hidden))


def hidden_column(name: str, system: str) -> ColumnDefinition:
    return ColumnDefinition(name, "timestamp", (6,), nullable=False, visible=False, system=system)


def without_key(table: TableDefinition, name: str) -> TableDefinition:
    return replace(table, keys=tuple(key for key in table.keys if not same(key.name, name)))
