"""The decoder on a server's dump: packets, positions, files that follow each other, compressed transactions."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

import pytest
import zstandard

from engine.errors import BinlogError, PositionError
from engine.record import Kind
from engine.source._binlog import ENDED, NEED_INPUT
from tests.source.decoding import (
    AFTER,
    FILE,
    KIND,
    START,
    Decoding,
    decode,
    decode_packets,
    dump_of,
    interrupted,
    joined,
    without_schemas,
)
from tests.source.made_binlog import MadeBinlog, packet, rotate_event

DATA = Path(__file__).parent.parent / "data"
TABLE_MAP = 19
SHOPS = ["mariadb-shop", "mysql-shop"]


def shop(case: str) -> bytes:
    return (DATA / case / "binlog.000001").read_bytes()


@pytest.mark.parametrize("case", SHOPS)
def test_a_dump_gives_the_same_records_as_the_file_in_whatever_pieces_it_comes(case: str) -> None:
    data = dump_of(DATA / case / "binlog.000001")
    whole = decode(shop(case))
    decoding = Decoding(packets=True)
    decoding.decoder.open("", 0, 0, checksum=True)
    choose = random.Random(3)
    at = 0
    while at < len(data):
        at += decoding.feed(data[at : at + choose.randrange(1, 60)])
        decoding.decoder.advance(1 << 20)
        decoding.drain()
    assert decoding.records == whole
    decoding.close()


@pytest.mark.parametrize("size", [0xFFFFFF - 200, 0xFFFFFF, 0x2000000])
def test_events_of_several_packets_are_put_together(size: int) -> None:
    """Payloads of exactly 0xFFFFFF bytes, and twice that, are followed by an empty packet."""
    made = MadeBinlog()
    overhead = 1 + 19 + 12 + 1 + 1 + 1 + 8 + 4  # first byte, header, post-header, columns, bitmaps, id and length, checksum
    made.transaction([(1, b"x" * (size - overhead))])
    made.transaction([(2, b"y")], 2)
    records = joined(decode_packets(made.packets(), ring_bytes=64 << 20))
    assert [r[AFTER] for r in records if r[KIND] == Kind.INSERT] == [[1, b"x" * (size - overhead)], [2, b"y"]]


def test_memory_goes_back_after_a_large_row() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    small, large = MadeBinlog(), MadeBinlog()
    small.transaction([(1, b"x")])
    large.transaction([(1, b"x" * (50 << 20))])
    large.transaction([(2, b"y")], 2)
    decoding = Decoding().open_file()
    decoding.run(bytes(small.data[4:]))
    before = resident()
    decoding.decoder.open("binlog", 2, 4)
    rest = memoryview(large.data)[4:]
    while (progress := decoding.decoder.advance(1 << 20)) != NEED_INPUT or rest:
        if progress == NEED_INPUT:
            rest = rest[decoding.feed(rest[: 1 << 20]) :]
        decoding.drain()
        decoding.records.clear()
    decoding.feed(b"")
    assert resident() - before < 10 << 20
    decoding.close()


def test_positions_beyond_4_gib_are_followed_from_the_low_32_bits() -> None:
    at = (1 << 32) - 300
    description = MadeBinlog().events[0]
    description = description[:13] + bytes(4) + description[17:-4]  # in no place of the file, as a dump from the middle has it
    made = MadeBinlog(first_offset=at)
    for number in (1, 2, 3):
        made.transaction([(number, b"a" * 50)], number)
    events = [rotate_event("binlog.000001", at, True), description + struct.pack("<I", zlib.crc32(description))]
    records = decode_packets(b"".join(packet(b"\0" + event) for event in [*events, *made.events]))
    starts = [r[START] for r in records if r[KIND] == Kind.BEGIN]
    assert starts == made.starts
    assert starts[0] == at < 1 << 32 < starts[2]


def test_a_server_may_leave_out_transactions_of_more_than_2_gib() -> None:
    """As after a start by GTID; the position of what follows has only 32 bits."""
    made = MadeBinlog()
    made.first_offset += 7 << 29  # at the dump's begin
    made.transaction([(1, b"a")], 1)
    records = decode_packets(made.packets())
    made = MadeBinlog()
    made.transaction([(1, b"a")], 1)
    made.first_offset += 3 << 30
    made.transaction([(2, b"b")], 2)
    made.add(4, struct.pack("<Q", 4) + b"binlog.000002")
    later = decode_packets(made.packets())
    starts = [r[START] for r in [*records, *later] if r[KIND] == Kind.BEGIN]
    assert starts == [made.starts[0] + (7 << 29), *made.starts]


def test_a_position_that_goes_back_is_refused() -> None:
    made = MadeBinlog()
    made.transaction([(1, b"a")])
    events = [rotate_event("binlog.000001", 4, True), *made.events, made.events[1]]
    with pytest.raises(BinlogError, match="lies before"):
        decode_packets(b"".join(packet(b"\0" + event) for event in events))


def test_a_rotate_leads_to_the_next_file_and_forgets_table_ids() -> None:
    first, second = MadeBinlog(), MadeBinlog()
    first.transaction([(1, b"a")], 1)
    first.add(4, struct.pack("<Q", 4) + b"binlog.1000000")
    second.transaction([(2, b"b")], 2, table="u")
    begun = first.packets() + packet(b"\0" + rotate_event("binlog.1000000", 4, True))
    whole = b"".join(packet(b"\0" + event) for event in second.events)
    without_map = b"".join(packet(b"\0" + event) for event in second.events if event[4] != TABLE_MAP)
    records = [r for r in decode_packets(begun + whole) if r[KIND] == Kind.INSERT]
    assert [(r[FILE], r[AFTER]) for r in records] == [(1, [1, b"a"]), (1000000, [2, b"b"])]
    with pytest.raises(BinlogError, match=r"TABLE_MAP was not read|position lies before"):
        decode_packets(begun + without_map)


def test_the_end_of_a_dump_and_its_errors_are_told_apart() -> None:
    made = MadeBinlog()
    decoding = Decoding(packets=True)
    decoding.decoder.open("", 0, 0, checksum=True)
    decoding.feed(made.packets() + packet(b"\xfe\0\0\0\0"))
    assert decoding.decoder.advance(1 << 20) == ENDED
    decoding.feed(
        packet(b"\xff" + struct.pack("<H", 1236) + b"#HY000Could not find first log file name in binary log index file")
    )
    with pytest.raises(PositionError, match=r"source=file.*file=binlog.000001"):
        decoding.decoder.advance(1 << 20)
    decoding.close()


def payload_of(events: list[bytes], pieces: int = 1) -> bytes:
    # without their checksums, as MySQL packs them
    inner = b"".join(event[:9] + struct.pack("<I", len(event) - 4) + event[13:-4] for event in events)
    step = -(-len(inner) // pieces)
    packed = b"".join(zstandard.compress(inner[i : i + step]) for i in range(0, len(inner), step))
    return b"\x02\x01\x00" + b"\x01\x03\xfc" + struct.pack("<H", len(packed) & 0xFFFF) + b"\x00" + packed


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_compressed_transaction_holds_the_same_changes(pieces: int) -> None:
    plain = MadeBinlog()
    rows = [(i, b"v" * (i % 300)) for i in range(2000)]
    plain.transaction(rows, 1)
    made = MadeBinlog()
    made.gtid(1)
    made.add(40, payload_of(plain.events[2:], pieces))
    at = made.transaction([(9999, b"after")], 2)
    records = decode(bytes(made.data))
    assert [r[AFTER] for r in records if r[KIND] == Kind.INSERT] == [[i, v] for i, v in [*rows, (9999, b"after")]]
    assert [r[KIND] for r in records].count(Kind.COMMIT) == 2
    assert records[-1][START] == at
    whole = without_schemas(records)
    assert without_schemas(interrupted(bytes(made.data), random.Random(4))) == whole


def test_a_compressed_transaction_that_can_not_be_unpacked_is_an_error() -> None:
    made = MadeBinlog()
    made.gtid()
    made.add(40, b"\x02\x01\x00\x00" + b"no zstd at all")
    with pytest.raises(BinlogError, match=r"can't be unpacked.*event=TRANSACTION_PAYLOAD"):
        decode(bytes(made.data))
