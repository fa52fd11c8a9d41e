"""Which server a history was read from, and what tells one binlog file from another one of the same name.

A source number is one turn of a source at one server. A binlog file's mark is made of its head: FORMAT_DESCRIPTION (when, by
which server id and version it was begun) and PREVIOUS_GTIDS or GTID_LIST (what had been executed). A server that was reset,
restored or exchanged for another has the same file names, but other marks.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass

from engine.errors import ConnectionLost, PositionError
from engine.meta import SourceHistory
from engine.source.connection import Connection
from engine.source.dump_command import DumpPosition
from engine.source.event_headers import FORMAT_DESCRIPTION, HEARTBEAT, HEARTBEAT_V2, ROTATE, read_packets
from engine.source.server_facts import ServerFacts
from engine.source.xa import CHECKSUM_BYTES, HEADER_BYTES

PREVIOUS_GTIDS, GTID_LIST, START_ENCRYPTION = 35, 163, 164
_VERSION = slice(2, 52)  # of FORMAT_DESCRIPTION's body


@dataclass(frozen=True)
class Turn:
    """What meta keeps as a history's identity: the source's `seq`-th turn, at which server, since when, and why it went there.

    reason: the same as why in one word. by: how the place there was found, "gtid" or "time". again_until_us: transactions that
    were made up to then may have come from another server before. fresh: an operator had it begin there; what came before it
    is of no account. file, mark: the newest binlog file that the server had then, and its mark. settled_file, settled_start:
    where its binlog ended when the last engine began to read this history: what any of them had executed by then lies before it.
    """

    seq: int
    server: str
    where: str = ""
    since: str = ""
    why: str = ""
    fresh: bool = False
    reason: str = ""
    by: str = ""
    again_until_us: int = 0
    file: int = 0
    mark: str = ""
    settled_file: int = 0
    settled_start: int = 0

    def pack(self) -> str:
        return json.dumps(asdict(self))

    @property
    def settled(self) -> tuple[int, int]:
        return self.settled_file, self.settled_start

    @classmethod
    def unpack(cls, identity: str) -> Turn | None:
        """None: a history of an engine that did not keep it."""
        return cls(**json.loads(identity)) if identity else None


def newest_turn(histories: dict[int, SourceHistory], source: str) -> Turn | None:
    """The turn that this source is at, or was at last; None: none, or nothing is known of it."""
    newest = max((number for number, history in histories.items() if history.source == source), default=0)
    return Turn.unpack(histories[newest].identity) if newest else None


def server_name(facts: ServerFacts) -> str:
    """server_uuid; MariaDB, which has none, by its server id: its files' marks have to tell the rest."""
    return f"server_id {facts.server_id}" if facts.is_mariadb else facts.server_uuid


class FileHead:
    """Makes a file's mark from its first events, one after the other."""

    def __init__(self) -> None:
        self.description = ""

    def event(self, kind: int, header: bytes, body: bytes) -> str | None:
        """The mark, once it is complete. body: without checksum."""
        if kind == FORMAT_DESCRIPTION:
            seconds, server_id = int.from_bytes(header[:4], "little"), int.from_bytes(header[5:9], "little")
            version = body[_VERSION].rstrip(b"\0").decode("ascii", "replace")
            self.description = f"{seconds}/{server_id}/{version}"
        elif kind in (PREVIOUS_GTIDS, GTID_LIST) and self.description:
            return f"{self.description}/{zlib.crc32(body):08x}"
        return None


def read_file_mark(connection: Connection, file: str) -> str:
    """The mark of a file that the server has, read over a connection of its own.

    Raises:
        PositionError: the server doesn't have the file. ConnectionLost: it went away.
    """
    head = FileHead()
    checksum = 0
    with connection.beside() as second:
        second.dump(DumpPosition(file, 4), to_end=True)
        for packet in read_packets(second, second.config.read_timeout_s, {PREVIOUS_GTIDS, GTID_LIST}):
            kind, event = packet[5], bytes(packet[1:])
            if kind in (ROTATE, HEARTBEAT, HEARTBEAT_V2, START_ENCRYPTION):
                continue
            if kind == FORMAT_DESCRIPTION:
                checksum = CHECKSUM_BYTES if event[-CHECKSUM_BYTES - 1] == 1 else 0
            mark = head.event(kind, event[:HEADER_BYTES], event[HEADER_BYTES : len(event) - checksum])
            if mark is not None:
                return mark
            if kind != FORMAT_DESCRIPTION:
                return f"{head.description}/-"  # an old server's: nothing about GTIDs
        else:
            raise ConnectionLost("the connection was lost", source=connection.name, server=connection.where)
    if head.description:
        return f"{head.description}/-"
    raise PositionError(
        f"the server has no binlog file {file}", reason="position_purged", source=connection.name, server=connection.where
    )
