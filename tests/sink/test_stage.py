"""One sink, from source rings to stores."""

import logging
import time

import pytest

from engine.config import Config
from engine.counters import SinkCounter
from engine.errors import ConfigError, MetaError
from engine.instance import Instance
from engine.position import Identity
from engine.record import ABSENT, SPLIT, Kind, pack_record
from engine.ring import Ring
from engine.sink.lane import HEARTBEAT_NS, TOUCH_BYTES, Lane
from engine.sink.stage import build
from engine.stage import step
from tests.sink.rig import Origin, expected, key_hash, make_table

ORDERS, ITEMS = make_table("shop.orders"), make_table("shop.items", "id order_id", (0, 1))
LOG = make_table("audit.log", "at what", ())


def kinds(records):
    return [Kind(record.kind).name.lower() for record in records]


def test_wanted_changes_arrive_between_their_begin_and_commit(make_rig):
    rig, origin = make_rig(include=[r"shop\..*"]), Origin()
    sink = rig.sink()
    records = [origin.table(1, ORDERS), origin.begin(), origin.insert(1, [1, 2, "x"]), origin.commit()]
    rig.put(*records)
    rig.run(sink)
    assert kinds(rig.got()) == ["schema", "begin", "insert", "commit"]
    assert rig.kept[0] == records
    assert rig.sources[0].reader("d.0").held_bytes == 0


def test_a_sink_that_has_put_all_there_was_sleeps_at_once_but_not_if_more_has_come(make_rig):
    rig, origin = make_rig(include=[r"shop\..*"]), Origin()
    sink = rig.sink()
    rig.put(origin.table(1, ORDERS), origin.begin(), origin.insert(1, [1, 2, "x"]), origin.commit())
    assert sink.do_work(time.monotonic_ns())
    assert sink.resting
    rig.put(origin.begin(), origin.insert(1, [2, 2, "x"]), origin.commit())
    begun = time.monotonic()
    sink.idle(30 * 10**9)
    assert time.monotonic() - begun < 15
    assert sink.do_work(time.monotonic_ns())
    assert not sink.do_work(time.monotonic_ns())
    assert not sink.resting
    assert len(rig.got()) == 7


def test_a_transaction_without_a_wanted_change_leaves_nothing(make_rig):
    rig, origin = make_rig(include=[r"shop\..*"], exclude=[r".*\.log"]), Origin()
    sink = rig.sink()
    rig.put(origin.table(1, LOG), origin.begin(), origin.insert(1, [1, 2]), origin.commit(), origin.begin(), origin.commit())
    rig.run(sink)
    assert rig.got() == []
    assert rig.stores[0].counters[SinkCounter.RECORDS_FILTERED] == 6
    assert rig.sources[0].reader("d.0").held_bytes == 0


def test_ddl_goes_to_every_partition_if_it_names_a_wanted_table_or_none(make_rig):
    rig, origin = make_rig(include=[r"shop\..*"], partitions=3), Origin()
    sink = rig.sink()
    rig.put(origin.ddl("shop.orders", "audit.log"), origin.ddl("audit.log"), origin.ddl())
    rig.run(sink)
    for partition in range(3):
        assert [len(record.after[3]) for record in rig.got(partition)] == [2, 0]


def test_ddl_that_writes_a_wanted_name_in_capitals_is_delivered_too(make_rig):
    """On a server with lower_case_table_names 1 or 2 it is the same table, and its rows say `shop.orders`."""
    rig, origin = make_rig(include=[r"shop\.orders"]), Origin()
    rig.put(origin.ddl("SHOP.Orders"), origin.ddl("SHOP.Order_Lines"))
    rig.run(rig.sink())
    assert [record.after[3] for record in rig.got()] == [[["SHOP", "Orders"]]]


def test_a_begin_waits_over_views_for_the_first_change_of_its_partition(make_rig):
    rig, origin = make_rig(partitions=2), Origin()
    sink = rig.sink()
    row = [next(i for i in range(9) if key_hash(ORDERS, [i, 0, ""], [0]) % 2 == 1), 0, ""]
    for record in (origin.table(1, ORDERS), origin.begin(), origin.insert(1, row), origin.commit(), origin.begin()):
        rig.put(record)
        rig.run(sink)
    assert [kinds(rig.got(partition)) for partition in (0, 1)] == [["schema"], ["schema", "begin", "insert", "commit"]]


def test_a_table_key_without_a_schema_record_is_looked_up_in_meta(make_rig):
    rig, origin = make_rig(include=[r"shop\..*"]), Origin()
    origin.schemas = {5000: ORDERS, 7: LOG}
    rig.schemas = {key: schema.pack() for key, schema in origin.schemas.items()}
    rig.put(origin.begin(), origin.insert(5000, [1, 1, ""]), origin.insert(7, [1, 1]), origin.commit())
    rig.run(rig.sink())
    assert kinds(rig.got()) == ["begin", "insert", "commit"]


