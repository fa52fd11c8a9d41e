"""What a statement does to the tables: CREATE, DROP, RENAME of tables, databases and indexes; ALTER TABLE is in alter.py.

Statements are parsed by sqlglot (dialect.py, grammar.py); what they mean is checked against each TABLE_MAP anyway.
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from engine.source.history import dialect
from engine.source.history.alter import alter_table
from engine.source.history.columns import Context
from engine.source.history.definition import Key, NotUnderstood, TableDefinition
from engine.source.history.draft import Draft, Session
from engine.source.history.elements import TableMaker, charset_option, key_parts, told_name, with_versioning, without_key


def apply(text: str, session: Session, draft: Draft) -> None:
    """Change the draft as the statement changes the tables; statements that do nothing to them change nothing.

    Raises:
        NotUnderstood: it concerns tables, but what it does to them can't be told.
    """
    for tree in dialect.parse(text, session.sql_mode, mariadb=session.mariadb):
        _apply(tree, session, draft)


def _apply(tree: exp.Expr, session: Session, draft: Draft) -> None:
    match tree, tree.args.get("kind"):
        case exp.Create(), "TABLE":
            _create_table(tree, session, draft)
        case exp.Create(), "INDEX":
            index = tree.this
            key = Key(index.name, key_parts(index.args["params"].args["columns"]), tree.args["unique"])
            how = {"exists": tree.args["exists"], "replaces": tree.args["replace"]}
            _change_keys(index.args["table"], session, draft, added=key, **how)
        case exp.Create(), "DATABASE":
            _create_database(tree, session, draft)
        case exp.Alter(), "TABLE":
            alter_table(tree, session, draft)
        case exp.Alter(), "DATABASE":
            if charset := charset_option(tree.args["options"]):
                draft.set_charset(_database(tree.this, session), charset)
        case exp.Drop(), "TABLE":
            for table in tree.args["tables"]:
                draft.drop(told_name(table, session.schema))
        case exp.Drop(), "INDEX":
            _change_keys(tree.args["cluster"], session, draft, dropped=tree.args["tables"][0].name)
        case exp.Drop(), "DATABASE":
            schema = tree.args["tables"][0].db
            for name in draft.names_in(schema):
                draft.drop(name)
            draft.set_charset(schema, None)
        case exp.Block(), _:
            for each in tree.expressions:
                _apply(each, session, draft)


# ---- databases and indexes -----------------------------------------------------------------------------------------


def _database(tree: exp.Expr | None, session: Session) -> str:
    schema = tree.db if isinstance(tree, exp.Table) else session.schema
    if schema is None:
        raise NotUnderstood("no default schema")
    return schema


def _create_database(tree: exp.Create, session: Session, draft: Draft) -> None:
    schema = _database(tree.this, session)
    if tree.args["exists"] and draft.charset(schema):
        return
    charset = charset_option(tree.args["properties"].expressions) or draft.default_charset("", session)
    if charset:
        draft.set_charset(schema, charset)


def _change_keys(
    table: exp.Expr, session: Session, draft: Draft, *, added: Key | None = None, dropped: str = "", exists: bool = False,
    replaces: bool = False,
) -> None:  # fmt: skip
    """CREATE and DROP INDEX; a unique one may stand in for a primary key."""
    name = told_name(table, session.schema)
    known = draft.find(name)
    if not isinstance(known, TableDefinition):
        return
    rest = without_key(known, added.name if added else dropped)
    if added is None or replaces:
        known = rest
    if added and not (exists and rest != known):
        known = replace(known, keys=(*known.keys, added))
    draft.change(name, known.settled())


# ---- CREATE TABLE --------------------------------------------------------------------------------------------------


def _create_table(tree: exp.Create, session: Session, draft: Draft) -> None:
    body = tree.this
    name = told_name(body.this if isinstance(body, exp.Schema) else body, session.schema)
    if tree.args["exists"] and not tree.args["replace"] and isinstance(draft.find(name), TableDefinition):
        return
    options = tree.args["properties"].expressions
    if model := next((option for option in options if isinstance(option, exp.LikeProperty)), None):
        found = draft.find(told_name(model.this, session.schema))
        if not isinstance(found, TableDefinition):
            raise NotUnderstood("it is made like a table that isn't known")
        draft.put(name, found)
        return
    if tree.args["expression"] or not isinstance(body, exp.Schema):
        raise NotUnderstood("its columns come from a SELECT")
    context = Context(charset_option(options) or draft.default_charset(name[0], session), session.mariadb, session.sql_mode)
    made = TableMaker(context)
    for element in body.expressions:
        made.element(element)
    table = TableDefinition(tuple(made.columns), tuple(made.keys), context.charset)
    versioned = any(isinstance(option, exp.WithSystemVersioningProperty) for option in options)
    draft.put(name, (with_versioning(table) if versioned else table).settled())
