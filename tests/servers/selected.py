"""A table as SELECT shows it, each value in the form that a consumer gets (the value table of docs/protocol.md)."""

from __future__ import annotations

import base64
import json
import re
import struct
from ctypes import c_float
from typing import Any

INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit"}
FLOATS = {"float", "double"}
SPATIAL = {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"}
SPATIAL |= {"geometrycollection", "geomcollection"}
BYTES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", *SPATIAL}


def selected(connection: Any, schema: str, table: str) -> list[dict[str, Any]]:
    """Every row, in the order of the primary key; TIMESTAMP in UTC, byte strings as bytes.

    Text comes over the wire for all types, so that no driver's idea of a type is in between.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00', NAMES utf8mb4")
        columns = _columns(cursor, schema, table)
        expressions = ", ".join(_expression(name, kind) for name, kind in columns)
        key = _primary_key(cursor, schema, table)
        order = f" ORDER BY {', '.join(map(_quote, key))}" if key else ""
        decoders, connection.decoders = connection.decoders, {}
        try:
            cursor.execute(f"SELECT {expressions} FROM {_quote(schema)}.{_quote(table)}{order}")
            rows = cursor.fetchall()
        finally:
            connection.decoders = decoders
    return [{name: _value(kind, text) for (name, kind), text in zip(columns, row, strict=True)} for row in rows]


def selected_schema(connection: Any, schema: str) -> dict[str, list[dict[str, Any]]]:
    """`selected` for each table of a schema, by `schema.table`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = %s AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY table_name",
            [schema],
        )
        tables = [row[0] for row in cursor.fetchall()]
    return {f"{schema}.{table}": selected(connection, schema, table) for table in tables}


def to_json(value: Any) -> Any:
    """The value as expected.json and `--json` write it: bytes become {"base64": ...}."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {name: to_json(inner) for name, inner in value.items()}
    return [to_json(inner) for inner in value] if isinstance(value, list) else value


def same(got: Any, expected: Any) -> bool:
    """Equal as a consumer sees it: JSON text as a JSON value (spacing and key order don't count), the rest exactly."""
    if type(got) is type(expected) and got == expected:
        return True
    if isinstance(got, float) and isinstance(expected, float):  # `--json` writes a FLOAT with as few digits as tell it apart
        return len(repr(got)) < len(repr(expected)) and c_float(got).value == expected
    if isinstance(got, str) and isinstance(expected, str) and _looks_like_json(got) and _looks_like_json(expected):
        try:
            return bool(json.loads(got) == json.loads(expected))
        except ValueError:
            return False
    if isinstance(got, list) and isinstance(expected, list) and len(got) == len(expected):
        return all(map(same, got, expected))
    return False


def _looks_like_json(text: str) -> bool:
    """Not every JSON text: -0.5 and -0.50 are equal as JSON, and must not be as DECIMAL."""
    return text[:1] in ("{", "[", '"') or re.fullmatch(r"-?\d+(\.\d+)?[eE][+-]?\d+|0\.0+\d+", text) is not None


def differences(got: dict[str, Any], expected: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Columns of a row that aren't the same: name → (got, expected)."""
    names = [*expected, *(name for name in got if name not in expected)]
    missing = "(absent)"
    return {
        name: (got.get(name, missing), expected.get(name, missing))
        for name in names
        if not same(got.get(name, missing), expected.get(name, missing))
    }


def _columns(cursor: Any, schema: str, table: str) -> list[tuple[str, str]]:
    cursor.execute(
        "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
        [schema, table],
    )
    return [(name, str(kind).lower()) for name, kind in cursor.fetchall()]


def _primary_key(cursor: Any, schema: str, table: str) -> list[str]:
    cursor.execute(
        "SELECT column_name FROM information_schema.statistics"
        " WHERE table_schema = %s AND table_name = %s AND index_name = 'PRIMARY' ORDER BY seq_in_index",
        [schema, table],
    )
    return [row[0] for row in cursor.fetchall()]


def _quote(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _expression(name: str, kind: str) -> str:
    column = _quote(name)
    if kind in FLOATS:
        return f"{column} + 0e0"  # SELECT rounds a FLOAT to six digits; as a DOUBLE it shows the value that is stored
    if kind == "bit":
        return f"{column} + 0"
    return f"HEX({column})" if kind in BYTES or kind == "vector" else column


def _value(kind: str, text: Any) -> Any:
    if text is None:
        return None
    if isinstance(text, bytes):
        text = text.decode()
    if kind in INTEGERS:
        return int(text)
    if kind in FLOATS:
        return float(text)
    if kind == "vector":
        raw = bytes.fromhex(text)
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
    return bytes.fromhex(text) if kind in BYTES else text
