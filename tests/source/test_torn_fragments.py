"""A change that travels in fragments, and its server is lost when some of them are in the ring."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from engine.counters import SourceCounter
from engine.record import TORN, Kind
from tests.running_engine import RunningEngine
from tests.servers.proxy import Proxy
from tests.servers.replication import REPLICA_OPTIONS, follow, wait_for
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


@pytest.mark.timeout(180)
def test_consumers_get_a_change_torn_between_its_fragments_once_and_whole(make_mariadb: Any, tmp_path: Path) -> None:
    primary = make_mariadb()
    replica = make_mariadb(**REPLICA_OPTIONS["mariadb"])
    follow(replica, primary)
    primary.sql("CREATE DATABASE torn", "CREATE TABLE torn.t (id INT PRIMARY KEY, v LONGTEXT)")
    with Proxy(primary.port) as proxy:
        urls = [primary.url().replace(str(primary.port), str(proxy.port)), replica.url()]
        source = {"urls": urls, "tls": "disabled", "failover_s": 1.0, "ring": "1MiB"}
        store = {"store": {"kind": "memory", "size": "1MiB"}, "include": [r"torn\.t"]}
        with RunningEngine(tmp_path, {"shop": source}, {"all": store}) as engine:
            engine.wait_until(lambda: engine.observe()["sources"]["shop"]["connected"])
            primary.sql(f"INSERT INTO torn.t VALUES (2, REPEAT('x', {3 * LARGE}))")
            wait_for(replica, primary)
            engine.wait_until(lambda: engine.observe()["sources"]["shop"]["ring_full"])  # nobody takes it out of the store
            proxy.refuse()
            pid = engine.stage("source shop")["pid"]
            os.kill(pid, signal.SIGKILL)
            engine.wait_until(lambda: engine.stage("source shop")["pid"] not in (pid, None))
            replica.sql("INSERT INTO torn.t VALUES (3, '')")
            seen, ends = [], []
            with engine.connect("all") as stream:
                while not seen or seen[-1].after["id"] != 3:
                    batch = stream.get(wait_ms=40_000)
                    assert batch is not None, engine.log
                    seen += batch
                    ends += batch.torn
                    batch.ack()
            assert [(change.after["id"], len(change.after["v"])) for change in seen] == [(2, 3 * LARGE), (3, 0)]
            assert len({change.position for change in seen}) == 2
            assert len(ends) == 1
            assert not any(change.again for change in seen)
