"""What mysqlbinlog -vv and mariadb-binlog -vv say of rows, read back, and held against a change.

    ### UPDATE `s`.`t`          the tools know neither signs nor labels nor charsets: what they print is compared with
    ### WHERE                   what the engine made of the same bytes
    ###   @1=1 /* INT meta=0 nullable=0 is_null=0 */
    ### SET
    ###   @2='a' /* VARSTRING(40) meta=40 nullable=1 is_null=0 */
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from engine.client.change import Change
from engine.schema import Column

Convert = Callable[[str, bytes], str]  # (charset, bytes) → what the server makes of it

_HEAD = re.compile(r"### (INSERT INTO|UPDATE|DELETE FROM) `(.*)`\.`(.*)`$")
_VALUE = re.compile(r"###   @(\d+)=(.*?)(?: /\* (.*?) \*/)?$", re.DOTALL)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|[^x])", re.DOTALL)
_OPS = {"INSERT INTO": "insert", "UPDATE": "update", "DELETE FROM": "delete"}
_INTEGERS = ("TINYINT", "SHORTINT", "MEDIUMINT", "INT", "LONGINT")
_TEXTUAL = ("STRING", "VARSTRING", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB", "GEOMETRY", "COMPRESSED", "VECTOR")


@dataclass
class ShownRow:
    """A row as the tool shows it: column number from 1 → (text, type)."""

    op: str
    schema: str
    table: str
    before: dict[int, tuple[str, str]] = field(default_factory=dict)
    after: dict[int, tuple[str, str]] = field(default_factory=dict)


def shown_rows(text: str) -> Iterator[ShownRow]:
    row: ShownRow | None = None
    image: dict[int, tuple[str, str]] = {}
    for line in text.splitlines():
        if not line.startswith("###"):
            continue
        if match := _HEAD.match(line):
            if row is not None:
                yield row
            row = ShownRow(_OPS[match[1]], match[2].replace("``", "`"), match[3].replace("``", "`"))
        elif row is not None and line in ("### SET", "### WHERE"):
            image = row.after if line == "### SET" else row.before
        elif match := _VALUE.match(line):
            image[int(match[1])] = (match[2], match[3] or "")
    if row is not None:
        yield row


def unescaped(quoted: str) -> bytes:
    """'a\\x27b' → its bytes."""
    out, at, body = b"", 0, quoted[1:-1]
    for match in _ESCAPE.finditer(body):
        out += body[at : match.start()].encode()
        code = match[1]
        plain = {"n": b"\n", "t": b"\t", "r": b"\r", "0": b"\0"}.get(code, code.encode())
        out += bytes([int(code[1:], 16)]) if code[0] == "x" else plain
        at = match.end()
    return out + body[at:].encode()


def row_differences(change: Change, row: ShownRow, convert: Convert) -> list[str]:
    """What the change and the tool don't agree on; empty where they do."""
    if (change.op, change.schema, change.table) != (row.op, row.schema, row.table):
        return [f"another change: {change!r}, the tool shows {row}"]
    found = []
    for image, shown in ((change.before, row.before), (change.after, row.after)):
        image = image or {}
        names = {column.name: number for number, column in enumerate(change.columns.columns, 1)}
        if {names[name] for name in image} != set(shown):
            found.append(f"other columns: {sorted(image)}, the tool shows {sorted(shown)}")
            continue
        for column in change.columns.columns:
            if column.name in image and not agrees(column, image[column.name], *shown[names[column.name]], convert):
                found.append(f"{column.name} ({column.type}): {image[column.name]!r}, the tool shows {shown[names[column.name]]}")
    return found


def agrees(column: Column, value: Any, text: str, kind: str, convert: Convert) -> bool:
    """Whether a value is what the tool shows as `text` of a column of this kind."""
    if value is None or text == "NULL":
        return value is None and text == "NULL"
    kind = re.split(r"[( ]", kind)[0]
    if kind in _INTEGERS:
        return value in {int(number) for number in re.findall(r"-?\d+", text)}
    if kind == "YEAR":
        return value == int(text) or (value, text) == (0, "1900")  # mysqlbinlog adds 1900 to all
    if kind in ("FLOAT", "DOUBLE"):
        return f"{value:g}" == f"{float(text):g}" or float(f"{value:g}") == float(text)
    if kind == "DECIMAL":
        return Decimal(value) == Decimal(text)
    if kind == "BIT" or kind == "SET":
        number = int(text[2:-1], 2)
        return number == (value if kind == "BIT" else _set_number(column, value))
    if kind == "ENUM":
        return ("", *column.labels)[int(text)] == value
    if kind == "DATE":
        return value == text.strip("'").replace(":", "-")
    if kind in ("TIME", "DATETIME"):
        return value == text.strip("'")
    if kind == "TIMESTAMP":
        return _seconds(value) == Decimal(text)
    if kind == "JSON":
        return bool(json.loads(value, parse_float=Decimal) == json.loads(unescaped(text), parse_float=Decimal))
    raw = unescaped(text)
    if isinstance(value, tuple):
        return struct.pack(f"<{len(value)}f", *value) == raw
    if isinstance(value, bytes):
        return value.rstrip(b"\0") == raw.rstrip(b"\0")
    return column.charset is not None and bool(value == convert(column.charset, raw))


def _set_number(column: Column, value: str) -> int:
    """An empty label leaves no trace in what SELECT shows but a comma: such sets are not taken back to numbers."""
    return sum(1 << column.labels.index(label) for label in value.split(",")) if value else 0


def _seconds(value: str) -> Decimal:
    from datetime import UTC, datetime

    if value.startswith("0000"):
        return Decimal(0)
    whole, _, fraction = value.partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return Decimal(f"{seconds}.{fraction or 0}")
