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
from ipaddress import ip_address
from typing import Any
from uuid import UUID

from engine.client.change import Change
from engine.schema import Column

Convert = Callable[[str, str], bytes]  # (charset, text) → its bytes, as the server converts

_HEAD = re.compile(r"### (INSERT INTO|UPDATE|DELETE FROM) `(.*)`\.`(.*)`$")
_VALUE = re.compile(r"###   @(\d+)=(.*?)(?: /\* (.*?) \*/)?$", re.DOTALL)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|[^x])", re.DOTALL)
_OPS = {"INSERT INTO": "insert", "UPDATE": "update", "DELETE FROM": "delete"}
_INTEGERS = ("TINYINT", "SHORTINT", "MEDIUMINT", "INT", "LONGINT")


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
    for line in text.split("\n"):
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


def shows(raw: bytes, text: str, mariadb: bool) -> bool:
    """Whether the tool's 'a\\x00b' stands for these bytes. MariaDB's escapes control characters only, not the backslash."""
    if mariadb:
        shown = re.sub(rb"[\x00-\x1f]", lambda match: b"\\x%02x" % match[0][0], raw)
        return shown.decode("utf-8", "backslashreplace") == text[1:-1]
    return unescaped(text) == raw


def unescaped(quoted: str) -> bytes:
    """MySQL's quoted text → its bytes; what is no UTF-8 stands as \\x.. there too."""
    out, at, body = b"", 0, quoted[1:-1]
    for match in _ESCAPE.finditer(body):
        out += body[at : match.start()].encode()
        code = match[1]
        plain = {"n": b"\n", "t": b"\t", "r": b"\r", "f": b"\f", "b": b"\b", "0": b"\0"}.get(code, code.encode())
        out += bytes([int(code[1:], 16)]) if len(code) == 3 else plain
        at = match.end()
    return out + body[at:].encode()


def row_differences(change: Change, row: ShownRow, convert: Convert, mariadb: bool) -> list[str]:
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
            if column.name not in image:
                continue
            if not agrees(column, image[column.name], *shown[names[column.name]], convert, mariadb):
                found.append(f"{column.name} ({column.type}): {image[column.name]!r}, the tool shows {shown[names[column.name]]}")
    return found


def agrees(column: Column, value: Any, text: str, kind: str, convert: Convert, mariadb: bool) -> bool:
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
    if kind == "BIT":
        return int(text[2:-1], 2) == value
    if kind == "SET":  # the tools show its bytes in the order of the file, lowest first
        digits = text[2:-1]
        return bytes(int(digits[i : i + 8], 2) for i in range(0, len(digits), 8)) == _set_bytes(column, value, len(digits) // 8)
    if kind == "ENUM":
        return ("", *column.labels)[int(text)] == value
    if kind == "DATE":
        return value == text.strip("'").replace(":", "-")
    if kind in ("TIME", "DATETIME"):
        return value == text.strip("'")
    if kind == "TIMESTAMP":
        return _seconds(value) == Decimal(text)
    if kind == "JSON":
        document = json.loads(value, parse_float=Decimal)
        if isinstance(document, str):  # mysqlbinlog shows a document that is nothing but a string without its quotes
            return document.encode() == unescaped(text)
        return bool(document == json.loads(unescaped(text), parse_float=Decimal))
    if kind == "VECTOR":
        return [f"{number:.5e}" for number in value] == text[1:-1].split(",")
    if isinstance(value, tuple):
        raw = struct.pack(f"<{len(value)}f", *value)
    elif isinstance(value, bytes):
        raw = value.rstrip(b"\0") if column.type.startswith("binary(") else value  # the binlog has BINARY without its padding
    elif column.type == "uuid":
        raw = UUID(value).bytes.rstrip(b"\0")
    elif column.type in ("inet4", "inet6"):
        raw = ip_address(value).packed.rstrip(b"\0")
    else:
        raw = convert(column.charset or "utf8mb4", value)
    return shows(raw, text, mariadb)


def _set_bytes(column: Column, value: str, size: int) -> bytes:
    number = sum(1 << column.labels.index(label) for label in value.split(",")) if value else 0
    return number.to_bytes(size, "little")


def _seconds(value: str) -> Decimal:
    from datetime import UTC, datetime

    if value.startswith("0000"):
        return Decimal(0)
    whole, _, fraction = value.partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return Decimal(f"{seconds}.{fraction or 0}")
