"""Records to changes, by the reader that `tail`, `decode` and every client use."""

import json
from datetime import UTC, datetime

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.client.change import Begin, Change, ChangeReader, Commit, Ddl
from engine.client.items import json_line
from engine.errors import ProtocolError
from engine.position import Identity
from engine.record import ABSENT, KEY_CHANGED, Kind, pack_record
from engine.schema import Column, TableSchema
from tests.client import streams

pytestmark = pytest.mark.usefixtures("path")

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy


def reader() -> ChangeReader:
    return ChangeReader({1: ("shop", "binlog")})


def read(*records: bytes, **options: bool) -> list:
    return list(reader().read(streams.schema_record() + b"".join(records), **options))


def test_an_insert_has_a_row_after_and_none_before():
    (change,) = read(streams.insert(5))
    assert (change.op, change.source, change.schema, change.table) == ("insert", "shop", "shop", "orders")
    assert change.before is None
    assert change.after == dict(zip([c.name for c in streams.ORDERS.columns], streams.row(5), strict=True))
    assert change.after is change.after
    assert change.key == (5,)
    assert change.columns == streams.ORDERS


def test_an_update_has_both_and_a_delete_only_the_row_before():
    updated, deleted = read(streams.update(5), streams.delete(6))
    assert (updated.op, updated.before["status"], updated.after["status"]) == ("update", "new", "paid")
    assert (deleted.op, deleted.before["id"], deleted.after, deleted.key) == ("delete", 6, None, (6,))


def test_a_change_says_when_and_where_it_happened():
    (change,) = read(streams.insert(5))
    assert change.timestamp == datetime(2026, 11, 23, 4, 14, 25, 720253, tzinfo=UTC)
    assert change.position == "binlog.000001:1234"
    assert change.identity == Identity(1, 1234, 2, 5)


def test_a_change_has_the_gtid_of_the_begin_before_it():
    changes = read(streams.insert(1), *streams.transaction(2, 2), streams.insert(4), transactions=False)
    assert [change.gtid for change in changes] == [None, streams.GTID, streams.GTID, None]


def test_a_gtid_belongs_to_its_source_alone():
    both = ChangeReader({1: ("shop", "binlog"), 2: ("other", "mysql-bin")})
    records = [streams.schema_record(), streams.begin("a"), streams.begin("b", source=2)]
    records += [streams.insert(1), streams.insert(2, source=2), streams.insert(3), streams.commit()]
    records += [streams.insert(4, source=2), streams.insert(5)]
    changes = [(c.source, c.gtid) for c in both.read(b"".join(records), transactions=False)]
    assert changes == [("shop", "a"), ("other", "b"), ("shop", "a"), ("other", "b"), ("shop", None)]


def test_marks_and_ddl_stand_between_the_changes_where_they_are_wanted():
    records = [*streams.transaction(1, 1), streams.heartbeat(), streams.ddl()]
    kinds = [type(item) for item in read(*records)]
    assert kinds == [Begin, Change, Commit, Ddl]
    assert [type(item) for item in read(*records, ddl=False)] == [Begin, Change, Commit]
    assert [type(item) for item in read(*records, transactions=False)] == [Change, Ddl]
    begin, _, commit, ddl = read(*records)
    assert (begin.gtid, commit.gtid, commit.xid) == (streams.GTID, streams.GTID, 77)
    assert (ddl.schema, ddl.sql, ddl.tables, ddl.gtid) == (
        "shop",
        "alter table orders add x int",
        (("shop", "orders"),),
        "0-1-6",
    )


def test_a_column_that_is_not_in_the_row_image_is_left_out_and_null_is_not():
    full, minimal, after = read(
        streams.insert(1), streams.minimal_update(5), streams.change(Kind.INSERT, None, streams.row(7, None))
    )
    assert minimal.before == {"id": 5}
    assert minimal.after == {"status": "paid"}
    assert minimal.key == (5,)
    assert len(full.after) == 7
    assert after.after["status"] is None


def test_rows_gives_tuples_with_the_absent_marked():
    rows = list(reader().rows(streams.schema_record() + streams.insert(1) + streams.minimal_update(2) + streams.ddl()))
    assert rows[0] == ("insert", streams.ORDERS, None, tuple(streams.row(1)))
    op, table, before, after = rows[1]
    assert (op, table) == ("update", streams.ORDERS)
    assert before == (2, *[ABSENT] * 6)
    assert after[2] == "paid"


