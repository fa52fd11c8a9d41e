"""A batch as Arrow tables, one per table version: the row's own columns, and five that say what happened to it.

    _op string · _ts timestamp[us, UTC] · _source string · _position string · _gtid string · id int64 · status string …

The columns hold the row as it is afterwards, or as it was before its delete; with image="before", as it was before (all
null for an insert), so that the two line up row by row. Arrow knows no third state: a column that is absent is null too;
whoever must tell the two apart reads `rows()`.

This is the way over Change objects. Where `_columns` has been compiled, `arrow_walk` does the same natively, and leaves to
this way what it finds odd, so the results, and the errors, are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from engine.client.change import Change, Record
from engine.errors import ConfigError, EngineError, ProtocolError
from engine.record import ABSENT
from engine.schema import Column, TableSchema

try:
    import pyarrow as pa
except ImportError as missing:
    raise EngineError(
        "batch.arrow() needs pyarrow, which isn't installed", remedy="pip install 'binlog-engine[arrow]'"
    ) from missing

_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint", "year")
MARKS = {  # the columns before the row's own
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


def check_image(image: str) -> None:
    """ConfigError: image is neither "after" nor "before"."""
    if image not in ("after", "before"):
        raise ConfigError("no such row image", image=image, remedy='choose "after" or "before"')


def to_tables(changes: Iterable[Any], image: str = "after") -> dict[TableSchema, pa.Table]:
    """`Batch.arrow`.

    Raises:
        ConfigError: image is neither "after" nor "before".
        EngineError: values of a column don't fit its type.
        ProtocolError: rows don't fit their table, or the changes' bytes are not records.
    """
    check_image(image)
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
    return {name: pa.array(of_mark, type_) for (name, type_), of_mark in zip(MARKS.items(), values, strict=True)}
