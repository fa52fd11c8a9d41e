"""Decoding for tests: a ring, a decoder on it, and its records as msgpack reads them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack

from engine.record import Kind
from engine.ring import Reader, Ring
from engine.source._binlog import NEED_INPUT, RING_FULL, Decoder
from engine.source.note import ResumePoint, unpack_note
from engine.source.tables import MemoryKeys, TableVersions

Record = list[Any]
KIND, TABLE, TIME, FILE, START, EVENT, ROW, BEFORE, AFTER = 1, 4, 5, 6, 7, 8, 9, 11, 12
ROW_KINDS = (Kind.INSERT, Kind.UPDATE, Kind.DELETE)


class Decoding:
    """One ring with one reader, and decoders on it one after the other. The reader takes nothing until `drain`."""

    def __init__(
        self, *, ring_bytes: int = 1 << 20, packets: bool = False, wants: Callable[[str], bool] = lambda name: True
    ) -> None:
        self.ring = Ring.create(None, ring_bytes)
        self.ring.open_writer()
        self.reader: Reader = self.ring.add_reader("test")
        self.reader.open()
        self.keys = MemoryKeys("file")
        self.packets = packets
        self.wants = wants
        self.records: list[Record] = []
        self.new_decoder()

    def new_decoder(self) -> Decoder:
        """As after a death: another decoder on the same ring, which knows only the ring's note."""
        tables = TableVersions("file", self.wants, self.keys)
        self.decoder = Decoder(self.ring, tables, source="file", packets=self.packets, number_of=self.keys.source_number)
        return self.decoder

    def resume_point(self) -> ResumePoint | None:
        note = self.ring.note()
        return None if note is None else unpack_note(note)

    def feed(self, data: bytes | memoryview) -> int:
        """Bring bytes in, as many as there is room for now."""
        with self.decoder.writable() as room:
            n = min(len(room), len(data))
            room[:n] = data[:n]
        self.decoder.filled(n)
        return n

    def drain(self, most: int = 0) -> int:
        """Take the records that are there, in views of at most `most` bytes; returns their bytes."""
        with self.reader.view(most) as view:
            size = len(view)
            unpacker = msgpack.Unpacker(max_buffer_size=0, strict_map_key=False)
            unpacker.feed(view)
            self.records += list(unpacker)
        self.reader.advance(size)
        self.reader.ack_to(self.reader.get)
        return size

    def run(self, data: bytes) -> list[Record]:
        """Decode all of it from where the decoder stands, taking records as the ring fills."""
        rest = memoryview(data)
        while True:
            progress = self.decoder.advance(1 << 20)
            if progress == RING_FULL:
                assert self.drain(), "the ring is full of nothing"
            elif progress == NEED_INPUT:
                if not rest:
                    break
                rest = rest[self.feed(rest) :]
        while self.drain():
            pass
        return self.records

    def open_file(self, base: str = "binlog", number: int = 1) -> Decoding:
        self.decoder.open(base, number, 4)
        return self

    def close(self) -> None:
        self.ring.close()


def decode(data: bytes, **options: Any) -> list[Record]:
    """The records of a binlog file's bytes."""
    decoding = Decoding(**options)
    try:
        return decoding.open_file().run(data[4:])
    finally:
        decoding.close()


def decode_packets(data: bytes, *, checksum: bool = True, **options: Any) -> list[Record]:
    """The records of a dump's bytes."""
    decoding = Decoding(packets=True, **options)
    try:
        decoding.decoder.open("", 0, 0, checksum=checksum)
        return decoding.run(data)
    finally:
        decoding.close()


def identity(record: Record) -> tuple[int, int, int, int]:
    return record[FILE], record[START], record[EVENT], record[ROW]


def without_schemas(records: list[Record]) -> list[Record]:
    return [record for record in records if record[KIND] != Kind.SCHEMA]


def joined(records: list[Record]) -> list[Record]:
    """Fragments put together, as docs/protocol.md says."""
    whole: list[Record] = []
    parts: list[bytes] = []
    for record in records:
        if record[KIND] != Kind.FRAGMENT:
            whole.append(record)
            continue
        index, count, total = record[BEFORE]
        assert index == len(parts)
        parts.append(record[AFTER])
        if index + 1 == count:
            data = b"".join(parts)
            assert len(data) == total
            whole.append(msgpack.unpackb(data, strict_map_key=False))
            parts = []
    assert not parts
    return whole


def dump_of(path: Path) -> bytes:
    """A binlog file's events as packets, a ROTATE that names the file first: what a server's dump would send."""
    from tests.source.made_binlog import packet, rotate_event

    data, at = path.read_bytes(), 4
    out = [packet(b"\0" + rotate_event(path.name, 4, True))]
    while at < len(data):
        size = int.from_bytes(data[at + 9 : at + 13], "little")
        out.append(packet(b"\0" + data[at : at + size]))
        at += size
    return b"".join(out)


def interrupted(data: bytes, choose: random.Random, ring_bytes: int = 1 << 20) -> list[Record]:
    """Decode with a decoder that dies at random places; each next one knows only the ring's note."""
    decoding = Decoding(ring_bytes=ring_bytes).open_file()
    at = 4
    while True:
        lives = choose.randrange(1, 30)
        for _ in range(lives):
            progress = decoding.decoder.advance(choose.choice([1, 1000, 100_000]))
            if progress == NEED_INPUT:
                piece = data[at : at + choose.randrange(1, 100_000)]
                at += decoding.feed(piece)
                if not piece:
                    break
            elif progress == RING_FULL and (choose.random() < 0.5 or _ == lives - 1):
                decoding.drain(choose.choice([0, 300_000, 140_000]))
        else:
            point = decoding.resume_point()
            decoding.ring.close_writer()
            decoding.ring.open_writer()
            decoding.new_decoder()
            at = point.offset if point else 4
            decoding.open_file()
            if point is not None:
                decoding.decoder.resume(point)
                description = int.from_bytes(data[13:17], "little")
                decoding.feed(data[4 : 4 + description])
                assert decoding.decoder.advance(1 << 20) == NEED_INPUT
                decoding.decoder.seek(at)
            continue
        break
    while decoding.drain():
        pass
    decoding.close()
    return decoding.records
