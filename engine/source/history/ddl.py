"""What a statement does to the tables: CREATE, DROP, RENAME, TRUNCATE of tables, databases and indexes.

Read by a parser of our own and not by sqlglot, which hands back whatever its grammar of ALTER and of column attributes
doesn't cover as text. Here only names, types and keys are read, and everything else is skipped by its form, so new options
of new versions do no harm; and what a definition means is checked against each TABLE_MAP anyway.
"""

from __future__ import annotations

from dataclasses import replace

from engine.source.history.alter import alter_table
from engine.source.history.columns import Context
from engine.source.history.definition import Key, TableDefinition, charset_of_collation_name, known_charset
from engine.source.history.draft import Draft, Session
from engine.source.history.elements import TableMaker, charset_option, exists_clause, key_parts, with_versioning, without_key
from engine.source.history.tokens import Cursor, NotUnderstood, tokens


def apply(text: str, session: Session, draft: Draft) -> None:
    """Change the draft as the statement changes the tables; statements that do nothing to them change nothing.

    Raises:
        NotUnderstood: it concerns tables, but what it does to them can't be told.
    """
    cursor = Cursor(tokens(text, session.sql_mode, mariadb=session.mariadb))
    while cursor.accept_one("(", ";"):
        pass
    verb = cursor.accept_one("CREATE", "ALTER", "DROP", "RENAME")
    replaces = verb == "CREATE" and cursor.accept("OR", "REPLACE")
    unique = False
    while word := cursor.accept_one("ONLINE", "OFFLINE", "IGNORE", "UNIQUE"):
        unique |= word == "UNIQUE"
    what = cursor.accept_one("TABLE", "TABLES", "DATABASE", "SCHEMA", "INDEX")
    if not verb or not what:
        return
    if what in ("DATABASE", "SCHEMA"):
        _database(verb, cursor, session, draft)
    elif what == "INDEX":
        _index(verb, cursor, session, draft, unique=unique)
    elif verb == "CREATE":
        _create_table(cursor, session, draft, replaces=replaces)
    elif verb == "ALTER":
        alter_table(cursor, session, draft)
    elif verb == "DROP":
        exists_clause(cursor)
        for element in cursor.elements():
            draft.drop(element.qualified(session.schema))
    else:
        exists_clause(cursor)
        for element in cursor.elements():
            exists_clause(element)
            old = element.qualified(session.schema)
            if element.accept("WAIT"):
                element.take()
            element.accept("NOWAIT")
            element.expect("TO")
            draft.rename(old, element.qualified(session.schema))


# ---- databases and indexes -----------------------------------------------------------------------------------------


def _database(verb: str, cursor: Cursor, session: Session, draft: Draft) -> None:
    exists = exists_clause(cursor)
    if verb == "DROP":
        schema = cursor.name()
        for name in draft.names_in(schema):
            draft.drop(name)
        draft.set_charset(schema, None)
        return
    named = verb == "CREATE" or not _starts_option(cursor)
    found = cursor.name() if named else session.schema
    if found is None:
        raise NotUnderstood("no default schema")
    charset = charset_option(cursor)
    if verb == "CREATE":
        if exists and draft.charset(found):
            return
        charset = charset or draft.default_charset("", session)
    if charset:
        draft.set_charset(found, charset)


def _starts_option(cursor: Cursor) -> bool:
    return cursor.word() in ("DEFAULT", "CHARACTER", "CHARSET", "COLLATE", "ENCRYPTION", "READ", "COMMENT")


def _index(verb: str, cursor: Cursor, session: Session, draft: Draft, *, unique: bool) -> None:
    """Of indexes only unique ones matter, since one may stand in for a primary key."""
    exists_clause(cursor)
    index = cursor.name()
    while cursor and cursor.word() != "ON":
        cursor.skip()
    cursor.expect("ON")
    name = cursor.qualified(session.schema)
    table = draft.find(name)
    if not isinstance(table, TableDefinition):
        return
    if verb == "DROP":
        draft.change(name, without_key(table, index))
    elif unique:
        key = Key(index, key_parts(cursor.group()))
        draft.change(name, replace(table, keys=(*table.keys, key)).settled())


# ---- CREATE TABLE --------------------------------------------------------------------------------------------------


def _create_table(cursor: Cursor, session: Session, draft: Draft, *, replaces: bool) -> None:
    exists = exists_clause(cursor)
    name = cursor.qualified(session.schema)
    if exists and not replaces and isinstance(draft.find(name), TableDefinition):
        return
    body = cursor.group() if cursor.word() == "(" else None
    like = cursor if body is None else body
    if like.accept("LIKE"):
        model = draft.find(like.qualified(session.schema))
        if not isinstance(model, TableDefinition):
            raise NotUnderstood("it is made like a table that isn't known")
        draft.put(name, model)
        return
    if body is None or body.word() == "SELECT" or body.word() == "WITH":
        raise NotUnderstood("its columns come from a SELECT")
    charset, versioned = _table_options(cursor)
    context = Context(charset or draft.default_charset(name[0], session), session.mariadb, session.sql_mode)
    made = TableMaker(context)
    for element in body.elements():
        made.element(element)
    table = TableDefinition(tuple(made.columns), tuple(made.keys), context.charset)
    draft.put(name, (with_versioning(table) if versioned else table).settled())


def _table_options(cursor: Cursor) -> tuple[str | None, bool]:
    """Default character set, and whether MariaDB versions the table's rows.

    Raises:
        NotUnderstood: columns come from a SELECT too.
    """
    charset, versioned = None, False
    while cursor:
        if cursor.accept("CHARACTER", "SET") or cursor.accept("CHAR", "SET") or cursor.accept("CHARSET"):
            cursor.accept("=")
            charset = known_charset(cursor.take().text)
        elif cursor.accept("COLLATE"):
            cursor.accept("=")
            charset = charset_of_collation_name(cursor.take().text) or charset
        elif cursor.accept("WITH", "SYSTEM", "VERSIONING"):
            versioned = True
        elif cursor.word() in ("SELECT", "WITH", "VALUES") and cursor.word(1) != "LESS":
            raise NotUnderstood("some of its columns come from a SELECT")
        elif cursor.word() == "PARTITION" and cursor.word(1) == "BY":
            while cursor and cursor.word() not in ("AS", "SELECT"):
                cursor.skip()
        else:
            cursor.skip()
            if cursor.accept("="):
                cursor.take()
    return (None if charset == "default" else charset), versioned
