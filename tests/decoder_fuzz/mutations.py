"""Damage: what disks, networks, proxies, other versions and bad luck do to binlogs, and what nobody would think of.

A case is a stream of bytes, of a file or of a dump's packets. Nearly always the event's length and checksum are mended after
the damage, so that it reaches the code behind those checks.
"""

from __future__ import annotations

import random
import struct
import zlib
from typing import NamedTuple

import zstandard
from zlib_ng import zlib_ng

from tests.decoder_fuzz.corpus import FORMAT_DESCRIPTION, HEADER_BYTES, Unit
from tests.source.made_binlog import packet, rotate_event

PAYLOAD, QUERY_COMPRESSED, TABLE_MAP = 40, 165, 19
COMPRESSED_ROWS = range(166, 172)
EDGES = (0, 1, 2, 0x7F, 0x80, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF)
WIDE_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
LONGEST_PIECE = 64
MENDED = 0.94  # of the cases: lengths and checksums are right again


class Case(NamedTuple):
    """packets: a dump's stream, otherwise that of a file behind its magic. kinds: types of the events that are damaged."""

    data: bytes
    packets: bool
    kinds: tuple[int, ...]


class Mutator:
    """Cases of a corpus: the same seed and number make the same case."""

    def __init__(self, units: list[Unit], seed: int) -> None:
        self._units = units
        self._seed = seed
        self._places: dict[int, list[tuple[int, int]]] = {}  # event type → (unit, event)
        for i, unit in enumerate(units):
            for j, event in enumerate(unit.events):
                self._places.setdefault(event[4], []).append((i, j))
        self._kinds = sorted(self._places)
        self._weights = [10 + min(len(self._places[kind]), 600 if kind in _HEAVY else 40) for kind in self._kinds]

    def case(self, number: int) -> Case:
        rng = random.Random(self._seed << 32 | number)
        kind = rng.choices(self._kinds, self._weights)[0]
        unit_number, event_number = rng.choice(self._places[kind])
        unit = self._units[unit_number]
        description, events = unit.description, list(unit.events)
        checksums = _has_checksums(description)
        kinds = [kind]
        way = rng.random()
        if way < 0.90:
            mended = rng.random() < MENDED
            events[event_number] = self._damaged(rng, events[event_number], checksums, mended)
            if rng.random() < 0.1:
                other = rng.randrange(len(events))
                kinds.append(events[other][4])
                events[other] = self._damaged(rng, events[other], checksums, True)
        elif way < 0.92:
            events.insert(rng.randrange(len(events) + 1), events[event_number])
        elif way < 0.94:
            del events[event_number]
        elif way < 0.96:
            rng.shuffle(events)
        elif way < 0.985:
            events = self._spliced(rng, events, event_number, checksums)
        elif way < 0.99:
            description = rng.choice(self._units).description
        else:
            description = self._damaged(rng, description, True, rng.random() < MENDED)
            kinds = [FORMAT_DESCRIPTION]
        packets = rng.random() < 0.3
        whole = [description, *events]
        data = _as_dump(rng, whole) if packets else b"".join(whole)
        if rng.random() < 0.03:
            data = data[: rng.randrange(len(data))]
        return Case(data, packets, tuple(kinds))

    def _spliced(self, rng: random.Random, events: list[bytes], at: int, checksums: bool) -> list[bytes]:
        """Its begin, and how another transaction goes on, of this server or another one."""
        other = rng.choice(self._units)
        tail = other.events[rng.randrange(len(other.events)) :]
        if _has_checksums(other.description) != checksums:
            tail = tuple(_with_checksum(event, checksums) for event in tail)
        return [*events[: at + rng.randrange(2)], *tail]

    def _damaged(self, rng: random.Random, event: bytes, checksums: bool, mended: bool) -> bytes:
        whole = bytearray(event)
        end = len(whole) - 4 * checksums
        kind = event[4]
        if rng.random() < 0.5:
            if kind == PAYLOAD:
                return mended_event(_inside_payload(rng, whole[:end]), checksums)
            if kind == QUERY_COMPRESSED or kind in COMPRESSED_ROWS:
                return mended_event(_inside_compressed(rng, whole[:end]), checksums)
        body = whole[HEADER_BYTES:end]
        if rng.random() < 0.12:
            donor = rng.choice(self._units)
            other = rng.choice(donor.events)
            at = rng.randrange(HEADER_BYTES, len(other))
            piece = other[at : at + rng.randrange(1, 2 * LONGEST_PIECE)]
            place = rng.randrange(len(body) + 1)
            body[place : place + rng.choice((0, len(piece)))] = piece
        else:
            damage(rng, body)
        header = whole[:HEADER_BYTES]
        if rng.random() < 0.06:
            damage(rng, header, keeps_length=True)
        return mended_event(header + body, checksums) if mended else bytes(header + body + whole[end:])


_HEAVY = {TABLE_MAP, 23, 24, 25, 30, 31, 32, 39, *COMPRESSED_ROWS}


