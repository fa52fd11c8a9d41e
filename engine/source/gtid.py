"""MySQL's GTID_TAGGED_LOG event (type 42), which mysql-replication doesn't read.

It is written with MySQL's serialization library (libs/mysql/serialization, "Serialization" in MySQL's source documentation):

    version | message bytes | last field id that must be known | (field id | value)...

All integers have variable length: the number of trailing one bits of the first byte says how many bytes follow it, and the
value is in the bits above; signed ones have their sign in the lowest bit. Fields: 0 flags, 1 uuid (16 bytes, each an integer),
2 number (signed), 3 tag (length, characters), 4 last
committed, 5 sequence number, 6 commit time on this server in µs, 7 the same on the first server, ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

TAG_BYTES = 32


class TaggedGtid(NamedTuple):
    """text: `uuid:tag:number`, and its parts. commit_time_us: on this server, origin_us: on its maker; 0: not told."""

    text: str
    commit_time_us: int
    uuid: bytes
    tag: bytes
    number: int
    origin_us: int


def _integer(data: bytes, at: int) -> tuple[int, int]:
    first = data[at]
    extra = 0
    while extra < 8 and first >> extra & 1:
        extra += 1
    end = at + 1 + extra
    if end > len(data):
        raise IndexError
    value = int.from_bytes(data[at:end], "little") >> (extra + 1 if extra < 8 else 8)
    return value, end


def parse_tagged_gtid(body: bytes, fail: Callable[..., Exception]) -> TaggedGtid:
    """Reads the event's body, without header and checksum; `fail` makes the error when that can't be done."""
    number = commit_time_us = origin_us = 0
    uuid, tag = bytes(16), ""
    try:
        at = 0
        for _ in range(3):
            _, at = _integer(body, at)
        while at < len(body):
            field, at = _integer(body, at)
            if field == 1:
                parts = bytearray()
                for _ in range(16):
                    part, at = _integer(body, at)
                    parts.append(part)
                uuid = bytes(parts)
            elif field == 3:
                length, at = _integer(body, at)
                tag, at = body[at : at + length].decode("ascii"), at + length
            elif field <= 7:
                value, at = _integer(body, at)
                if field == 2:
                    number = value >> 1  # a signed one, never negative
                elif field == 6:
                    commit_time_us = value
                elif field == 7:
                    origin_us = value
            else:
                break
    except (IndexError, ValueError):
        raise fail("a tagged GTID can't be read") from None
    text = f"{UUID(bytes=uuid)}:{tag}:{number}" if tag else f"{UUID(bytes=uuid)}:{number}"
    return TaggedGtid(text, commit_time_us, uuid, tag.encode()[:TAG_BYTES], number, origin_us or commit_time_us)
