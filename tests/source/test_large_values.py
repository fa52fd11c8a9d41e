"""Values so large that the event's memory is given back while they are copied: they, and what stands behind them, stay right."""

from __future__ import annotations

import random
import struct

import pytest

from engine.record import CHANGES
from tests.source.decoding import AFTER, BEFORE, KIND, decode, decode_packets, joined
from tests.source.made_binlog import MadeBinlog

TABLE_MAP, UPDATE_ROWS, LONG, BLOB = 19, 31, 3, 252
LARGE = 3 << 20  # see _spent.h
BYTES = random.Random(5).randbytes(LARGE + 12_345)
TEXT = "é€" * (LARGE // 5) + "end"
NO_TEXT = TEXT.encode() + b"\xff"


def updates(*rows: tuple[tuple[int, bytes, bytes], tuple[int, bytes, bytes]]) -> MadeBinlog:
    """One UPDATE_ROWS event of a table `id INT PRIMARY KEY, v LONGBLOB, t LONGTEXT`."""
    fields = b"\x01\x01\x00" + b"\x03\x02\x3f\x2d" + b"\x04\x07\x02id\x01v\x01t" + b"\x08\x01\x00"
    names = b"\x04shop\0\x01t\0"
    made = MadeBinlog()
    made.gtid()
    made.query("BEGIN")
    made.add(TABLE_MAP, (90).to_bytes(6, "little") + b"\1\0" + names + bytes([3, LONG, BLOB, BLOB, 2, 4, 4]) + b"\x06" + fields)
    head = (90).to_bytes(6, "little") + struct.pack("<HH", 1, 2) + b"\x03\x07\x07"
    images = (image for row in rows for image in row)
    made.add(
        UPDATE_ROWS,
        head + b"".join(b"\0" + struct.pack("<iI", key, len(v)) + v + struct.pack("<I", len(t)) + t for key, v, t in images),
    )
    made.xid()
    return made


@pytest.mark.parametrize("packets", [False, True])
@pytest.mark.parametrize("ring_bytes", [1 << 20, 64 << 20])
def test_large_values_and_the_rows_behind_them_come_whole(packets: bool, ring_bytes: int) -> None:
    """By way of fragments, and straight into the ring."""
    rows = [
        ((1, BYTES, TEXT.encode()), (1, BYTES[::-1], NO_TEXT)),
        ((2, b"small", b"x"), (3, BYTES, b"y")),
        ((4, b"", NO_TEXT), (4, BYTES[1:], TEXT.encode())),
        ((5, b"last", b"z"), (6, b"", b"")),
    ]
    made = updates(*rows)
    records = (
        decode_packets(made.packets(), ring_bytes=ring_bytes) if packets else decode(bytes(made.data), ring_bytes=ring_bytes)
    )
    changes = [record for record in joined(records) if record[KIND] in CHANGES]
    assert len(changes) == len(rows)
    for record, row in zip(changes, rows, strict=True):
        before, after = ([key, v, t if t == NO_TEXT else t.decode()] for key, v, t in row)
        assert record[BEFORE] == before, row[0][0]
        assert record[AFTER] == after, row[0][0]