def test_a_table_key_that_nobody_knows_stops_the_sink_with_its_number(make_rig):
    rig, origin = make_rig(), Origin()
    origin.schemas = {9: ORDERS}
    rig.put(origin.begin(), origin.insert(9, [1, 1, ""]))
    with pytest.raises(MetaError, match="table_key=9"):
        rig.run(rig.sink())


@pytest.mark.parametrize("partition_by", ["primary_key", "table", ["order_id"]])
def test_several_sinks_share_the_partitions_out(make_rig, partition_by):
    rig, origin = make_rig(partitions=5, sinks=2, partition_by=partition_by), Origin()
    records = [origin.table(1, ORDERS), origin.table(2, ITEMS)]
    for i in range(50):
        records += [origin.begin(), origin.insert(1, [i, i, "x"]), origin.update(2, [i, i + 1], [i, i + 2]), origin.commit()]
    rig.put(*records)
    rig.run(rig.sink(0), rig.sink(1))
    assert [rig.got(p) for p in range(5)] == expected(records, origin.schemas, rig.settings)


def test_an_update_that_moves_to_another_partition_is_a_delete_there_and_an_insert_here(make_rig):
    rig, origin = make_rig(partitions=2), Origin()
    old, new = (next(i for i in range(9) if key_hash(ORDERS, [i], [0]) % 2 == part) for part in (0, 1))
    records = [origin.table(1, ORDERS), origin.begin(), origin.update(1, [old, 1, "a"], [new, 1, "b"]), origin.commit()]
    rig.put(*records)
    rig.run(rig.sink())
    gone, come = rig.got(0), rig.got(1)
    assert kinds(gone) == ["schema", "begin", "delete", "commit"]
    assert kinds(come) == ["schema", "begin", "insert", "commit"]
    assert (gone[2].flags, gone[2].before, gone[2].after) == (SPLIT, [old, 1, "a"], None)
    assert (come[2].flags, come[2].before, come[2].after) == (SPLIT, None, [new, 1, "b"])
    assert come[2].key_hash == key_hash(ORDERS, [new], [0])


def test_a_key_column_that_the_after_image_lacks_is_taken_from_before(make_rig):
    rig, origin = make_rig(partitions=64), Origin()
    origin.schemas = {1: ITEMS}
    rig.schemas = {1: ITEMS.pack()}
    old = key_hash(ITEMS, [7, 8], [0, 1])
    record = origin.record(Kind.UPDATE, table=1, flags=1, before=[7, 8], after=[ABSENT, 9], key_hash=old)
    rig.put(origin.begin(), record, origin.commit())
    rig.run(rig.sink())
    new = key_hash(ITEMS, [7, 9], [0, 1])
    assert rig.got(new % 64)[1].key_hash == new


def test_a_row_image_without_a_partition_column_stops_the_sink(make_rig):
    rig, origin = make_rig(partitions=2, partition_by=["shop"]), Origin()
    origin.schemas = {1: ORDERS}
    rig.schemas = {1: ORDERS.pack()}
    rig.put(origin.begin(), origin.record(Kind.DELETE, table=1, before=[7, ABSENT, ABSENT]))
    with pytest.raises(ConfigError, match="binlog_row_image=FULL"):
        rig.run(rig.sink())


def test_a_table_that_lacks_a_partition_column_goes_whole_into_one_partition_and_that_is_said_once(make_rig, caplog):
    rig, origin = make_rig(partitions=3, partition_by=["order_id"]), Origin()
    records = [origin.table(1, ORDERS)]
    for i in range(20):
        records += [origin.begin(), origin.insert(1, [i, i, "x"]), origin.commit()]
    rig.put(*records)
    with caplog.at_level(logging.WARNING):
        rig.run(rig.sink())
    assert [rig.got(p) for p in range(3)] == expected(records, origin.schemas, rig.settings)
    assert len(caplog.messages) == 1
    assert rig.stores[0].counters[SinkCounter.TABLES_WHOLE] == 1


