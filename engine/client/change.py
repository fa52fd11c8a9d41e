"""Record bytes to changes: what `for change in batch`, `tail` and `decode` hand out.

    records ─▶ ChangeReader ─▶ Change | Ddl | Statement | Begin | Commit
                 knows sources and table keys, follows transactions, joins fragments

Runs on msgpack alone, so that a consumer needs none of the engine's extensions. A row costs one tuple (made by msgpack)
and one Change that points to it; everything else about it is made when it is asked for. Where `_tuples` has been compiled,
it makes the tuples of `rows`; what it finds odd it leaves to msgpack, so the results are the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgpack

from engine.client.json_row import json_row
from engine.errors import ProtocolError
from engine.position import Identity, join_file_name
from engine.record import ABSENT, CHANGES, FIELDS, KEY_CHANGED, OPS, SPLIT, Kind
from engine.schema import TableSchema

try:
    from engine.client import _tuples
except ImportError:
    _tuples = None  # type: ignore[assignment]

log = logging.getLogger("engine.client")

Row = tuple[Any, ...]
Record = tuple[Any, ...]
RowTuple = tuple[str, TableSchema, Row | None, Row | None]

# Fields of a record by place (docs/protocol.md, Record).
_KIND, _FLAGS, _SOURCE, _TABLE, _TIME, _FILE, _START, _EVENT, _ROW = range(1, 10)
_BEFORE, _AFTER = 11, 12

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OP_OF: Final = ("", *(OPS[kind] for kind in (Kind.INSERT, Kind.UPDATE, Kind.DELETE)))  # by kind; faster than a dict
_LAST_CHANGE: Final = int(max(CHANGES))
_FRAGMENT: Final = int(Kind.FRAGMENT)
_END: Final = 2**64 - 1  # kind of the sentinel that `_unpack` puts behind the last record; a real one has 8 bits
_ROWS_AT_ONCE: Final = 256  # tuples that stay in the processor's cache
_UNREAD: Final[dict[str, Any]] = {}  # a row that nobody has asked for yet
_SENTINEL: Final = msgpack.packb((0, _END))


class SourceName(NamedTuple):
    """What a source number stands for: the source's name in the config, and the base name of its binlog files."""

    name: str
    binlog: str


RowDict = Callable[[Row], dict[str, Any]]


class TableView:
    """A table version, ready to turn rows into dicts.

    row_dict: column name → value, without the columns that the row image doesn't hold; ValueError if the row doesn't fit.
    arrow: what `arrow_walk` has found out about the columns.
    """

    __slots__ = ("arrow", "floats", "names", "primary_key", "row_dict", "schema", "sparse")

    row_dict: RowDict

    def __init__(self, schema: TableSchema, sparse: bool) -> None:
        self.schema = schema
        self.names = tuple(column.name for column in schema.columns)
        self.primary_key = schema.primary_key
        self.floats = frozenset(c.name for c in schema.columns if c.type.startswith(("float", "vector")))
        self.arrow: Any = None
        self.sparse = sparse
        self.row_dict = self._sparse_dict if sparse else self._first_dict

    def become_sparse(self) -> None:
        """From now on rows may lack columns (binlog_row_image isn't FULL)."""
        self.sparse = True
        self.row_dict = self._sparse_dict

    def misfit(self, row: Row) -> ProtocolError:
        return ProtocolError("a row doesn't fit its table key", table=self.schema.name, columns=len(self.names), values=len(row))

    def _sparse_dict(self, row: Row) -> dict[str, Any]:
        return {name: value for name, value in zip(self.names, row, strict=True) if value is not ABSENT}

    def _first_dict(self, row: Row) -> dict[str, Any]:
        self.row_dict = _compile_row_dict(self.names)
        return self.row_dict(row)


def _compile_row_dict(names: tuple[str, ...]) -> RowDict:
    """A function of these columns' own, as namedtuple makes its: a dict display takes half the time of dict(zip(...))."""
    values = "".join(f"v{place}, " for place in range(len(names)))
    items = ", ".join(f"{name!r}: v{place}" for place, name in enumerate(names))
    namespace: dict[str, Any] = {}
    exec(f"def row_dict(row):\n    [{values}] = row\n    return {{{items}}}", namespace)
    return namespace["row_dict"]


