"""A dump's stream taken apart in plain Python, for tests that look at its first bytes, and short ways to a connection."""

from __future__ import annotations

import struct
import time
import zlib
from typing import Any, NamedTuple

from engine.config import SourceConfig
from engine.position import parse_start
from engine.source.connection import Connection
from engine.source.event_headers import FORMAT_DESCRIPTION, GTID, GTID_TAGGED, MARIADB_GTID, ROTATE
from tests.servers.database import Database

HEARTBEATS = (27, 41)


class Event(NamedTuple):
    type: int
    body: bytes  # after the 19 bytes of the header, checksum left off
    log_pos: int
    size: int


def config(server: Database | None, start: str = "latest", **settings: Any) -> SourceConfig:
    """The server's replication account, without TLS unless a setting says so; without a server give a url."""
    if server is not None:
        settings.setdefault("url", server.url())
    return SourceConfig(start=start, **{"tls": "disabled", **settings})


def read_packet(connection: Connection, timeout_s: float = 10) -> bytes:
    """The next packet's payload, byte by byte off the connection: nothing behind it is read."""
    header = _read(connection, 4, timeout_s)
    return _read(connection, int.from_bytes(header[:3], "little"), timeout_s)


def _read(connection: Connection, size: int, timeout_s: float) -> bytes:
    got = bytearray(size)
    filled = 0
    deadline = time.monotonic() + timeout_s
    while filled < size:
        read = connection.recv_into(memoryview(got)[filled:])
        filled += read
        if not read and not connection.wait_readable(deadline - time.monotonic()):
            raise TimeoutError(f"nothing in {timeout_s} s")
    return bytes(got)


def read_events(connection: Connection, limit: int = 1000) -> list[Event]:
    """Events up to the stream's 0xFE packet, at most `limit`, heartbeats left out; every checksum is verified."""
    events: list[Event] = []
    while len(events) < limit:
        packet = read_packet(connection)
        if packet[0] == 0xFE:
            break
        assert packet[0] == 0, packet
        _, kind, _, size, log_pos, _ = struct.unpack_from("<IBIIIH", packet, 1)
        assert size == len(packet) - 1
        body = packet[20:]
        if connection.known_facts.checksum == "CRC32":
            assert zlib.crc32(packet[1:-4]) == int.from_bytes(packet[-4:], "little")
            body = packet[20:-4]
        if kind not in HEARTBEATS:
            events.append(Event(kind, body, log_pos, size))
    return events


def dumped(server: Database, start: str, limit: int = 1000, **settings: Any) -> list[Event]:
    """What a dump from `start` to the end of the binlog brings, after the made-up events at its begin."""
    with Connection(config(server, **settings), "test") as connection:
        connection.connect()
        connection.dump(connection.resolve_start(parse_start(start)), to_end=True)
        events = read_events(connection, limit)
    assert events[0].type == ROTATE
    assert events[1].type == FORMAT_DESCRIPTION
    return events[2:]


def gtids(events: list[Event]) -> list[int]:
    """Transaction numbers of the GTID events, tagged ones left out."""
    numbers = []
    for event in events:
        if event.type == GTID:
            numbers.append(struct.unpack_from("<q", event.body, 17)[0])
        elif event.type == MARIADB_GTID:
            numbers.append(struct.unpack_from("<Q", event.body)[0])
    return numbers


def tagged(events: list[Event]) -> int:
    """How many GTID_TAGGED events there are."""
    return sum(event.type == GTID_TAGGED for event in events)
