"""What a consumer gets of records: Change, Ddl, Statement, History, Begin and Commit, views on what msgpack has read.

A row costs one tuple (made by msgpack) and one Change that points to it; everything else about it is made when it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from engine.client.json_row import json_row
from engine.errors import ProtocolError
from engine.position import Identity, join_file_name
from engine.record import ABSENT, AGAIN, KEY_CHANGED, OPS, SPLIT, TORN, Kind
from engine.schema import TableSchema

Row = tuple[Any, ...]
Record = tuple[Any, ...]

# Fields of a record by place (docs/protocol.md, Record).
_KIND, _FLAGS, _SOURCE, _TABLE, _TIME, _FILE, _START, _EVENT, _ROW = range(1, 10)
_BEFORE, _AFTER = 11, 12

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
OP_OF: Final = ("", *(OPS[kind] for kind in (Kind.INSERT, Kind.UPDATE, Kind.DELETE)))  # by kind; faster than a dict
UNREAD: Final[dict[str, Any]] = {}  # a row that nobody has asked for yet


class SourceName(NamedTuple):
    """What a source number stands for: the source's name in the config, and the base name of its binlog files."""

    name: str
    binlog: str


RowDict = Callable[[Row], dict[str, Any]]


class TableView:
    """A table version, ready to turn rows into dicts.

    row_dict: column name → value, without the columns that the row image doesn't hold, and without those that the server has
    added to version the table's rows (shown has None for them); ValueError if the row doesn't fit. whole_dict: with these.
    arrow: what `arrow_walk` has found out about the columns.
    """

    __slots__ = ("arrow", "floats", "names", "primary_key", "row_dict", "schema", "shown", "sparse")

    row_dict: RowDict

    def __init__(self, schema: TableSchema, sparse: bool) -> None:
        self.schema = schema
        self.names = tuple(column.name for column in schema.columns)
        self.shown = tuple(None if column.system and not column.visible else column.name for column in schema.columns)
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
        shown = zip(self.shown, row, strict=True)
        return {name: value for name, value in shown if value is not ABSENT and name is not None}

    def whole_dict(self, row: Row) -> dict[str, Any]:
        return {name: value for name, value in zip(self.names, row, strict=True) if value is not ABSENT}

    def _first_dict(self, row: Row) -> dict[str, Any]:
        self.row_dict = _compile_row_dict(self.shown)
        return self.row_dict(row)


def _compile_row_dict(names: tuple[str | None, ...]) -> RowDict:
    """A function of these columns' own, as namedtuple makes its: a dict display takes half the time of dict(zip(...))."""
    values = "".join(f"v{place}, " for place in range(len(names)))
    items = ", ".join(f"{name!r}: v{place}" for place, name in enumerate(names) if name is not None)
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
    def source_number(self) -> int:
        """Of the history that `position` and `identity` belong to: a higher one when the source has gone on at another server."""
        return int(self._record[_SOURCE])

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

    @property
    def again(self) -> bool:
        """It may have come before, with another identity, from a database server that the source has left since."""
        return bool(self._record[_FLAGS] & AGAIN)

    def _place(self) -> dict[str, Any]:
        ts = self.timestamp.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
        place: dict[str, Any] = {"ts": ts, "position": self.position, "gtid": self.gtid}
        return {**place, "again": True} if self.again else place


class _OfTable(_Placed):
    """What is told of one row of a table; the rows become dicts when they are asked for."""

    __slots__ = ("_after", "_before", "_table")

    op: Any

    _before: dict[str, Any] | None
    _after: dict[str, Any] | None

    def __init__(self, record: Record, table: TableView, of: SourceName, gtid: str | None) -> None:
        self._record = record
        self._table = table
        self._of = of
        self.gtid = gtid
        self._before = self._after = UNREAD

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
        if self._before is UNREAD:
            self._before = self._dict_of(self._record[11])
        return self._before

    @property
    def after(self) -> dict[str, Any] | None:
        """The row after, column name → value; None for a delete. Columns not in the row image are not in the dict."""
        if self._after is UNREAD:
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
        return f"<{type(self).__name__} {self.op} {self._table.schema.name} key={self.key} position={self.position}>"


class Change(_OfTable):
    """One row inserted, updated or deleted."""

    __slots__ = ()

    @property
    def op(self) -> str:
        """`insert`, `update` or `delete`."""
        return OP_OF[self._record[_KIND]]

    @property
    def key_changed(self) -> bool:
        """An update after which the primary key is another one."""
        return bool(self._record[_FLAGS] & KEY_CHANGED)

    @property
    def split(self) -> bool:
        """Half of such an update: its delete and its insert are in two partitions."""
        return bool(self._record[_FLAGS] & SPLIT)


class History(_OfTable):
    """A past version of a row of a system-versioned table (MariaDB): one that is kept from now on (`after`), or that has gone
    (`before`, DELETE HISTORY). The table as SELECT shows it is not changed by this. Its rows hold begin and end of their life."""

    __slots__ = ()

    op = "history"

    def _dict_of(self, row: Row | None) -> dict[str, Any] | None:
        try:
            return None if row is None else self._table.whole_dict(row)
        except ValueError:
            raise self._table.misfit(row) from None  # type: ignore[arg-type]


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

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "torn": True} if self.torn else super().to_json()

    @property
    def torn(self) -> bool:
        """All changes since its begin are void: its server is gone. If another one has the transaction, it comes again whole."""
        return bool(self._record[_FLAGS] & TORN)


Item = Change | History | Ddl | Begin | Commit  # a Statement is a Ddl


def json_line(item: Item) -> str:
    """One line of `--json`, without the line's end."""
    return json.dumps(item.to_json(), ensure_ascii=False, separators=(",", ":"))