def test_a_new_table_version_is_used_from_its_schema_record_on():
    wider = TableSchema("shop", "shop", "orders", (*streams.ORDERS.columns, Column("x", "int")), (0,))
    later = pack_record(Kind.INSERT, source=1, identity=streams.place(), time_us=1, table=8, after=[*streams.row(2), 42])
    old, new = read(streams.insert(1), streams.schema_record(wider, 8), later)
    assert "x" not in old.after
    assert new.after["x"] == 42


def test_an_update_whose_key_changes_has_the_key_after_it():
    record = pack_record(
        Kind.UPDATE, source=1, identity=streams.place(), time_us=1, table=7, flags=KEY_CHANGED,
        before=streams.row(1), after=streams.row(2),
    )  # fmt: skip
    (change,) = read(record)
    assert (change.old_key, change.key) == ((1,), (2,))
    assert change.key_changed
    assert not change.split


def test_a_table_without_a_primary_key_has_an_empty_key():
    keyless = TableSchema("shop", "shop", "orders", streams.ORDERS.columns)
    (change,) = reader().read(streams.schema_record(keyless) + streams.insert(1))
    assert change.key == ()


def test_json_has_the_fields_of_the_design_in_their_order():
    (change,) = read(streams.begin(), streams.update(3), transactions=False)
    line = json_line(change)
    assert line == (
        '{"op":"update","source":"shop","schema":"shop","table":"orders",'
        '"before":{"id":3,"customer":4000000003,"status":"new","total":"3.50","weight":1.5,'
        '"photo":{"base64":"AP8="},"at":"2026-11-23 04:14:25.720253"},'
        '"after":{"id":3,"customer":4000000003,"status":"paid","total":"3.50","weight":1.5,'
        '"photo":{"base64":"AP8="},"at":"2026-11-23 04:14:25.720253"},'
        '"ts":"2026-11-23T04:14:25.720253Z","position":"binlog.000001:1234","gtid":"0-1-5"}'
    )


def test_json_of_inserts_deletes_ddl_and_marks():
    begin, inserted, deleted, commit, ddl = read(
        streams.begin(), streams.insert(1), streams.delete(1), streams.commit(), streams.ddl()
    )
    assert inserted.to_json()["before"] is None
    assert deleted.to_json()["after"] is None
    place = {"ts": "2026-11-23T04:14:25.720253Z", "position": "binlog.000001:1234"}
    assert begin.to_json() == {"op": "begin", "source": "shop", **place, "gtid": "0-1-5"}
    assert commit.to_json()["op"] == "commit"
    sql = "alter table orders add x int"
    assert ddl.to_json() == {"op": "ddl", "source": "shop", "schema": "shop", "sql": sql, **place, "gtid": "0-1-6"}


def test_json_time_always_has_six_digits():
    record = pack_record(Kind.BEGIN, source=1, identity=streams.place(), time_us=1_000_000, after=[None, None])
    (begin,) = read(record)
    assert begin.to_json()["ts"] == "1970-01-01T00:00:01.000000Z"


@pytest.mark.parametrize("value", [1.1, 0.0, -3.4028234663852886e38, 1e-45, 16777216.0, 3.14159])
def test_json_shows_a_float32_by_its_shortest_digits(value):
    import struct

    packed = struct.pack("f", value)
    stored = struct.unpack("f", packed)[0]
    (change,) = read(streams.change(Kind.INSERT, None, streams.row(1, weight=stored)))
    shown = json.loads(json_line(change))["after"]["weight"]
    assert struct.pack("f", shown) == packed
    assert len(repr(shown)) <= len(repr(stored))


def test_a_fragmented_change_is_read_as_if_it_had_stood_there():
    big = streams.change(Kind.INSERT, None, streams.row(1, photo=bytes(range(256)) * 4000))
    pieces = streams.fragments(big, 9)
    (change,) = read(*pieces)
    assert change.after["photo"] == bytes(range(256)) * 4000


