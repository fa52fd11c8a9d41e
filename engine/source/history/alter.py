"""ALTER TABLE, clause by clause, in the order in which the servers carry the clauses out.

They go over the old columns first: those that are dropped, renamed or redefined where they stand; then they put in what is
added or moved, clause by clause, so AFTER names columns as they are called afterwards (mysql_prepare_alter_table).
"""

from __future__ import annotations

from dataclasses import replace

from engine.source.history.columns import CHARSET_TYPES, Context, ParsedColumn, parse_column
from engine.source.history.definition import (
    PRIMARY,
    ColumnDefinition,
    Key,
    TableDefinition,
    charset_of_collation_name,
    known_charset,
    same,
)
from engine.source.history.draft import Draft, Session
from engine.source.history.elements import TableMaker, charset_option, exists_clause, is_key, with_versioning
from engine.source.history.tokens import Cursor, NotUnderstood

# Clauses and options that change neither columns nor keys nor character sets.
_NO_EFFECT = {
    "ALGORITHM", "ANALYZE", "AUTOEXTEND_SIZE", "AUTO_INCREMENT", "AVG_ROW_LENGTH", "CHECK", "CHECKSUM", "COALESCE", "COMMENT",
    "COMPRESSION", "CONNECTION", "DATA", "DELAY_KEY_WRITE", "DISABLE", "DISCARD", "ENABLE", "ENCRYPTED", "ENCRYPTION",
    "ENCRYPTION_KEY_ID", "ENGINE", "ENGINE_ATTRIBUTE", "EXCHANGE", "FORCE", "IETF_QUOTES", "IMPORT", "INDEX", "INSERT_METHOD",
    "KEY_BLOCK_SIZE", "LOCK", "MAX_ROWS", "MIN_ROWS", "NOWAIT", "OPTIMIZE", "ORDER", "PACK_KEYS", "PAGE_CHECKSUM",
    "PAGE_COMPRESSED", "PAGE_COMPRESSION_LEVEL", "PARTITION", "PASSWORD", "REBUILD", "REMOVE", "REORGANIZE", "REPAIR",
    "ROW_FORMAT", "SECONDARY_ENGINE", "SECONDARY_ENGINE_ATTRIBUTE", "SECONDARY_LOAD", "SECONDARY_UNLOAD", "SEQUENCE",
    "START", "STATS_AUTO_RECALC", "STATS_PERSISTENT", "STATS_SAMPLE_PAGES", "STORAGE", "TABLESPACE", "TRANSACTIONAL",
    "TRUNCATE", "UNION", "WAIT", "WITH", "WITHOUT",
}  # fmt: skip


def alter_table(cursor: Cursor, session: Session, draft: Draft) -> None:
    """ALTER [ONLINE] [IGNORE] TABLE, from the name on.

    Raises:
        NotUnderstood: the table isn't known, lacks what a clause names, or a clause is of no known form.
    """
    exists_clause(cursor)
    name = cursor.qualified(session.schema)
    known = draft.find(name)
    while (cursor.accept("WAIT") and cursor.take()) or cursor.accept("NOWAIT"):
        pass
    clauses = [clause for clause in cursor.elements() if clause]
    if not isinstance(known, TableDefinition):
        renamed = [clause for clause in clauses if is_rename(clause)]
        if known is not None or renamed:
            _rename(renamed, name, session, draft)
        return
    altered = _Alteration(known, name[0], session, draft)
    for clause in clauses:
        altered.clause(clause)
    changed = altered.result()
    if changed != known:
        draft.change(name, changed)
    if altered.new_name:
        draft.rename(name, altered.new_name)


def is_rename(clause: Cursor) -> bool:
    return clause.word() == "RENAME" and clause.word(1) not in ("COLUMN", "INDEX", "KEY")


