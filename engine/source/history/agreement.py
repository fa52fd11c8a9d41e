"""A definition against a TABLE_MAP: do they speak of the same columns, and the schema that both together tell."""

from __future__ import annotations

import re
from dataclasses import replace

from engine.schema import Column, TableSchema
from engine.source.charsets import as_stored, charset_of_collation, max_character_bytes
from engine.source.history.definition import CHARSET_TYPES, ColumnDefinition, TableDefinition
from engine.source.table_map import (
    BLOB_SIZES,
    BLOBS,
    GEOMETRIES,
    NUMERIC,
    TEXTUAL,
    VARCHARS,
    MapColumn,
    TableMap,
    Type,
    type_name,
)

NETWORK_BYTES = {"uuid": 16, "inet6": 16, "inet4": 4}  # MariaDB's types that a map shows as binary(n)
_TIMES = {
    "date": {Type.DATE, Type.NEWDATE}, "time": {Type.TIME, Type.TIME2}, "datetime": {Type.DATETIME, Type.DATETIME2},
    "timestamp": {Type.TIMESTAMP, Type.TIMESTAMP2},
}  # fmt: skip
OLD_TIMES = {Type.DATETIME: "datetime", Type.TIMESTAMP: "timestamp", Type.TIME: "time"}
_ROW_HASH = re.compile(r"DB_ROW_HASH_\d+")


class Disagreement(Exception):
    """What the map says otherwise; never leaves the history."""


def hidden_columns(table_map: TableMap, definition: TableDefinition | None, *, mariadb: bool) -> int:
    """How many columns at the end are MariaDB's own: the hashes by which it keeps long keys unique (DB_ROW_HASH_1 ...).

    Where the map has no names, they are what a definition lacks.
    """
    hidden = 0
    if not mariadb:
        return 0
    for column in reversed(table_map.columns):
        told = column.name is not None
        matches = _ROW_HASH.fullmatch(column.name or "") if told else definition and (
            len(definition.columns) < len(table_map.columns) - hidden and hidden < sum(key.unique for key in definition.keys)
        )  # fmt: skip
        if column.type != Type.LONGLONG or not column.nullable or column.unsigned is False or not matches:
            break
        hidden += 1
    return hidden


def without_hidden(schema: TableSchema, hidden: int) -> TableSchema:
    return replace(schema, columns=schema.columns[: len(schema.columns) - hidden]) if hidden else schema


def agreed_schema(source: str, table_map: TableMap, definition: TableDefinition, *, mariadb: bool) -> TableSchema:
    """The schema of a table whose map has no names, hidden columns left out.

    Raises:
        Disagreement: the definition is not the one of the map's time.
    """
    columns = table_map.columns[: len(table_map.columns) - hidden_columns(table_map, definition, mariadb=mariadb)]
    if len(columns) != len(definition.columns):
        raise Disagreement(f"{len(columns)} columns, not {len(definition.columns)}")
    pairs = zip(columns, definition.columns, strict=True)
    described = tuple(_column(_with_digits(told, column) if mariadb else told, column) for told, column in pairs)
    return TableSchema(source, table_map.schema, table_map.table, described, definition.primary_key())


def with_known_types(schema: TableSchema, definition: TableDefinition) -> TableSchema:
    """A schema from FULL metadata with what MariaDB's maps don't tell: UUID, INET4, INET6, digits of a second in the old format
    (source/old_times.py), and who is invisible."""
    if [c.name for c in schema.columns] != [c.name for c in definition.columns]:
        return schema
    columns = []
    for column, known in zip(schema.columns, definition.columns, strict=True):
        if known.type in NETWORK_BYTES and column.type == f"binary({NETWORK_BYTES[known.type]})":
            column = replace(column, type=known.type)
        if known.size and known.type == column.type and known.type in OLD_TIMES.values():
            column = replace(column, type=f"{known.type}({known.size[0]})")
        columns.append(replace(column, visible=column.visible and known.visible, system=known.system))
    return replace(schema, columns=tuple(columns))


