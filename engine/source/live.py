"""A live server as input: connects, asks for the dump, and feeds its bytes to a decoder."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Container, Iterator
from typing import TYPE_CHECKING, NamedTuple

from engine.errors import ConnectionLost
from engine.position import Identity, join_file_name, parse_start, split_file_name
from engine.source._binlog import Decoder
from engine.source.connection import SMALL_BYTES, Connection
from engine.source.dump_command import DumpPosition
from engine.source.event_headers import EVERY_TYPE, FORMAT_DESCRIPTION, HEARTBEAT, HEARTBEAT_V2, ROTATE, read_packets
from engine.source.files import MAGIC
from engine.source.history_check import check_history, check_takeover, speaks_gtids
from engine.source.ledger import Ledger
from engine.source.server_facts import ServerFacts
from engine.source.server_identity import Turn, read_file_mark, server_name
from engine.source.servers import Servers
from engine.source.start_position import by_origin, executed_before, latest

if TYPE_CHECKING:
    from engine.config import SourceConfig

BULK_BYTES = 32 << 10  # brought by one read: more is on its way, and
REST_S = 0.0004  # so long it may gather: to be woken for each piece takes a third of what reading unwanted rows takes


class Takeover(NamedTuple):
    """How another server goes on. by: "gtid" or "time". again_until_us: see Turn."""

    position: DumpPosition
    by: str
    again_until_us: int


class LiveFeed:
    """One dump at a time; after ConnectionLost `open` begins the next one."""

    finished = False

    def __init__(self, decoder: Decoder, config: SourceConfig, source: str, ledger: Ledger, servers: Servers) -> None:
        self._decoder = decoder
        self._config = config
        self._source = source
        self._ledger = ledger
        self.servers = servers
        self._connection = Connection(self.servers.in_use(), source)
        self._poll = select.poll()
        self._fd = -1
        self._wait_ns = -1  # SO_RCVTIMEO
        self._early = 0  # bytes that came while they were waited for, or
        self._failure: ConnectionLost | None = None  # what came instead
        self._in_bulk = False  # the last read brought much
        self.drained = False

    def open(self, base: str, number: int, offset: int) -> None:
        """Dump from an offset of this file of the history that the ledger is at; base "": from the config's start.

        Raises:
            ConnectionLost: no server there now. ServerSetupError, PositionError: it can't serve us from there.
        """
        facts = self._connect()
        ledger = self._ledger
        if base:
            turn = ledger.turn(ledger.number)
            mark = ledger.file_mark(ledger.number, number)
            found = check_history(self._connection, turn, base, number, offset, mark, ledger.executed())
            if turn is None:
                ledger.adopt(ledger.number, server_name(facts), self._connection.where)
            if ledger.estimated:
                begin = DumpPosition(join_file_name(base, number), offset)
                ledger.correct(executed_before(self._connection, begin), Identity(number, offset, 0, 0))
            self._dump(DumpPosition(join_file_name(base, number), offset))
            if mark is None:
                ledger.keep_file_mark(number, found)
            return
        ledger.at_server(0)
        start = parse_start(self._config.start)
        if start.kind == "latest":  # all that comes is later
            self._decoder.know_origin(self._server_now_us())
        position = self._connection.resolve_start(start)
        ledger.begin(executed_before(self._connection, position))
        self._dump(position)
        if position.gtid is None:
            ledger.keep_file_mark(self._decoder.position[1], read_file_mark(self._connection, position.file))

    def plan_takeover(self, *, again: bool) -> Takeover:
        """Connect to the server in use and see how it can go on with a history that is another one's, by GTID or else by time.

        again: what is there now may have been delivered before.

        Raises:
            ConnectionLost, ServerSetupError, PositionError: as for open.
        """
        facts = self._connect()
        origin_us, overlap_us = self._decoder.origin_us, int(self._config.failover_overlap_s * 1e6)
        executed = self._ledger.executed()
        if overlap_us and origin_us and not speaks_gtids(facts, executed):
            position, by = by_origin(self._connection, max(origin_us - overlap_us, 0)), "time"
        else:
            executed = check_takeover(self._connection, executed)
            position, by, origin_us = DumpPosition("", len(MAGIC), str(executed)), "gtid", 0
        return Takeover(position, by, self._server_now_us() if again else origin_us)

    def take_over(self, plan: Takeover, left: int, why: str, reason: str) -> None:
        """Dump from there: what comes is another history than the one that is left, from now on.

        Raises:
            ConnectionLost, ServerSetupError, PositionError: as for open.
        """
        ledger, connection = self._ledger, self._connection
        ledger.at_server(left, why, reason, plan.by, plan.again_until_us)
        if plan.position.gtid is None:
            ledger.begin(executed_before(connection, plan.position))
        self._dump(plan.position)
        if plan.position.gtid is None:
            ledger.keep_file_mark(self._decoder.position[1], read_file_mark(connection, plan.position.file))

    def _server_now_us(self) -> int:
        """The server's clock, µs since 1970."""
        return int(self._connection.query("SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS UNSIGNED)")[0][0])

    def is_at_end(self) -> bool:
        """Whether the decoder has come to where the server's binlog ends now.

        Raises:
            ConnectionLost, ServerSetupError: the server can't be asked.
        """
        with self._connection.beside() as second:
            end = latest(second)
        base, number, offset = self._decoder.position
        return (*split_file_name(end.file), end.offset) == (base, number, offset)

    def serves(self, turn: Turn | None) -> bool:
        """Whether the server in use is the one of this turn, as far as its address tells."""
        return not self.servers.several or turn is None or turn.where == self.servers.where

    def _connect(self) -> ServerFacts:
        self.close()
        self._connection = Connection(self.servers.in_use(), self._source)
        facts = self._connection.connect()
        self._ledger.connection = self._connection
        self._ledger.gtids_count = facts.gtid_mode == "ON"
        return facts

    def _dump(self, position: DumpPosition) -> None:
        checksum = self._connection.known_facts.checksum == "CRC32"
        base, number, offset = "", 0, 0
        if position.gtid is None:
            base, number = split_file_name(position.file)
            offset = position.offset
        self._decoder.open(base, number, offset, checksum=checksum)
        self._connection.dump(position)
        self._fd = self._connection.fileno()
        if self._connection.tls:
            self._poll = select.poll()
            self._poll.register(self._fd, select.POLLIN)
        else:
            os.set_blocking(self._fd, True)  # `fill` doesn't wait nevertheless

    def choose_server_id(self) -> bool:
        """Another replica has ours: take another one with the next dump. False: the config says which it must be."""
        return self._connection.choose_server_id()

    def has_file(self, base: str, number: int) -> bool:
        """Whether the server has this binlog file now."""
        return (base, number) in self.files()

    def fill(self) -> int:
        """Bring in what is there, without waiting; bytes, 0: nothing now.

        Raises:
            ConnectionLost: the server closed the connection, or it broke.
        """
        if self._early:
            got, self._early = self._early, 0
        elif self._failure is not None:
            raise self._failure
        elif self._connection.tls:
            room = self._decoder.writable()
            try:
                got = self._connection.recv_into(room)
            finally:
                room.release()
            self._decoder.filled(got)
        else:
            got = self._recv(wait=False)
        self.drained = 0 < got < SMALL_BYTES
        if got:
            self._in_bulk = got >= BULK_BYTES
        return got

    def _recv(self, *, wait: bool) -> int:
        got = self._decoder.recv(self._fd, wait)
        if got == 0:
            raise ConnectionLost("the server closed the connection", source=self._source, server=self._connection.where)
        return max(got, 0)

    def files(self) -> list[tuple[str, int]]:
        """See xa.Rereading."""
        with self._connection.beside() as second:
            return [split_file_name(str(row[0])) for row in second.query("SHOW BINARY LOGS")]

    def reread(self, base: str, number: int, offset: int, whole: Container[int] = EVERY_TYPE) -> Iterator[tuple[int, memoryview]]:
        """See xa.Rereading."""
        with self._connection.beside() as second:
            second.dump(DumpPosition(join_file_name(base, number), offset), to_end=True)
            for packet in read_packets(second, self._config.read_timeout_s, whole):
                kind, size = packet[5], int.from_bytes(packet[10:14], "little")
                made_up = kind == ROTATE and not int.from_bytes(packet[1:5], "little")
                if kind == FORMAT_DESCRIPTION:
                    yield len(MAGIC), packet[1:]
                    offset = max(offset, len(MAGIC) + size) if offset <= len(MAGIC) else offset
                elif kind == ROTATE and not made_up:
                    return
                elif kind not in (ROTATE, HEARTBEAT, HEARTBEAT_V2):
                    end = int.from_bytes(packet[14:18], "little")
                    ahead = (end - offset) & 0xFFFFFFFF if end else size
                    yield offset + ahead - size, packet[1:]
                    offset += ahead

    def wait(self, timeout_ns: int) -> None:
        """Sleep until the server sends something; without TLS it is read by the same system call.

        While much comes, but slower than it can be read, sleep a moment whatever comes.
        """
        if self._in_bulk:
            self._in_bulk = False
            time.sleep(REST_S)
            return
        if self._connection.tls:
            self._poll.poll(timeout_ns / 1e6)
            return
        if timeout_ns != self._wait_ns:
            self._connection.set_receive_timeout(timeout_ns)
            self._wait_ns = timeout_ns
        try:
            self._early += self._recv(wait=True)
        except ConnectionLost as error:
            self._failure = error  # for who calls `fill`

    def close(self) -> None:
        self._fd = self._wait_ns = -1
        self._early, self._failure, self._in_bulk = 0, None, False
        self._connection.close()
