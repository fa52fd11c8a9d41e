"""A reader's note: the begin record of the transaction in the middle of which the reader stands."""

from __future__ import annotations

import struct

from engine.errors import InternalError
from engine.record import HEAD_BYTES
from engine.ring import READER_NOTE_BYTES

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
