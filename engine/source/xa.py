"""XA transactions: a prepared group's rows are delivered when its XA COMMIT comes, which may be long after and in another file.

    GTID, XA START, rows, XA END, XA_PREPARE        nothing is delivered; where the group begins is remembered
    GTID, QUERY "XA COMMIT X'61',X'62',7"           the group is read again from there, its rows belong to this transaction
    GTID, QUERY "XA ROLLBACK X'61',X'62',7"         nothing

What was prepared before this process began is looked for in the binlog, the newest file first. Layouts: MySQL's class
XA_prepare_event (libs/mysql/binlog/event/control_events.h); MariaDB writes the same.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Container, Iterator
from typing import NamedTuple, Protocol

from engine.errors import PositionError, SourceError
from engine.position import join_file_name
from engine.source.event_headers import FORMAT_DESCRIPTION, ROTATE, TRANSACTION_STARTS
from engine.source.events import ZstdError, open_payload

XA_PREPARE, TRANSACTION_PAYLOAD = 38, 40
HEADER_BYTES = 19
CHECKSUM_BYTES = 4
PIECE_BYTES = 1 << 18
_SEARCHED = {FORMAT_DESCRIPTION, XA_PREPARE, TRANSACTION_PAYLOAD}  # what a search for a group's end looks at
# What a group's second reading leaves out: the rest has ordinals in the transaction that it is read for.
_LEFT_OUT = {ROTATE, FORMAT_DESCRIPTION, 28, 29, 160, *TRANSACTION_STARTS}

Fail = Callable[..., SourceError]


class Xid(NamedTuple):
    """A transaction's name: format number, global part, branch."""

    format: int
    global_part: bytes
    branch: bytes


class Place(NamedTuple):
    """A group's first event."""

    base: str
    file: int
    offset: int


class Rereading(Protocol):
    """A source's binlog, for reading it a second time."""

    def files(self) -> list[tuple[str, int]]:
        """(base name, number) of those that are there, oldest first."""

    def reread(self, base: str, number: int, offset: int, whole: Container[int] = ...) -> Iterator[tuple[int, memoryview]]:
        """FORMAT_DESCRIPTION, then the events from `offset` on with their offsets, checksums included, up to the file's end.

        whole: of events of other types only the begin, the header in it; all come whole unless given. Each is valid until the
        next one is asked for.
        """


class Ending(NamedTuple):
    """XA COMMIT or XA ROLLBACK."""

    commits: bool
    xid: Xid


_ENDING = re.compile(r"XA\s+(COMMIT|ROLLBACK)\s+X'([0-9a-f]*)',X'([0-9a-f]*)',(\d+)", re.IGNORECASE)


def parse_ending(text: str) -> Ending | None:
    """What a statement that begins with XA ends; None: it is another one."""
    found = _ENDING.match(text)
    if found is None:
        return None
    verb, global_part, branch, number = found.groups()
    return Ending(verb.upper() == "COMMIT", Xid(int(number) & 0xFFFFFFFF, bytes.fromhex(global_part), bytes.fromhex(branch)))


def parse_prepare(body: bytes) -> tuple[bool, Xid] | None:
    """XA_PREPARE: u8 one phase | u32 format | u32 bytes of the global part | u32 bytes of the branch | both. None: too short.

    One phase: it is a commit at the same time.
    """
    if len(body) < 13:
        return None
    one_phase, number, global_bytes, branch_bytes = struct.unpack_from("<BIII", body)
    if 13 + global_bytes + branch_bytes > len(body):
        return None
    end = 13 + global_bytes
    return bool(one_phase), Xid(number, body[13:end], body[end : end + branch_bytes])