def _with_digits(told: MapColumn, known: ColumnDefinition) -> MapColumn:
    """The map does not tell how many digits of a second a time in MariaDB's old format has."""
    old = told.type in OLD_TIMES and known.type == OLD_TIMES[Type(told.type)] and known.size
    return replace(told, fraction=known.size[0]) if old else told


def _column(told: MapColumn, known: ColumnDefinition) -> Column:
    charset = known.charset
    if told.collation is not None and told.type in TEXTUAL:
        charset = charset_of_collation(told.collation)
    elif told.type in TEXTUAL and known.type not in CHARSET_TYPES:
        charset = "binary"
    fault = _fault(told, known, charset)
    if fault:
        raise Disagreement(f"column {known.name}: {fault}")
    if known.type in GEOMETRIES:
        told = replace(told, geometry=GEOMETRIES.index(known.type))
    if known.type == "vector":
        told = replace(told, dimensions=known.size[0])
    return Column(
        name=known.name,
        type=known.type if known.type in NETWORK_BYTES else type_name(told, charset),
        unsigned=known.unsigned and told.type in NUMERIC and told.type != Type.YEAR,
        charset=charset,
        labels=tuple(as_stored(charset, label) for label in known.labels) if charset else known.labels,
        nullable=told.nullable,
        visible=known.visible,
        system=known.system,
    )


def _fault(told: MapColumn, known: ColumnDefinition, charset: str | None) -> str:
    """What contradicts, "" if nothing does."""
    kind, size = known.type, known.size
    if not _type_fits(told, kind):
        return f"the binlog has a {type_name(told, charset)}, not a {kind}"
    if told.nullable != known.nullable and kind != "timestamp":  # whose default is up to explicit_defaults_for_timestamp
        return "may be NULL" if told.nullable else "is never NULL"
    if told.unsigned is not None and told.type in NUMERIC and told.type != Type.YEAR and told.unsigned != known.unsigned:
        return "is unsigned" if told.unsigned else "is signed"
    if kind == "decimal" and (told.precision, told.scale) != size:
        return f"is decimal({told.precision},{told.scale})"
    if kind == "bit" and told.bits != size[0]:
        return f"is bit({told.bits})"
    if kind in _TIMES and told.fraction != (size[0] if size else 0):
        return f"has {told.fraction} digits of a second"
    if kind == "vector" and told.type in VARCHARS and told.length != 4 * size[0]:
        return f"takes {told.length} bytes"
    if kind in ("enum", "set") and told.length != _label_bytes(kind, len(known.labels)):
        return f"its values take {told.length} bytes"
    if kind in ("char", "varchar") and charset == "binary" and known.charset != "binary":
        return "holds bytes, not text"
    if kind in ("char", "varchar", "binary", "varbinary") and size and charset is not None:
        length = size[0] * (max_character_bytes(charset) if kind in ("char", "varchar") else 1)
        if told.length - (told.type == Type.VARCHAR_COMPRESSED) != length:
            return f"takes {told.length} bytes"
    return ""


def _type_fits(told: MapColumn, kind: str) -> bool:
    type_ = told.type
    if type_ in NUMERIC:
        return kind == NUMERIC[Type(type_)]
    if kind in _TIMES:
        return type_ in _TIMES[kind]
    if type_ in BLOBS:  # a text may have been made longer than it was declared, so that it holds a wider character set
        size = BLOB_SIZES.get(told.length, "")
        return kind.endswith("text") or kind == size + "blob" or (kind == "json" and type_ == Type.BLOB)
    if type_ in VARCHARS:
        return kind in ("varchar", "varbinary", "vector")  # MariaDB's VECTOR(n) is a varbinary(4 n) to its binlog
    if type_ == Type.STRING:
        return kind in ("char", "binary") or told.length == NETWORK_BYTES.get(kind, -1)
    kinds = {Type.BIT: "bit", Type.ENUM: "enum", Type.SET: "set", Type.JSON: "json", Type.VECTOR: "vector"}
    return kind in GEOMETRIES if type_ == Type.GEOMETRY else kinds.get(Type(type_)) == kind


def _label_bytes(kind: str, labels: int) -> int:
    if kind == "enum":
        return 1 if labels < 256 else 2
    size = (labels + 7) // 8
    return 8 if size > 4 else size
