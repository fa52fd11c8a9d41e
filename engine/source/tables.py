"""From a TABLE_MAP to what the decoder needs: is the table wanted, its key, its schema, its plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

from engine.errors import EngineError, ServerSetupError, SourceError
from engine.position import join_file_name
from engine.schema import TableSchema, pack_schema
from engine.source._rows import RowPlan
from engine.source._versions import Shape, Versions
from engine.source.events import DAMAGED
from engine.source.history.agreement import Disagreement, agreed_schema, hidden_columns, with_known_types, without_hidden
from engine.source.history.catalog import Name, Unknown
from engine.source.history.definition import TableDefinition
from engine.source.history.draft import Session
from engine.source.history.history import Moment, SchemaHistory
from engine.source.old_times import check_old_times
from engine.source.statements import Kind, classify, parse_query
from engine.source.table_map import TableMap, has_full_metadata, parse_table_map, table_schema
from engine.source.versioning import with_implicit_period, with_key_of_current_rows


class Keys(Protocol):
    """The part of Meta that gives table keys; the schema history is kept in the same one."""

    def table_key(self, packed_schema: bytes, *, later: bool = ...) -> int: ...

    def sync(self) -> None: ...


class TableVersions(Versions):
    """Asked once for each TABLE_MAP that the decoder has not seen; see _versions.pyx, which asks here for what is rare.

    wants: `schema.table` -> does any destination take it. keys: gives the table keys. history: what is known of tables whose maps
    don't name their columns; one that keeps nothing unless given.
    """

    def __init__(self, source: str, wants: Callable[[str], bool], keys: Keys, history: SchemaHistory | None = None) -> None:
        self._source = source
        self._keys = keys
        self._history = history if history is not None else SchemaHistory(wants=wants)
        super().__init__(source, wants, keys, self._history)

    def learn(self, body: bytes, post_header_bytes: int, mariadb: bool, moment: Moment) -> frozenset[str]:
        """A QUERY event; the tables (`schema.table` in lower case) whose TABLE_MAPs may mean other columns from here on."""
        statement = parse_query(body, post_header_bytes)
        kind, tables = classify(statement)
        if kind is not Kind.DDL:
            return frozenset()
        session = Session(statement.schema, statement.sql_mode, statement.server_collation, mariadb)
        self.unsynced = True
        return self._history.learn(statement.text, session, tables, moment)

    def sync(self) -> None:
        """The keys, and what has become known of tables, are durable when this returns."""
        self._keys.sync()
        self.unsynced = False

    def _new_shape(self, body: bytes, post_header_bytes: int, mariadb: bool, rest: bytes) -> Shape:
        table_map = parse_table_map(body, post_header_bytes, mariadb)
        if not has_full_metadata(table_map):
            return Shape(mariadb, rest, table_map)
        schema = without_hidden(table_schema(self._source, table_map), hidden_columns(table_map, None, mariadb=mariadb))
        shape = Shape(mariadb, rest, table_map, schema)
        self.keep_shape(shape)
        return shape

    def _planned(
        self, shape: Shape, name: Name, known: TableDefinition | None, moment: Callable[[], Moment]
    ) -> tuple[RowPlan, bytes]:
        """What the map and the history tell together; a map with names is believed, whatever the history has."""
        if shape.schema is None:
            plan = _plan_of(self._schema_by_history(name, shape.table_map, shape.mariadb, moment()), shape.table_map)
            return plan, plan.schema.pack()
        table_map = replace(shape.table_map, schema=name[0], table=name[1])
        schema = replace(shape.schema, schema=name[0], table=name[1])
        if shape.mariadb:
            check_old_times(table_map, known)
            schema = with_known_types(schema, known) if known else with_implicit_period(schema)
        plan = _plan_of(schema, table_map)
        packed_columns = plan.schema.packed_columns()
        shape.planned(known, plan, packed_columns)
        return plan, pack_schema(self._source, *name, packed_columns)

    def _failure(self, error: Exception, table: str, fail: Callable[..., SourceError]) -> SourceError | None:
        """What is raised instead, with the facts of table and event; None: it is something else than what maps make."""
        if isinstance(error, EngineError):
            facts = {key: value for key, value in error.facts.items() if key not in ("source", "file", "offset", "event")}
            kind = type(error) if isinstance(error, SourceError) else SourceError
            return fail(error.what, kind=kind, remedy=error.remedy, **{"table": table, **facts})
        if isinstance(error, ArithmeticError | LookupError | ValueError):
            return fail(f"TABLE_MAP can't be read: {error}", table=table, remedy=DAMAGED)
        return None

    def _known(self, name: Name, schema: TableSchema, moment: Moment) -> TableDefinition | None:
        """What the history, or else its server, has of a table with the columns of this schema."""
        known = self._history.definition(name, moment)
        if isinstance(known, TableDefinition) and _same_names(known, schema):
            return known
        if not self._history.asks_server or (known := self._history.ask_once(name, moment)) is None:
            return None
        if not _same_names(known, schema):
            self._history.refuse(name)
            return None
        self._history.believe(name, known, moment)
        return known

    def _schema_by_history(self, name: Name, table_map: TableMap, mariadb: bool, moment: Moment) -> TableSchema:
        known = self._history.definition(name, moment)
        why = "nothing is known of it at this position"
        sql = None
        if isinstance(known, Unknown):
            why, sql = known
        elif known is not None:
            try:
                return agreed_schema(self._source, table_map, known, mariadb=mariadb)
            except Disagreement as disagreement:
                why = f"in the schema history it is another one: {disagreement}"
        says = ""
        for alone in (False, True) if self._history.asks_server else ():
            found = self._history.ask(name, moment, alone=alone)
            if found is None:
                says = "; the server has no such table now, or doesn't show it to this account (GRANT SELECT)"
            else:
                try:
                    schema = agreed_schema(self._source, table_map, found, mariadb=mariadb)
                except Disagreement as disagreement:
                    says = f"; on the server it is another one by now: {disagreement}"
                else:
                    self._history.believe(name, found, moment)
                    return schema
        raise ServerSetupError(
            f"the binlog has no column names, and the table's columns aren't known: {why}{says}",
            statement=sql, position=_shown(moment), remedy=self._remedy(name, moment),
        )  # fmt: skip

    def _remedy(self, name: Name, moment: Moment) -> str:
        command = f"binlog-engine schema CONFIG set {self._source} {'.'.join(name)} --at {_shown(moment)} --columns FILE"
        if self._history.asks_server:
            reread = command.replace(" set ", " reread ").replace(" --columns FILE", "")
            command = f"{reread} (if the table is still the same), or else {command}"
        return f"say what its columns were: {command}; with SET GLOBAL binlog_row_metadata=FULL on the server the binlog tells"


def _same_names(known: TableDefinition, schema: TableSchema) -> bool:
    return [column.name for column in known.columns] == [column.name for column in schema.columns]


def _plan_of(schema: TableSchema, table_map: TableMap) -> RowPlan:
    schema = with_key_of_current_rows(schema)
    if len(set(schema.primary_key)) != len(schema.primary_key):
        raise ValueError("the primary key names a column twice")
    return RowPlan(schema, table_map, len(table_map.columns) - len(schema.columns))


def _shown(moment: Moment) -> str:
    """`binlog.000001:1234:2`: file, start of the transaction, event in it; what `schema ... --at` takes."""
    file, start, event, _ = moment.at
    return f"{join_file_name(moment.base, file)}:{start}:{event}"


class SourceName(NamedTuple):
    """What a source number stands for: the source's name, and the base name of its binlog files."""

    name: str
    binlog: str


class MemoryKeys:
    """Table keys and source numbers for one process that keeps nothing: `decode`, benches and tests."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._keys: dict[bytes, int] = {}
        self._numbers: dict[str, int] = {}
        self.sources: dict[int, SourceName] = {}

    def table_key(self, packed_schema: bytes, *, later: bool = False) -> int:
        return self._keys.setdefault(packed_schema, len(self._keys) + 1)

    def sync(self) -> None:
        """There is nothing to be synced."""

    def source_number(self, base: str) -> int:
        number = self._numbers.setdefault(base, len(self._numbers) + 1)
        self.sources[number] = SourceName(self._source, base)
        return number