def damage(rng: random.Random, data: bytearray, *, keeps_length: bool = False) -> None:
    """One to eight changes to it, mostly few and near its begin, where the lengths stand."""
    for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 3, 8))):
        if not data:
            data += rng.randbytes(rng.randrange(1, LONGEST_PIECE))
            return
        n = len(data)
        at = rng.randrange(n) if rng.random() < 0.6 else rng.randrange(min(n, 48))
        way = rng.randrange(4 if keeps_length else 9)
        if way == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            data[at] = rng.choice(EDGES)
        elif way == 2:
            data[at] = rng.randrange(256)
        elif way == 3:
            width = rng.choice((2, 3, 4, 6, 8))
            edge = rng.choice(WIDE_EDGES) & ((1 << 8 * width) - 1)
            value = edge.to_bytes(width, rng.choice(("little", "big")))[: n - at]
            data[at : at + len(value)] = value
        elif way == 4:
            del data[at : at + rng.randrange(1, LONGEST_PIECE)]
        elif way == 5:
            data[at:at] = rng.randbytes(rng.randrange(1, LONGEST_PIECE))
        elif way == 6:
            data[at:at] = data[at : at + rng.randrange(1, LONGEST_PIECE)]
        elif way == 7:
            del data[at:]
        else:
            data[at : at + LONGEST_PIECE] = rng.randbytes(min(LONGEST_PIECE, n - at))


def damaged_body(rng: random.Random, event: bytearray) -> bytearray:
    body = event[HEADER_BYTES:]
    damage(rng, body)
    return event[:HEADER_BYTES] + body


def mended_event(event: bytearray, checksums: bool) -> bytes:
    """An event without checksum: its length right, and a checksum behind it (a FORMAT_DESCRIPTION's is of a closed file)."""
    if event[4] == FORMAT_DESCRIPTION:
        event[17] &= 0xFE
    struct.pack_into("<I", event, 9, len(event) + 4 * checksums)
    return bytes(event) + struct.pack("<I", zlib_ng.crc32(event)) * checksums


def _has_checksums(description: bytes) -> bool:
    return description[-5] == 1


def _with_checksum(event: bytes, checksums: bool) -> bytes:
    return mended_event(bytearray(event if checksums else event[:-4]), checksums)


def _inside_payload(rng: random.Random, event: bytearray) -> bytearray:
    """Damage to what a TRANSACTION_PAYLOAD has packed: its frame is found by zstd's magic."""
    at = event.find(b"\x28\xb5\x2f\xfd")
    if at < 0:
        return damaged_body(rng, event)
    try:
        inner = bytearray(zstandard.ZstdDecompressor().decompressobj().decompress(bytes(event[at:])))
    except zstandard.ZstdError:
        return damaged_body(rng, event)
    damage_events(rng, inner)
    return event[:at] + zstandard.ZstdCompressor(level=1).compress(bytes(inner))


def damage_events(rng: random.Random, stream: bytearray) -> None:
    """One event of a stream of events without checksums; its length is mostly right afterwards."""
    starts, at = [], 0
    while len(stream) - at >= HEADER_BYTES and (size := int.from_bytes(stream[at + 9 : at + 13], "little")) >= HEADER_BYTES:
        starts.append((at, min(size, len(stream) - at)))
        at += size
    if not starts or rng.random() < 0.05:
        damage(rng, stream)
        return
    at, size = rng.choice(starts)
    body = stream[at + HEADER_BYTES : at + size]
    damage(rng, body)
    event = stream[at : at + HEADER_BYTES] + body
    if rng.random() < MENDED:
        struct.pack_into("<I", event, 9, len(event))
    stream[at : at + size] = event


def _inside_compressed(rng: random.Random, event: bytearray) -> bytearray:
    """Damage to what MariaDB's log_bin_compress has packed: u8 0x80 | bytes of the length, the length, a zlib stream."""
    at = next(
        (i for i in range(HEADER_BYTES, len(event) - 8) if event[i] & 0xF8 == 0x80 and event[i + 1 + (event[i] & 7)] == 0x78), -1
    )
    if at < 0:
        return damaged_body(rng, event)
    try:
        plain = bytearray(zlib.decompress(bytes(event[at + 1 + (event[at] & 7) :])))
    except zlib.error:
        return damaged_body(rng, event)
    damage(rng, plain)
    return event[:at] + b"\x84" + struct.pack(">I", len(plain)) + zlib.compress(bytes(plain), 1)


def _as_dump(rng: random.Random, events: list[bytes]) -> bytes:
    """As packets, a ROTATE that names the file first; now and then a packet is damaged too."""
    out = bytearray(packet(b"\0" + rotate_event("binlog.000001", 4, _has_checksums(events[0]))))
    wrong = rng.randrange(len(events)) if rng.random() < 0.05 else -1
    for i, event in enumerate(events):
        one = bytearray(packet(b"\0" + event))
        if i == wrong:
            at = rng.randrange(5)
            one[at] = rng.choice(EDGES)
        out += one
    return bytes(out)
