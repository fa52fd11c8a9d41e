"""A change that travels in fragments, and its server is lost when some of them are in the ring."""

from __future__ import annotations

import time
from typing import Any

import pytest

from engine.counters import SourceCounter
from engine.record import TORN, Kind
from tests.servers.replication import wait_for
from tests.source.decoding import AFTER, KIND
from tests.source.stepped_engine import insert
from tests.source.test_failover import FLAGS, SOURCE, Pair, pair, settings, turns, whole_values

__all__ = ["pair"]
LARGE = 3_000_000  # bytes of a row, three times the ring


@pytest.mark.timeout(120)
@pytest.mark.parametrize("restarted", [False, True])
def test_a_change_torn_between_its_fragments_is_void_and_comes_again_whole(pair: Pair, make_engine: Any, restarted: bool) -> None:
    pair.primary.sql("ALTER TABLE stage_pair.t MODIFY v LONGTEXT")
    engine = make_engine(settings(pair), include=[r"stage_pair\..*"])
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    insert(pair.primary, "stage_pair", 1)
    engine.until(lambda: engine.values() == [1])
    full = engine.counter(SourceCounter.RING_FULL)
    pair.primary.sql(f"INSERT INTO stage_pair.t VALUES (2, REPEAT('x', {LARGE}))")
    wait_for(pair.replica, pair.primary)
    deadline = time.monotonic() + 20
    while engine.counter(SourceCounter.RING_FULL) == full:  # nobody takes anything out of it
        assert time.monotonic() < deadline
        engine.stage.do_work(time.monotonic_ns()) or engine.stage.idle(2_000_000)
    pair.proxy.cut()
    pair.proxy.refuse()
    if restarted:
        engine.stop()
        engine.start()
    engine.until(lambda: len(turns(engine)) == 2)
    insert(pair.replica, "stage_pair", 3)
    engine.until(lambda: 3 in whole_values(engine))
    torn = [i for i, record in enumerate(engine.records) if record[KIND] == Kind.COMMIT and record[FLAGS] & TORN]
    pieces = [i for i, record in enumerate(engine.records) if record[KIND] == Kind.FRAGMENT]
    counts = [engine.records[i][AFTER - 1][:2] for i in pieces]
    if restarted:
        assert len(torn) == 1
        here = [count for i, count in zip(pieces, counts, strict=True) if i < torn[0]]
        assert 0 < len(here) < here[0][1]
        assert [index for index, _ in here] == list(range(len(here)))
    there = [count for i, count in zip(pieces, counts, strict=True) if engine.records[i][SOURCE] == 2]
    assert [index for index, _ in there] == (list(range(there[0][1])) if torn else [])