class _Placed:
    """What all that has a place in a binlog says about it; the fields are read from the record when asked for."""

    __slots__ = ("_of", "_record", "gtid")

    _record: Record
    _of: SourceName
    gtid: str | None

    @property
    def source(self) -> str:
        """The source's name in the engine's config."""
        return self._of.name

    @property
    def timestamp(self) -> datetime:
        """Commit time, aware, in UTC."""
        return _EPOCH + timedelta(microseconds=self._record[_TIME])

    @property
    def position(self) -> str:
        """Where its transaction begins: `binlog.000012:1234`."""
        record = self._record
        return f"{join_file_name(self._of.binlog, record[_FILE])}:{record[_START]}"

    @property
    def identity(self) -> Identity:
        """Names the change for ever within its source, and grows; when the change comes again it is the same."""
        record = self._record
        return Identity(record[_FILE], record[_START], record[_EVENT], record[_ROW])

    def _place(self) -> dict[str, Any]:
        ts = self.timestamp.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
        return {"ts": ts, "position": self.position, "gtid": self.gtid}


class Change(_Placed):
    """One row inserted, updated or deleted."""

    __slots__ = ("_after", "_before", "_table")

    _before: dict[str, Any] | None
    _after: dict[str, Any] | None

    def __init__(self, record: Record, table: TableView, of: SourceName, gtid: str | None) -> None:
        self._record = record
        self._table = table
        self._of = of
        self.gtid = gtid
        self._before = self._after = _UNREAD

    @property
    def op(self) -> str:
        """`insert`, `update` or `delete`."""
        return _OP_OF[self._record[_KIND]]

    @property
    def schema(self) -> str:
        """The database."""
        return self._table.schema.schema

    @property
    def table(self) -> str:
        return self._table.schema.table

    @property
    def columns(self) -> TableSchema:
        """The table version that the row belongs to: columns with their types, and the primary key."""
        return self._table.schema

    @property
    def before(self) -> dict[str, Any] | None:
        """The row before, column name → value; None for an insert. Columns not in the row image are not in the dict."""
        if self._before is _UNREAD:
            self._before = self._dict_of(self._record[11])
        return self._before

    @property
    def after(self) -> dict[str, Any] | None:
        """The row after, column name → value; None for a delete. Columns not in the row image are not in the dict."""
        if self._after is _UNREAD:
            self._after = self._dict_of(self._record[12])
        return self._after

    def _dict_of(self, row: Row | None) -> dict[str, Any] | None:
        try:
            return None if row is None else self._table.row_dict(row)
        except ValueError:
            raise self._table.misfit(row) from None  # type: ignore[arg-type]

    @property
    def key(self) -> Row:
        """Values of the primary-key columns, of the row before for a delete, else after; () without a primary key."""
        before, after = self._record[_BEFORE], self._record[_AFTER]
        if after is None or before is None:
            row = before if after is None else after
            return tuple(row[column] for column in self._table.primary_key)
        return tuple(before[column] if after[column] is ABSENT else after[column] for column in self._table.primary_key)

    @property
    def old_key(self) -> Row | None:
        """Values of the primary-key columns in the row before; None for an insert. Not `key` where `key_changed`."""
        before = self._record[_BEFORE]
        return None if before is None else tuple(before[column] for column in self._table.primary_key)

    @property
    def key_changed(self) -> bool:
        """An update after which the primary key is another one."""
        return bool(self._record[_FLAGS] & KEY_CHANGED)

    @property
    def split(self) -> bool:
        """Half of such an update: its delete and its insert are in two partitions."""
        return bool(self._record[_FLAGS] & SPLIT)

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints: bytes as {"base64": ...}, float32 by its shortest digits, absent columns left out."""
        floats = self._table.floats
        return {
            "op": self.op,
            "source": self.source,
            "schema": self.schema,
            "table": self.table,
            "before": json_row(self.before, floats),
            "after": json_row(self.after, floats),
            **self._place(),
        }

    def __repr__(self) -> str:
        return f"<Change {self.op} {self._table.schema.name} key={self.key} position={self.position}>"


class Ddl(_Placed):
    """A statement that changes the shape of tables. schema: the default database; tables: (schema, table) it names."""

    __slots__ = ("schema", "sql", "tables")

    op = "ddl"

    def __init__(self, record: Record, of: SourceName) -> None:
        self._record = record
        self._of = of
        schema, sql, gtid, tables = record[_AFTER]
        self.schema: str | None = schema
        self.sql: str = sql
        self.gtid = gtid
        self.tables: tuple[tuple[str, str], ...] = tuple((table[0], table[1]) for table in tables)

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op, "source": self.source, "schema": self.schema, "sql": self.sql, **self._place()}

    def __repr__(self) -> str:
        return f"<Ddl {self.sql!r} position={self.position}>"


class Statement(Ddl):
    """A change that the server logged as a statement (binlog_format), so that its rows aren't known."""

    __slots__ = ()

    op = "statement"

    def __repr__(self) -> str:
        return f"<Statement {self.sql!r} position={self.position}>"


