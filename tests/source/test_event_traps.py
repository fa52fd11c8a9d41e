"""What has caught other readers of binlogs: lengths that are told and not constant, checksums that change, ids that return."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import msgpack
import pytest

from engine.errors import BinlogError
from engine.record import CHANGES
from engine.source.event_headers import GTID_TAGGED
from engine.source.files import decode_files
from tests.source import made_binlog
from tests.source.decoding import AFTER, KIND, START, TIME, Record, decode, decode_packets
from tests.source.made_binlog import TIMESTAMP, MadeBinlog, packet, rotate_event, table_map, write_rows

TABLE_MAP, WRITE_ROWS, HEARTBEAT_V2 = 19, 30, 41


def rows(records: list[Record]) -> list[list[object]]:
    return [record[AFTER] for record in records if record[KIND] in CHANGES]


def of_files(paths: list[Path]) -> list[Record]:
    found: list[Record] = []
    for view, _ in decode_files(paths):
        unpacker = msgpack.Unpacker(max_buffer_size=0, strict_map_key=False)
        unpacker.feed(view)
        found += list(unpacker)
    return found


def test_table_ids_of_four_bytes_are_read_where_the_format_description_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made_binlog, "_POST_HEADERS", {**made_binlog._POST_HEADERS, TABLE_MAP: 6, 23: 6})
    made = MadeBinlog()
    made.gtid()
    made.query("BEGIN")
    made.add(TABLE_MAP, (90).to_bytes(4, "little") + table_map()[6:])
    made.add(23, (90).to_bytes(4, "little") + b"\1\0\2\3" + b"\0" + struct.pack("<iI", 7, 1) + b"v")
    made.xid()
    assert rows(decode(bytes(made.data))) == [[7, b"v"]]


def test_post_headers_longer_than_any_server_has_today_are_passed_by_their_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made_binlog, "_POST_HEADERS", {**made_binlog._POST_HEADERS, 2: 15})
    made = MadeBinlog()
    made.gtid()
    name = b"shop"
    made.add(2, struct.pack("<IIBHH", 7, 0, len(name), 0, 0) + b"??" + name + b"\0BEGIN")
    made.table_map()
    made.write_rows([(1, b"x")])
    made.xid()
    assert rows(decode(bytes(made.data))) == [[1, b"x"]]


def test_a_tagged_gtid_without_a_commit_time_has_that_of_its_header() -> None:
    made = MadeBinlog()
    numbers = [1, 40, 0, *(1, *range(16)), *(2, 2 * 7), *(3, 1)]  # the last one: a tag of one letter follows
    made.add(GTID_TAGGED, bytes(2 * number for number in numbers) + b"x")
    made.query("BEGIN")
    made.table_map()
    made.write_rows([(1, b"x")])
    made.xid()
    records = decode(bytes(made.data))
    assert rows(records) == [[1, b"x"]]
    assert {record[TIME] for record in records} == {TIMESTAMP * 1_000_000}
    assert records[0][AFTER][0] == "00010203-0405-0607-0809-0a0b0c0d0e0f:x:7"


def test_extra_data_of_row_events_is_passed_by_its_length() -> None:
    made = MadeBinlog()
    made.gtid()
    made.query("BEGIN")
    made.table_map()
    plain = write_rows([(1, b"x"), (2, b"y")])
    made.add(WRITE_ROWS, plain[:8] + struct.pack("<H", 2 + 7) + b"\1partit" + plain[10:])
    made.xid()
    assert rows(decode(bytes(made.data))) == [[1, b"x"], [2, b"y"]]


def test_checksums_may_be_turned_on_and_off_between_files(tmp_path: Path) -> None:
    paths = []
    for number, checksum in enumerate((True, False, True), 1):
        made = MadeBinlog(checksum=checksum)
        made.transaction([(number, b"x" * number)], number)
        paths.append(tmp_path / f"binlog.{number:06d}")
        paths[-1].write_bytes(bytes(made.data))
    assert rows(of_files(paths)) == [[1, b"x"], [2, b"xx"], [3, b"xxx"]]
    stream = b"".join(
        packet(b"\0" + rotate_event(path.name, 4, False)) + b"".join(packet(b"\0" + event) for event in events(path.read_bytes()))
        for path in paths[1:2]
    )
    assert rows(decode_packets(stream, checksum=False)) == [[2, b"xx"]]


def events(data: bytes) -> list[bytes]:
    found, at = [], 4
    while at < len(data):
        size = int.from_bytes(data[at + 9 : at + 13], "little")
        found.append(data[at : at + size])
        at += size
    return found


def test_a_table_id_that_stands_for_another_table_after_a_restart_is_looked_at_anew(tmp_path: Path) -> None:
    paths = []
    for number, table in enumerate(("one", "two"), 1):
        made = MadeBinlog()
        made.transaction([(number, b"x")], number, table)
        paths.append(tmp_path / f"binlog.{number:06d}")
        paths[-1].write_bytes(bytes(made.data))
    tables = [record[AFTER]["table"] for record in of_files(paths) if record[KIND] == 7]
    assert tables == ["one", "two"]
    second = MadeBinlog()
    second.gtid(2)
    second.query("BEGIN")
    second.write_rows([(2, b"x")])
    second.xid()
    paths[1].write_bytes(bytes(second.data))
    with pytest.raises(BinlogError, match="TABLE_MAP was not read"):
        of_files(paths)


def test_positions_of_zero_inside_transactions_are_counted_on_from_the_one_before() -> None:
    """As MariaDB writes them since 11.4."""
    made = MadeBinlog()
    made.transaction([(1, b"x")], 1)
    made.transaction([(2, b"y")], 2)
    whole = decode_packets(made.packets())
    out = [packet(b"\0" + rotate_event("binlog.000001", 4, True))]
    for event in made.events:
        if event[4] in (TABLE_MAP, WRITE_ROWS, 2):
            plain = event[:13] + bytes(4) + event[17:-4]
            event = plain + struct.pack("<I", zlib.crc32(plain))
        out.append(packet(b"\0" + event))
    assert decode_packets(b"".join(out)) == whole
    assert [record[START] for record in whole if record[KIND] in CHANGES] == made.starts


def test_a_heartbeat_with_a_long_position_is_no_event_of_the_transaction() -> None:
    made = MadeBinlog()
    made.transaction([(1, b"x")], 1)
    whole = decode_packets(made.packets())
    body = b"\1\x0dbinlog.000001" + b"\2\x09\xfe" + struct.pack("<Q", 5 << 32)
    head = struct.pack("<IBIIIH", 0, HEARTBEAT_V2, 1, 19 + len(body) + 4, 0, 0x20)
    heartbeat = packet(b"\0" + head + body + struct.pack("<I", zlib.crc32(head + body)))
    rotate = packet(b"\0" + rotate_event("binlog.000001", 4, True))
    first, *others = (packet(b"\0" + event) for event in made.events)
    stream = rotate + first + b"".join(heartbeat + one for one in others)
    assert decode_packets(stream) == whole


def test_a_semi_sync_prefix_that_nobody_asked_for_is_refused_and_not_taken_for_an_event() -> None:
    made = MadeBinlog()
    made.gtid()
    stream = packet(b"\0" + rotate_event("binlog.000001", 4, True)) + packet(b"\xef\0\0" + made.events[0])
    with pytest.raises(BinlogError, match="no packet of a dump"):
        decode_packets(stream)


def test_times_are_those_of_the_headers_where_no_gtid_tells_more() -> None:
    made = MadeBinlog()
    made.query("BEGIN")
    made.table_map()
    made.write_rows([(1, b"x")])
    made.xid()
    (change,) = [record for record in decode(bytes(made.data)) if record[KIND] in CHANGES]
    assert change[5] == TIMESTAMP * 1_000_000
