"""Cuts what comes from a peer into frames, with as little copying as can be: the part of `wire` that knows no message.

u32, big-endian: N  |  N bytes, the payload
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from engine.errors import ProtocolError

PREFIX_BYTES: Final = 4
CHUNK_BYTES: Final = 64 << 10  # what a FrameReader makes room for at once, unless a larger frame has begun to come
MAX_SERVER_FRAME: Final = (1 << 32) - 1  # what the prefix can say; the destination's limits bound a batch

PREFIX: Final = struct.Struct(">I")
_NOTHING: Final = memoryview(b"")

# Memory that a FrameReader keeps to fill again: so many pieces, of so many chunks each at most.
_KEPT: Final = 8
_KEPT_CHUNKS: Final = 32


def too_large(length: int, max_frame: int) -> ProtocolError:
    """Of a frame."""
    return ProtocolError(
        "a frame is too large", bytes=length, max_frame=max_frame,
        remedy="the peer may not be speaking this protocol; see docs/protocol.md, Frames",
    )  # fmt: skip


def _is_unseen(own: bytearray) -> bool:
    """Whether no view on it exists: Python resizes it only then."""
    try:
        own.pop()
    except (BufferError, IndexError):
        return False
    own.append(0)
    return True


class FrameReader:
    """Cuts a stream of bytes into frames.

    Bytes come by `feed(data)`, or without a copy by `get_buffer()` and `filled(count)`. `frames()` then yields the
    payload of each whole frame as a read-only memoryview, which stays valid for as long as the caller keeps it: bytes
    that somebody may still look at are never written to again, nor moved. Memory in which nobody has a payload any more is
    filled again: taking new memory costs the kernel as much as reading from the socket does.
    """

    def __init__(self, max_frame: int = MAX_SERVER_FRAME, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.max_frame = max_frame
        self._chunk = max(chunk_bytes, 64)
        self._bytes = bytearray()
        self._view = memoryview(self._bytes)
        self._start = 0  # of the first byte not yet yielded
        self._end = 0  # of the received bytes
        self._left: list[bytearray] = []  # memory from before, with payloads in it that may be in use
        self._usual = 0  # bytes of the large ones among the last frames

    @property
    def pending_bytes(self) -> int:
        """Bytes received that no frame was made of yet; at the end of a connection: it broke off inside a frame."""
        return self._end - self._start

    @property
    def missing_bytes(self) -> int:
        """How much of the frame that has begun hasn't come yet; 0 before its length is known.

        Raises:
            ProtocolError: it is larger than `max_frame`.
        """
        have = self._end - self._start
        return max(self._frame_bytes() - have, 0) if have >= PREFIX_BYTES else 0

    def get_buffer(self, size_hint: int = -1) -> memoryview:
        """Writable room for at least one byte, for recv_into; call `filled` before anything else.

        The room grows with what has really arrived (four times as much), so a peer cannot make us allocate by only
        announcing a large frame.

        Raises:
            ProtocolError: a frame larger than `max_frame` has begun.
        """
        have = self._end - self._start
        rest = (self.missing_bytes if have else 0) or max(self._usual - have, PREFIX_BYTES)
        room = len(self._view) - self._end
        if room < rest or room < self._chunk >> 3:
            other = self._unseen(have + max(rest, self._chunk >> 3))
            if other is None and room < max(min(rest, self._chunk), self._chunk >> 3):
                size = have + max(self._chunk, min(rest, max(have * 3, self._usual)))
                other = bytearray(size + (size >> 3))  # the next frames may be a little larger
            if other is not None:
                self._move(other)
        return self._view[self._end : self._end + max(rest, self._chunk)]  # beyond a large frame: bytes that would be moved

    def _unseen(self, size: int) -> bytearray | None:
        """Memory of that size that no payload is in."""
        if self._start == self._end:
            self._view = _NOTHING  # our own look at it
        unseen = [own for own in (self._bytes, *self._left) if len(own) >= size and _is_unseen(own)]
        self._view = memoryview(self._bytes)
        return max(unseen, key=len, default=None)

    def _move(self, other: bytearray) -> None:
        """Go on there, with what has come of the next frame."""
        have, view = self._end - self._start, memoryview(other)
        view[:have] = self._view[self._start : self._end]
        if other is not self._bytes and len(self._bytes) <= self._chunk * _KEPT_CHUNKS:
            self._left.append(self._bytes)
        self._left = [own for own in self._left if own is not other][-_KEPT:]
        self._bytes, self._view, self._start, self._end = other, view, 0, have

    def filled(self, count: int) -> None:
        """The first `count` bytes of the last `get_buffer()` have been written."""
        self._end += count

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Copies `data` in.

        Raises:
            ProtocolError: a frame larger than `max_frame` has begun.
        """
        rest = memoryview(data)
        while rest:
            room = self.get_buffer()
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            self.filled(count)
            rest = rest[count:]

    def frames(self) -> Iterator[memoryview]:
        """The payloads of the whole frames received so far, each once.

        Raises:
            ProtocolError: a frame is larger than `max_frame`.
        """
        while self._end - self._start >= PREFIX_BYTES:
            end = self._start + self._frame_bytes()
            if end > self._end:
                return
            payload = self._view[self._start + PREFIX_BYTES : end].toreadonly()
            self._usual = max(end - self._start, self._usual - (self._usual >> 4))
            self._start = end
            yield payload

    def _frame_bytes(self) -> int:
        (length,) = PREFIX.unpack_from(self._view, self._start)
        if length > self.max_frame:
            raise too_large(length, self.max_frame)
        return PREFIX_BYTES + length
