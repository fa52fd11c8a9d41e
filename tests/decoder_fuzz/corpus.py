"""Recorded binlogs cut into units: a FORMAT_DESCRIPTION and one small transaction, which make sense by themselves.

Their events have lost their positions (0, as MariaDB writes inside transactions since 11.4), so that a dump of them is not
refused for these alone; a tenth of the units keep them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zlib_ng import zlib_ng

from tests.data.make import DATA

HEADER_BYTES = 19
FORMAT_DESCRIPTION, ROTATE, TABLE_MAP, XID, QUERY, XA_PREPARE = 15, 4, 19, 16, 2, 38
GTIDS = {33, 34, 42, 162}
ENDS = {XID, XA_PREPARE}
ROWS = {*range(23, 26), *range(30, 33), 39, *range(166, 172)}
UNIT_BYTES = 24 << 10  # a transaction that has more is cut into several


@dataclass(frozen=True)
class Unit:
    """Events with their headers and checksums. `case` is the folder that they come from."""

    case: str
    description: bytes
    events: tuple[bytes, ...]


def events_of(data: bytes) -> Iterator[bytes]:
    """The events of a whole binlog file."""
    at = 4
    while at < len(data):
        size = int.from_bytes(data[at + 9 : at + 13], "little")
        assert HEADER_BYTES <= size <= len(data) - at, f"event of {size} bytes at {at}"
        yield data[at : at + size]
        at += size


def units() -> list[Unit]:
    """Those of every recorded binlog."""
    found = [unit for path in sorted(DATA.glob("*/binlog.000001")) for unit in _units_of(path)]
    return [unit if i % 10 == 0 else _without_positions(unit) for i, unit in enumerate(found)]


def _without_positions(unit: Unit) -> Unit:
    checksums = unit.description[-5] == 1
    events = []
    for event in unit.events:
        plain = event[:13] + bytes(4) + event[17 : len(event) - 4 * checksums]
        events.append(plain + struct.pack("<I", zlib_ng.crc32(plain)) * checksums)
    return Unit(unit.case, unit.description, tuple(events))


def _units_of(path: Path) -> Iterator[Unit]:
    description = b""
    group: list[bytes] = []
    for event in events_of(path.read_bytes()):
        kind = event[4]
        if kind == FORMAT_DESCRIPTION:
            description = event
            continue
        if kind in GTIDS and group:
            yield from _cut(path.parent.name, description, group)
            group = []
        group.append(event)
        if kind in ENDS:
            yield from _cut(path.parent.name, description, group)
            group = []
    if group:
        yield from _cut(path.parent.name, description, group)


def _cut(case: str, description: bytes, group: list[bytes]) -> Iterator[Unit]:
    """A large transaction as several: each with its begin, its end, and one statement's TABLE_MAPs and rows."""
    if sum(map(len, group)) <= UNIT_BYTES:
        yield Unit(case, description, tuple(group))
        return
    begin = [event for event in group[:2] if event[4] not in (TABLE_MAP, *ROWS)]
    end = group[-1:] if group[-1][4] not in (TABLE_MAP, *ROWS) else []
    maps: list[bytes] = []
    after_rows = False
    for event in group[len(begin) : len(group) - len(end)]:
        if event[4] == TABLE_MAP:
            maps = [*([] if after_rows else maps), event]
            after_rows = False
        elif event[4] in ROWS:
            after_rows = True
            yield Unit(case, description, (*begin, *maps, event, *end))
        else:
            yield Unit(case, description, (*begin, event, *end))
