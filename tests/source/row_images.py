"""Row images cut out of real binlog files, without the engine's own event decoder: what the tests of _rows start from."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
from engine.source._rows import RowPlan

from engine.schema import TableSchema
from engine.source.table_map import TableMap, parse_table_map, table_schema
from tests.servers.database import Database

CHECKSUM_BYTES = 4
TABLE_MAP = 19
WRITE_ROWS = (23, 30)  # v1 and v2
V2 = 30


class Images(NamedTuple):
    """The images of one insert event: TABLE_MAP as bytes and parsed, the images, the bitmap of present columns."""

    table_map: TableMap
    map_body: bytes
    source: bytes
    present: bytes


def events(path: Path) -> Iterator[tuple[int, bytes]]:
    """(type, body) of each event of a binlog file with checksums."""
    data = path.read_bytes()
    at = 4
    while at < len(data):
        kind, length = data[at + 4], struct.unpack_from("<I", data, at + 9)[0]
        yield kind, data[at + 19 : at + length - CHECKSUM_BYTES]
        at += length


def inserted(server: Database, schema: str) -> dict[str, list[Images]]:
    """The insert events of a schema, by table."""
    found: dict[str, list[Images]] = {}
    table_map, map_body = None, b""
    for path in server.binlog_files():
        for kind, body in events(path):
            if kind == TABLE_MAP:
                table_map, map_body = parse_table_map(body, mariadb=server.name == "mariadb"), body
            elif kind in WRITE_ROWS and table_map is not None and table_map.schema == schema:
                at = 8 + (struct.unpack_from("<H", body, 8)[0] if kind >= V2 else 0)
                columns = body[at]
                assert columns < 251, "a lenenc number of one byte"
                bitmap = body[at + 1 : at + 1 + (columns + 7) // 8]
                images = Images(table_map, map_body, body[at + 1 + len(bitmap) :], bitmap)
                found.setdefault(table_map.table, []).append(images)
    return found


def decoded(images: list[Images], types: dict[str, str] | None = None, schema: TableSchema | None = None) -> list[dict[str, Any]]:
    """All rows as dicts. `types` replaces the types of columns that only a schema tells: {"u": "uuid"}."""
    rows = []
    for event in images:
        told = schema or table_schema("test", event.table_map)
        if types:
            columns = tuple(replace(column, type=types.get(column.name, column.type)) for column in told.columns)
            told = replace(told, columns=columns)
        stream = RowPlan(told, event.table_map).images(event.source, event.present)
        for row in msgpack.Unpacker(BytesIO(stream)):
            rows.append(dict(zip((column.name for column in told.columns), row, strict=True)))
    return rows