@patient
@given(st.integers(1, 12), st.data())
def test_fragments_join_across_calls_however_they_are_spread(count, data):
    big = streams.change(Kind.UPDATE, streams.row(1), streams.row(1, photo=b"x" * 500))
    records = [streams.schema_record(), streams.insert(0), *streams.fragments(big, count), streams.insert(2)]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(records)), max_size=5)))
    following = reader()
    ids = []
    for start, end in zip([0, *cuts], [*cuts, len(records)], strict=True):
        ids += [c.after["id"] for c in following.read(b"".join(records[start:end]))]
    assert ids == [0, 1, 2]


@pytest.mark.parametrize("lost", [0, 1, 4])
def test_a_lost_fragment_is_an_error_and_not_a_shorter_value(lost):
    pieces = streams.fragments(streams.insert(1), 5)
    del pieces[lost]
    following = reader()
    following.learn(streams.schema_record())
    with pytest.raises(ProtocolError, match="fragment"):
        list(following.read(b"".join(pieces) + streams.fragments(streams.insert(2), 2)[1]))


def test_fragments_that_do_not_add_up_are_an_error():
    first, last = streams.fragments(streams.insert(1), 2)
    shorter = msgpack.unpackb(last)
    wrong = pack_record(
        Kind.FRAGMENT, source=1, identity=streams.place(ordinal=1), time_us=1, table=7,
        before=shorter[11], after=shorter[12][:-1],
    )  # fmt: skip
    with pytest.raises(ProtocolError, match="add up"):
        read(first, wrong)


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_bytes_that_end_inside_a_record_are_an_error(cut):
    with pytest.raises(ProtocolError):
        read(streams.insert(1), streams.insert(2)[:-cut])
    with pytest.raises(ProtocolError):
        list(reader().rows(streams.schema_record() + streams.insert(2)[:-cut]))
    with pytest.raises(ProtocolError):
        list(reader().raw(streams.insert(2)[:-cut]))


@pytest.mark.parametrize(
    ("records", "told"),
    [
        (b"\xc1", "can't be read"),
        (b"\x01", "can't be read"),
        (b"\x90", "can't be read"),
        (streams.change(Kind.INSERT, None, [1], source=5), "source is unknown"),
        (pack_record(Kind.INSERT, source=1, identity=streams.place(), time_us=1, table=99, after=[]), "table_key=99"),
        (pack_record(77, source=1, identity=streams.place(), time_us=1), "unknown kind"),  # type: ignore[arg-type]
        (pack_record(Kind.SCHEMA, source=1, identity=streams.place(), time_us=1, table=3, after={}), "schema record"),
        (pack_record(Kind.SCHEMA, source=1, identity=streams.place(), time_us=1, table=3, after=None), "schema record"),
    ],
)
def test_bytes_that_are_not_records_are_a_protocol_error(records, told):
    with pytest.raises(ProtocolError, match=told):
        read(records)


def test_a_row_that_does_not_fit_its_table_is_an_error():
    (change,) = read(streams.change(Kind.INSERT, None, [1, 2, 3]))
    with pytest.raises(ProtocolError, match=r"columns=7 values=3"):
        _ = change.after


def test_raw_records_are_given_as_they_are():
    records = list(reader().raw(streams.heartbeat() + streams.insert(1)))
    assert [record[1] for record in records] == [Kind.HEARTBEAT, Kind.INSERT]
    assert [len(record) for record in records] == [13, 13]


@pytest.mark.parametrize("read", [ChangeReader.read, ChangeReader.rows], ids=["read", "rows"])
def test_a_record_of_unknown_kind_is_an_error_and_never_the_end(read):
    unknown = bytearray(streams.heartbeat())
    unknown[7] = 255
    with pytest.raises(ProtocolError, match="unknown kind"):
        list(read(reader(), streams.schema_record() + bytes(unknown) + streams.insert(1)))


@pytest.mark.parametrize("read", [ChangeReader.read, ChangeReader.rows], ids=["read", "rows"])
def test_a_row_that_claims_more_values_than_there_are_bytes_is_an_error_at_once(read):
    bomb = streams.change(Kind.INSERT, None, None)[:-1] + b"\xdd\x7f\xff\xff\xff"
    with pytest.raises(ProtocolError, match="can't be read"):
        list(read(reader(), streams.schema_record() + bomb))
