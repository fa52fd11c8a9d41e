"""A store's note: how far each source has come in it, by its ring's sequences and by identity."""

from __future__ import annotations

import struct
from typing import NamedTuple

from engine.position import Identity
from engine.ring import NOTE_BYTES, Ring

PLACE_BYTES = 26
NOWHERE_YET = bytes(PLACE_BYTES)
_ENTRY = struct.Struct(f">QQIII{PLACE_BYTES}s")  # Progress, open and inside as bits 0 and 1 of a number; _track.pyx writes it
MOST_SOURCES = NOTE_BYTES // _ENTRY.size
_PLACE = struct.Struct(">HxIxQxIxI")


def place_of(head: bytes) -> bytes:
    """Source number and identity as they stand in a record's head: comparable as they are."""
    return head[12:14] + head[28:52]


class Progress(NamedTuple):
    """One source's. While its ring lives the sequences count; for a ring made anew, the place.

    done: source sequence up to which everything is in the store or was not for it. fragments: so many fragments of the
    (whole) record there are in the store. open: so is the begin of the transaction there. inside: done is between the
    fragments of a change. place: of the last record before done, not counting an incomplete change; parts: so many fragments
    of the change after it are in the store.
    """

    ring_id: int
    done: int
    fragments: int = 0
    open: bool = False
    inside: bool = False
    parts: int = 0
    place: bytes = NOWHERE_YET

    @property
    def source(self) -> int:
        """Its number; 0: nothing has come yet."""
        return int.from_bytes(self.place[:2])


def unpack_note(note: bytes | None) -> list[Progress]:
    return [
        Progress(ring_id, done, fragments, bool(flags & 1), bool(flags & 2), parts, place)
        for ring_id, done, fragments, flags, parts, place in _ENTRY.iter_unpack(note or b"")
    ]


def store_positions(ring: Ring) -> dict[int, Identity]:
    """Source number → up to which identity everything of it is in this store, or was not for it."""
    return {p.source: Identity(*_PLACE.unpack(p.place)[1:]) for p in unpack_note(ring.note()) if p.source}
