"""Several sources into one destination: in order of arrival, or merged by commit time; transactions stay whole."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.record import Kind
from tests.sink.rig import Got, Origin, Rig, expected, make_table
from tests.sink.test_route import make_records, streams

ORDERS = make_table("shop.orders")
SECOND = 1_000_000_000


def assert_transactions_stay_whole(records: list[Got]) -> None:
    inside = None
    for record in records:
        assert inside in (None, record.source)
        if record.kind in (Kind.BEGIN, Kind.COMMIT):
            inside = record.source if record.kind == Kind.BEGIN else None


def transaction(origin: Origin, time_us: int, rows: int = 1) -> list[bytes]:
    origin.time_us = time_us - 1000  # begin adds 1000
    return [origin.begin(), *(origin.insert(1, [time_us, i, ""]) for i in range(rows)), origin.commit()]


def make_two(make_rig, **settings):
    rig, origins = make_rig(sources=2, **settings), [Origin(1), Origin(2)]
    for origin in origins:
        origin.schemas = {1: ORDERS}
    rig.schemas = {1: ORDERS.pack()}
    return rig, origins


def starts(records: list[Got]) -> list[tuple[int, int]]:
    return [(record.source, record.identity.start) for record in records if record.kind == Kind.BEGIN]


def times(rig: Rig) -> list[int]:
    return [record.after[0] for record in rig.got() if record.kind == Kind.INSERT]


def test_in_order_of_arrival_a_source_is_left_only_at_the_end_of_a_transaction(make_rig):
    rig, (one, two) = make_two(make_rig)
    sink = rig.sink()
    first, second = transaction(one, 10, rows=3), transaction(two, 5)
    rig.put(*first[:3])
    rig.run(sink)
    rig.put(*second, source=1)
    rig.run(sink)
    assert starts(rig.got()) == [(1, one.start)], "the other source waits"
    rig.put(*first[3:])
    rig.run(sink)
    assert starts(rig.got()) == [(1, one.start), (2, two.start)]
    assert_transactions_stay_whole(rig.got())


@pytest.mark.parametrize("order", ["arrival", "commit_time"])
def test_a_source_silent_in_the_middle_of_a_transaction_holds_the_others_back_for_merge_wait_only(make_rig, order):
    rig, (one, two) = make_two(make_rig, merge_wait_s=2, order=order)
    sink = rig.sink()
    broken = transaction(one, 10, rows=3)
    rig.put(*broken[:2])
    rig.run(sink, now_ns=SECOND)
    rig.run(sink, now_ns=4 * SECOND)
    rig.put(*transaction(two, 11), source=1)
    rig.run(sink, now_ns=4 * SECOND)
    rig.run(sink, now_ns=5 * SECOND)
    rig.run(sink, now_ns=7 * SECOND)
    assert starts(rig.got()) == [(1, one.start), (2, two.start)]
    rig.put(*broken[2:])
    rig.run(sink, now_ns=8 * SECOND)
    assert times(rig) == [10, 11, 10, 10]
    rig.put(*transaction(one, 20, rows=2))
    rig.put(*transaction(two, 21, rows=2), source=1)
    rig.run(sink, now_ns=9 * SECOND)
    rig.run(sink, now_ns=12 * SECOND)
    assert times(rig)[4:] == [20, 20, 21, 21]


def test_the_sources_take_turns(make_rig):
    rig, (one, two) = make_two(make_rig, source_bytes=16 << 20, store_bytes=32 << 20)
    for origin, source in ((one, 0), (two, 1)):
        rig.put(*itertools.chain(*(transaction(origin, time_us, rows=9) for time_us in range(6000))), source=source)
    rig.run(rig.sink())
    assert_transactions_stay_whole(rig.got())
    turns = [source for source, _ in itertools.groupby(starts(rig.got()), key=lambda start: start[0])]
    assert len(turns) > 2


def test_by_commit_time_transactions_of_several_sources_are_in_order(make_rig):
    rig, (one, two) = make_two(make_rig, order="commit_time")
    sink = rig.sink()
    rig.put(*transaction(one, 10), *transaction(one, 30, rows=2), *transaction(one, 50))
    rig.put(*transaction(two, 20, rows=3), *transaction(two, 40), source=1)
    rig.run(sink)
    assert times(rig) == [10, 20, 20, 20, 30, 30, 40]
    assert_transactions_stay_whole(rig.got())
    rig.run(sink, now_ns=9 * SECOND)
    assert times(rig)[-1] == 50, "the silent one holds it back no longer"


def test_a_heartbeat_lets_the_others_pass(make_rig):
    rig, (one, two) = make_two(make_rig, order="commit_time", merge_wait_s=1000)
    sink = rig.sink()
    rig.put(*transaction(one, 10), *transaction(one, 30))
    rig.run(sink)
    assert times(rig) == []
    two.time_us = 20 - 1000
    rig.put(two.heartbeat(), source=1)
    rig.run(sink)
    assert times(rig) == [10]
    two.time_us = 30 - 1000
    rig.put(two.heartbeat(), source=1)
    rig.run(sink)
    assert times(rig) == [10, 30]


def test_waiting_names_the_silent_source_and_how_long(make_rig):
    rig, (one, _) = make_two(make_rig, order="commit_time", merge_wait_s=3)
    sink = rig.sink()
    rig.put(*transaction(one, 10))
    rig.run(sink, now_ns=SECOND)
    rig.run(sink, now_ns=2 * SECOND)
    merge = sink._merge
    assert ([intake.name for intake in merge.waiting_for], merge.wait_ns) == (["s1"], 2 * SECOND)
    sink.idle(1)


def test_a_transaction_larger_than_both_rings_is_begun_before_its_end_is_there(make_rig):
    rig, (one, two) = make_two(make_rig, order="commit_time", merge_wait_s=1000)
    sink = rig.sink()
    rig.put(*transaction(two, 1000), source=1)
    large = transaction(one, 10, rows=30_000)
    for i in range(0, len(large), 5000):
        rig.put(*large[i : i + 5000])
        rig.run(sink, now_ns=SECOND)
    rig.run(sink, now_ns=SECOND)
    rig.run(sink, now_ns=2000 * SECOND)
    assert len(rig.got()) == 30_002 + 3
    assert [source for source, _ in starts(rig.got())] == [1, 2]
    assert_transactions_stay_whole(rig.got())


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    one=streams, two=streams, three=streams, order=st.sampled_from(["arrival", "commit_time"]), partitions=st.integers(1, 3),
    cuts=st.lists(st.integers(1, 12), min_size=3, max_size=3), restarts=st.booleans(),
)  # fmt: skip
def test_each_source_keeps_its_order_in_every_partition(one, two, three, order, partitions, cuts, restarts):
    rig, origins = (
        Rig(sources=3, order=order, partitions=partitions, merge_wait_s=1000, source_bytes=16 << 20),
        [Origin(i) for i in range(3)],
    )
    try:
        made = [make_records(origin, stream) for origin, stream in zip(origins, (one, two, three), strict=True)]
        rig.schemas = {key: schema.pack() for origin in origins for key, schema in origin.schemas.items()}
        sink = rig.sink()
        left = [list(records) for records in made]
        while any(left):
            for source, cut in enumerate(cuts):
                rig.put(*left[source][:cut], source=source)
                del left[source][:cut]
                sink.do_work(0)
                if restarts:
                    rig.run(sink)
                    sink = rig.sink()
        for patience in range(5):
            rig.run(sink, now_ns=patience * 2000 * SECOND)
        wanted = [expected(records, origin.schemas, rig.settings) for records, origin in zip(made, origins, strict=True)]
        for partition in range(partitions):
            got = rig.got(partition)
            for source in range(3):
                assert [record for record in got if record.source == source] == wanted[source][partition]
            assert_transactions_stay_whole([record for record in got if record.kind != Kind.SCHEMA])
    finally:
        rig.close()
