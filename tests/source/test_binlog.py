"""The decoder: records and identities, resuming, framing, checksums, fragments, and bytes that are damaged."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

import pytest

from engine.counters import SourceCounter
from engine.errors import BinlogError, ConnectionLost, EngineError, ServerSetupError
from engine.position import Identity
from engine.record import CHANGES, Kind
from engine.ring import Ring
from engine.source import crc
from engine.source._binlog import MORE_TO_DO, NEED_INPUT, RING_FULL, Decoder
from engine.source.note import ResumePoint, resume_from_acked
from engine.source.tables import MemoryKeys, TableVersions
from tests.source.decoding import (
    AFTER,
    EVENT,
    FILE,
    KIND,
    START,
    TIME,
    Decoding,
    decode,
    decode_packets,
    identity,
    interrupted,
    joined,
    without_schemas,
)
from tests.source.made_binlog import (
    COMMIT_TIME_US,
    GTID_TEXT,
    IGNORABLE,
    TIMESTAMP,
    MadeBinlog,
    table_map,
    write_rows,
)

DATA = Path(__file__).parent.parent / "data"
TABLE_MAP = 19
SHOPS = ["mariadb-shop", "mysql-shop"]


def shop(case: str) -> bytes:
    return (DATA / case / "binlog.000001").read_bytes()


def large_rows() -> MadeBinlog:
    made = MadeBinlog()
    made.transaction([(1, b"a"), (2, b"b" * 700_000), (3, b"c")], 1)
    made.transaction([(4, b"d" * 300_000)], 2)
    made.transaction([(i, b"e" * 200) for i in range(5, 4000)], 3)
    return made


# ---- what the records are ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", SHOPS)
def test_records_are_whole_transactions_whose_identities_grow(case: str) -> None:
    records = without_schemas(decode(shop(case)))
    identities = [identity(record) for record in records]
    assert identities == sorted(set(identities))
    inside = None
    for record in records:
        kind = record[KIND]
        if kind == Kind.BEGIN:
            assert inside is None
            inside = record
        elif kind == Kind.DDL:
            assert inside is None
            assert record[AFTER][2], "a GTID"
        else:
            assert inside is not None
            assert (record[FILE], record[START], record[TIME]) == (inside[FILE], inside[START], inside[TIME])
            if kind == Kind.COMMIT:
                assert record[AFTER][0] == inside[AFTER][0]
                inside = None
    assert inside is None


def test_a_transaction_s_marks_carry_gtid_xid_and_the_server_s_commit_time() -> None:
    made = MadeBinlog()
    made.transaction([(1, b"a")], 7)
    begin, schema, row, commit = decode(bytes(made.data))
    assert [r[KIND] for r in (begin, schema, row, commit)] == [Kind.BEGIN, Kind.SCHEMA, Kind.INSERT, Kind.COMMIT]
    assert begin[AFTER] == [f"{GTID_TEXT}:7", None]
    assert commit[AFTER] == [f"{GTID_TEXT}:7", 7]
    assert {r[TIME] for r in (begin, schema, row, commit)} == {COMMIT_TIME_US}
    assert [r[EVENT] for r in (begin, schema, row, commit)] == [1, 3, 4, 5]


def test_a_transaction_without_a_wanted_row_leaves_nothing() -> None:
    made = MadeBinlog()
    made.transaction([(1, b"a")], 1, table="other")
    decoding = Decoding(wants=lambda name: name == "shop.t").open_file()
    assert decoding.run(bytes(made.data[4:])) == []
    counters = decoding.ring.counters
    assert counters[SourceCounter.ROWS_UNWANTED] == 1
    assert counters[SourceCounter.TRANSACTIONS] == 1
    counters.release()
    decoding.close()


def test_an_unwanted_table_needs_no_names() -> None:
    """Without binlog_row_metadata=FULL only tables that somebody wants are refused."""
    made = MadeBinlog()
    made.gtid()
    made.query("BEGIN")
    body = table_map()
    made.add(19, body[: body.index(b"\x01\x01\x00\x02\x01")])
    made.write_rows([(1, b"a")])
    made.xid()
    assert decode(bytes(made.data), wants=lambda name: False) == []
    with pytest.raises(ServerSetupError, match=r"table=shop.t.*binlog_row_metadata"):
        decode(bytes(made.data))


def test_schema_records_come_once_before_the_first_row_of_a_table() -> None:
    made = MadeBinlog()
    made.transaction([(1, b"a")], 1)
    made.transaction([(2, b"a")], 2)
    made.transaction([(3, b"a")], 3, table="u")
    kinds = [record[KIND] for record in decode(bytes(made.data))]
    one = [Kind.BEGIN, Kind.INSERT, Kind.COMMIT]
    assert kinds == [Kind.BEGIN, Kind.SCHEMA, Kind.INSERT, Kind.COMMIT, *one, Kind.BEGIN, Kind.SCHEMA, *one[1:]]


def test_ddl_stands_alone_and_names_its_tables() -> None:
    made = MadeBinlog()
    at = made.gtid(3)
    made.query("ALTER TABLE t ADD c INT")
    (record,) = decode(bytes(made.data))
    assert record[KIND] == Kind.DDL
    assert identity(record) == (1, at, 2, 0)
    assert record[AFTER] == ["shop", "ALTER TABLE t ADD c INT", f"{GTID_TEXT}:3", [["shop", "t"]]]


def test_create_table_select_gives_its_ddl_record_before_begin() -> None:
    made = MadeBinlog()
    made.gtid()
    made.query("BEGIN")
    made.query("CREATE TABLE t (id INT PRIMARY KEY, v LONGBLOB) START TRANSACTION")
    made.table_map()
    made.write_rows([(1, b"a")])
    made.xid()
    records = without_schemas(decode(bytes(made.data)))
    assert [r[KIND] for r in records] == [Kind.DDL, Kind.BEGIN, Kind.INSERT, Kind.COMMIT]
    assert [r[EVENT] for r in records] == [3, 3, 5, 6]
    assert [identity(r) for r in records] == sorted({identity(r) for r in records})


def test_a_commit_query_ends_a_transaction_without_xid() -> None:
    made = MadeBinlog()
    made.gtid()
    made.query("BEGIN")
    made.table_map()
    made.write_rows([(1, b"a")])
    made.query("COMMIT")
    assert decode(bytes(made.data))[-1][AFTER] == [f"{GTID_TEXT}:1", None]


def test_a_binlog_without_checksums_is_read_whole() -> None:
    made = MadeBinlog(checksum=False)
    made.transaction([(1, b"abcd")])
    assert [r[AFTER] for r in decode(bytes(made.data)) if r[KIND] == Kind.INSERT] == [[1, b"abcd"]]


# ---- going on ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("case", [*SHOPS, "large rows"])
def test_a_decoder_that_dies_anywhere_leaves_neither_gap_nor_repetition(case: str, seed: int) -> None:
    data = bytes(large_rows().data) if case == "large rows" else shop(case)
    whole = without_schemas(joined(decode(data)))
    assert without_schemas(joined(interrupted(data, random.Random(seed)))) == whole


def test_a_decoder_cut_off_goes_on_with_the_same_records() -> None:
    """As a source that loses its connection: the same decoder, opened again at its own resume point."""
    data = bytes(large_rows().data)
    whole = joined(decode(data))
    choose = random.Random(1)
    decoding = Decoding().open_file()
    description = int.from_bytes(data[13:17], "little")
    at = 4
    while True:
        progress = decoding.decoder.advance(choose.choice([1, 1000, 1 << 20]))
        if progress == RING_FULL:
            decoding.drain(choose.choice([0, 140_000]))
        elif progress == NEED_INPUT:
            if at == len(data):
                break
            at += decoding.feed(data[at : at + choose.randrange(1, 200_000)])
        if choose.random() < 0.1:
            point = decoding.decoder.resume_point()
            assert point is not None
            decoding.decoder.resume(point)
            decoding.decoder.open("binlog", 1, 4)
            decoding.feed(data[4 : 4 + description])
            while decoding.decoder.advance(1 << 20) == RING_FULL:
                decoding.drain()
            at = point.offset
            decoding.decoder.seek(at)
    while decoding.drain():
        pass
    decoding.close()
    assert joined(decoding.records) == whole


def test_what_is_acked_is_left_out_and_its_transaction_s_begin_comes_again() -> None:
    data = shop("mysql-shop")
    whole = without_schemas(decode(data))
    for cut, last in enumerate(whole):
        decoding = Decoding()
        decoding.decoder.resume(resume_from_acked(1, Identity(*identity(last))))
        again = without_schemas(decoding.open_file().run(data[4:]))
        decoding.close()
        rest = whole[cut + 1 :]
        if last[KIND] in (*CHANGES, Kind.BEGIN):
            begin = next(r for r in whole if r[KIND] == Kind.BEGIN and r[START] == last[START])
            rest = [begin, *rest]
        assert again == rest


def test_a_heartbeat_between_transactions_is_where_to_go_on() -> None:
    made = MadeBinlog()
    made.transaction([(1, b"a")])
    decoding = Decoding(wants=lambda name: False).open_file()
    decoding.run(bytes(made.data[4:]))
    assert decoding.decoder.heartbeat(123)
    decoding.drain()
    (beat,) = decoding.records
    assert (beat[KIND], beat[TIME], identity(beat)) == (Kind.HEARTBEAT, 123, (1, made.offset, 0, 0))
    place = Identity(1, made.offset, 0, 0)
    assert decoding.resume_point() == ResumePoint(1, 1, made.offset, place, origin_us=decoding.decoder.origin_us)
    decoding.close()


def test_no_heartbeat_inside_a_transaction_that_the_ring_has_begun() -> None:
    made = MadeBinlog()
    made.gtid()
    made.query("BEGIN")
    made.table_map()
    at = made.offset
    made.write_rows([(1, b"a")])
    decoding = Decoding().open_file()
    decoding.run(bytes(made.data[4:at]))
    assert decoding.decoder.heartbeat(1)
    decoding.run(bytes(made.data[at:]))
    assert not decoding.decoder.heartbeat(1)
    decoding.close()


# ---- what must stop ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (26, r"incident: its binlog has a gap.*event=INCIDENT"),
        (38, r"XA_PREPARE can't be read.*event=XA_PREPARE"),
        (164, r"encrypt_binlog=OFF"),
        (99, r"not understood and not marked ignorable.*offset=\d+ event=type 99"),
    ],
)
def test_what_is_not_understood_stops_with_its_name_and_place(kind: int, message: str) -> None:
    made = MadeBinlog()
    at = made.add(kind, b"\0" * 20)
    with pytest.raises(BinlogError, match=message) as caught:
        decode(bytes(made.data))
    assert caught.value.facts["offset"] == at
    assert caught.value.facts["file"] == "binlog.000001"


def test_what_is_marked_ignorable_is_skipped() -> None:
    made = MadeBinlog()
    made.add(99, b"whatever", flags=IGNORABLE)
    made.transaction([(1, b"a")])
    assert len(decode(bytes(made.data))) == 4


def test_a_change_logged_as_a_statement_stands_between_begin_and_commit() -> None:
    made = MadeBinlog()
    at = made.gtid()
    made.query("BEGIN")
    made.query("INSERT INTO t VALUES (1)")
    made.table_map()
    made.write_rows([(1, b"a")])
    made.query("UPDATE t SET v = now()")
    made.xid()
    made.query("DELETE FROM t")  # by itself, as of a table without transactions in an old binlog
    records = without_schemas(decode(bytes(made.data)))
    one = [Kind.BEGIN, Kind.STATEMENT, Kind.COMMIT]
    assert [r[KIND] for r in records] == [*one[:2], Kind.INSERT, *one[1:], *one]
    assert records[1][AFTER] == ["shop", "INSERT INTO t VALUES (1)", f"{GTID_TEXT}:1", []]
    assert [identity(r)[1:] for r in records[:2]] == [(at, 1, 0), (at, 3, 0)]
    assert records[-2][AFTER] == ["shop", "DELETE FROM t", None, []]
    assert [identity(r) for r in records] == sorted({identity(r) for r in records})


@pytest.mark.parametrize("seed", range(10))
def test_statements_survive_a_decoder_that_dies_anywhere(seed: int) -> None:
    made = MadeBinlog()
    for number in range(200):
        made.gtid(number)
        if number % 3:
            made.query("BEGIN")
        made.query(f"INSERT INTO t VALUES ('{'x' * (400_000 if number % 50 == 1 else number * 100)}')")
        if number % 3:
            made.xid(number)
    data = bytes(made.data)
    whole = joined(decode(data))
    assert len(whole) == 600
    assert joined(interrupted(data, random.Random(seed))) == whole


def test_rows_in_the_middle_of_a_transaction_are_never_guessed() -> None:
    made = MadeBinlog()
    made.write_rows([(1, b"a")])
    with pytest.raises(BinlogError, match="TABLE_MAP was not read"):
        decode(bytes(made.data))


def test_a_row_that_does_not_fit_names_table_row_and_column() -> None:
    made = MadeBinlog(checksum=False)
    made.gtid()
    made.query("BEGIN")
    made.table_map()
    made.add(30, write_rows([(1, b"a"), (2, b"bcd")])[:-2])
    with pytest.raises(BinlogError, match=r"table=shop.t row=1 column=v"):
        decode(bytes(made.data))


def test_a_checksum_that_does_not_match_names_the_event() -> None:
    made = MadeBinlog()
    at = made.gtid()
    made.data[at + 25] ^= 1
    with pytest.raises(BinlogError, match=rf"checksum does not match.*file=binlog.000001 offset={at}"):
        decode(bytes(made.data))


def test_the_records_before_a_damaged_event_are_delivered() -> None:
    made = MadeBinlog()
    made.transaction([(1, b"a")])
    at = made.gtid(2)
    made.data[at + 25] ^= 1
    decoding = Decoding().open_file()
    with pytest.raises(BinlogError):
        decoding.run(bytes(made.data[4:]))
    decoding.drain()
    assert len(decoding.records) == 4
    decoding.close()


@pytest.mark.parametrize("case", SHOPS)
def test_damaged_bytes_give_records_or_an_error_and_nothing_else(case: str) -> None:
    """With checksums almost everything is caught by them, so here they are made right again."""
    original, choose = shop(case), random.Random(case)
    for _ in range(750):
        data = bytearray(original)
        for _ in range(choose.randrange(1, 4)):
            data[choose.randrange(4, len(data))] = choose.randrange(256)
        repair(data)
        decoding = Decoding().open_file()
        try:
            decoding.run(bytes(data[4:]))
        except EngineError:
            pass
        finally:
            decoding.close()


def repair(data: bytearray) -> None:
    """Right checksums for wrong bytes."""
    at = 4
    while at + 19 <= len(data):
        size = int.from_bytes(data[at + 9 : at + 13], "little")
        if size < 23 or at + size > len(data):
            return
        data[at + size - 4 : at + size] = struct.pack("<I", zlib.crc32(data[at : at + size - 4]))
        at += size


def test_every_cut_of_a_dump_gives_a_prefix_of_its_records() -> None:
    made = MadeBinlog()
    for number in range(3):
        made.transaction([(number, b"abc")], number)
    data, whole = made.packets(), decode(bytes(made.data))
    for end in range(len(data)):
        records = decode_packets(data[:end])
        assert records == whole[: len(records)]


# ---- the rest ------------------------------------------------------------------------------------------------------


def test_every_crc32_at_hand_agrees_with_zlib() -> None:
    found = crc.available()
    assert found[0].library == crc.LIBRARY == "zlib-ng"
    for way in found:
        assert way.function(0, b"123456789", 9) == 0xCBF43926, way.library


def test_a_budget_stops_the_decoder_between_events() -> None:
    decoding = Decoding().open_file()
    decoding.feed(shop("mysql-shop")[4:])
    assert decoding.decoder.advance(1) == MORE_TO_DO
    assert decoding.decoder.advance(1 << 30) == NEED_INPUT
    decoding.close()


def test_counters_say_what_was_read_and_written() -> None:
    decoding = Decoding().open_file()
    data = shop("mysql-shop")
    records = decoding.run(data[4:])
    counters = decoding.ring.counters
    assert counters[SourceCounter.ROWS] == sum(record[KIND] in CHANGES for record in records)
    assert counters[SourceCounter.DDL] == sum(record[KIND] == Kind.DDL for record in records)
    assert counters[SourceCounter.RECORD_BYTES] == decoding.ring.put
    assert counters[SourceCounter.BINLOG_BYTES] == len(data) - 4
    assert (counters[SourceCounter.FILE], counters[SourceCounter.OFFSET]) == (1, len(data))
    assert counters[SourceCounter.TRANSACTIONS] == sum(record[KIND] in (Kind.COMMIT, Kind.DDL) for record in records)
    assert counters[SourceCounter.COMMIT_TIME_US] == records[-1][TIME]
    counters.release()
    decoding.close()


def test_a_ring_that_is_not_open_for_writing_is_refused() -> None:
    ring = Ring.create(None, 1 << 20)
    tables = TableVersions("file", lambda name: True, MemoryKeys("file"))
    decoder = Decoder(ring, tables, source="file", packets=False, number_of=lambda base: 1)
    with pytest.raises(EngineError, match="not the writer"):
        decoder.advance(1)
    ring.close()


def test_reading_a_closed_socket_is_a_lost_connection() -> None:
    decoding = Decoding(packets=True)
    with pytest.raises(ConnectionLost, match="reading failed"):
        decoding.decoder.recv(-1)
    decoding.close()


assert TIMESTAMP * 1_000_000 < COMMIT_TIME_US
