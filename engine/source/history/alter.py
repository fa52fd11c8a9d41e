"""ALTER TABLE, clause by clause, in the order in which the servers carry the clauses out.

They go over the old columns first, which are dropped, renamed or redefined where they stand; then they put in what is added
or moved, clause by clause, so AFTER names columns as they are called afterwards (mysql_prepare_alter_table).
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from engine.source.charsets import max_character_bytes
from engine.source.history.columns import Context, ParsedColumn, read_column
from engine.source.history.definition import (
    CHARSET_TYPES,
    PRIMARY,
    ColumnDefinition,
    Key,
    NotUnderstood,
    TableDefinition,
    charset_of_collation_name,
    known_charset,
    same,
)
from engine.source.history.draft import Draft, Session
from engine.source.history.elements import TableMaker, charset_option, told_name, with_versioning

_TEXTS = {"tinytext": 0xFF, "text": 0xFFFF, "mediumtext": 0xFFFFFF, "longtext": 0xFFFFFFFF}  # most bytes


def alter_table(tree: exp.Alter, session: Session, draft: Draft) -> None:
    """Carry out an Alter of kind TABLE.

    Raises:
        NotUnderstood: the table isn't known, or lacks what a clause names.
    """
    name = told_name(tree.this, session.schema)
    known = draft.find(name)
    clauses = tree.args["actions"]
    if not isinstance(known, TableDefinition):
        for clause in clauses:
            if isinstance(clause, exp.AlterRename):
                draft.rename(name, told_name(clause.this, session.schema))
            elif known is not None:
                _other_tables(clause, None, session, draft)
        return
    altered = _Alteration(known, name[0], session, draft)
    for clause in clauses:
        altered.clause(clause)
    changed = altered.result()
    if changed != known:
        draft.change(name, changed)
    if altered.new_name:
        draft.rename(name, altered.new_name)


class _Alteration:
    """The clauses of one ALTER TABLE, gathered; `result` carries them out."""

    def __init__(self, table: TableDefinition, schema: str, session: Session, draft: Draft) -> None:
        self.table = table
        self.schema = schema
        self.session = session
        self.draft = draft
        self.new_name: tuple[str, str] | None = None
        self.charset = table.charset
        self.convert_to: str | None = None
        self.dropped: set[str] = set()
        self.renamed: dict[str, str] = {}
        self.redefined: dict[str, ParsedColumn] = {}  # by the old name
        self.placed: list[tuple[str, ParsedColumn]] = []  # added ("") or moved (old name), in the clauses' order
        self.visible: dict[str, bool] = {}
        self.dropped_keys: set[str] = set()
        self.renamed_keys: dict[str, str] = {}
        self.key_clauses: list[exp.Expr | ParsedColumn] = []
        self.versioning: bool | None = None
        self.column_clauses: list[tuple[str, exp.ColumnDef]] = []  # old name, "" for those that are added

    def clause(self, tree: exp.Expr) -> None:
        match tree:
            case exp.ColumnDef():
                if not tree.args.get("exists") or self.table.position(tree.name) < 0:
                    self.column_clauses.append(("", tree))
            case exp.ModifyColumn():
                rename = tree.args.get("rename_from")
                if old := self._column(rename.name if rename else tree.this.name, lenient=tree.this.args.get("exists")):
                    self.column_clauses.append((old, tree.this))
            case exp.RenameColumn():
                if old := self._column(tree.name, lenient=tree.args.get("exists")):
                    self.renamed[old] = tree.args["to"].name
            case exp.AlterColumn():
                column = self._column(tree.name, lenient=tree.args.get("exists"))
                self.visible[column] = tree.args["visible"] == "VISIBLE"
            case exp.Drop():
                name = tree.args["tables"][0].name
                if tree.args["kind"] == "INDEX":
                    self.dropped_keys.add(name.lower())
                else:
                    self.dropped.add(self._column(name, lenient=tree.args.get("exists")))
            case exp.DropPrimaryKey():
                self.dropped_keys.add(PRIMARY.lower())
            case exp.RenameIndex():
                self.renamed_keys[tree.name.lower()] = tree.args["to"].name
            case exp.AddConstraint():
                self.key_clauses += tree.expressions
            case exp.AlterRename():
                self.new_name = told_name(tree.this, self.session.schema)
            case exp.WithSystemVersioningProperty():
                self.versioning = tree.args["on"]
            case exp.AlterSet():
                self._convert(tree.expressions)
            case exp.CharacterSetProperty() | exp.CollateProperty():
                self.charset = charset_option([tree]) or self.charset
            case _:
                _other_tables(tree, self.table, self.session, self.draft)

    def _convert(self, options: list[exp.Expr]) -> None:
        """CONVERT TO CHARACTER SET x [COLLATE y]; `default` is that of the database."""
        charset = known_charset(options[0].name)
        for option in options[1:]:
            charset = charset_of_collation_name(option.name) or charset
        if charset == "binary":
            raise NotUnderstood("text becomes bytes")
        found = self.draft.default_charset(self.schema, self.session) if charset == "default" else charset
        self.convert_to = found
        self.charset = found

    def _column(self, name: str, *, lenient: bool | None) -> str:
        """The column's name in lower case; "" where it isn't there, and that is allowed."""
        if self.table.position(name) < 0:
            if lenient:
                return ""
            raise NotUnderstood(f"column {name} is not known")
        return name.lower()

    def _parse_columns(self) -> None:
        """Only now is the character set known that new columns get, wherever its clause stands."""
        context = Context(self.charset, self.session.mariadb, self.session.sql_mode)
        for old, tree in self.column_clauses:
            parsed = read_column(tree, context)
            if not old:
                self.placed.append(("", parsed))
            else:
                if parsed.first or parsed.after:
                    self.placed.append((old, parsed))
                else:
                    self.redefined[old] = parsed
                if not same(parsed.column.name, old):
                    self.renamed[old] = parsed.column.name
            if parsed.primary or parsed.unique:
                self.key_clauses.append(parsed)

    def result(self) -> TableDefinition:
        """The table after all clauses.

        Raises:
            NotUnderstood: they contradict the columns that are there.
        """
        self._parse_columns()
        columns = self._columns()
        lower = [column.name.lower() for column in columns]
        if len(set(lower)) != len(lower):
            raise NotUnderstood("a column would be there twice")
        if self.convert_to:
            touched = {id(parsed.column) for parsed in [*self.redefined.values(), *(p for _, p in self.placed)]}
            columns = [converted(column, self.convert_to, longer=id(column) not in touched) for column in columns]
        keys = self._keys(columns)
        table = TableDefinition(tuple(columns), tuple(keys), self.charset)
        if self.versioning:
            table = with_versioning(table)
        elif self.versioning is False:
            table = replace(table, columns=tuple(c for c in table.columns if c.visible or not c.system))
        return table.settled()

    def _columns(self) -> list[ColumnDefinition]:
        columns: list[ColumnDefinition] = []
        redefined = self.redefined | {old: parsed for old, parsed in self.placed if old}
        for column in self.table.columns:
            old = column.name.lower()
            if old in self.dropped:
                continue
            if old in redefined:
                columns.append(redefined[old].column)
                continue
            if old in self.renamed:
                column = replace(column, name=self.renamed[old])
            if old in self.visible:
                column = replace(column, visible=self.visible[old])
            columns.append(column)
        for old, parsed in self.placed:
            if old:  # a column that moves stands in its old place until it is its turn
                columns = [column for column in columns if column is not parsed.column]
            at = len(columns)
            while not (parsed.first or parsed.after) and at and columns[at - 1].system and not columns[at - 1].visible:
                at -= 1  # what nobody sees stays last
            if parsed.first:
                at = 0
            elif parsed.after:
                at = 1 + next((i for i, column in enumerate(columns) if same(column.name, parsed.after)), -1)
                if not at:
                    raise NotUnderstood(f"column {parsed.after} is not known")
            columns.insert(at, parsed.column)
        return columns

    def _keys(self, columns: list[ColumnDefinition]) -> list[Key]:
        keys = []
        for key in self.table.keys:
            if key.name.lower() in self.dropped_keys:
                continue
            parts = tuple(
                (self.renamed.get(name.lower(), name), prefix) for name, prefix in key.columns if name.lower() not in self.dropped
            )
            if parts:
                keys.append(replace(key, name=self.renamed_keys.get(key.name.lower(), key.name), columns=parts))
        maker = TableMaker(Context(self.charset, self.session.mariadb), columns, keys)
        for clause in self.key_clauses:
            if isinstance(clause, ParsedColumn):
                maker.column_keys(clause)
            else:
                maker.key(clause)
        return keys


def converted(column: ColumnDefinition, charset: str, *, longer: bool) -> ColumnDefinition:
    """A column after CONVERT TO; longer: a TEXT becomes one that holds as many characters, as the servers see to it."""
    if column.type not in CHARSET_TYPES or column.charset == "binary":
        return column
    kind = column.type
    if longer and kind in _TEXTS and column.charset:
        needed = _TEXTS[kind] // max_character_bytes(column.charset) * max_character_bytes(charset)
        kind = next((text for text, most in _TEXTS.items() if most >= max(needed, _TEXTS[kind])), "longtext")
    return replace(column, type=kind, charset=charset)


def _other_tables(tree: exp.Expr, model: TableDefinition | None, session: Session, draft: Draft) -> None:
    """MariaDB's CONVERT PARTITION p TO TABLE x, a Clone of the model, and CONVERT TABLE x TO PARTITION, a SwapTable."""
    if isinstance(tree, exp.Clone):
        name = told_name(tree.this, session.schema)
        draft.put(name, model) if model else draft.drop(name)
    elif isinstance(tree, exp.SwapTable):
        draft.drop(told_name(tree.this, session.schema))