def _rename(clauses: list[Cursor], name: tuple[str, str], session: Session, draft: Draft) -> None:
    for clause in clauses:
        clause.expect("RENAME")
        clause.accept_one("TO", "AS", "=")
        draft.rename(name, clause.qualified(session.schema))


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
        self.key_clauses: list[Cursor | ParsedColumn] = []
        self.versioning: bool | None = None
        self.column_clauses: list[tuple[str, str, Cursor]] = []

    def clause(self, cursor: Cursor) -> None:
        word = cursor.word()
        if is_rename(cursor):
            cursor.take()
            cursor.accept_one("TO", "AS", "=")
            self.new_name = cursor.qualified(self.session.schema)
        elif word in ("ADD", "DROP", "MODIFY", "CHANGE", "ALTER", "RENAME"):
            cursor.take()
            getattr(self, f"_{word.lower()}")(cursor)
        elif cursor.accept("CONVERT", "TO"):
            if cursor.accept("CHARACTER", "SET") or cursor.accept("CHAR", "SET") or cursor.accept("CHARSET"):
                self._convert(cursor)
        elif cursor.word(1) == "=" or word in _NO_EFFECT | {"DEFAULT", "CHARACTER", "CHARSET", "COLLATE", "CONVERT", "CHAR"}:
            self.charset = charset_option(cursor) or self.charset
        else:
            raise NotUnderstood(f"the clause {word or cursor.take().text} is not known")

    def _add(self, cursor: Cursor) -> None:
        if cursor.word() in ("PARTITION", "PERIOD") and cursor.word(1):
            return
        if cursor.accept("SYSTEM", "VERSIONING"):
            self.versioning = True
            return
        if is_key(cursor):
            self.key_clauses.append(cursor)
            return
        cursor.accept("COLUMN")
        missing = exists_clause(cursor)
        if cursor.word() == "(":
            for element in cursor.group().elements():
                if is_key(element):
                    self.key_clauses.append(element)
                else:
                    self.column_clauses.append(("add", "", element))
        else:
            self.column_clauses.append(("add if missing" if missing else "add", "", cursor))

    def _drop(self, cursor: Cursor) -> None:
        if cursor.accept("PRIMARY", "KEY"):
            self.dropped_keys.add(PRIMARY.lower())
        elif cursor.accept("SYSTEM", "VERSIONING"):
            self.versioning = False
        elif cursor.accept_one("INDEX", "KEY", "CONSTRAINT"):
            exists_clause(cursor)
            self.dropped_keys.add(cursor.name().lower())
        elif cursor.word() not in ("FOREIGN", "CHECK", "PARTITION") and not (
            cursor.word() == "PERIOD" and cursor.word(1) == "FOR"
        ):
            cursor.accept("COLUMN")
            lenient = exists_clause(cursor)
            self.dropped.add(self._column(cursor.name(), lenient=lenient))

    def _modify(self, cursor: Cursor) -> None:
        cursor.accept("COLUMN")
        lenient = exists_clause(cursor)
        token = cursor.peek()
        if token is None:
            raise NotUnderstood("MODIFY of nothing")
        if old := self._column(token.text, lenient=lenient):
            self.column_clauses.append(("change", old, cursor))

    def _change(self, cursor: Cursor) -> None:
        cursor.accept("COLUMN")
        lenient = exists_clause(cursor)
        if old := self._column(cursor.name(), lenient=lenient):
            self.column_clauses.append(("change", old, cursor))

    def _alter(self, cursor: Cursor) -> None:
        if cursor.word() in ("INDEX", "KEY", "CHECK", "CONSTRAINT") and cursor.word(1) != "SET":
            return
        cursor.accept("COLUMN")
        lenient = exists_clause(cursor)
        column = self._column(cursor.name(), lenient=lenient)
        if cursor.accept("SET") and cursor.word() in ("VISIBLE", "INVISIBLE"):
            self.visible[column] = cursor.word() == "VISIBLE"

    def _rename(self, cursor: Cursor) -> None:
        names = self.renamed if cursor.accept("COLUMN") else self.renamed_keys
        if names is self.renamed_keys:
            cursor.accept_one("INDEX", "KEY")
        lenient = exists_clause(cursor)
        old = cursor.name()
        cursor.expect("TO")
        if names is self.renamed_keys:
            names[old.lower()] = cursor.name()
        elif column := self._column(old, lenient=lenient):
            names[column] = cursor.name()

    def _convert(self, cursor: Cursor) -> None:
        charset = known_charset(cursor.take().text)
        if cursor.accept("COLLATE"):
            charset = charset_of_collation_name(cursor.take().text) or charset
        if charset == "binary":
            raise NotUnderstood("text becomes bytes")
        found = self.draft.default_charset(self.schema, self.session) if charset == "default" else charset
        self.convert_to = found
        self.charset = found

    def _column(self, name: str, *, lenient: bool) -> str:
        """The column's name in lower case; "" where it isn't there, and that is allowed."""
        if self.table.position(name) < 0:
            if lenient:
                return ""
            raise NotUnderstood(f"column {name} is not known")
        return name.lower()

    def _parse_columns(self) -> None:
        """Only now is the character set known that new columns get, wherever its clause stands."""
        context = Context(self.charset, self.session.mariadb, self.session.sql_mode)
        for how, old, cursor in self.column_clauses:
            parsed = parse_column(cursor, context)
            if how == "change":
                if parsed.first or parsed.after:
                    self.placed.append((old, parsed))
                else:
                    self.redefined[old] = parsed
                if not same(parsed.column.name, old):
                    self.renamed[old] = parsed.column.name
            elif how == "add" or self.table.position(parsed.column.name) < 0:
                self.placed.append(("", parsed))
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
            columns = [
                replace(column, charset=self.convert_to)
                if column.type in CHARSET_TYPES and column.charset != "binary" and id(column) not in touched
                else column
                for column in columns
            ]
        keys = self._keys(columns)
        table = TableDefinition(tuple(columns), tuple(keys), self.charset)
        if self.versioning:
            table = with_versioning(table)
        elif self.versioning is False:
            table = replace(table, columns=tuple(c for c in table.columns if c.visible or not c.system))
        return table.settled()

    def _columns(self) -> list[ColumnDefinition]:
        moved = {old for old, _ in self.placed if old}
        columns: list[ColumnDefinition] = []
        for column in self.table.columns:
            old = column.name.lower()
            if old in self.dropped or old in moved:
                continue
            if old in self.redefined:
                columns.append(self.redefined[old].column)
                continue
            if old in self.renamed:
                column = replace(column, name=self.renamed[old])
            if old in self.visible:
                column = replace(column, visible=self.visible[old])
            columns.append(column)
        for _, parsed in self.placed:
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
                keys.append(Key(self.renamed_keys.get(key.name.lower(), key.name), parts))
        maker = TableMaker(Context(self.charset, self.session.mariadb), columns, keys)
        for clause in self.key_clauses:
            if isinstance(clause, ParsedColumn):
                maker.column_keys(clause)
            else:
                maker.key(clause)
        return keys
