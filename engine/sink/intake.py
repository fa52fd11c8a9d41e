"""One source ring as the sink reads it: where it is, what is in view, and which transaction is open."""

from __future__ import annotations

import struct
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from engine._heads import Heads
from engine._selection import ends
from engine.errors import InternalError
from engine.record import HEAD_BYTES, Kind
from engine.ring import READER_NOTE_BYTES, Reader, Ring

VIEW_BYTES = 4 << 20  # of records looked at in one turn
VIEW_RECORDS = 65536
NEVER = 2**64 - 1
BEGIN, COMMIT = Kind.BEGIN, Kind.COMMIT  # Python 3.11 looks an enum's member up slowly

_BEGIN = struct.Struct(">H8s4s8s4s")  # source, then time, file, start and event as they stand in the record
_BEGIN_HEAD = bytes.fromhex("9dce00000000cc04cd0000cd0000ce00000000cf")


def pack_begin(record: bytes) -> bytes:
    """A begin record without the markers and the fields that are 0, so that it fits a reader's note."""
    source = int.from_bytes(record[12:14])
    note = _BEGIN.pack(source, record[20:28], record[29:33], record[34:42], record[43:47]) + record[HEAD_BYTES:]
    if len(note) > READER_NOTE_BYTES:
        raise InternalError("begin record too long for a note", bytes=len(note), most=READER_NOTE_BYTES)
    return note


def unpack_begin(note: bytes) -> bytes:
    """The reverse of `pack_begin`."""
    source, time, file, start, event = _BEGIN.unpack_from(note)
    record = bytearray(_BEGIN_HEAD + time + b"\xce" + file + b"\xcf" + start + b"\xce" + event)
    record += b"\xce\0\0\0\0\xcf\0\0\0\0\0\0\0\0" + note[_BEGIN.size :]
    record[2:6] = len(record).to_bytes(4)
    record[12:14] = source.to_bytes(2)
    return bytes(record)


class Intake:
    """The records of one source ring, from where the sink's reader stands.

    `heads` shows a view; the records [next, heads.count) of it are not taken yet. What is taken is acked by `finish`, and
    the reader's note then holds the begin record of a transaction that is open there.
    """

    def __init__(self, name: str, ring: Ring, reader: Reader, numbers: Collection[int] = ()) -> None:
        self.name = name
        self.numbers = numbers  # that this source has had, as far as they were known at the start
        self.ring = ring
        self.reader = reader
        self.heads = Heads(reader, VIEW_RECORDS)
        self.next = 0
        self.sequence = reader.ack
        self.cuts: list[int] = []  # sequences that a view must not span: where single stores stand after a restart
        note = reader.note()
        self.begin: bytes | None = unpack_begin(note) if note else None
        self._noted = bool(note)
        self.rest_lane = 0  # where the rest of a fragmented change goes, see Router.route
        self.boundary: bytes | None = None  # head of the last record taken after which no transaction was open
        self.boundary_sequence = 0
        self.time_us = 0  # highest commit time seen
        self.silent_since_ns: int | None = None  # since when there is nothing to take

    def look(self) -> bool:
        """Shows what there is from `sequence` on; whether that is anything."""
        self.cuts = [cut for cut in self.cuts if cut > self.sequence]
        self.next = 0
        count = self.heads.scan(self.sequence, self.cuts[0] if self.cuts else NEVER, VIEW_BYTES)
        behind = self.heads.end - self.reader.get
        if behind > 0:
            self.reader.advance(behind)
        self.time_us = max(self.time_us, self.heads.max_time)
        return count > 0

    def marks(self, a: int, b: int) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint64]]:
        """Index, kind and time of the records [a, b) that are no changes."""
        heads = self.heads
        first, last = np.searchsorted(heads.mark[: heads.marks], (a, b))
        marks = heads.mark[first:last]
        return marks, heads.kind[marks], heads.mark_time[first:last]

    def last_boundary(self) -> int:
        """Index after the last whole transaction in view; the whole view if there is none."""
        marks, kinds, _ = self.marks(self.next, self.heads.count)
        limits = np.flatnonzero((kinds == BEGIN) | (kinds == COMMIT))
        if len(limits) and kinds[limits[-1]] == BEGIN and marks[limits[-1]] > self.next:
            return int(marks[limits[-1]])
        return self.heads.count

    def first_commit(self) -> int:
        """Index after the first commit in view; the whole view if there is none."""
        marks, kinds, _ = self.marks(self.next, self.heads.count)
        commits = marks[kinds == COMMIT]
        return int(commits[0]) + 1 if len(commits) else self.heads.count

    def finish(self, end: int) -> None:
        """The records up to `end` are in the stores: forget them and ack."""
        limit, is_begin, boundary = ends(self.heads, self.next, end)
        if limit >= 0:
            self.begin = self.heads.record(limit) if is_begin else None
        if boundary >= 0:
            self.boundary = self.heads.head(boundary)
            self.boundary_sequence = self.heads.sequence_of(boundary)
        self.sequence = self.heads.sequence_of(end)
        self.next = end
        if self.begin is not None or self._noted:
            self.reader.set_note(pack_begin(self.begin) if self.begin is not None else b"", self.sequence)
            self._noted = self.begin is not None
        self.reader.ack_to(self.sequence)
