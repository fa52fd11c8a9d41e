"""The journal of a file store: which bytes of its data are on the disk, and what the ring over them was like.

    offset  bytes
         0   4096  identity     magic, version, capacity, ring id, partitions, CRC32 of these; written once
      4096  32768  checkpoint   even serial numbers  ┐ the one with the higher serial whose bytes are whole counts
     36864  32768  checkpoint   odd serial numbers   ┘
     69632   4 * n  table       CRC32 of each block of the data, n = capacity / 64 KiB; block k stands at k % n

A checkpoint: u32 length, u32 CRC32 of the rest, then a msgpack array. All numbers are little-endian. Order of writing: the
data are synced; then table entries of blocks completed since and the checkpoint are written, and synced together. The
checkpoint has the CRC32 of those entries: where they don't agree, its sync never returned, and the one before it counts.
Blocks are counted from byte 0 of the ring's life; the place of one is written to again only when it lies below the floor of a
synced checkpoint.
"""

from __future__ import annotations

import os
import struct
from typing import Any, NamedTuple, Protocol

import msgpack
from zlib_ng.zlib_ng import crc32

from engine.errors import StoreError
from engine.ring import ReaderState, RingState

BLOCK_BYTES = 65536
MAGIC = b"EBLSTORE"
VERSION = 1

_IDENTITY = struct.Struct("<8sIIQQI")  # magic, version, block bytes, capacity, ring id, partitions; then CRC32
_SLOT = struct.Struct("<II")
IDENTITY_BYTES = 4096
SLOT_BYTES = 32768
SLOTS_AT = IDENTITY_BYTES
TABLE_AT = SLOTS_AT + 2 * SLOT_BYTES


class Disk(Protocol):
    """What the store does to its files; a test puts itself in between."""

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> None: ...

    def sync(self, fd: int) -> None: ...


class SystemDisk:
    """The file system as it is."""

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        while data:
            written = os.pwrite(fd, data, offset)
            data, offset = data[written:], offset + written

    def sync(self, fd: int) -> None:
        """File contents and what is needed to read them are on the disk when it returns."""
        os.fdatasync(fd)


class Identity(NamedTuple):
    """What a store is for its whole life. capacity: bytes of data; partitions: of its destination."""

    capacity: int
    ring_id: int
    partitions: int

    def pack(self) -> bytes:
        head = _IDENTITY.pack(MAGIC, VERSION, BLOCK_BYTES, self.capacity, self.ring_id, self.partitions)
        return (head + crc32(head).to_bytes(4, "little")).ljust(IDENTITY_BYTES, b"\0")


class Checkpoint(NamedTuple):
    """What was on the disk when its sync returned: the bytes [floor, state.put) of the data.

    entries_crc: CRC32 of the table's entries for the blocks from `first_new` (not before floor) up to the one that put is in;
    tail_crc: of that last, incomplete block up to put.
    """

    serial: int
    floor: int
    state: RingState
    first_new: int
    entries_crc: int
    tail_crc: int


