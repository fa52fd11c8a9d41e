"""From a TABLE_MAP to what the decoder needs: is the table wanted, its key, its schema, its plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from engine.errors import EngineError, ServerSetupError, SourceError
from engine.position import join_file_name
from engine.schema import TableSchema
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


class TableVersion(NamedTuple):
    """One version of one table. plan None: nobody wants the table, and nothing else is known of it."""

    name: str
    key: int = 0
    packed: bytes = b""
    plan: RowPlan | None = None


class TableVersions:
    """Asked once for each TABLE_MAP that the decoder has not seen.

    wants: `schema.table` -> does any destination take it. key_of: TableSchema.pack() -> table key. history: what is known of
    tables whose maps don't name their columns; one that keeps nothing unless given.
    """

    def __init__(
        self, source: str, wants: Callable[[str], bool], key_of: Callable[[bytes], int], history: SchemaHistory | None = None
    ) -> None:
        self._source = source
        self._wants = wants
        self._key_of = key_of
        self._history = history if history is not None else SchemaHistory(wants=wants)

    def version(
        self, body: bytes, post_header_bytes: int, mariadb: bool, moment: Moment, fail: Callable[..., SourceError]
    ) -> TableVersion:
        """body: the event without header and checksum; mariadb: whose it is; `fail` makes an error with file, offset and event.

        Raises:
            BinlogError: the map can't be read. ServerSetupError: it names no columns, and the history doesn't know them.
            ConnectionLost: the server was asked for the table, and isn't there now.
        """
        name = _table_name(body, post_header_bytes, fail)
        if not self._wants(name):
            return TableVersion(name)
        try:
            table_map = parse_table_map(body, post_header_bytes, mariadb)
            schema = with_key_of_current_rows(self._schema(table_map, mariadb, moment))
            if len(set(schema.primary_key)) != len(schema.primary_key):
                raise ValueError("the primary key names a column twice")
            plan = RowPlan(schema, table_map, len(table_map.columns) - len(schema.columns))
        except EngineError as error:
            facts = {key: value for key, value in error.facts.items() if key not in ("source", "file", "offset", "event")}
            kind = type(error) if isinstance(error, SourceError) else SourceError
            raise fail(error.what, kind=kind, remedy=error.remedy, **{"table": name, **facts}) from error
        except (ArithmeticError, LookupError, ValueError) as error:
            raise fail(f"TABLE_MAP can't be read: {error}", table=name, remedy=DAMAGED) from error
        packed = schema.pack()
        return TableVersion(name, self._key_of(packed), packed, plan)

    def learn(self, body: bytes, post_header_bytes: int, mariadb: bool, moment: Moment) -> frozenset[str]:
        """A QUERY event; the tables (`schema.table` in lower case) whose TABLE_MAPs may mean other columns from here on."""
        statement = parse_query(body, post_header_bytes)
        kind, tables = classify(statement)
        if kind is not Kind.DDL:
            return frozenset()
        session = Session(statement.schema, statement.sql_mode, statement.server_collation, mariadb)
        return self._history.learn(statement.text, session, tables, moment)

    def _schema(self, table_map: TableMap, mariadb: bool, moment: Moment) -> TableSchema:
        """What the map and the history tell together; a map with names is believed, whatever the history has."""
        name = table_map.schema, table_map.table
        known = self._history.definition(name, moment)
        if not has_full_metadata(table_map):
            return self._schema_by_history(name, table_map, mariadb, moment)
        schema = table_schema(self._source, table_map)
        schema = without_hidden(schema, hidden_columns(table_map, None, mariadb=mariadb))
        if not mariadb:
            return schema
        names = [column.name for column in schema.columns]
        if not (isinstance(known, TableDefinition) and [column.name for column in known.columns] == names):
            known = self._history.ask_once(name, moment)
            if known is not None and [column.name for column in known.columns] != names:
                self._history.refuse(name)
                known = None
            if known is None:
                check_old_times(table_map, None)
                return with_implicit_period(schema)
            self._history.believe(name, known, moment)
        check_old_times(table_map, known)
        return with_known_types(schema, known)

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
        if self._history.asks_server:
            found = self._history.ask(name, moment)
            if found is None:
                why += "; the server has no such table now, or doesn't show it to this account (GRANT SELECT)"
            else:
                try:
                    schema = agreed_schema(self._source, table_map, found, mariadb=mariadb)
                except Disagreement as disagreement:
                    why += f"; on the server it is another one by now: {disagreement}"
                else:
                    self._history.believe(name, found, moment)
                    return schema
        raise ServerSetupError(
            f"the binlog has no column names, and the table's columns aren't known: {why}",
            statement=sql, position=_shown(moment), remedy=self._remedy(name, moment),
        )  # fmt: skip

    def _remedy(self, name: Name, moment: Moment) -> str:
        command = f"binlog-engine schema CONFIG set {self._source} {'.'.join(name)} --at {_shown(moment)} --columns FILE"
        if self._history.asks_server:
            reread = command.replace(" set ", " reread ").replace(" --columns FILE", "")
            command = f"{reread} (if the table is still the same), or else {command}"
        return f"say what its columns were: {command}; with SET GLOBAL binlog_row_metadata=FULL on the server the binlog tells"


def _table_name(body: bytes, post_header_bytes: int, fail: Callable[..., SourceError]) -> str:
    """`schema.table`, which follow the post header as length, bytes and 0 each; no length there reaches 251."""
    at, names = post_header_bytes, []
    for _ in range(2):
        length = body[at] if at < len(body) else 251
        if length > 250 or at + 1 + length >= len(body):
            raise fail("TABLE_MAP ends too early")
        names.append(body[at + 1 : at + 1 + length].decode("utf-8", "replace"))
        at += length + 2
    return ".".join(names)


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

    def table_key(self, packed: bytes) -> int:
        return self._keys.setdefault(packed, len(self._keys) + 1)

    def source_number(self, base: str) -> int:
        number = self._numbers.setdefault(base, len(self._numbers) + 1)
        self.sources[number] = SourceName(self._source, base)
        return number
