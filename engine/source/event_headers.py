"""Events of a dump's stream in plain Python, for those who look for a place and not for rows: bodies are skipped, unless wanted.

Layouts: MySQL's "Binlog Event Header" page; GTID events: MySQL's Gtid_log_event, MariaDB's "GTID_EVENT".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Container, Iterator
from typing import NamedTuple, Protocol

from engine.beats import beat
from engine.errors import BinlogError, ConnectionLost
from engine.source.gtid import parse_tagged_gtid
from engine.source.server_errors import dump_error

ROTATE, FORMAT_DESCRIPTION, HEARTBEAT, GTID, ANONYMOUS_GTID, HEARTBEAT_V2, GTID_TAGGED = 4, 15, 27, 33, 34, 41, 42
MARIADB_GTID = 162
TRANSACTION_STARTS = frozenset({GTID, ANONYMOUS_GTID, GTID_TAGGED, MARIADB_GTID})

_BUFFER_BYTES = 1 << 20
_LARGEST_PACKET = 0xFFFFFF  # a packet of this length is continued by the next
_BODY_BYTES = 600  # of an event, how much is looked at: a ROTATE's file name, a GTID's commit time
_HEADER = struct.Struct("<IBIIIH")  # timestamp, type, server id, size, end position, flags
EVERY_TYPE = range(256)
_ARTIFICIAL = 0x20
_COMMIT_TIME_TYPE, _COMMIT_TIME = 25, 42  # places in GTID's body


class Stream(Protocol):
    """What a Connection is after dump."""

    def recv_into(self, buffer: memoryview) -> int: ...

    def wait_readable(self, timeout_s: float) -> bool: ...


class EventHeader(NamedTuple):
    """type, timestamp (s), file and where in it the event begins and ends; `made_up` events are in no file.

    origin_us: of a transaction's first event, when it was made, as replicas' binlogs have it too, µs since 1970; otherwise 0.
    """

    type: int
    timestamp: int
    file: str
    start: int
    end: int
    made_up: bool
    origin_us: int


def read_headers(stream: Stream, timeout_s: float) -> Iterator[EventHeader]:
    """The stream's events up to its 0xFE packet, heartbeats left out.

    Raises:
        SourceError: the server's error packet.
        ConnectionLost: nothing for `timeout_s`, or the connection broke.
    """
    for header, _ in read_located(stream, timeout_s):
        yield header


def read_located(stream: Stream, timeout_s: float, whole: Container[int] = ()) -> Iterator[tuple[EventHeader, memoryview]]:
    """As read_headers, each with its packet as read_packets has it."""
    file, offset = "", 4
    for packet in read_packets(stream, timeout_s, whole):
        timestamp, kind, _, size, log_pos, flags = _HEADER.unpack_from(packet, 1)
        if kind in (HEARTBEAT, HEARTBEAT_V2):
            continue
        made_up = bool(flags & _ARTIFICIAL) or not timestamp or (kind == FORMAT_DESCRIPTION and offset != 4)
        start = offset
        if not made_up:
            offset = _end(offset, size, log_pos)
            start = offset - size
        origin_us = _origin_us(kind, timestamp, packet) if kind in TRANSACTION_STARTS else 0
        yield EventHeader(kind, timestamp, file, start, offset, made_up, origin_us), packet
        if kind == ROTATE and made_up:
            (offset,) = struct.unpack_from("<Q", packet, 20)
            file = _without_checksum(packet[1 : size + 1])[27:].decode(errors="replace")


def _origin_us(kind: int, timestamp: int, packet: memoryview) -> int:
    """MySQL tells the commit time on the server that made the transaction; MariaDB when its statement began."""
    body = packet[20:]
    at = 0
    if kind == GTID_TAGGED:
        at = parse_tagged_gtid(bytes(body), BinlogError).origin_us
    elif kind != MARIADB_GTID and len(body) >= _COMMIT_TIME + 7 and body[_COMMIT_TIME_TYPE] == 2:
        at = int.from_bytes(body[_COMMIT_TIME : _COMMIT_TIME + 7], "little")
        if at >> 55:  # another server's follows
            at = int.from_bytes(body[_COMMIT_TIME + 7 : _COMMIT_TIME + 14], "little")
    return at or timestamp * 1_000_000


def _without_checksum(event: memoryview) -> bytes:
    """A ROTATE at the stream's begin comes before anything says whether events carry checksums; its own bytes tell."""
    body, checksum = bytes(event[:-4]), bytes(event[-4:])
    return body if zlib.crc32(body).to_bytes(4, "little") == checksum else bytes(event)


def _end(start: int, size: int, log_pos: int) -> int:
    """The header's end position has 32 bits, and is 0 inside transactions in MariaDB 11.4 and later. A server that leaves out
    transactions goes ahead, by more than 2 GiB where one of them is so large; never back."""
    return start + ((log_pos - start) & 0xFFFFFFFF) if log_pos else start + size


def read_packets(stream: Stream, timeout_s: float, whole: Container[int] = ()) -> Iterator[memoryview]:
    """The event packets up to the 0xFE packet, status byte included; valid until the next one is asked for.

    Events of the types in `whole` come whole, of the others the first bytes: a large one never lies in memory.

    Raises:
        SourceError: the server's error packet.
        ConnectionLost: nothing for `timeout_s`, or the connection broke.
    """
    window = memoryview(bytearray(_BUFFER_BYTES))
    begin = end = skip = 0
    continued = False
    kept: bytearray | None = None  # an event that comes whole, and is longer than what is looked at
    while True:
        if skip:
            step = min(skip, end - begin)
            if kept is not None:
                kept += window[begin : begin + step]
            begin, skip = begin + step, skip - step
        if kept is not None and not skip and not continued:
            yield memoryview(kept)
            kept = None
        if not skip and end - begin >= 4:
            length = int.from_bytes(window[begin : begin + 3], "little")
            needed = min(length, _BODY_BYTES)
            if end - begin >= 4 + needed:
                body = window[begin + 4 : begin + 4 + needed]
                if not continued:
                    if _is_end(body):
                        return
                    if length > needed and body[5] in whole:
                        kept = bytearray()
                    else:
                        yield body
                continued = length == _LARGEST_PACKET
                begin, skip = begin + 4, length
                continue
        beat()  # whole files may be read in one turn of the source
        window[: end - begin] = window[begin:end]
        begin, end = 0, end - begin
        while not (got := stream.recv_into(window[end:])):
            if not stream.wait_readable(timeout_s):
                raise ConnectionLost("the connection was lost: the server sends nothing", seconds=timeout_s)
        end += got


def _is_end(body: memoryview) -> bool:
    status = body[0] if body else -1
    if status == 0xFF:
        (code,) = struct.unpack_from("<H", body, 1)
        message = bytes(body[3:]).decode(errors="replace")
        raise dump_error(code, message[6:] if message.startswith("#") else message)
    if status == 0xFE:
        return True
    if status or len(body) < 20:
        raise BinlogError("a packet of the dump is not an event", status=status, bytes=len(body))
    return False
