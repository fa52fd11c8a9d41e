"""Record bytes to changes: what `for change in batch`, `tail` and `decode` hand out.

    records ─▶ ChangeReader ─▶ Change | History | Ddl | Statement | Begin | Commit         (items.py)
                 knows sources and table keys, follows transactions, joins fragments

Runs on msgpack alone, so that a consumer needs none of the engine's extensions. Where `_tuples` has been compiled, it makes
the tuples of `rows` and the objects of `read`; what it finds odd it leaves to msgpack, so the results are the same.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgpack

from engine.client.items import (
    OP_OF,
    UNREAD,
    Begin,
    Change,
    Commit,
    Ddl,
    History,
    Item,
    Record,
    Row,
    SourceName,
    Statement,
    TableView,
)
from engine.errors import ProtocolError
from engine.record import ABSENT, CHANGES, FIELDS, Kind
from engine.schema import TableSchema

try:
    from engine.client import _tuples
except ImportError:
    _tuples = None  # type: ignore[assignment]
else:
    _CHANGE: Final = _tuples.ChangeKind(Change, UNREAD)

log = logging.getLogger("engine.client")

RowTuple = tuple[str, TableSchema, Row | None, Row | None]

# Fields of a record by place (docs/protocol.md, Record).
_KIND, _FLAGS, _SOURCE, _TABLE, _TIME, _FILE, _START, _EVENT, _ROW = range(1, 10)
_BEFORE, _AFTER = 11, 12

_LAST_CHANGE: Final = int(max(CHANGES))
_FRAGMENT: Final = int(Kind.FRAGMENT)
_END: Final = 2**64 - 1  # kind of the sentinel that `_unpack` puts behind the last record; a real one has 8 bits
_ROWS_AT_ONCE: Final = 256  # tuples that stay in the processor's cache
_SENTINEL: Final = msgpack.packb((0, _END))
_FRAGMENT_HEAD: Final = re.compile(rb"\x9d\xce.{4}\xcc\x09\xcd", re.DOTALL)  # the beginning of a record of kind 9


def may_hold_fragments(records: memoryview) -> bool:
    """Whether fragments may be among the records: much faster to tell than by reading them."""
    return _tuples.has_fragments(records) if _tuples is not None else _FRAGMENT_HEAD.search(records) is not None


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

    def read(
        self, records: bytes | memoryview, *, ddl: bool = True, transactions: bool = True, history: bool = True
    ) -> Iterator[Item]:
        """The changes in `records` (whole records), and the DDL, transaction marks and history rows between them where wanted.

        Raises:
            ProtocolError: the bytes are not records, or name a table key or source that nobody has explained.
        """

        def by_msgpack(rest: bytes | memoryview) -> Iterator[Item]:
            return self._read_by_msgpack(rest, ddl, transactions, history)

        if _tuples is None:
            return by_msgpack(records)
        return self._walked(records, _ROWS_AT_ONCE, by_msgpack, _CHANGE, self._tables.sparse, transactions)

    def _walked(
        self, records: bytes | memoryview, at_once: int, by_msgpack: Callable[[bytes | memoryview], Iterator[Any]], *how: Any
    ) -> Iterator[Any]:
        """What a native walk makes of the records, and msgpack of those that it leaves. how: see RecordWalk, behind `partial`."""
        walk = _tuples.RecordWalk(records, self._tables.views, self._sources, self.gtids, self.partial, *how)
        while True:
            yield from walk.take(at_once)
            if walk.answer == _tuples.END:
                self.at_end = True
                return
            if walk.answer == _tuples.OTHER:
                yield from by_msgpack(walk.step())
                self.at_end = False
            elif walk.answer == _tuples.ODD:
                yield from by_msgpack(memoryview(records)[walk.at :])
                return

    def _read_by_msgpack(self, records: bytes | memoryview, ddl: bool, transactions: bool, history: bool) -> Iterator[Item]:
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
                        if mark is None:
                            continue
                        if history if isinstance(mark, History) else ddl if isinstance(mark, Ddl) else transactions:
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
        if _tuples is None:
            return self._rows_by_msgpack(records)
        return self._walked(records, at_once, self._rows_by_msgpack)

    def _rows_by_msgpack(self, records: bytes | memoryview) -> Iterator[RowTuple]:
        views, op_of = self._tables.views, OP_OF
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

    def _mark(self, record: Record) -> History | Ddl | Begin | Commit | None:
        """Follows begin, commit and schema records; the object for those that have one."""
        kind, number = record[_KIND], record[_SOURCE]
        if kind == Kind.BEGIN:
            begin = Begin(record, self._source(number))
            self.gtids[number] = begin.gtid
            return begin
        if kind == Kind.COMMIT:
            self.gtids.pop(number, None)
            self.partial.pop(number, None)  # of a torn transaction
            return Commit(record, self._source(number))
        if kind == Kind.DDL:
            return Ddl(record, self._source(number))
        if kind == Kind.STATEMENT:
            return Statement(record, self._source(number))
        if kind == Kind.HISTORY:
            if (view := self._tables.views.get(record[_TABLE])) is None:
                raise _unknown_table(record[_TABLE])
            return History(record, view, self._source(number), self.gtids.get(number))
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