class Begin(_Placed):
    """A transaction begins."""

    __slots__ = ()

    op = "begin"

    def __init__(self, record: Record, of: SourceName) -> None:
        self._record = record
        self._of = of
        self.gtid = record[_AFTER][0]

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op, "source": self.source, **self._place()}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} gtid={self.gtid} position={self.position}>"


class Commit(Begin):
    """A transaction ends. xid: InnoDB's number of it, None for other engines."""

    __slots__ = ()

    op = "commit"

    @property
    def xid(self) -> int | None:
        return self._record[_AFTER][1]


Item = Change | Ddl | Begin | Commit  # a Statement is a Ddl


def json_line(item: Item) -> str:
    """One line of `--json`, without the line's end."""
    return json.dumps(item.to_json(), ensure_ascii=False, separators=(",", ":"))


class _Partial:
    """A change that has come in part: fragments 0 … so far."""

    __slots__ = ("count", "identity", "parts", "total_bytes")

    def __init__(self, identity: Record, count: int, total_bytes: int, parts: tuple[bytes, ...] = ()) -> None:
        self.identity = identity
        self.count = count
        self.total_bytes = total_bytes
        self.parts = parts


class _Tables:
    """Table keys that have been learned. Shared by all readers of a session."""

    def __init__(self) -> None:
        self.views: dict[int, TableView] = {}
        self.sparse = False

    def learn(self, key: int, body: dict[str, Any]) -> None:
        try:
            self.views[key] = TableView(TableSchema.from_map(body), self.sparse)
        except (KeyError, TypeError, AttributeError) as error:
            raise ProtocolError("a schema record can't be read", table_key=key, error=repr(error)) from None

    def ext_hook(self, code: int, data: bytes) -> Any:
        """msgpack calls this for each absent column; from the first one on, rows are looked through for them."""
        if code != ABSENT.code:
            return msgpack.ExtType(code, data)
        if not self.sparse:
            self.sparse = True
            for view in self.views.values():
                view.become_sparse()
        return ABSENT


