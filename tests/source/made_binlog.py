"""Binlog files made by hand, for what no server writes on demand: odd events, huge rows, positions beyond 4 GiB."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

UUID = bytes(range(16))
GTID_TEXT = "00010203-0405-0607-0809-0a0b0c0d0e0f"
MAGIC = b"\xfebin"
COMMIT_TIME_US = 1_800_000_000_123_456
TIMESTAMP = 1_800_000_000
ARTIFICIAL, IGNORABLE = 0x20, 0x80
_POST_HEADERS = {2: 13, 4: 8, 15: 97, 19: 8, 23: 8, 24: 8, 25: 8, 30: 10, 31: 10, 32: 10, 33: 42, 34: 42}


class MadeBinlog:
    """A MySQL binlog that grows event by event; `data` is the file, `packets()` the same as a dump sends it."""

    def __init__(self, *, checksum: bool = True, version: str = "8.4.0", first_offset: int = 0) -> None:
        """first_offset: begin there, without FORMAT_DESCRIPTION, as if there were a file before it."""
        self.checksum = checksum
        self.data = bytearray(b"" if first_offset else MAGIC)
        self.first_offset = first_offset
        self.events: list[bytes] = []
        self.starts: list[int] = []  # of the transactions
        if first_offset:
            return
        lengths = bytes(_POST_HEADERS.get(kind, 0) for kind in range(1, 43))
        body = struct.pack("<H50sIB", 4, version.encode(), TIMESTAMP, 19) + lengths + bytes([checksum])
        self.add(15, body)

    @property
    def offset(self) -> int:
        return self.first_offset + len(self.data)

    def add(self, kind: int, body: bytes, flags: int = 0) -> int:
        """Append an event; returns its offset."""
        at = self.offset
        always = kind == 15
        size = 19 + len(body) + 4 * (self.checksum or always)
        event = struct.pack("<IBIIIH", TIMESTAMP, kind, 1, size, (at + size) & 0xFFFFFFFF, flags) + body
        if self.checksum or always:
            event += struct.pack("<I", zlib.crc32(event))
        self.data += event
        self.events.append(event)
        return at

    def gtid(self, number: int = 1) -> int:
        body = bytes([0]) + UUID + struct.pack("<QBQQ", number, 2, 0, number) + COMMIT_TIME_US.to_bytes(7, "little")
        return self.add(33, body)

    def query(self, text: str, schema: str = "shop") -> int:
        name = schema.encode()
        return self.add(2, struct.pack("<IIBHH", 7, 0, len(name), 0, 0) + name + b"\0" + text.encode())

    def table_map(self, table: str = "t", schema: str = "shop", table_id: int = 90) -> int:
        """A table of `id INT PRIMARY KEY` and `v LONGBLOB`."""
        return self.add(19, table_map(table, schema, table_id))

    def write_rows(self, rows: Iterable[tuple[int, bytes]], table_id: int = 90) -> int:
        return self.add(30, write_rows(rows, table_id))

    def xid(self, number: int = 5) -> int:
        return self.add(16, struct.pack("<Q", number))

    def transaction(self, rows: Iterable[tuple[int, bytes]], number: int = 1, table: str = "t") -> int:
        start = self.gtid(number)
        self.starts.append(start)
        self.query("BEGIN")
        self.table_map(table)
        self.write_rows(rows)
        self.xid(number)
        return start

    def packets(self) -> bytes:
        """What a dump from the file's start sends, a ROTATE that names the file first."""
        rotate = rotate_event("binlog.000001", 4, self.checksum)
        return b"".join(packet(b"\0" + event) for event in [rotate, *self.events])


def rotate_event(name: str, offset: int, checksum: bool) -> bytes:
    """As a dump makes it up: without a time and a position."""
    body = struct.pack("<Q", offset) + name.encode()
    size = 19 + len(body) + 4 * checksum
    event = struct.pack("<IBIIIH", 0, 4, 1, size, 0, ARTIFICIAL) + body
    return event + (struct.pack("<I", zlib.crc32(event)) if checksum else b"")


def packet(payload: bytes) -> bytes:
    """MySQL packets: pieces of at most 0xFFFFFF bytes, the last one shorter."""
    out, number = b"", 0
    while True:
        piece, payload = payload[:0xFFFFFF], payload[0xFFFFFF:]
        out += len(piece).to_bytes(3, "little") + bytes([number & 255]) + piece
        number += 1
        if len(piece) < 0xFFFFFF:
            return out


def table_map(table: str = "t", schema: str = "shop", table_id: int = 90) -> bytes:
    """The body; with FULL metadata."""
    names = b"".join(bytes([len(name)]) + name.encode() + b"\0" for name in (schema, table))
    fields = b"\x01\x01\x00" + b"\x02\x01\x3f" + b"\x04\x05\x02id\x01v" + b"\x08\x01\x00"
    return table_id.to_bytes(6, "little") + b"\x01\x00" + names + b"\x02" + bytes([3, 252]) + b"\x01\x04" + b"\x02" + fields


def write_rows(rows: Iterable[tuple[int, bytes]], table_id: int = 90) -> bytes:
    """The body of a WRITE_ROWS event (v2) of that table."""
    head = table_id.to_bytes(6, "little") + struct.pack("<HH", 1, 2) + b"\x02\x03"
    return head + b"".join(b"\0" + struct.pack("<iI", key, len(value)) + value for key, value in rows)
