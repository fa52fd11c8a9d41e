"""What a source leaves in its ring's note: the last record that is there, and where to read on."""

from __future__ import annotations

import struct
from typing import NamedTuple

from engine.errors import RingError
from engine.position import Identity

_NOTE = struct.Struct("<IHBBIQIIIIQQ")  # source_note_t of _output.h
VERSION = 1


class ResumePoint(NamedTuple):
    """Dump from `file` and `offset`, leaving out records up to `after`.

    source: the source number that file belongs to. fragments: so many fragments of the record after `after` are in the
    ring already. begun: so is the begin record of the transaction at `after`; otherwise it is due (again).
    """

    source: int
    file: int
    offset: int
    after: Identity
    fragments: int = 0
    begun: bool = False


def unpack_note(note: bytes) -> ResumePoint:
    """Where a new writer of the ring goes on.

    Raises:
        RingError: a note of another version.
    """
    if len(note) != _NOTE.size or int.from_bytes(note[:4], "little") != VERSION:
        raise RingError(
            "the ring's note is of another version", bytes=len(note), known=VERSION,
            remedy="remove the ring: stop all engines of this data_dir and start again; it resumes from the acked positions",
        )  # fmt: skip
    _, source, begun, closed, file, start, event, row, fragments, next_file, next_offset, _ = _NOTE.unpack(note)
    after = Identity(file, start, event, row)
    if closed:
        return ResumePoint(source, next_file, next_offset, after, fragments)
    return ResumePoint(source, file, start, after, fragments, bool(begun))


def resume_from_acked(source: int, acked: Identity) -> ResumePoint:
    """Where to read on for a ring that holds nothing, when everything up to `acked` is delivered."""
    return ResumePoint(source, acked.file, acked.start, acked)
