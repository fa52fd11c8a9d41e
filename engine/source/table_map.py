"""The TABLE_MAP event: a table's columns as the binlog describes them, and the schema that can be told from it.

    6 table id | 2 flags | lenenc+schema+0 | lenenc+table+0 | lenenc column count | a type byte for each
    lenenc length of metadata | metadata of each type | NULL bits | optional metadata: fields of (type, lenenc length, value)

MySQL's class Table_map_event (libs/mysql/binlog/event/rows_event.h) describes the fields; MariaDB writes the same, with the
differences that this file names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from engine.errors import BinlogError, ServerSetupError
from engine.schema import Column, TableSchema
from engine.source.charsets import charset_of_collation, decode_text, max_character_bytes

REMEDY_FULL = "SET GLOBAL binlog_row_metadata=FULL on the source; binlog written before that has no names"


class Type(IntEnum):
    """MySQL's enum_field_types, as TABLE_MAP uses them, and MariaDB's two compressed ones."""

    TINY = 1
    SHORT = 2
    LONG = 3
    FLOAT = 4
    DOUBLE = 5
    TIMESTAMP = 7
    LONGLONG = 8
    INT24 = 9
    DATE = 10
    TIME = 11
    DATETIME = 12
    YEAR = 13
    NEWDATE = 14
    VARCHAR = 15
    BIT = 16
    TIMESTAMP2 = 17
    DATETIME2 = 18
    TIME2 = 19
    BLOB_COMPRESSED = 140
    VARCHAR_COMPRESSED = 141
    VECTOR = 242
    JSON = 245
    NEWDECIMAL = 246
    ENUM = 247
    SET = 248
    BLOB = 252
    VAR_STRING = 253
    STRING = 254
    GEOMETRY = 255


METADATA_BYTES = {
    Type.FLOAT: 1, Type.DOUBLE: 1, Type.VARCHAR: 2, Type.BIT: 2, Type.TIMESTAMP2: 1, Type.DATETIME2: 1, Type.TIME2: 1,
    Type.BLOB_COMPRESSED: 1, Type.VARCHAR_COMPRESSED: 2, Type.VECTOR: 1, Type.JSON: 1, Type.NEWDECIMAL: 2, Type.ENUM: 2,
    Type.SET: 2, Type.BLOB: 1, Type.VAR_STRING: 2, Type.STRING: 2, Type.GEOMETRY: 1,
}  # fmt: skip
NUMERIC = {
    Type.TINY: "tinyint", Type.SHORT: "smallint", Type.INT24: "mediumint", Type.LONG: "int", Type.LONGLONG: "bigint",
    Type.FLOAT: "float", Type.DOUBLE: "double", Type.NEWDECIMAL: "decimal", Type.YEAR: "year",
}  # fmt: skip
BLOBS = {Type.BLOB, Type.BLOB_COMPRESSED}
VARCHARS = {Type.VARCHAR, Type.VAR_STRING, Type.VARCHAR_COMPRESSED}
COMPRESSED = {Type.BLOB_COMPRESSED, Type.VARCHAR_COMPRESSED}
TEXTUAL = BLOBS | VARCHARS | {Type.STRING}
GEOMETRIES = (
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geomcollection",
)  # fmt: skip
BLOB_SIZES = {1: "tiny", 2: "", 3: "medium", 4: "long"}


class Field(IntEnum):
    """Types of optional metadata."""

    SIGNEDNESS = 1
    DEFAULT_CHARSET = 2
    COLUMN_CHARSET = 3
    COLUMN_NAME = 4
    SET_STR_VALUE = 5
    ENUM_STR_VALUE = 6
    GEOMETRY_TYPE = 7
    SIMPLE_PRIMARY_KEY = 8
    PRIMARY_KEY_WITH_PREFIX = 9
    ENUM_AND_SET_DEFAULT_CHARSET = 10
    ENUM_AND_SET_COLUMN_CHARSET = 11
    COLUMN_VISIBILITY = 12
    VECTOR_DIMENSIONALITY = 13


@dataclass(frozen=True)
class MapColumn:
    """One column: what stands in the map itself, and of the optional metadata what concerns it (None where it is not told).

    type is the real one: ENUM, SET and STRING told apart. length is in bytes (strings: the most; ENUM, SET, BIT: stored;
    BLOB, JSON, GEOMETRY, VECTOR: of the length in front). fraction is that of temporal types, scale that of DECIMAL.
    """

    type: int
    length: int = 0
    precision: int = 0
    scale: int = 0
    fraction: int = 0
    bits: int = 0
    nullable: bool = True
    name: str | None = None
    unsigned: bool | None = None
    collation: int | None = None
    labels: tuple[bytes, ...] | None = None
    geometry: int | None = None
    visible: bool | None = None
    dimensions: int | None = None


@dataclass(frozen=True)
class TableMap:
    """One TABLE_MAP event. primary_key is in the key's own order, None where the map has no names (it is FULL that tells it)."""

    table_id: int
    flags: int
    schema: str
    table: str
    columns: tuple[MapColumn, ...]
    primary_key: tuple[int, ...] | None = None
    fields: frozenset[int] = field(default=frozenset())