class ChangeReader:
    """Turns records into changes; learns schema records as they come.

    One reader follows one stream of records in order (`decode`, `tail`); `at` makes one for another place of the same
    stream, which shares what has been learned of sources and tables.

    Args:
        sources: source number → (name, base name of its binlog files).
    """

    def __init__(self, sources: Mapping[int, tuple[str, str]]) -> None:
        self.sources = sources
        self.gtids: dict[int, str | None] = {}  # of the transaction that is open, per source number
        self.partial: dict[int, _Partial] = {}  # the change that has come in part, per source number
        self.at_end = False  # the last reading came to the end of its bytes
        self._tables = _Tables()

    def at(self, gtids: Mapping[int, str | None], partial: Mapping[int, _Partial]) -> ChangeReader:
        """A reader for the place where these transactions are open and these changes have come in part."""
        reader = object.__new__(ChangeReader)
        reader._sources = self._sources
        reader.gtids = dict(gtids)
        reader.partial = dict(partial)
        reader.at_end = False
        reader._tables = self._tables
        return reader

    @property
    def sources(self) -> Mapping[int, tuple[str, str]]:
        """Source number → (name, base name of its binlog files); may be set anew, or grow by `know`."""
        return self._sources

    @sources.setter
    def sources(self, sources: Mapping[int, tuple[str, str]]) -> None:
        self._sources: dict[int, SourceName] = {}
        self.know(sources)

    def know(self, sources: Mapping[int, tuple[str, str]]) -> None:
        """These source numbers too."""
        self._sources.update((number, SourceName(*about)) for number, about in sources.items())

    @property
    def tables(self) -> dict[int, TableSchema]:
        """The table keys learned so far."""
        return {key: view.schema for key, view in self._tables.views.items()}

    def learn(self, records: bytes | memoryview) -> None:
        """Take in the schema records of a `schemas` frame; other kinds are not expected there.

        Raises:
            ProtocolError: something else is there.
        """
        for record in self._unpack(records):
            if record[_KIND] == _END:
                return
            if record[_KIND] != Kind.SCHEMA:
                raise ProtocolError("schemas: a record is not a schema record", kind=record[_KIND])
            self._tables.learn(record[_TABLE], record[_AFTER])
        raise _cut_short(records)

    def read(self, records: bytes | memoryview, *, ddl: bool = True, transactions: bool = True) -> Iterator[Item]:
        """The changes in `records` (whole records), and the DDL and transaction marks between them where wanted.

        Raises:
            ProtocolError: the bytes are not records, or name a table key or source that nobody has explained.
        """
        views, gtids = self._tables.views, self.gtids
        key = number = -1
        view: TableView | None = None
        of: SourceName | None = None
        gtid: str | None = None
        try:
            for record in self._unpack(records):
                kind = record[1]
                if kind > _LAST_CHANGE:
                    if kind == _END:
                        self.at_end = True
                        return
                    if kind == _FRAGMENT:
                        if (joined := self._join(record)) is None:
                            continue
                        record, kind = joined, joined[1]
                    if kind > _LAST_CHANGE:
                        mark = self._mark(record)
                        number = key = -1  # what they stood for may have changed
                        if mark is not None and (ddl if isinstance(mark, Ddl) else transactions):
                            yield mark
                        elif isinstance(mark, Statement):
                            _warn_of(mark)
                        continue
                if record[3] != number:
                    number = record[3]
                    of, gtid = self._source(number), gtids.get(number)
                if record[4] != key:
                    key = record[4]
                    if (view := views.get(key)) is None:
                        raise _unknown_table(key)
                yield Change(record, view, of, gtid)  # type: ignore[arg-type]
        except (TypeError, LookupError, ValueError, msgpack.UnpackException) as error:
            raise ProtocolError("a record can't be read", error=repr(error)) from None
        raise _cut_short(records)

    def rows(self, records: bytes | memoryview, at_once: int = _ROWS_AT_ONCE) -> Iterator[RowTuple]:
        """(op, table, before, after) of each change: the fastest way from records to Python values.

        Args:
            at_once: as many are made at a time where they are made natively.

        Raises:
            ProtocolError: as `read`.
        """
        return self._rows_by_msgpack(records) if _tuples is None else self._rows_natively(records, at_once)

    def _rows_natively(self, records: bytes | memoryview, at_once: int) -> Iterator[RowTuple]:
        walk = _tuples.TupleWalk(records, self._tables.views, self._sources, self.gtids)
        while True:
            yield from walk.take(at_once)  # type: ignore[misc]
            if walk.answer == _tuples.END:
                self.at_end = True
                return
            if walk.answer == _tuples.OTHER:
                yield from self._rows_by_msgpack(walk.step())
                self.at_end = False
            elif walk.answer == _tuples.ODD:
                yield from self._rows_by_msgpack(memoryview(records)[walk.at :])
                return

    def _rows_by_msgpack(self, records: bytes | memoryview) -> Iterator[RowTuple]:
        views, op_of = self._tables.views, _OP_OF
        last = -1
        table: TableSchema | None = None
        try:
            for record in self._unpack(records):
                kind = record[1]
                if kind > _LAST_CHANGE:
                    if kind == _END:
                        self.at_end = True
                        return
                    if kind == _FRAGMENT:
                        if (joined := self._join(record)) is None:
                            continue
                        record, kind = joined, joined[1]
                    if kind > _LAST_CHANGE:
                        if isinstance(mark := self._mark(record), Statement):
                            _warn_of(mark)
                        last = -1
                        continue
                if record[4] != last:
                    last = record[4]
                    if last not in views:
                        raise _unknown_table(last)
                    table = views[last].schema
                yield op_of[kind], table, record[11], record[12]  # type: ignore[misc]
        except (TypeError, LookupError, ValueError, msgpack.UnpackException) as error:
            raise ProtocolError("a record can't be read", error=repr(error)) from None
        raise _cut_short(records)

    def raw(self, records: bytes | memoryview) -> Iterator[Record]:
        """The records as they are: 13 fields each, fragments unjoined. ProtocolError if the bytes are not records."""
        try:
            for record in self._unpack(records):
                if record[_KIND] == _END:
                    return
                yield record
        except (TypeError, LookupError, ValueError, msgpack.UnpackException) as error:
            raise ProtocolError("a record can't be read", error=repr(error)) from None
        raise _cut_short(records)

    def _unpack(self, records: bytes | memoryview) -> Iterable[Record]:
        """An unpacker at the first record. A sentinel of kind _END stands behind the last one: who doesn't meet it
        knows that the bytes end inside a record, about which msgpack's iterator says nothing."""
        most = len(records) + len(_SENTINEL)  # elements: an array that claims more would take its memory before it fails
        unpacker = msgpack.Unpacker(
            use_list=False, max_buffer_size=0, max_array_len=most, max_map_len=most, ext_hook=self._tables.ext_hook
        )
        unpacker.feed(records)
        unpacker.feed(_SENTINEL)
        return unpacker

    def _source(self, number: int) -> SourceName:
        of = self._sources.get(number)
        if of is None:
            raise ProtocolError("a record's source is unknown", source=number, known=sorted(self._sources))
        return of

    def _mark(self, record: Record) -> Ddl | Begin | Commit | None:
        """Follows begin, commit and schema records; the object for those that have one."""
        kind, number = record[_KIND], record[_SOURCE]
        if kind == Kind.BEGIN:
            begin = Begin(record, self._source(number))
            self.gtids[number] = begin.gtid
            return begin
        if kind == Kind.COMMIT:
            self.gtids.pop(number, None)
            return Commit(record, self._source(number))
        if kind == Kind.DDL:
            return Ddl(record, self._source(number))
        if kind == Kind.STATEMENT:
            return Statement(record, self._source(number))
        if kind == Kind.SCHEMA:
            self._tables.learn(record[_TABLE], record[_AFTER])
        elif kind != Kind.HEARTBEAT:
            raise ProtocolError("a record is of unknown kind", kind=kind, remedy="update the client")
        return None

    def _join(self, record: Record) -> Record | None:
        """Takes in one fragment; the whole record with the last one of its change."""
        whole = self._join_bytes(record)
        if whole is None:
            return None
        joined = next(iter(self._unpack(whole)), ())
        if len(joined) != FIELDS or joined[_KIND] == _FRAGMENT:
            raise ProtocolError("the fragments of a change don't hold a record", identity=record[_FILE : _ROW + 1])
        return joined

    def _join_bytes(self, record: Record) -> bytes | None:
        """As `_join`, still packed."""
        number = record[_SOURCE]
        index, count, total_bytes = record[_BEFORE]
        identity = record[_FILE : _ROW + 1]
        partial = _Partial(identity, count, total_bytes) if index == 0 else self.partial.get(number)
        if partial is None or partial.identity != identity or index != len(partial.parts) or count != partial.count:
            raise ProtocolError(
                "a fragment doesn't continue its change",
                source=number, identity=identity, fragment=index, count=count,
                had=None if partial is None else len(partial.parts),
                remedy="connect again: unacked changes come again from their first fragment",
            )  # fmt: skip
        parts = (*partial.parts, record[_AFTER])
        if index < count - 1:
            self.partial[number] = _Partial(identity, count, total_bytes, parts)
            return None
        self.partial.pop(number, None)
        whole = b"".join(parts)
        if len(whole) != total_bytes:
            raise ProtocolError("the fragments of a change don't add up", bytes=len(whole), wanted=total_bytes)
        return whole


def _warn_of(statement: Statement) -> None:
    """A change must not pass unseen, even for a consumer that wants rows only."""
    log.warning("not delivered, since connect was not asked for it (ddl=True): %r", statement)


def _unknown_table(key: int) -> ProtocolError:
    return ProtocolError("a change's table key has no schema record", table_key=key)


def _cut_short(records: bytes | memoryview) -> ProtocolError:
    return ProtocolError("the bytes end inside a record", bytes=len(records))