class PreparedGroups:
    """Where the prepared groups of one source begin."""

    def __init__(self, binlog: Rereading, source: str) -> None:
        self._binlog = binlog
        self._source = source
        self._places: dict[Xid, Place] = {}

    def remember(self, xid: Xid, place: Place) -> None:
        self._places[xid] = place

    def forget(self, xid: Xid) -> None:
        self._places.pop(xid, None)

    def group(self, xid: Xid, ends_at: Place, fail: Fail) -> Group:
        """The group that the XA COMMIT in the transaction at `ends_at` commits.

        Raises:
            PositionError: no binlog that is there holds it. ConnectionLost: the server can't be asked now.
        """
        place = self._places.get(xid) or self._find(xid, ends_at, fail)
        if place is None:
            raise fail(
                "an XA transaction is committed whose changes are not in the binlog any more", kind=PositionError,
                xid=f"{xid.global_part!r},{xid.branch!r},{xid.format}",
                remedy="its XA PREPARE stood in a file that is gone: copy the tables anew, and start the source after this",
            )  # fmt: skip
        return self.group_at(place, fail)

    def group_at(self, place: Place, fail: Fail) -> Group:
        """The group that begins there."""
        return Group(self._binlog.reread(*place), place, fail)

    def _find(self, xid: Xid, ends_at: Place, fail: Fail) -> Place | None:
        """The last group of this name before `ends_at`."""
        for base, number in reversed(self._binlog.files()):
            if (base, number) > (ends_at.base, ends_at.file) or base != ends_at.base:
                continue
            found = start = None
            checksum = 0
            for offset, event in self._binlog.reread(base, number, 4, _SEARCHED):
                kind = event[4]
                if kind == FORMAT_DESCRIPTION:
                    checksum = _checksum_bytes(event)
                elif kind in TRANSACTION_STARTS:
                    start = offset
                    if (number, start) >= ends_at[1:]:
                        break
                elif kind in (XA_PREPARE, TRANSACTION_PAYLOAD) and start is not None:
                    body = bytes(event[HEADER_BYTES : len(event) - checksum])
                    last = body if kind == XA_PREPARE else _prepare_inside(body, fail)
                    prepared = parse_prepare(last)
                    if prepared is not None and prepared[1] == xid:
                        found = Place(base, number, start)
            if found is not None:
                return found
        return None


def _checksum_bytes(description: memoryview) -> int:
    return CHECKSUM_BYTES if description[-CHECKSUM_BYTES - 1] == 1 else 0


def _unpacked(body: bytes, fail: Fail) -> Iterator[memoryview]:
    """The events of a TRANSACTION_PAYLOAD, which carry no checksums."""
    payload, data = open_payload(body, fail), bytearray()
    try:
        while piece := payload.read(PIECE_BYTES):
            data += piece
            at = 0
            while len(data) - at >= HEADER_BYTES:
                size = int.from_bytes(data[at + 9 : at + 13], "little")
                if size < HEADER_BYTES or len(data) - at < size:
                    break
                yield memoryview(bytes(data[at : at + size]))
                at += size
            del data[:at]
    except ZstdError as error:
        raise fail(f"the compressed transaction can't be unpacked: {error}") from None
    if data:
        raise fail("the compressed transaction ends inside an event")


def _prepare_inside(body: bytes, fail: Fail) -> bytes:
    """The body of the XA_PREPARE in a TRANSACTION_PAYLOAD; b"" without."""
    return next((bytes(event[HEADER_BYTES:]) for event in _unpacked(body, fail) if event[4] == XA_PREPARE), b"")


class Group:
    """A prepared group's events without their checksums, as a stream of bytes."""

    def __init__(self, events: Iterator[tuple[int, memoryview]], place: Place, fail: Fail) -> None:
        self._events = events
        self._place = place
        self._fail = fail
        self._checksum = 0
        self._inner: Iterator[memoryview] = iter(())
        self._rest = memoryview(b"")  # of the event that is handed out
        self._done = False

    def read(self, n: int) -> bytes:
        """About n bytes, large events in pieces; b"" after the last one.

        Raises:
            BinlogError: the group is damaged. PositionError, ConnectionLost: it can't be read.
        """
        out = bytearray()
        while len(out) < n:
            if self._rest:
                piece = self._rest[: n - len(out)]
                out += piece
                self._rest = self._rest[len(piece) :]
                continue
            if self._done:
                break
            kind, event = self._next()
            if kind == XA_PREPARE:
                self._done = True
            elif kind == TRANSACTION_PAYLOAD:
                self._inner = _unpacked(bytes(event[HEADER_BYTES:]), self._fail)
            elif kind not in _LEFT_OUT:
                out += event[:9]
                out += len(event).to_bytes(4, "little")
                self._rest = event[13:]
        return bytes(out)

    def _next(self) -> tuple[int, memoryview]:
        """Type and bytes of the next event, those in a TRANSACTION_PAYLOAD behind it, without checksum."""
        event = next(self._inner, memoryview(b""))
        if event:
            return event[4], event
        offset, event = next(self._events, (0, event))
        if not event:
            raise self._failed("a prepared XA transaction has no end in its file", 0)
        if event[4] == FORMAT_DESCRIPTION:
            self._checksum = _checksum_bytes(event)
            return FORMAT_DESCRIPTION, event
        end = len(event) - self._checksum
        if self._checksum and zlib.crc32(event[:end]) != int.from_bytes(event[end:], "little"):
            raise self._failed("an event's checksum does not match, in a prepared XA transaction", offset)
        return event[4], event[:end]

    def _failed(self, what: str, offset: int) -> SourceError:
        file = join_file_name(self._place.base, self._place.file)
        return self._fail(what, prepared_file=file, prepared_at=self._place.offset, event_at=offset)