class _Bytes:
    """A cursor over the event's bytes that answers with BinlogError where they end too soon."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def __bool__(self) -> bool:
        return self.at < len(self.data)

    def take(self, n: int) -> bytes:
        if self.at + n > len(self.data):
            raise BinlogError("TABLE_MAP ends too soon", at=self.at, wanted=n, length=len(self.data))
        piece = self.data[self.at : self.at + n]
        self.at += n
        return piece

    def number(self, n: int) -> int:
        return int.from_bytes(self.take(n), "little")

    def lenenc(self) -> int:
        first = self.number(1)
        if first < 0xFB:
            return first
        if first in (0xFB, 0xFF):
            raise BinlogError("TABLE_MAP holds a length that is none", at=self.at - 1, byte=first)
        return self.number({0xFC: 2, 0xFD: 3, 0xFE: 8}[first])

    def string(self) -> bytes:
        return self.take(self.lenenc())


def parse_table_map(body: bytes, post_header_bytes: int = 8, mariadb: bool | None = None) -> TableMap:
    """The body of a TABLE_MAP event: what follows the event's header, without the checksum.

    Args:
        post_header_bytes: from FORMAT_DESCRIPTION; 6 in binlogs with table ids of 4 bytes.
        mariadb: whose binlog it is, since the charset fields count GEOMETRY columns in MariaDB's and VECTOR columns in
            MySQL's. None: MySQL's if the map has a COLUMN_VISIBILITY field, which only MySQL writes.

    Raises:
        BinlogError: the bytes are not a table map, or a column has a type that is not known.
    """
    cursor = _Bytes(body)
    table_id = cursor.number(4 if post_header_bytes == 6 else 6)
    flags = cursor.number(2)
    cursor.take(max(post_header_bytes - 8, 0))
    schema, table = _name(cursor), _name(cursor)
    types = cursor.take(cursor.lenenc())
    metadata = _Bytes(cursor.string())
    columns = [_column(kind, metadata, f"{schema}.{table}", i) for i, kind in enumerate(types)]
    nulls = cursor.take((len(types) + 7) // 8)
    for i, column in enumerate(columns):
        column["nullable"] = bool(nulls[i >> 3] >> (i & 7) & 1)
    fields: dict[int, bytes] = {}
    while cursor:
        kind = cursor.number(1)
        fields[kind] = cursor.string()
    primary_key = _apply(columns, fields, Field.COLUMN_VISIBILITY not in fields if mariadb is None else mariadb)
    return TableMap(
        table_id, flags, schema, table, tuple(MapColumn(**column) for column in columns), primary_key, frozenset(fields)
    )


def _name(cursor: _Bytes) -> str:
    name = cursor.string()
    cursor.take(1)  # a zero
    return name.decode("utf-8", "replace")


def _column(kind: int, metadata: _Bytes, table: str, index: int) -> dict:
    """What the type byte and its metadata say."""
    meta = metadata.take(METADATA_BYTES.get(kind, 0))  # type: ignore[call-overload]
    if kind == Type.STRING:
        # The two bytes are real type and length; lengths above 255 hide their two high bits, inverted, in the type.
        if meta[0] & 0x30 != 0x30:
            return {"type": meta[0] | 0x30, "length": meta[1] | ((meta[0] & 0x30) ^ 0x30) << 4}
        return {"type": meta[0], "length": meta[1]}
    if kind in (Type.ENUM, Type.SET):
        return {"type": kind, "length": meta[1]}
    if kind in VARCHARS:
        return {"type": kind, "length": int.from_bytes(meta, "little")}
    if kind == Type.NEWDECIMAL:
        return {"type": kind, "precision": meta[0], "scale": meta[1]}
    if kind == Type.BIT:
        return {"type": kind, "bits": meta[1] * 8 + meta[0], "length": meta[1] + (meta[0] > 0)}
    if kind in (Type.TIMESTAMP2, Type.DATETIME2, Type.TIME2):
        return {"type": kind, "fraction": meta[0]}
    if meta:
        return {"type": kind, "length": meta[0]}
    if kind not in Type._value2member_map_:
        raise BinlogError("column type is not known", table=table, column=index, type=kind)
    return {"type": kind}


def _apply(columns: list[dict], fields: dict[int, bytes], mariadb: bool) -> tuple[int, ...] | None:
    """Spread the optional fields over the columns they speak of; returns the primary key."""

    def of(*types: int) -> list[dict]:
        return [column for column in columns if column["type"] in types]

    def cursor(kind: Field) -> _Bytes:
        return _Bytes(fields[kind])

    for kind, among in ((Field.SIGNEDNESS, of(*NUMERIC)), (Field.COLUMN_VISIBILITY, columns)):
        if kind in fields:
            for column, bit in zip(among, _bits(fields[kind]), strict=False):
                column["unsigned" if kind == Field.SIGNEDNESS else "visible"] = bit
    textual = of(*TEXTUAL, Type.GEOMETRY if mariadb else Type.VECTOR)
    labelled = of(Type.ENUM, Type.SET)
    _collations(textual, fields.get(Field.DEFAULT_CHARSET), fields.get(Field.COLUMN_CHARSET))
    _collations(labelled, fields.get(Field.ENUM_AND_SET_DEFAULT_CHARSET), fields.get(Field.ENUM_AND_SET_COLUMN_CHARSET))

    def spread(kind: Field, among: list[dict], key: str, read: Callable[[_Bytes], object]) -> None:
        if kind in fields:
            source = cursor(kind)
            for column in among:
                column[key] = read(source)

    spread(Field.COLUMN_NAME, columns, "name", lambda c: c.string().decode("utf-8", "replace"))
    spread(Field.GEOMETRY_TYPE, of(Type.GEOMETRY), "geometry", _Bytes.lenenc)
    spread(Field.VECTOR_DIMENSIONALITY, of(Type.VECTOR), "dimensions", _Bytes.lenenc)
    for kind, type_ in ((Field.SET_STR_VALUE, Type.SET), (Field.ENUM_STR_VALUE, Type.ENUM)):
        spread(kind, of(type_), "labels", lambda c: tuple(c.string() for _ in range(c.lenenc())))
    return _primary_key(fields, len(columns))


def _primary_key(fields: dict[int, bytes], columns: int) -> tuple[int, ...] | None:
    key: list[int] = []
    for kind in (Field.SIMPLE_PRIMARY_KEY, Field.PRIMARY_KEY_WITH_PREFIX):
        if kind in fields:
            cursor = _Bytes(fields[kind])
            while cursor:
                key.append(cursor.lenenc())
                if kind == Field.PRIMARY_KEY_WITH_PREFIX:
                    cursor.lenenc()  # characters of the prefix
    if any(index >= columns for index in key):
        raise BinlogError("TABLE_MAP's primary key names a column that is not there", key=key, columns=columns)
    return tuple(key) if key or Field.COLUMN_NAME in fields else None


def _bits(data: bytes) -> Iterator[bool]:
    """Most significant bit first."""
    return (bool(byte >> bit & 1) for byte in data for bit in range(7, -1, -1))


def _collations(columns: list[dict], default: bytes | None, each: bytes | None) -> None:
    """Either a default with exceptions (ordinal among these columns, collation), or one collation for each."""
    if default is not None:
        cursor = _Bytes(default)
        usual = cursor.lenenc()
        for column in columns:
            column["collation"] = usual
        while cursor:
            ordinal, collation = cursor.lenenc(), cursor.lenenc()
            if ordinal >= len(columns):
                raise BinlogError("TABLE_MAP gives a charset to a column that is not there", ordinal=ordinal)
            columns[ordinal]["collation"] = collation
    elif each is not None:
        cursor = _Bytes(each)
        for column in columns:
            column["collation"] = cursor.lenenc()


def has_full_metadata(table_map: TableMap) -> bool:
    """Whether the binlog was written with binlog_row_metadata=FULL, so that the map alone gives the schema."""
    return Field.COLUMN_NAME in table_map.fields


def table_schema(source: str, table_map: TableMap) -> TableSchema:
    """The schema that a map with FULL metadata tells.

    MariaDB's UUID, INET6 and INET4 are `binary(16)` and `binary(4)` in its maps, and its JSON `longtext`: it says no more.

    Raises:
        ServerSetupError: the map has no names, since binlog_row_metadata was not FULL.
        BinlogError: a collation that neither server has.
    """
    if not has_full_metadata(table_map):
        raise ServerSetupError(
            "the binlog has no column names", table=f"{table_map.schema}.{table_map.table}", remedy=REMEDY_FULL
        )
    columns = tuple(_schema_column(column) for column in table_map.columns)
    return TableSchema(source, table_map.schema, table_map.table, columns, table_map.primary_key or ())


def _schema_column(column: MapColumn) -> Column:
    charset = None
    if column.collation is not None and column.type in TEXTUAL | {Type.ENUM, Type.SET}:
        charset = charset_of_collation(column.collation)
    return Column(
        name=column.name or "",
        type=type_name(column, charset),
        unsigned=bool(column.unsigned) and column.type != Type.YEAR,
        charset=charset,
        labels=tuple(decode_text(charset or "utf8mb4", label) for label in column.labels or ()),
        nullable=column.nullable,
        visible=column.visible is not False,
    )


def type_name(column: MapColumn, charset: str | None) -> str:
    """MySQL's spelling, such as `varchar(32)`: lengths of text in characters, `binary` types in bytes."""
    kind = column.type
    binary = charset == "binary"
    method = kind == Type.VARCHAR_COMPRESSED  # a byte for the method of compression counts as length
    characters = (column.length - method) // max_character_bytes(charset or "binary")
    if kind == Type.NEWDECIMAL:
        return f"decimal({column.precision},{column.scale})"
    if kind in NUMERIC:
        return NUMERIC[Type(kind)]
    if kind == Type.STRING:
        return f"binary({characters})" if binary else f"char({characters})"
    if kind in VARCHARS:
        return f"varbinary({characters})" if binary else f"varchar({characters})"
    if kind in BLOBS:
        return BLOB_SIZES.get(column.length, "") + ("blob" if binary else "text")
    if kind == Type.GEOMETRY:
        return GEOMETRIES[column.geometry] if (column.geometry or 0) < len(GEOMETRIES) and column.geometry else "geometry"
    if kind == Type.VECTOR:
        return f"vector({column.dimensions})" if column.dimensions else "vector"
    if kind == Type.BIT:
        return f"bit({column.bits})"
    plain = {
        Type.DATE: "date", Type.NEWDATE: "date", Type.JSON: "json", Type.ENUM: "enum", Type.SET: "set", Type.TIME: "time",
        Type.TIME2: "time", Type.DATETIME: "datetime", Type.DATETIME2: "datetime", Type.TIMESTAMP: "timestamp",
        Type.TIMESTAMP2: "timestamp",
    }[Type(kind)]  # fmt: skip
    return f"{plain}({column.fraction})" if column.fraction else plain
