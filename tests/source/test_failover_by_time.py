"""Without GTIDs a source goes on at another server by time: nothing is missing, and what may come again says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from engine.config import SourceConfig
from engine.counters import SourceCounter
from engine.meta import Place
from engine.meta.open import open_meta
from engine.position import Identity
from engine.record import AGAIN
from engine.source.connection import Connection
from engine.source.start_position import by_origin
from tests.servers.database import Database
from tests.servers.proxy import Proxy
from tests.servers.replication import REPLICA_OPTIONS, follow, wait_for, wait_for_rows
from tests.source.decoding import AFTER, identity
from tests.source.stepped_engine import Engine, insert, live
from tests.source.test_failover import FLAGS, SOURCE, TIME, Pair, selected, settings, turns

OVERLAP_S = 1.0
WITHOUT_GTIDS = {"gtid_mode": "OFF", "enforce_gtid_consistency": "OFF"}


@pytest.fixture
def pair(make_mysql: Callable[..., Database]) -> Iterator[Pair]:
    primary = make_mysql(**WITHOUT_GTIDS)
    replica = make_mysql(**REPLICA_OPTIONS["mysql"], **WITHOUT_GTIDS)
    follow(replica, primary, by_gtid=False)
    primary.sql("CREATE DATABASE stage_pair", "CREATE TABLE stage_pair.t (id INT PRIMARY KEY, v VARCHAR(100))")
    with Proxy(primary.port) as proxy:
        yield Pair(primary, replica, proxy)


def has_all(pair: Pair, ids: list[int]) -> bool:
    return pair.replica.sql("SELECT COUNT(*) FROM stage_pair.t")[0][0] == len(ids)


def write_for(seconds: float, primary: Database, engine: Engine, first: int = 0) -> list[int]:
    """Rows written, one a transaction, and read, for so long."""
    ids, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        ids.append(first + len(ids))
        insert(primary, "stage_pair", ids[-1])
        engine.until(lambda: engine.values()[-1:] == [ids[-1]])
    return ids


def started(make_engine: Any, pair: Pair, **more: Any) -> Engine:
    engine = make_engine(settings(pair, **{"failover_overlap_s": OVERLAP_S, **more}), include=[r"stage_pair\..*"])
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    return engine


@pytest.mark.timeout(180)
def test_a_lost_primary_is_followed_by_time_and_only_what_had_come_is_again(pair: Pair, make_engine: Any) -> None:
    engine = started(make_engine, pair)
    ids = write_for(4 * OVERLAP_S, pair.primary, engine)  # so that the replica's binlog is older than the time to go on from
    pair.proxy.cut()
    pair.proxy.refuse()
    insert(pair.primary, "stage_pair", 10_000)  # the engine has not seen it
    engine.until(lambda: has_all(pair, [*ids, 10_000]))
    insert(pair.replica, "stage_pair", 20_000)
    engine.until(lambda: engine.values()[-1:] == [20_000])
    engine.stop()
    insert(pair.replica, "stage_pair", 20_001)
    engine.start()  # at that server's own places now
    engine.until(lambda: engine.values()[-1:] == [20_001])
    assert sorted(set(engine.values())) == selected(pair.replica)
    there = [record for record in engine.changes() if record[SOURCE] == 2]
    again = [record[AFTER][0] for record in there if record[FLAGS] & AGAIN]
    assert [record[AFTER][0] for record in there] == [*again, 10_000, 20_000, 20_001]
    assert again == ids[-len(again) :]
    assert 0 < len(again) < len(ids)
    last_us, *_ = (record[TIME] for record in engine.changes() if record[AFTER][0] == ids[-1] and record[SOURCE] == 1)
    assert all(record[TIME] >= last_us - OVERLAP_S * 1e6 for record in there)
    first, second = turns(engine)
    assert (first.by, second.by, second.reason) == ("", "time", "connection_lost")
    assert second.where == f"127.0.0.1:{pair.replica.port}"


@pytest.mark.timeout(180)
def test_again_is_still_said_after_the_source_died_in_the_overlap_or_the_rings_were_lost(pair: Pair, make_engine: Any) -> None:
    engine = started(make_engine, pair)
    ids = write_for(4 * OVERLAP_S, pair.primary, engine)
    engine.stop()
    meta = open_meta("file", engine.instance)
    acked = [record for record in engine.changes() if record[AFTER][0] == ids[-2]]
    meta.ack({Place("all", "default", 0, 1): Identity(*identity(acked[0]))})
    meta.close()
    engine.drop_ring()
    pair.proxy.refuse()
    wait_for_rows(pair.replica, "stage_pair.t", len(ids))
    engine.records.clear()
    engine.make_ring()
    engine.start()
    engine.until(lambda: len(turns(engine)) == 2)
    engine.stop()  # before the first row, or after some
    engine.start()
    engine.until(lambda: engine.values()[-1:] == [ids[-1]])
    assert {ids[-2], ids[-1]} <= set(engine.values())
    assert all(record[FLAGS] & AGAIN for record in engine.changes())
    insert(pair.replica, "stage_pair", 20_000)
    engine.until(lambda: engine.values()[-1:] == [20_000])
    assert not engine.changes()[-1][FLAGS] & AGAIN


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("overlap_s", "reason"), [(0, "gtids_unknown"), (3600.0, "position_purged")])
def test_it_waits_in_a_named_state_without_an_overlap_or_with_one_that_the_replica_does_not_have(
    pair: Pair, make_engine: Any, overlap_s: float, reason: str
) -> None:
    engine = started(make_engine, pair, failover_overlap_s=overlap_s)
    insert(pair.primary, "stage_pair", 1)
    engine.until(lambda: engine.values() == [1])
    pair.proxy.cut()
    pair.proxy.refuse()
    engine.until(lambda: engine.stage.trouble is not None and engine.stage.trouble.reason == reason)
    pair.proxy.restore()
    insert(pair.primary, "stage_pair", 2)
    engine.until(lambda: engine.values() == [1, 2])
    assert len(turns(engine)) == 1


@pytest.mark.timeout(180)
def test_a_time_leads_to_the_same_transaction_in_the_replicas_binlog(make_mariadb: Any, make_engine: Any) -> None:
    primary = make_mariadb()
    replica = make_mariadb(**REPLICA_OPTIONS[primary.name])
    follow(replica, primary)
    primary.sql("CREATE DATABASE stage_pair", "CREATE TABLE stage_pair.t (id INT PRIMARY KEY, v VARCHAR(100))")
    engine = make_engine(live(primary), include=[r"stage_pair\..*"])
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    write_for(3.0, primary, engine)
    wait_for(replica, primary)
    rows = [(record[TIME], record[AFTER][0]) for record in engine.changes()]
    wanted_us, _ = rows[len(rows) * 2 // 3]
    with Connection(SourceConfig(url=replica.url()), "shop") as connection:
        connection.connect()
        place = by_origin(connection, wanted_us)
    there = make_engine(live(replica, start=f"{place.file}:{place.offset}"), include=[r"stage_pair\..*"])
    there.start()
    there.until(lambda: there.values()[-1:] == [rows[-1][1]])
    assert there.values() == [value for time_us, value in rows if time_us >= wanted_us]
