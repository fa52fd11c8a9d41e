"""The ring for Python: the only module that imports the extensions `_ring`, `_retained` and `_waiting`.

    writer                                             reader (up to 32, named)
    try_put ─▶ claim ─▶ put │ . . . the bytes . . . │ ─▶ view, advance ─▶ get ─▶ ack_to ─▶ ack

What is between the slowest ack and put stays where it is; what is acked is overwritten when its room is needed. Death is
part of it: a new writer goes on at put, a new owner of a reader at ack, and both find the note that belongs to exactly that
place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from engine._retained import (
    ReaderState,
    RingState,
    move_to,
    places,
    raise_floor,
    restore,
    state_of,
    sync_failed,
    transaction_marks,
    view,
)
from engine._ring import (
    FULL,
    NOTE_BYTES,
    PROFILE,
    READER_NOTE_BYTES,
    READERS,
    SPIN_NS,
    Reader,
    Ring,
)
from engine._waiting import bell_when, hang_bell, touch, wait_any
from engine.errors import InternalError
from engine.owner import process_start_time
from engine.record import HEAD_BYTES, unpack_head

__all__ = [
    "FULL",
    "MEMORY_DIRECTORY",
    "NOTE_BYTES",
    "PROFILE",
    "READERS",
    "READER_NOTE_BYTES",
    "SPIN_NS",
    "Reader",
    "ReaderState",
    "Ring",
    "RingState",
    "bell_when",
    "hang_bell",
    "iter_records",
    "move_to",
    "places",
    "process_start_time",
    "raise_floor",
    "restore",
    "ring_names",
    "ring_path",
    "state_of",
    "sync_failed",
    "touch",
    "transaction_marks",
    "view",
    "wait_any",
]

MEMORY_DIRECTORY = "/dev/shm"


def ring_path(name: str, directory: str = MEMORY_DIRECTORY) -> str:
    """The file behind a named ring."""
    return os.path.join(directory, name)


def ring_names(prefix: str, directory: str = MEMORY_DIRECTORY) -> list[str]:
    """Names in the directory that start so; for finding what a killed engine left behind."""
    return sorted(name for name in os.listdir(directory) if name.startswith(prefix))


def iter_records(view: bytes | memoryview) -> Iterator[memoryview]:
    """The records of a batch, one memoryview each, in place."""
    view = memoryview(view)
    at, end = 0, len(view)
    while at < end:
        length = unpack_head(view, at).length if end - at >= HEAD_BYTES else 0
        if not HEAD_BYTES <= length <= end - at:
            raise InternalError("batch holds bytes that are no record", offset=at, length=length, batch_bytes=end)
        yield view[at : at + length]
        at += length
