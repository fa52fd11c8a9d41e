"""What CREATE TABLE and ALTER TABLE share: columns and keys as elements of a list, and options."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sqlglot import exp

from engine.source.history.columns import Context, ParsedColumn, read_column
from engine.source.history.definition import (
    PRIMARY,
    ColumnDefinition,
    Key,
    NotUnderstood,
    TableDefinition,
    charset_of_collation_name,
    known_charset,
    same,
)


def told_name(tree: exp.Expr | None, schema: str | None) -> tuple[str, str]:
    """(schema, table) of a Table; without a schema in the default one."""
    assert isinstance(tree, exp.Table)
    schema = tree.db or schema
    if not schema:
        raise NotUnderstood("no default schema")
    return schema, tree.name


def charset_option(options: Iterable[exp.Expr]) -> str | None:
    """The last character set that options name, if one does; `default` is as none."""
    charset = None
    for option in options:
        if isinstance(option, exp.CharacterSetProperty):
            charset = known_charset(option.name)
        elif isinstance(option, exp.CollateProperty):
            charset = charset_of_collation_name(option.name) or charset
    return None if charset == "default" else charset


class TableMaker:
    """Gathers columns and keys from the elements of CREATE TABLE, and from ALTER TABLE's ADD."""

    def __init__(self, context: Context, columns: list[ColumnDefinition] | None = None, keys: list[Key] | None = None) -> None:
        self.context = context
        self.columns = columns if columns is not None else []
        self.keys = keys if keys is not None else []
        self.periods: dict[str, tuple[str, str]] = {}

    def element(self, tree: exp.Expr) -> None:
        """A ColumnDef, put at the end, or a key."""
        if not isinstance(tree, exp.ColumnDef):
            self.key(tree)
            return
        parsed = read_column(tree, self.context)
        self.columns.append(parsed.column)
        self.column_keys(parsed)

    def column_keys(self, parsed: ParsedColumn) -> None:
        name = parsed.column.name
        if parsed.primary:
            self.keys.append(Key(PRIMARY, ((name, 0),)))
        elif parsed.unique:
            self.keys.append(Key(self._free_name(name), ((name, 0),)))

    def key(self, tree: exp.Expr) -> None:
        """PrimaryKey, UniqueColumnConstraint, IndexColumnConstraint or a PERIOD; the others say nothing of interest."""
        if isinstance(tree, exp.PeriodForSystemTimeConstraint):
            self._period(tree)
        elif isinstance(tree, exp.PrimaryKey | exp.UniqueColumnConstraint | exp.IndexColumnConstraint):
            parts = self._parts(tree.this.expressions)
            name = PRIMARY if isinstance(tree, exp.PrimaryKey) else tree.this.name
            if tree.args.get("exists") and any(same(key.name, name or parts[0][0]) for key in self.keys):
                return
            unique = not isinstance(tree, exp.IndexColumnConstraint)
            self.keys.append(Key(name or self._free_name(parts[0][0] or "functional_index"), parts, unique))

    def _period(self, tree: exp.Expr) -> None:
        """MariaDB's PERIOD FOR p (a, b): neither of its columns is ever NULL."""
        begin, end = (part.name for part in tree.expression.expressions)
        self.periods[tree.name.lower()] = (begin, end)
        for i, column in enumerate(self.columns):
            if same(column.name, begin) or same(column.name, end):
                self.columns[i] = replace(column, nullable=False)

    def _parts(self, parts: list[exp.Expr]) -> tuple[tuple[str, int], ...]:
        """The same as key_parts, with the columns of a period WITHOUT OVERLAPS in its place."""
        if parts and isinstance(parts[-1], exp.PeriodForSystemTimeConstraint):
            if parts[-1].name.lower() not in self.periods:
                raise NotUnderstood(f"the period {parts[-1].name} is not known")
            begin, end = self.periods[parts[-1].name.lower()]
            return (*key_parts(parts[:-1]), (end, 0), (begin, 0))
        return key_parts(parts)

    def _free_name(self, column: str) -> str:
        """What the servers call a key that has no name: its first column, then with _2, _3 ..."""
        taken = {key.name.lower() for key in self.keys}
        names = [column, *(f"{column}_{i}" for i in range(2, len(taken) + 3))]
        return next(name for name in names if name.lower() not in taken)


def key_parts(parts: Iterable[exp.Expr]) -> tuple[tuple[str, int], ...]:
    """(column, characters of its prefix or 0) each; the column of an expression is ""."""
    found = []
    for part in parts:
        if isinstance(part, exp.ColumnPrefix):
            found.append((part.name, int(part.expression.name)))
        else:
            found.append(("" if isinstance(part, exp.Paren) else part.name, 0))
    return tuple(found)


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
