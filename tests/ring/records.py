"""Records for the ring's tests: of any size, with a number and contents that prove themselves."""

from __future__ import annotations

import struct
import zlib

from engine.position import Identity
from engine.record import HEAD_BYTES, Kind, pack_record, unpack_head
from engine.ring import Reader, iter_records

LEAST_BYTES = HEAD_BYTES + 1 + 5  # before is nil, after an empty bin
_BIN32 = struct.Struct(">BI")


def record(number: int, size: int) -> bytes:
    """A record of so many bytes (from LEAST_BYTES on); its key hash is the checksum of its payload."""
    payload_bytes = size - LEAST_BYTES
    payload = (number.to_bytes(8, "little") * (payload_bytes // 8 + 1))[:payload_bytes]
    identity = Identity(1, number, 1, 0)
    head = pack_record(Kind.INSERT, source=1, identity=identity, time_us=0, key_hash=zlib.crc32(payload))[:HEAD_BYTES]
    return head[:2] + size.to_bytes(4, "big") + head[6:] + b"\xc0" + _BIN32.pack(0xC6, payload_bytes) + payload


def number_of(found: bytes | memoryview) -> int:
    """The number of a record, after checking its contents."""
    head = unpack_head(found)
    assert head.length == len(found), f"record {head.start} is cut"
    assert zlib.crc32(found[LEAST_BYTES:]) == head.key_hash, f"record {head.start} is damaged"
    return head.start


def numbers(view: memoryview) -> list[int]:
    """Of all records in a view."""
    return [number_of(found) for found in iter_records(view)]


def take_all(reader: Reader) -> list[int]:
    """The numbers of all that the reader has not had; acked."""
    with reader.view() as view:
        found = numbers(view)
        reader.advance(len(view))
    reader.ack_to(reader.get)
    return found
