"""Record bytes to Arrow tables natively: `_columns` fills the buffers, this makes arrays of them.

Values don't become Python objects on the way. Whatever is odd (a value that isn't what its column's type says, a cut record) ends
it without a result: then `arrow.to_tables` decides what it means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack

from engine.client.arrow import MARKS, arrow_type, check_image, pa
from engine.client.change import ChangeReader, TableView
from engine.errors import ProtocolError
from engine.record import Kind
from engine.schema import TableSchema

try:
    from engine.client import _columns
except ImportError:
    _columns = None  # type: ignore[assignment]
else:
    _KINDS = {
        None: _columns.SEEN,
        pa.int64(): _columns.INT,
        pa.uint64(): _columns.UINT,
        pa.float32(): _columns.FLOAT,
        pa.float64(): _columns.DOUBLE,
        pa.string(): _columns.STR,
        pa.binary(): _columns.BIN,
        pa.list_(pa.float32()): _columns.FLOATS,
    }


@dataclass
class Shape:
    """Of a table's own columns: their Arrow types, and what `_columns` calls them.

    likely: what the columns of the last batch held (TableColumns.used), and that batch's bytes.
    """

    types: tuple[pa.DataType | None, ...]
    kinds: bytes
    likely: tuple[int, ...] | None = None
    likely_of: int = 1


def read_tables(reader: ChangeReader, records: bytes | memoryview, image: str = "after") -> dict[TableSchema, pa.Table] | None:
    """As `arrow.to_tables`; None: not compiled, or something is odd.

    Raises:
        ConfigError: image is neither "after" nor "before".
    """
    check_image(image)
    if _columns is None:
        return None
    walk = _Walk(reader, records, image == "before")
    if not walk.to_end():
        return None
    reader.at_end = True
    return walk.tables()


class _Walk:
    """One reading: the native walk, and what it stops for."""

    def __init__(self, reader: ChangeReader, records: bytes | memoryview, before: bool) -> None:
        sources = [(number, of.name, of.binlog, reader.gtids.get(number)) for number, of in reader._sources.items()]
        self.reader = reader
        self.size = len(records)
        self.native = _columns.ColumnWalk(records, sources, before)
        self.found: dict[int, tuple[TableView, _columns.TableColumns]] = {}  # by table key

    def to_end(self) -> bool:
        """Whether nothing is odd."""
        while (answer := self.native.go()) != _columns.END:
            well = self._take_in() if answer == _columns.OTHER else answer == _columns.TABLE and self._put_table()
            if not well:
                return False
        return True

    def _take_in(self) -> bool:
        """The record that the walk has stopped at: a fragment, or what is not a change."""
        try:
            record = next(iter(self.reader._unpack(self.native.step())))
            if record[1] != Kind.FRAGMENT:
                self.reader._mark(record)
                self.native.put_table(record[4], None)  # it may have been told anew
                return True
            whole = self.reader._join_bytes(record)
        except (ProtocolError, StopIteration, TypeError, LookupError, ValueError, msgpack.UnpackException):
            return False
        if whole is None:
            return True
        answer = self.native.add_whole(whole)
        if answer == _columns.TABLE and self._put_table():
            answer = self.native.add_whole(whole)
        return answer == _columns.END

    def _put_table(self) -> bool:
        """Columns for the table key that the walk asks for; whether it is known, and still stands for the same table."""
        key = self.native.key
        view = self.reader._tables.views.get(key)
        if view is None:
            return False
        if key not in self.found:
            if view.arrow is None:
                types = tuple(arrow_type(column) for column in view.schema.columns)
                view.arrow = Shape(types, bytes(_KINDS[type_] for type_ in types))
            shape, share = view.arrow, min(self.size / view.arrow.likely_of, 1.0)
            self.found[key] = view, _columns.TableColumns(shape.kinds, shape.likely, share)
        seen, columns = self.found[key]
        self.native.put_table(key, columns)
        return seen is view or seen.schema == view.schema

    def tables(self) -> dict[TableSchema, pa.Table]:
        """What has been found, each table once."""
        made: dict[TableSchema, pa.Table] = {}
        for view, columns in self.found.values():
            view.arrow.likely, view.arrow.likely_of = columns.used, self.size
            table = _built(view, columns)
            made[view.schema] = pa.concat_tables([made[view.schema], table]) if view.schema in made else table
        return made


def _built(view: TableView, columns: _columns.TableColumns) -> pa.Table:
    width, rows = len(view.names), len(columns)
    arrays = {name: _array(type_, rows, columns.take(width + place)) for place, (name, type_) in enumerate(MARKS.items())}
    for place, (name, type_) in enumerate(zip(view.names, view.arrow.types, strict=True)):
        arrays[name] = _array(type_, rows, columns.take(place))
    return pa.table(arrays)


def _array(type_: pa.DataType | None, rows: int, taken: tuple[int, int, Any, Any, Any]) -> pa.Array:
    kind, nulls, valid, offsets, values = taken
    if kind == _columns.SEEN:
        return pa.nulls(rows)
    if type_ is None:
        type_ = pa.string() if kind == _columns.STR else pa.binary()
    valid = None if valid is None else pa.py_buffer(valid)
    values = pa.py_buffer(values)
    if offsets is None:
        return pa.Array.from_buffers(type_, rows, [valid, values], nulls)
    offsets = pa.py_buffer(offsets)
    if kind != _columns.FLOATS:
        return pa.Array.from_buffers(type_, rows, [valid, offsets, values], nulls)
    floats = pa.Array.from_buffers(pa.float32(), values.size // 4, [None, values])
    return pa.Array.from_buffers(type_, rows, [valid, offsets], nulls, children=[floats])
