"""A sink that dies anywhere and is started again: what comes out is what an uninterrupted one puts."""

import multiprocessing
import os
import random
import signal
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.ring import Ring
from engine.sink.intake import pack_begin, unpack_begin
from engine.sink.lane import Lane
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


def test_a_source_ring_made_anew_is_read_from_its_start(make_rig):
    rig, origin = make_rig(), Origin()
    records = [origin.table(1, make_table("shop.orders")), origin.begin(), origin.insert(1, [1, 2, "x"]), origin.commit()]
    rig.put(*records)
    rig.run(rig.sink())
    name = rig.sources[0].name
    rig.sources[0].close()
    Ring.unlink(name)
    rig.sources[0] = Ring.create(name, 1 << 20)
    rig.sources[0].open_writer()
    rig.sources[0].add_reader("d.0")
    rig.put(*records)
    rig.run(rig.sink())
    assert rig.kept[0] == records * 2


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
