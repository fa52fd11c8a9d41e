"""From a TABLE_MAP to what the decoder needs: is the table wanted, its key, its schema, its plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from engine.errors import EngineError, ServerSetupError, SourceError
from engine.position import join_file_name
from engine.schema import TableSchema, pack_schema
from engine.source._rows import RowPlan
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

SHAPES_KEPT = 1024  # beyond, all are made again


class TableVersion(NamedTuple):
    """One version of one table. plan None: nobody wants the table, and nothing else is known of it."""

    name: str
    key: int = 0
    packed: bytes = b""
    plan: RowPlan | None = None


@dataclass
class _Shape:
    """What a TABLE_MAP tells behind the table's names, so that the tables of one kind (shards, tenants) need little each.

    table_map and schema are named after the first of them; schema None: the map doesn't name the columns, and each table may
    have others. plan: of the last of them, of which the history knew so much; None until there is one.
    """

    table_map: TableMap
    schema: TableSchema | None = None
    known: TableDefinition | None = None
    plan: RowPlan | None = None
    packed_columns: bytes = b""


class Keys(Protocol):
    """The part of Meta that gives table keys; the schema history is kept in the same one."""

    def table_key(self, packed_schema: bytes, *, later: bool = ...) -> int: ...

    def sync(self) -> None: ...


class TableVersions:
    """Asked once for each TABLE_MAP that the decoder has not seen.

    wants: `schema.table` -> does any destination take it. keys: gives the table keys. history: what is known of tables whose maps
    don't name their columns; one that keeps nothing unless given.

    unsynced: `sync` has to be called, within milliseconds, before anybody sees a record that uses what was answered.
    """

    def __init__(self, source: str, wants: Callable[[str], bool], keys: Keys, history: SchemaHistory | None = None) -> None:
        self.unsynced = False
        self._source = source
        self._wants = wants
        self._keys = keys
        self._history = history if history is not None else SchemaHistory(wants=wants)
        self._shapes: dict[tuple[bool, bytes], _Shape] = {}  # by what the TABLE_MAP has behind the names, MariaDB's or MySQL's

    def version(
        self, body: bytes, post_header_bytes: int, mariadb: bool, moment: Moment, fail: Callable[..., SourceError]
    ) -> TableVersion:
        """body: the event without header and checksum; mariadb: whose it is; `fail` makes an error with file, offset and event.

        Raises:
            BinlogError: the map can't be read. ServerSetupError: it names no columns, and the history doesn't know them.
            ConnectionLost: the server was asked for the table, and isn't there now.
        """
        names, at = _names(body, post_header_bytes, fail)
        name = ".".join(names)
        if not self._wants(name):
            return TableVersion(name)
        self.unsynced = True
        try:
            shape = self._shapes.get((mariadb, body[at:])) or self._shape(body, post_header_bytes, mariadb, at)
            plan, packed = self._plan(shape, names, mariadb, moment)
        except EngineError as error:
            facts = {key: value for key, value in error.facts.items() if key not in ("source", "file", "offset", "event")}
            kind = type(error) if isinstance(error, SourceError) else SourceError
            raise fail(error.what, kind=kind, remedy=error.remedy, **{"table": name, **facts}) from error
        except (ArithmeticError, LookupError, ValueError) as error:
            raise fail(f"TABLE_MAP can't be read: {error}", table=name, remedy=DAMAGED) from error
        return TableVersion(name, self._keys.table_key(packed, later=True), packed, plan)

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

    def _shape(self, body: bytes, post_header_bytes: int, mariadb: bool, at: int) -> _Shape:
        table_map = parse_table_map(body, post_header_bytes, mariadb)
        if not has_full_metadata(table_map):
            return _Shape(table_map)
        schema = without_hidden(table_schema(self._source, table_map), hidden_columns(table_map, None, mariadb=mariadb))
        if len(self._shapes) >= SHAPES_KEPT:
            self._shapes.clear()
        shape = self._shapes[mariadb, body[at:]] = _Shape(table_map, schema)
        return shape

    def _plan(self, shape: _Shape, name: Name, mariadb: bool, moment: Moment) -> tuple[RowPlan, bytes]:
        """What the map and the history tell together; a map with names is believed, whatever the history has."""
        if shape.schema is None:
            plan = _plan_of(self._schema_by_history(name, shape.table_map, mariadb, moment), shape.table_map)
            return plan, plan.schema.pack()
        known = self._known(name, shape.schema, moment) if mariadb else None
        if shape.plan is not None and shape.known == known:
            return shape.plan.named(*name), pack_schema(self._source, *name, shape.packed_columns)
        table_map = replace(shape.table_map, schema=name[0], table=name[1])
        schema = replace(shape.schema, schema=name[0], table=name[1])
        if mariadb:
            check_old_times(table_map, known)
            schema = with_known_types(schema, known) if known else with_implicit_period(schema)
        plan = _plan_of(schema, table_map)
        packed_columns = plan.schema.packed_columns()
        shape.known, shape.plan, shape.packed_columns = known, plan, packed_columns
        return plan, pack_schema(self._source, *name, packed_columns)

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


def _names(body: bytes, post_header_bytes: int, fail: Callable[..., SourceError]) -> tuple[Name, int]:
    """Schema and table, which follow the post header as length, bytes and 0 each, and where they end; no length reaches 251."""
    try:
        schema = post_header_bytes + 1
        schema_end = schema + body[schema - 1]
        table = schema_end + 2
        table_end = table + body[table - 1]
        ends_too_early = body[schema - 1] > 250 or body[table - 1] > 250 or table_end >= len(body)
    except IndexError:
        ends_too_early = True
    if ends_too_early:
        raise fail("TABLE_MAP ends too early")
    name = body[schema:schema_end].decode("utf-8", "replace"), body[table:table_end].decode("utf-8", "replace")
    return name, table_end + 1


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
