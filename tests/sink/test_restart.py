"""A sink that dies anywhere and is started again: what comes out is what an uninterrupted one puts."""

import multiprocessing
import os
import random
import signal
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.begin_note import pack_begin, unpack_begin
from engine.position import ORIGIN
from engine.record import unpack_head
from engine.sink.lane import Lane
from engine.sink.stage import SinkStage
from engine.store_note import store_positions
from tests.sink.rig import Origin, Rig, expected, make_table
from tests.sink.test_route import destinations, make_records, streams


class Killed(BaseException):
    """What the process would not live to see."""


def run_with_deaths(rig: Rig, deaths: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Work until all is done, dying at the given numbers of publishes and acks (odd: after, even: before it)."""
    steps = 0
    pending = sorted(deaths)

    def dying(method):
        def call(self, *args):
            nonlocal steps
            steps += 1
            die = bool(pending) and pending[0] // 2 == steps
            after = die and pending.pop(0) % 2
            if die and not after:
                raise Killed
            result = method(self, *args)
            if after:
                raise Killed
            return result

        return call

    with monkeypatch.context() as patch:
        patch.setattr(Lane, "publish", dying(Lane.publish))
        patch.setattr(Lane, "finish_round", dying(Lane.finish_round))
        sink = rig.sink()
        for _ in range(10_000):
            try:
                if not sink.do_work(0):
                    rig.collect()
                    if not sink.do_work(0):
                        return
            except Killed:
                sink = rig.sink()
        raise AssertionError("it doesn't end")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    stream=streams, destination=destinations, sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    deaths=st.lists(st.integers(2, 40), max_size=4),
)  # fmt: skip
def test_death_at_any_publish_loses_nothing_and_repeats_nothing(stream, destination, sizes, deaths):
    rig, origin = Rig(source_bytes=4 << 20, **destination), Origin()
    try:
        with pytest.MonkeyPatch.context() as monkeypatch:
            records, at = make_records(origin, stream), 0
            rig.schemas = {key: schema.pack() for key, schema in origin.schemas.items()}
            while at < len(records):
                for record in records[at : at + sizes[at % len(sizes)]]:
                    rig.put(record)
                    if rig.sources[0].capacity - rig.sources[0].reader("d.0").held_bytes < 1 << 20:
                        run_with_deaths(rig, deaths, monkeypatch)
                at += sizes[at % len(sizes)]
                run_with_deaths(rig, deaths, monkeypatch)
        assert [rig.got(p) for p in range(rig.settings.partitions)] == expected(records, origin.schemas, rig.settings)
    finally:
        rig.close()


def test_fragments_that_a_dead_sink_had_not_put_yet_follow_those_it_had(make_rig):
    rig, origin = make_rig(source_bytes=16 << 20), Origin()
    records = [
        origin.table(1, make_table("shop.orders")),
        origin.begin(),
        origin.insert(1, [1, 2, "x" * 3_000_000]),
        origin.commit(),
    ]
    rig.schemas = {1: make_table("shop.orders").pack()}
    rig.put(*records)
    for _ in range(8):  # the store holds a third of the row
        sink = rig.sink()
        while sink.do_work(0):
            pass
        rig.collect()
    assert rig.got() == expected(records, origin.schemas, rig.settings)[0]


def test_what_a_store_has_already_is_left_out_when_the_source_ring_is_made_anew(make_rig):
    rig, origin = make_rig(), Origin()
    records = [origin.table(1, make_table("shop.orders")), origin.begin(), origin.insert(1, [1, 2, "x"]), origin.commit()]
    rig.schemas = {1: make_table("shop.orders").pack()}
    rig.put(*records)
    rig.run(rig.sink())
    rig.make_source_anew()
    records += [origin.begin(), origin.insert(1, [2, 2, "x"]), origin.commit()]
    rig.put(*records)
    rig.run(rig.sink())
    assert rig.kept[0] == records


def test_another_source_number_is_not_left_out(make_rig):
    rig, origin = make_rig(), Origin(1)
    rig.schemas = {1: make_table("shop.orders").pack()}
    rig.put(origin.table(1, make_table("shop.orders")), origin.begin(), origin.insert(1, [1, 2, "x"]), origin.commit())
    rig.run(rig.sink())
    rig.make_source_anew()
    later = Origin(2)
    records = [later.table(1, make_table("shop.orders")), later.begin(), later.insert(1, [1, 2, "x"]), later.commit()]
    rig.put(*records)
    rig.run(rig.sink())
    assert rig.kept[0][-4:] == records


def put_all(rig: Rig, sink: SinkStage, records: list[bytes]) -> None:
    for record in records:
        rig.put(record)
        if rig.sources[0].capacity - rig.sources[0].reader("d.0").held_bytes < 1 << 20:
            rig.run(sink)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    stream=streams, destination=destinations,
    deaths=st.lists(st.tuples(st.integers(0, 60), st.lists(st.booleans(), max_size=6)), min_size=1, max_size=3),
)  # fmt: skip
def test_a_source_ring_made_anew_at_any_moment_repeats_nothing_and_loses_nothing(stream, destination, deaths):
    """The new ring begins where a source would resume: with the transaction that the least of the stores is in."""
    rig, origin = Rig(source_bytes=4 << 20, store_bytes=1 << 20, **destination), Origin()
    try:
        records = make_records(origin, stream)
        identities = [unpack_head(record).identity for record in records]
        rig.schemas = {key: schema.pack() for key, schema in origin.schemas.items()}
        sink, begun = rig.sink(), 0
        for more, collects in deaths:
            put_all(rig, sink, records[begun : begun + more])
            for collect in collects:
                sink.do_work(0)
                if collect:
                    rig.collect()
            places = [store_positions(store).get(1, ORIGIN) for store in rig.stores]
            begun = next((i for i, identity in enumerate(identities) if identity[:2] >= min(places)[:2]), len(records))
            rig.make_source_anew()
            sink = rig.sink()
        put_all(rig, sink, records[begun:])
        rig.run(sink)
        assert [rig.got(p) for p in range(rig.settings.partitions)] == expected(records, origin.schemas, rig.settings)
    finally:
        rig.close()


@pytest.mark.parametrize("gtid", [None, "0-1-5", "4294967295-4294967295-18446744073709551615", f"{'a' * 36}:{'t' * 32}:{2**63}"])
def test_the_open_begin_fits_the_readers_note(gtid):
    origin = Origin(65535)
    record = origin.begin(gtid)
    assert unpack_begin(pack_begin(record)) == record


def _work(rig: Rig) -> None:
    sink = rig.sink()
    while True:
        if not sink.do_work(time.monotonic_ns()):
            sink.idle(1_000_000)


@pytest.mark.parametrize("make_rig", ["memory"], indirect=True)
def test_a_sink_killed_again_and_again_in_a_process_of_its_own_puts_everything_once(make_rig):
    rig, origin = make_rig(partitions=3, source_bytes=2 << 20), Origin()
    pick = random.Random(1)
    records = [origin.table(1, make_table("shop.orders"))]
    for i in range(3000):
        records.append(origin.begin())
        for _ in range(pick.randrange(1, 8)):
            records.append(origin.update(1, [pick.randrange(99), i, "x" * pick.randrange(300)], [pick.randrange(99), i, "y"]))
        records.append(origin.commit())
    rig.schemas = {1: make_table("shop.orders").pack()}
    context = multiprocessing.get_context("fork")
    reader, total, at, kills = rig.sources[0].reader("d.0"), sum(map(len, records)), 0, 0
    deadline = time.monotonic() + 60
    while reader.ack < total:
        child = context.Process(target=_work, args=(rig,), daemon=True)
        child.start()
        goal = sum(store.put for store in rig.stores) + pick.randrange(1, 40_000)
        while reader.ack < total and sum(store.put for store in rig.stores) < goal:
            while at < len(records) and rig.sources[0].put - reader.ack < 20_000:
                rig.put(records[at])
                at += 1
            rig.collect()
            assert child.is_alive()
            assert time.monotonic() < deadline
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        child.close()
        kills += 1
    assert kills > 20
    assert [rig.got(p) for p in range(3)] == expected(records, origin.schemas, rig.settings)
