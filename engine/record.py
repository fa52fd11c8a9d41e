"""The record: one msgpack array of 13 fields, the first eleven with fixed-width encodings (docs/protocol.md, Record).

    offset bytes  field
         0     1  0x9d        array of 13
         1     5  0xce u32    length of the whole record in bytes
         6     2  0xcc u8     kind
         8     3  0xcd u16    flags
        11     3  0xcd u16    source number
        14     5  0xce u32    table key (0: none)
        19     9  0xcf u64    commit time, microseconds since 1970 UTC
        28     5  0xce u32    binlog file number
        33     9  0xcf u64    offset of the transaction's first event
        42     5  0xce u32    ordinal of the event in the transaction, from 1
        47     5  0xce u32    ordinal of the row in the event, from 0
        52     9  0xcf u64    hash of the primary key
        61        any         before
                  any         after

`_record.h` is the native twin of this page; a test holds the two together.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any, NamedTuple

import msgpack

from engine.position import ORIGIN, Identity

HEAD_BYTES = 61
SCHEMA_AT = HEAD_BYTES + 1  # in a schema record, whose `before` is nil: TableSchema.pack()
FIELDS = 13
FRAGMENT_BYTES = 128 * 1024  # chunk of a change that is too large for one record; passes the smallest ring (1 MiB)
MIN_RING_BYTES = 1 << 20

KEY_CHANGED = 0x0001  # an update whose primary key differs before and after
SPLIT = 0x0002  # half of such an update: its delete and its insert went to two partitions
TORN = 0x0004  # of a commit: the transaction won't go on, all of it is void
AGAIN = 0x0008  # may have been delivered before, under the identity that another server gave it

ABSENT = msgpack.ExtType(1, b"")  # a column that the row image doesn't hold; not NULL


class Kind(IntEnum):
    """What a record is."""

    INSERT = 1
    UPDATE = 2
    DELETE = 3
    BEGIN = 4
    COMMIT = 5
    DDL = 6
    SCHEMA = 7
    HEARTBEAT = 8
    FRAGMENT = 9
    STATEMENT = 10  # a change that the server logged as a statement, not as rows
    HISTORY = 11  # a past version of a row of a system-versioned table has come to be kept, or has gone


CHANGES = frozenset((Kind.INSERT, Kind.UPDATE, Kind.DELETE))
OPS = {Kind.INSERT: "insert", Kind.UPDATE: "update", Kind.DELETE: "delete"}

_HEAD = struct.Struct(">BBIBBBHBHBIBQBIBQBIBIBQ")
assert _HEAD.size == HEAD_BYTES


class Head(NamedTuple):
    """The fixed-width fields of a record."""

    length: int
    kind: int
    flags: int
    source: int
    table: int
    time_us: int
    file: int
    start: int
    event: int
    row: int
    key_hash: int

    @property
    def identity(self) -> Identity:
        return Identity(self.file, self.start, self.event, self.row)


def pack_record(
    kind: int,
    *,
    source: int,
    identity: Identity,
    time_us: int,
    table: int = 0,
    flags: int = 0,
    key_hash: int = 0,
    before: Any = None,
    after: Any = None,
) -> bytes:
    """A whole record; for the rare kinds (ddl, schema, heartbeat) and for tests. Changes are written natively."""
    return _with_head(msgpack.packb(before) + msgpack.packb(after), kind, flags, source, table, time_us, identity, key_hash)


def pack_schema_record(source: int, table: int, packed_schema: bytes) -> bytes:
    """A schema record that says nothing of a place, as sessions get it before the first record of a table."""
    return _with_head(b"\xc0" + packed_schema, Kind.SCHEMA, 0, source, table, 0, ORIGIN, 0)


def _with_head(
    body: bytes, kind: int, flags: int, source: int, table: int, time_us: int, identity: Identity, key_hash: int
) -> bytes:
    head = _HEAD.pack(
        0x9D, 0xCE, HEAD_BYTES + len(body), 0xCC, kind, 0xCD, flags, 0xCD, source, 0xCE, table, 0xCF, time_us,
        0xCE, identity.file, 0xCF, identity.start, 0xCE, identity.event, 0xCE, identity.row, 0xCF, key_hash,
    )  # fmt: skip
    return head + body


def unpack_head(data: bytes | memoryview, offset: int = 0) -> Head:
    """The head of the record at `offset`; reads HEAD_BYTES."""
    f = _HEAD.unpack_from(data, offset)
    return Head(f[2], f[4], f[6], f[8], f[10], f[12], f[14], f[16], f[18], f[20], f[22])