class Journal:
    """The open journal file."""

    def __init__(self, fd: int, path: str, identity: Identity, disk: Disk) -> None:
        self.fd = fd
        self.path = path
        self.identity = identity
        self.blocks = identity.capacity // BLOCK_BYTES
        self._disk = disk

    @staticmethod
    def size(capacity: int) -> int:
        return TABLE_AT + 4 * (capacity // BLOCK_BYTES)

    @classmethod
    def open(cls, fd: int, path: str, disk: Disk) -> Journal:
        """Check that this build understands it.

        Raises:
            StoreError: another version, not a journal at all, or damaged.
        """
        head = os.pread(fd, IDENTITY_BYTES, 0)
        fields = _IDENTITY.unpack(head[: _IDENTITY.size].ljust(_IDENTITY.size, b"\0"))
        magic, version, block_bytes, capacity, ring_id, partitions = fields
        if magic != MAGIC:
            raise StoreError(
                "not the journal of a file store", path=path, found=magic.hex(), reason="store_damaged",
                remedy=f"restore the file, or {START_ANEW}",
            )  # fmt: skip
        if (version, block_bytes) != (VERSION, BLOCK_BYTES):
            raise StoreError(
                "the file store was written by another version of binlog-engine", path=path, found=version, known=VERSION,
                reason="store_version", remedy=f"run the version that wrote it, or {START_ANEW}",
            )  # fmt: skip
        if head != Identity(capacity, ring_id, partitions).pack() or os.fstat(fd).st_size != cls.size(capacity):
            raise StoreError(
                "the journal of a file store is damaged", path=path, offset=0, reason="store_damaged",
                remedy=f"restore the file, or {START_ANEW}",
            )  # fmt: skip
        return cls(fd, path, Identity(capacity, ring_id, partitions), disk)

    def write(self, checkpoint: Checkpoint, entries: list[int]) -> None:
        """The table's entries from block `first_new` on, then the checkpoint; durable when it returns."""
        at = 0
        while at < len(entries):
            slot = (checkpoint.first_new + at) % self.blocks
            run = entries[at : at + self.blocks - slot]
            self._disk.pwrite(self.fd, struct.pack(f"<{len(run)}I", *run), TABLE_AT + 4 * slot)
            at += len(run)
        body = _pack(checkpoint)
        slot_at = SLOTS_AT + checkpoint.serial % 2 * SLOT_BYTES
        self._disk.pwrite(self.fd, _SLOT.pack(len(body), crc32(body)) + body, slot_at)
        self._disk.sync(self.fd)

    def latest(self) -> Checkpoint:
        """The last checkpoint whose sync may have returned.

        Raises:
            StoreError: both are damaged.
        """
        found = [checkpoint for slot in range(2) if (checkpoint := self._read(slot)) is not None]
        for checkpoint in sorted(found, key=lambda checkpoint: checkpoint.serial, reverse=True):
            if entries_crc(self.entries(checkpoint.first_new, checkpoint.state.put // BLOCK_BYTES)) == checkpoint.entries_crc:
                return checkpoint
        raise StoreError(
            "the journal of a file store holds no whole checkpoint", path=self.path, offset=SLOTS_AT, reason="store_damaged",
            remedy=f"restore the file, or {START_ANEW}",
        )  # fmt: skip

    def entries(self, first: int, end: int) -> list[int]:
        """The table's entries of the blocks [first, end)."""
        table = struct.unpack(f"<{self.blocks}I", os.pread(self.fd, 4 * self.blocks, TABLE_AT))
        return [table[block % self.blocks] for block in range(first, end)]

    def _read(self, slot: int) -> Checkpoint | None:
        data = os.pread(self.fd, SLOT_BYTES, SLOTS_AT + slot * SLOT_BYTES)
        length, crc = _SLOT.unpack_from(data)
        body = data[_SLOT.size : _SLOT.size + length]
        return _unpack(body) if 0 < length == len(body) and crc32(body) == crc else None


START_ANEW = (
    "end the engine, move the store's files away and start again: what consumers had not acked is read from the source again, "
    "as far as its binlog goes back"
)


def entries_crc(entries: list[int]) -> int:
    return crc32(struct.pack(f"<{len(entries)}I", *entries))


def _pack(checkpoint: Checkpoint) -> bytes:
    serial, floor, state, *crcs = checkpoint
    body = msgpack.packb((serial, floor, state.put, state.note, state.tail, state.slowest, state.places, state.readers, *crcs))
    if len(body) > SLOT_BYTES - _SLOT.size:
        raise StoreError("a checkpoint is too long for its journal", bytes=len(body), most=SLOT_BYTES - _SLOT.size)
    return body


def _unpack(body: bytes) -> Checkpoint:
    fields: list[Any] = msgpack.unpackb(body)
    serial, floor, put, note, tail, slowest, places, readers = fields[:8]
    state = RingState(put, note, tail, slowest, places, [ReaderState(*reader) for reader in readers])
    return Checkpoint(serial, floor, state, *fields[8:])