def test_a_record_too_large_for_the_store_is_cut_into_fragments(make_rig):
    rig, origin = make_rig(source_bytes=8 << 20), Origin()
    records = [origin.table(1, ORDERS), origin.begin(), origin.insert(1, [1, 2, "x" * 1_500_000]), origin.commit()]
    rig.put(*records)
    sink = rig.sink()
    rig.run(sink)
    assert len(rig.kept[0]) == 3 + -(-len(records[2]) // (128 << 10))
    assert rig.got() == expected(records, origin.schemas, rig.settings)[0]
    assert rig.stores[0].counters[SinkCounter.ROWS] == 1


@pytest.mark.parametrize("partition_by", ["primary_key", ["shop"]])
def test_fragments_stay_together(make_rig, partition_by):
    rig, origin = make_rig(partitions=4, partition_by=partition_by), Origin()
    sink = rig.sink()
    records = [origin.table(1, ORDERS)]
    rig.put(records[0])
    for i in range(6):
        transaction = [origin.begin(), origin.insert(1, [i, i, "x" * 400_000])]
        transaction += [origin.insert(1, [i + 50, i, "y"]), origin.commit()]
        for record in transaction:
            rig.put(record)
            rig.run(sink)
        records += transaction
    assert [rig.got(p) for p in range(4)] == expected(records, origin.schemas, rig.settings)
    assert sum(ring.counters[SinkCounter.ROWS] for ring in rig.stores) == 12


def test_a_full_store_stops_the_sink_until_there_is_room(make_rig):
    rig, origin = make_rig(source_bytes=4 << 20), Origin()
    sink = rig.sink()
    records = [origin.table(1, ORDERS), origin.begin()]
    records += [origin.insert(1, [i, 0, "x" * 1000]) for i in range(2000)]
    records.append(origin.commit())
    rig.put(*records)
    while sink.do_work(0):
        pass
    assert rig.stores[0].counters[SinkCounter.STORE_FULL] == 1
    assert rig.sources[0].reader("d.0").ack == 0
    sink.idle(1)
    rig.run(sink)
    assert rig.kept[0] == records
    assert rig.stores[0].counters[SinkCounter.ROWS] == 2000
    assert rig.stores[0].counters[SinkCounter.RECORD_BYTES] == sum(map(len, records))
    assert rig.sources[0].reader("d.0").held_bytes == 0


def test_an_idle_partition_hears_of_progress_once_a_second_but_never_inside_a_transaction(make_rig):
    rig, origin = make_rig(include=[r"shop\..*"]), Origin()
    sink = rig.sink()
    second = time.monotonic_ns() + HEARTBEAT_NS

    rig.put(origin.table(1, LOG), origin.begin(), origin.insert(1, [1, 2]), origin.commit())
    rig.run(sink, now_ns=0)
    assert rig.got(heartbeats=True) == []
    rig.run(sink, now_ns=second)
    (heartbeat,) = rig.got(heartbeats=True)
    assert (heartbeat.kind, heartbeat.identity.start) == (Kind.HEARTBEAT, origin.start)
    rig.run(sink, now_ns=9 * second)
    assert len(rig.got(heartbeats=True)) == 1, "nothing new to tell"

    rig.put(origin.heartbeat(), origin.table(2, ORDERS), origin.begin(), origin.insert(2, [1, 2, ""]))
    rig.run(sink, now_ns=9 * second)
    rig.run(sink, now_ns=20 * second)
    assert kinds(rig.got(heartbeats=True)) == ["heartbeat", "schema", "begin", "insert"]
    rig.put(origin.commit())
    rig.run(sink, now_ns=30 * second)
    assert kinds(rig.got(heartbeats=True))[4:] == ["commit"], "the commit tells it already"


def test_build_finds_rings_readers_and_meta_by_the_names_of_the_instance(tmp_path):
    config = Config.model_validate(
        {
            "server": {"data_dir": str(tmp_path)},
            "sources": {"shop": {"files": ["binlog.*"]}},
            "destinations": {"orders": {"partitions": 3, "sinks": 2}},
        }
    )
    instance, origin = Instance(tmp_path), Origin()
    rings = [Ring.create(instance.source_ring("shop"), 1 << 20)]
    rings += [Ring.create(instance.store_ring("orders", p), 1 << 20) for p in range(3)]
    stage = None
    try:
        rings[0].open_writer()
        rings[0].add_reader(instance.sink_reader("orders", 1))
        rings[0].try_put(origin.ddl())
        stage = build(config, "orders", 1, instance)
        stage.on_start()
        assert (stage.role_name, step(stage) > 0) == ("sink orders #1", True)
        assert [ring.put > 0 for ring in rings[1:]] == [False, True, False]
    finally:
        if stage:
            stage.on_close()
        for ring in rings:
            ring.close()
            Ring.unlink(ring.name)


def test_an_idle_sink_takes_the_memory_of_its_store_ahead_and_only_so_far_as_it_is_told():
    ring = Ring.create(None, 4 * TOUCH_BYTES)
    ring.open_writer()
    lane = Lane(0, ring)
    assert [lane.touch_ahead(2 * TOUCH_BYTES) for _ in range(3)] == [True, True, False]
    record = pack_record(Kind.HEARTBEAT, source=1, identity=Identity(1, 4, 0, 0), time_us=0)
    while ring.put < TOUCH_BYTES:
        ring.try_put(record)
    assert [lane.touch_ahead(10 * TOUCH_BYTES) for _ in range(3)] == [True, True, False], "all of the ring, once"
    ring.close()
