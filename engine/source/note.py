"""What a source leaves in its ring's note: the last record that is there, and where to read on."""

from __future__ import annotations

import struct
from typing import NamedTuple

from engine.errors import RingError
from engine.position import Identity

_NOTE = struct.Struct("<IHBBIQIIIIQQQ")  # source_note_t of _output.h
_GTIDS = struct.Struct("<BBBBIQ")  # gtid_note_t of _gtids.h, behind it; then its entries
_ENTRY = struct.Struct("<16sB32sQQ")  # gtid_entry_t
VERSION = 3
_LEFT = 2

Entry = tuple[bytes, bytes, int, int]  # owner, tag, low, high: what `Decoder.gtid_entries` gives


class NotedGtids(NamedTuple):
    """What was executed: the set that meta keeps for `mark` (None: the empty set), and the entries."""

    mariadb: bool
    mark: Identity | None
    entries: list[Entry]


class ResumePoint(NamedTuple):
    """Dump from `file` and `offset`, leaving out records up to `after`.

    source: the source number that file belongs to. fragments: so many fragments of the record after `after` are in the
    ring already. begun: so is the begin record of the transaction at `after`; otherwise it is due (again). left: this history
    was left for another server's: what comes next is found by GTID or time. gtids: executed before; None: not known; estimated:
    that much at least.
    origin_us: when the latest transaction that is over was committed where it was made, µs since 1970; 0: not known.
    """

    source: int
    file: int
    offset: int
    after: Identity
    fragments: int = 0
    begun: bool = False
    left: bool = False
    gtids: NotedGtids | None = None
    origin_us: int = 0
    estimated: bool = False


def unpack_note(note: bytes) -> ResumePoint:
    """Where a new writer of the ring goes on.

    Raises:
        RingError: a note of another version.
    """
    if len(note) < _NOTE.size or int.from_bytes(note[:4], "little") != VERSION:
        raise RingError(
            "the ring's note is of another version", bytes=len(note), known=VERSION,
            remedy="remove the ring: stop all engines of this data_dir and start again; it resumes from the acked positions",
        )  # fmt: skip
    _, source, begun, closed, file, start, event, row, fragments, next_file, next_offset, _, origin_us = _NOTE.unpack_from(note)
    after = Identity(file, start, event, row)
    gtids = _unpack_gtids(note[_NOTE.size :])
    if closed:
        left = closed == _LEFT
        return ResumePoint(source, next_file, next_offset, after, fragments, left=left, gtids=gtids, origin_us=origin_us)
    return ResumePoint(source, file, start, after, fragments, bool(begun), gtids=gtids, origin_us=origin_us)


def _unpack_gtids(note: bytes) -> NotedGtids | None:
    if len(note) < _GTIDS.size:
        return None
    known, mariadb, count, marked, mark_file, mark_start = _GTIDS.unpack_from(note)
    entries = [_ENTRY.unpack_from(note, _GTIDS.size + i * _ENTRY.size) for i in range(count)]
    if not known:
        return None
    mark = Identity(mark_file, mark_start, 0, 0) if marked else None
    return NotedGtids(bool(mariadb), mark, [(owner, tag[:length], low, high) for owner, length, tag, low, high in entries])


def resume_from_acked(source: int, acked: Identity, begin: Identity | None = None) -> ResumePoint:
    """Where to read on for a ring that holds nothing, when everything up to `acked` is delivered.

    begin: an earlier place, before which is known what was executed; what lies between is read and left out.
    """
    begin = begin or acked
    return ResumePoint(source, begin.file, begin.start, acked)
