"""Tables as a live server has them now: information_schema of MySQL and MariaDB."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.errors import ConnectionLost
from engine.position import split_file_name
from engine.source.connection import Connection
from engine.source.history.catalog import Name
from engine.source.history.definition import ColumnDefinition, Key, TableDefinition, charset_of_collation_name

if TYPE_CHECKING:
    from engine.config import SourceConfig

_COLUMNS = """SELECT table_schema, table_name, column_name, column_type, character_set_name, is_nullable, extra, column_key,
generation_expression
FROM information_schema.columns WHERE {} ORDER BY table_schema, table_name, ordinal_position"""
_KEYS = """SELECT table_schema, table_name, index_name, column_name, sub_part, non_unique FROM information_schema.statistics
WHERE {} ORDER BY table_schema, table_name, index_name, seq_in_index"""
_TABLES = """SELECT table_schema, table_name, table_collation, table_type FROM information_schema.tables WHERE {}"""
_SCHEMAS = "SELECT schema_name, default_character_set_name FROM information_schema.schemata"
_OWN = "table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')"
_WHERE = (_OWN, "table_schema = %s", "table_schema = %s AND table_name = %s")  # by the number of names
Query = Callable[..., Iterable[tuple[Any, ...]]]
Wants = Callable[[Name], bool]


class Answer(NamedTuple):
    """What the server says. end: base name, file number and offset where its binlog ended when all had been read."""

    tables: dict[Name, TableDefinition]
    charsets: dict[str, str | None]
    end: tuple[str, int, int]


class ServerTables:
    """Asks a source's server for its tables, on a connection of its own that is opened when it is first needed.

    in_use: the settings for the server that is in use now.
    """

    def __init__(self, in_use: Callable[[], SourceConfig], source: str) -> None:
        self._in_use = in_use
        self._config = in_use()
        self._source = source
        self._connection = Connection(self._config, source)
        self._open = False
        self.case_sensitive: bool | None = None

    def read(self, names: tuple[str, ...] = (), wants: Wants = lambda name: True) -> Answer:
        """A table, or those that are wanted of a schema, or of all but the system's own: names is (schema, table), (schema,) or
        empty. A table that isn't there, or that the account may not see, is missing.

        Raises:
            ConnectionLost, ServerSetupError: the server can't be asked.
        """
        if (config := self._in_use()).url != self._config.url:
            self.close()
            self._config, self._connection = config, Connection(config, self._source)
        if self._open:
            try:
                return self._read(names, wants)
            except ConnectionLost:
                self.close()  # it was idle for long
        self._connection.login()
        self.case_sensitive = self._connection.query("SELECT @@lower_case_table_names")[0][0] == 0
        self._open = True
        return self._read(names, wants)

    def _read(self, names: tuple[str, ...], wants: Wants) -> Answer:
        connection = self._connection
        tables = read_tables(connection.rows, names, wants, mariadb=connection.known_facts.is_mariadb)
        charsets: dict[str, str | None] = {} if names else {row[0]: row[1] for row in connection.query(_SCHEMAS)}
        rows = connection.query_either("SHOW MASTER STATUS", "SHOW BINARY LOG STATUS")
        base, number = split_file_name(str(rows[0][0])) if rows else ("", 0)
        return Answer(tables, charsets, (base, number, int(rows[0][1]) if rows else 0))

    def close(self) -> None:
        self._open = False
        self._connection.close()


def read_tables(
    query: Query, names: tuple[str, ...] = (), wants: Wants = lambda name: True, *, mariadb: bool
) -> dict[Name, TableDefinition]:
    """As ServerTables.read. query: runs a statement with arguments, and gives its rows, which are read once.

    What isn't wanted is never held, and what many tables have in common is held once.
    """
    where = _WHERE[len(names)]
    rows = query(_TABLES.format(where), *names)
    heads: dict[Name, tuple[Any, ...]] = {(row[0], row[1]): row[2:] for row in rows if wants((row[0], row[1]))}
    if not heads:
        return {}  # many that are asked for are of long ago: without sqlglot
    from engine.source.history.elements import with_versioning

    columns: dict[Name, list[ColumnDefinition]] = {}
    promoted: dict[Name, set[str]] = {}
    for schema, table, column, type_, charset, nullable, extra, key, formula in query(_COLUMNS.format(where), *names):
        if (schema, table) not in heads or heads[schema, table][1] == "VIEW":
            continue
        system = {"ROW START": "start", "ROW END": "end"}.get(str(formula), "")
        hidden = "INVISIBLE" in str(extra or "").upper()
        definition = _named_column(column, type_, charset or "binary", mariadb, nullable == "YES", hidden, system)
        columns.setdefault((schema, table), []).append(definition)
        if key == "PRI":
            promoted.setdefault((schema, table), set()).add(column)
    keys: dict[Name, dict[tuple[str, bool], list[tuple[str, int]]]] = {}
    for schema, table, index, column, prefix, repeats in query(_KEYS.format(where), *names):
        if (schema, table) in columns:
            keys.setdefault((schema, table), {}).setdefault((index, not int(repeats)), []).append((column or "", prefix or 0))
    found = {}
    alike: dict[tuple[object, ...], TableDefinition] = {}  # columns of `columns` are the same objects where they are equal
    for each, described in columns.items():
        known = [Key(index, tuple(parts), unique) for (index, unique), parts in keys.get(each, {}).items()]
        # the one that stands in for a primary key first: they aren't listed in the order that decides it
        known.sort(key=lambda key: _distance({column for column, _ in key.columns}, promoted.get(each, set())))
        collation, kind = heads[each]
        same = (*map(id, described), *known, collation, kind)
        if (settled := alike.get(same)) is None:
            made = TableDefinition(tuple(described), tuple(known), collation and charset_of_collation_name(collation))
            settled = alike[same] = (with_versioning(made) if kind == "SYSTEM VERSIONED" else made).settled()
        found[each] = settled
    return found


@lru_cache(maxsize=4096)
def _named_column(
    name: str, type_: str, charset: str, mariadb: bool, nullable: bool, hidden: bool, system: str
) -> ColumnDefinition:
    return replace(_column(type_, charset, mariadb), name=name, nullable=nullable, visible=not hidden, system=system)


@lru_cache(maxsize=1024)
def _column(type_: str, charset: str, mariadb: bool) -> ColumnDefinition:
    """A column of this type: parsing takes longer than all the rest, and most columns have the type of another one."""
    from engine.source.history.columns import Context, read_column
    from engine.source.history.dialect import column as column_tree

    return read_column(column_tree(f"c {type_}", mariadb=mariadb), Context(charset, mariadb)).column


def _distance(columns: set[str], promoted: set[str]) -> int:
    """0: these are the columns that the server marks as primary; 1: some of them; 2: others."""
    return 0 if columns == promoted else 1 if columns <= promoted else 2
