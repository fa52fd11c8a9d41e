"""The packets that turn a connection into a replica's: COM_REGISTER_SLAVE, COM_BINLOG_DUMP and COM_BINLOG_DUMP_GTID.

Formats: MySQL's "Replication Protocol" page and MariaDB's "COM_BINLOG_DUMP"; the tagged GTID set is that of MySQL 8.3
and later, the same as in its PREVIOUS_GTIDS event. All numbers are little-endian; the GTID of a transaction is
uuid:number or uuid:tag:number, and a set has one entry for each pair of uuid and tag.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from pymysql.constants.COMMAND import COM_BINLOG_DUMP, COM_BINLOG_DUMP_GTID
from pymysqlreplication.binlogstream import ReportSlave
from pymysqlreplication.gtid import Gtid

from engine.errors import PositionError

NON_BLOCK = 0x01  # end the stream (0xFE) at the end of the binlog instead of waiting for more
THROUGH_GTID = 0x04
ANNOTATIONS = 0x02  # MariaDB: send ANNOTATE_ROWS events (the statements) too, which are left out otherwise
MAX_OFFSET_32 = 0xFFFFFFFF  # what COM_BINLOG_DUMP has room for
_TAGGED = 1  # the set's format number, in the first and in the last byte of its count
_TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}")
_MARIADB_GTID = re.compile(r"\d+-\d+-\d+")


@dataclass(frozen=True)
class DumpPosition:
    """Where a dump begins. With a GTID set, file and offset mean nothing: the stream's first ROTATE tells them."""

    file: str
    offset: int
    gtid: str | None = None


def register_packet(server_id: int, reported_host: str) -> bytes:
    """COM_REGISTER_SLAVE: SHOW REPLICAS then lists us by server id and host (at most 60 characters)."""
    return bytes(ReportSlave(reported_host[:60]).encoded(server_id))


def dump_packet(server_id: int, file: str, offset: int, flags: int) -> bytes:
    """COM_BINLOG_DUMP. An empty file name goes with MariaDB's GTID start, where @slave_connect_state says the place."""
    body = struct.pack("<BIHI", COM_BINLOG_DUMP, offset, flags, server_id) + file.encode()
    return struct.pack("<I", len(body)) + body


def dump_gtid_packet(server_id: int, gtid: str | None, flags: int, file: str = "", offset: int = 4) -> bytes:
    """COM_BINLOG_DUMP_GTID: either by the set of what we have, or from a file and a 64-bit offset."""
    name = file.encode()
    entries = encode_gtid_set(gtid or "")
    flags |= THROUGH_GTID if gtid is not None else 0
    body = struct.pack("<BHII", COM_BINLOG_DUMP_GTID, flags, server_id, len(name)) + name
    body += struct.pack("<QI", offset, len(entries)) + entries
    return len(body).to_bytes(3, "little") + b"\0" + body


def encode_gtid_set(text: str) -> bytes:
    """`uuid:1-5:7,uuid:tag:1-3` → MySQL's binary GTID set; where no tag is in it, in the format of old servers.

    Raises:
        PositionError: not a GTID set, or an overlap in it.
    """
    sources = _sources(text)
    tagged = any(tag for _, tag in sources)
    count = len(sources)
    encoded = struct.pack("<Q", _TAGGED << 56 | count << 8 | _TAGGED if tagged else count)
    for (uuid, tag), intervals in sorted(sources.items()):
        try:
            entry = Gtid(f"{uuid}:{':'.join(intervals)}").encode()
        except Exception as error:  # mysql-replication raises bare Exception for an overlap
            raise _not_a_set(text, error) from None
        tag_field = bytes([len(tag) << 1]) + tag.encode() if tagged else b""  # the length is a one-byte varint: shifted
        encoded += entry[:16] + tag_field + entry[16:]
    return encoded


def _sources(text: str) -> dict[tuple[str, str], list[str]]:
    """(uuid, tag) → intervals as text; a uuid may come several times, and a tag holds for the intervals after it."""
    sources: dict[tuple[str, str], list[str]] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        uuid, *fields = (field.strip().lower() for field in part.split(":"))
        tag = ""
        if not fields or _TAG.fullmatch(fields[-1]):
            raise _not_a_set(text, f"{part!r} has no interval at its end")
        for field in fields:
            if _TAG.fullmatch(field):
                tag = field
            else:
                sources.setdefault((uuid, tag), []).append(field)
    return sources


def check_gtid(flavour: str, text: str) -> None:
    """Refuse what is not a GTID set of this flavour before the server does, less clearly.

    Raises:
        PositionError: says what a set looks like.
    """
    if flavour == "mysql":
        encode_gtid_set(text)
    elif text and not all(_MARIADB_GTID.fullmatch(part.strip()) for part in text.split(",")):
        raise PositionError("not a GTID position of MariaDB", gtid=text, remedy="write gtid:0-1-100 or gtid:0-1-100,1-2-50")


def _not_a_set(text: str, why: object) -> PositionError:
    return PositionError(
        "not a GTID set of MySQL",
        gtid=text,
        why=why,
        remedy="write gtid:3e11fa47-71ca-11e1-9e33-c80aa9429562:1-100 as SELECT @@global.gtid_executed shows it",
    )
