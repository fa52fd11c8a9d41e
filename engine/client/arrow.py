"""A batch as Arrow tables, one per table version: the row's own columns, and five that say what happened to it.

    _op string · _ts timestamp[us, UTC] · _source string · _position string · _gtid string · id int64 · status string …

The columns hold the row as it is afterwards, or as it was before its delete; with image="before", as it was before (all
null for an insert), so that the two line up row by row. Arrow knows no third state: a column that is absent is null too;
whoever must tell the two apart reads `rows()`.

Where `_columns` has been compiled, values go from the records' bytes into Arrow's buffers without becoming Python objects.
What it finds odd is left to the way over Change objects, so the results, and the errors, are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import msgpack

from engine.client.change import Change, ChangeReader, Record
from engine.errors import ConfigError, EngineError, ProtocolError
from engine.record import ABSENT, Kind
from engine.schema import Column, TableSchema

try:
    import pyarrow as pa
except ImportError as missing:
    raise EngineError(
        "batch.arrow() needs pyarrow, which isn't installed", remedy="pip install 'binlog-engine[arrow]'"
    ) from missing

try:
    from engine.client import _columns
except ImportError:
    _columns = None  # type: ignore[assignment]

_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint", "year")
_MARKS = {
    "_op": pa.string(),
    "_ts": pa.timestamp("us", "UTC"),
    "_source": pa.string(),
    "_position": pa.string(),
    "_gtid": pa.string(),
}
_SHAPES = ("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection")
_BYTES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", *_SHAPES)
_TEXT = ("decimal", "date", "datetime", "timestamp", "time", "json", "enum", "set")
_ADDRESSES = ("uuid", "inet4", "inet6")  # text, whatever their charset says


def arrow_type(column: Column) -> pa.DataType | None:
    """The Arrow type of a column's values as the protocol carries them (docs/protocol.md, Values); None: let Arrow see.

    Signed integers are int64, unsigned ones and BIT uint64. DECIMAL, dates and times stay text: they hold values (zero
    dates, 838 hours, 65 digits) that Arrow's own types can't.
    """
    base = column.type.partition("(")[0].partition(" ")[0]
    if base in _INTEGERS:
        return pa.uint64() if column.unsigned else pa.int64()
    if base == "bit":
        return pa.uint64()
    if base == "float":
        return pa.float32()
    if base in ("double", "real"):
        return pa.float64()
    if base == "vector":
        return pa.list_(pa.float32())
    if base in _ADDRESSES:
        return pa.string()
    if base in _BYTES or column.charset == "binary":
        return pa.binary()
    if base in _TEXT or column.charset is not None:
        return pa.string()
    return None


def read_tables(reader: ChangeReader, records: bytes | memoryview, image: str = "after") -> dict[TableSchema, pa.Table] | None:
    """As `to_tables`, natively; None: not compiled, or something is odd that `to_tables` has to judge.

    Raises:
        ConfigError: image is neither "after" nor "before".
    """
    _check(image)
    if _columns is None:
        return None
    sources = [(number, of.name, of.binlog, reader.gtids.get(number)) for number, of in reader._sources.items()]
    walk = _columns.ColumnWalk(records, sources, image == "before")
    found: dict[TableSchema, _columns.TableColumns] = {}
    while (answer := walk.go()) != _columns.END:
        if answer == _columns.TABLE and _put_table(walk, reader, found):
            continue
        if answer != _columns.OTHER or not _take_in(walk, reader, found):
            return None
    reader.at_end = True
    return {schema: _built(schema, columns) for schema, columns in found.items()}


def _take_in(walk: _columns.ColumnWalk, reader: ChangeReader, found: dict[TableSchema, _columns.TableColumns]) -> bool:
    """The record that the walk has stopped at: a fragment, or what is not a change; false: odd."""
    try:
        record = next(iter(reader._unpack(walk.step())))
        if record[1] != Kind.FRAGMENT:
            reader._mark(record)
            walk.put_table(record[4], None)  # it may have been told anew
            return True
        whole = reader._join_bytes(record)
    except (ProtocolError, StopIteration, TypeError, LookupError, ValueError, msgpack.UnpackException):
        return False
    if whole is None:
        return True
    answer = walk.add_whole(whole)
    if answer == _columns.TABLE and _put_table(walk, reader, found):
        answer = walk.add_whole(whole)
    return answer == _columns.END


def _put_table(walk: _columns.ColumnWalk, reader: ChangeReader, found: dict[TableSchema, _columns.TableColumns]) -> bool:
    """Columns for the table that the walk asks for; whether it is known."""
    view = reader._tables.views.get(walk.key)
    if view is None:
        return False
    if (columns := found.get(view.schema)) is None:
        kinds = bytes(_kind_of(arrow_type(column)) for column in view.schema.columns)
        columns = found[view.schema] = _columns.TableColumns(kinds)
    walk.put_table(walk.key, columns)
    return True


def _kind_of(type_: pa.DataType | None) -> int:
    """How `_columns` calls what `arrow_type` says."""
    return _columns.SEEN if type_ is None else {
        pa.int64(): _columns.INT,
        pa.uint64(): _columns.UINT,
        pa.float32(): _columns.FLOAT,
        pa.float64(): _columns.DOUBLE,
        pa.string(): _columns.STR,
        pa.binary(): _columns.BIN,
        pa.list_(pa.float32()): _columns.FLOATS,
    }[type_]  # fmt: skip


def _built(schema: TableSchema, columns: _columns.TableColumns) -> pa.Table:
    width, rows = len(schema.columns), len(columns)
    arrays = {name: _array(type_, rows, columns.take(width + place)) for place, (name, type_) in enumerate(_MARKS.items())}
    for place, column in enumerate(schema.columns):
        arrays[column.name] = _array(arrow_type(column), rows, columns.take(place))
    return pa.table(arrays)


def _array(type_: pa.DataType | None, rows: int, taken: tuple[int, int, Any, Any, Any]) -> pa.Array:
    kind, nulls, *buffers = taken
    if kind == _columns.SEEN:
        return pa.nulls(rows)
    if type_ is None:
        type_ = pa.string() if kind == _columns.STR else pa.binary()
    valid, offsets, values = (None if buffer is None else pa.py_buffer(buffer) for buffer in buffers)
    if offsets is None:
        return pa.Array.from_buffers(type_, rows, [valid, values], nulls)
    if kind != _columns.FLOATS:
        return pa.Array.from_buffers(type_, rows, [valid, offsets, values], nulls)
    floats = pa.Array.from_buffers(pa.float32(), len(values) // 4, [None, values])
    return pa.Array.from_buffers(type_, rows, [valid, offsets], nulls, children=[floats])


def _check(image: str) -> None:
    if image not in ("after", "before"):
        raise ConfigError("no such row image", image=image, remedy='choose "after" or "before"')


def to_tables(changes: Iterable[Any], image: str = "after") -> dict[TableSchema, pa.Table]:
    """`Batch.arrow`.

    Raises:
        ConfigError: image is neither "after" nor "before".
        EngineError: values of a column don't fit its type.
        ProtocolError: rows don't fit their table, or the changes' bytes are not records.
    """
    _check(image)
    per_view: dict[Any, list[Change]] = {}
    for change in changes:
        per_view.setdefault(change._table, []).append(change)
    per_schema: dict[TableSchema, list[Change]] = {}  # a table that was told twice has two views
    for view, grouped in per_view.items():
        per_schema.setdefault(view.schema, []).extend(grouped)
    sparse = {view.schema for view in per_view if view.sparse}
    try:
        return {schema: _table(schema, schema in sparse, grouped, image) for schema, grouped in per_schema.items()}
    except (TypeError, LookupError, ValueError, OverflowError) as error:
        raise ProtocolError("a record can't be read", error=repr(error)) from None


def _table(schema: TableSchema, sparse: bool, changes: list[Change], image: str) -> pa.Table:
    nothing = (None,) * len(schema.columns)
    records = [change._record for change in changes]
    if image == "before":
        rows = [record[11] or nothing for record in records]
    else:
        rows = [record[12] or record[11] for record in records]
    for row in rows:
        if type(row) is not tuple or len(row) != len(nothing):
            raise changes[0]._table.misfit(row) if type(row) is tuple else TypeError(f"a row is {row!r}")
    columns = _meta_columns(changes, records)
    for column, values in zip(schema.columns, zip(*rows, strict=True), strict=True):
        if sparse:
            values = tuple(None if value is ABSENT else value for value in values)
        try:
            columns[column.name] = pa.array(values, arrow_type(column))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise EngineError(
                "values don't fit the Arrow type of their column",
                table=schema.name, column=column.name, type=column.type, error=error,
            ) from None  # fmt: skip
    return pa.table(columns)


def _meta_columns(changes: list[Change], records: list[Record]) -> dict[str, Any]:
    """What is the same for a transaction is made once for it."""
    sources: list[str] = []
    positions: list[str] = []
    gtids: list[str | None] = []
    for _, run in groupby(zip(records, changes, strict=True), key=lambda pair: pair[0][6:8] + pair[0][3:4]):
        same = [change for _, change in run]
        sources += [same[0].source] * len(same)
        positions += [same[0].position] * len(same)
        gtids += [same[0].gtid] * len(same)
    values = ([change.op for change in changes], [record[5] for record in records], sources, positions, gtids)
    return {name: pa.array(of_mark, type_) for (name, type_), of_mark in zip(_MARKS.items(), values, strict=True)}
