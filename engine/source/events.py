"""What Python has to say about binlog events: their names, the rare ones, and the errors they end in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import zstandard

from engine.errors import BinlogError, ConfigError, SourceError
from engine.position import split_file_name
from engine.source.server_errors import dump_error

ZstdError = zstandard.ZstdError
Fail = Callable[..., SourceError]

NAMES = {
    1: "START_V3", 2: "QUERY", 3: "STOP", 4: "ROTATE", 5: "INTVAR", 8: "CREATE_FILE", 9: "APPEND_BLOCK", 11: "DELETE_FILE",
    13: "RAND", 14: "USER_VAR", 15: "FORMAT_DESCRIPTION", 16: "XID", 17: "BEGIN_LOAD_QUERY", 18: "EXECUTE_LOAD_QUERY",
    19: "TABLE_MAP", 20: "WRITE_ROWS_V0", 21: "UPDATE_ROWS_V0", 22: "DELETE_ROWS_V0", 23: "WRITE_ROWS_V1",
    24: "UPDATE_ROWS_V1", 25: "DELETE_ROWS_V1", 26: "INCIDENT", 27: "HEARTBEAT", 28: "IGNORABLE", 29: "ROWS_QUERY",
    30: "WRITE_ROWS", 31: "UPDATE_ROWS", 32: "DELETE_ROWS", 33: "GTID", 34: "ANONYMOUS_GTID", 35: "PREVIOUS_GTIDS",
    36: "TRANSACTION_CONTEXT", 37: "VIEW_CHANGE", 38: "XA_PREPARE", 39: "PARTIAL_UPDATE_ROWS", 40: "TRANSACTION_PAYLOAD",
    41: "HEARTBEAT_V2", 42: "GTID_TAGGED", 160: "ANNOTATE_ROWS", 161: "BINLOG_CHECKPOINT", 162: "MARIADB_GTID",
    163: "GTID_LIST", 164: "START_ENCRYPTION", 165: "QUERY_COMPRESSED", 166: "WRITE_ROWS_COMPRESSED_V1",
    167: "UPDATE_ROWS_COMPRESSED_V1", 168: "DELETE_ROWS_COMPRESSED_V1", 169: "WRITE_ROWS_COMPRESSED",
    170: "UPDATE_ROWS_COMPRESSED", 171: "DELETE_ROWS_COMPRESSED",
}  # fmt: skip

DAMAGED = "the file is damaged or cut: fetch it again from the server, or start after it"
_START = "start where a transaction begins: an offset that SHOW BINLOG EVENTS lists for a Gtid or BEGIN"

# By the decoder's fault number: what, remedy.
FAULTS = {
    1: ("bytes that are no packet of a dump", "the connection is damaged, or a proxy is in between"),
    2: ("an event's length is impossible", DAMAGED),
    3: ("an event's checksum does not match", DAMAGED),
    4: ("an event comes before FORMAT_DESCRIPTION", DAMAGED),
    5: ("FORMAT_DESCRIPTION can't be read, or is of a server before MySQL 5.0", DAMAGED),
    6: ("an event's position lies before the one ahead of it", "the server's binlog is damaged, or a proxy is in between"),
    7: ("an event ends too early", DAMAGED),
    8: ("rows of a table whose TABLE_MAP was not read", _START),
    9: ("rows with another number of columns than their TABLE_MAP", DAMAGED),
    11: ("a row without bytes", DAMAGED),
    12: ("a row is larger than memory", "give the engine more memory"),
    14: ("a compressed event can't be unpacked", DAMAGED),
}

_UNSUPPORTED = {
    164: ("an encrypted binlog file", "read it through its server, or set encrypt_binlog=OFF; a file alone can't be read"),
}


def type_name(number: int) -> str:
    """`TABLE_MAP`; `type 99` for one that has no name here."""
    return NAMES.get(number, f"type {number}")


def not_understood(number: int, fail: Fail) -> SourceError:
    """The error of an event that the source must not skip."""
    if number == 26:
        return fail(
            "the server reports an incident: its binlog has a gap here",
            remedy="changes are missing and can't be had: copy the tables anew, and start the source after this position",
        )
    if number in _UNSUPPORTED:
        return fail(*_UNSUPPORTED[number][:1], remedy=_UNSUPPORTED[number][1])
    return fail("an event that is not understood and not marked ignorable", remedy="please report this with the server's version")


def error_packet(payload: bytes, **facts: Any) -> SourceError:
    """The server's 0xFF packet, without that byte: u16 number | '#' | 5 bytes SQL state | message."""
    if len(payload) < 2:
        return BinlogError("bytes that are no packet of a dump", **facts)
    message = payload[2:]
    if message[:1] == b"#":
        message = message[6:]
    return dump_error(int.from_bytes(payload[:2], "little"), message.decode(errors="replace"), **facts)


def parse_rotate(body: bytes, fail: Fail) -> tuple[str, int, int]:
    """ROTATE: u64 offset | file name → (base name, file number, offset)."""
    try:
        base, number = split_file_name(body[8:].decode())
        if number >= 1 << 32:
            raise ValueError
    except (ConfigError, ValueError):
        raise fail("ROTATE names no binlog file", name=body[8:]) from None
    return base, number, max(int.from_bytes(body[:8], "little"), 4)


def _lenenc(body: bytes, at: int) -> tuple[int, int]:
    first = body[at]
    if first < 0xFB:
        return first, at + 1
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}[first]
    if at + 1 + size > len(body):
        raise IndexError
    return int.from_bytes(body[at + 1 : at + 1 + size], "little"), at + 1 + size


def open_payload(body: bytes, fail: Fail) -> Any:
    """TRANSACTION_PAYLOAD: fields of lenenc type, lenenc length and value up to type 0, then the (compressed) events.

    Field 2 is the compression: 0 zstd, 255 none. Returns an object whose `read(n)` gives at most n bytes of events.
    """
    compression = 0
    try:
        at = 0
        while True:
            field, at = _lenenc(body, at)
            if field == 0:
                break
            length, at = _lenenc(body, at)
            if field == 2:
                compression, _ = _lenenc(body, at)
            at += length
    except (IndexError, KeyError):
        raise fail("a compressed transaction can't be read") from None
    if compression == 255:
        import io

        return io.BytesIO(body[at:])
    if compression != 0:
        raise fail("a transaction compressed in an unknown way", found=compression)
    return zstandard.ZstdDecompressor().stream_reader(body[at:], read_across_frames=True)
