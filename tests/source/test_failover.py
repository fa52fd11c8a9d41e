"""A primary dies under load and its replica is promoted: the source goes on there by GTID, exactly."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import pymysql
import pytest

from engine.counters import SourceCounter
from engine.meta import Place
from engine.meta.open import open_meta
from engine.position import Identity
from engine.record import AGAIN, CHANGES, TORN, Kind
from engine.source.server_identity import Turn
from tests.servers.database import Database
from tests.servers.proxy import Proxy
from tests.servers.replication import REPLICA_OPTIONS, follow, promote, wait_for, wait_for_row
from tests.source.decoding import AFTER, KIND, Record, identity
from tests.source.stepped_engine import Engine, insert, live

FLAGS, SOURCE, TIME = 2, 3, 5
DETECTION_S = 1.0


class Pair(NamedTuple):
    primary: Database
    replica: Database
    proxy: Proxy  # before the primary


@pytest.fixture
def pair(make_server: Callable[..., Database], request: pytest.FixtureRequest) -> Iterator[Pair]:
    options = getattr(request, "param", {})
    primary = make_server(innodb_flush_log_at_trx_commit=1, **options)
    replica = make_server(**REPLICA_OPTIONS[primary.name], **options)
    follow(replica, primary)
    primary.sql("CREATE DATABASE stage_pair", "CREATE TABLE stage_pair.t (id INT PRIMARY KEY, v VARCHAR(100))")
    wait_for(replica, primary)
    with Proxy(primary.port) as proxy:
        yield Pair(primary, replica, proxy)


def settings(pair: Pair, **more: Any) -> dict[str, Any]:
    first = pair.primary.url().replace(str(pair.primary.port), str(pair.proxy.port))
    common = live(pair.primary, tls="disabled", failover_s=DETECTION_S, read_timeout_s=1.0, **more)
    del common["url"]
    return {**common, "urls": [first, pair.replica.url()]}


def whole_values(engine: Engine) -> list[int]:
    """The first column of every change of a transaction that wasn't torn."""
    values: list[int] = []
    begun = 0
    for record in engine.records:
        if record[KIND] == Kind.BEGIN:
            begun = len(values)
        elif record[KIND] in CHANGES:
            values.append((record[AFTER] or record[AFTER - 1])[0])
        elif record[KIND] == Kind.COMMIT and record[FLAGS] & TORN:
            del values[begun:]
    return values


def selected(server: Database) -> list[int]:
    return [row[0] for row in server.sql("SELECT id FROM stage_pair.t ORDER BY id")]


def turns(engine: Engine) -> list[Turn | None]:
    meta = open_meta("file", engine.instance)
    try:
        return [Turn.unpack(history.identity) for history in meta.histories().values()]
    finally:
        meta.close()


@pytest.mark.timeout(120)
def test_a_primary_killed_under_load_is_followed_by_its_promoted_replica(pair: Pair, make_engine: Any) -> None:
    engine = make_engine(settings(pair), include=[r"stage_pair\..*"])
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    stop = threading.Event()

    def load() -> None:
        rng, at = random.Random(1), 0
        with pair.primary.connect(autocommit=False) as session, suppress(pymysql.err.Error):
            while not stop.is_set():
                rows = rng.randrange(1, 20)
                session.query(f"INSERT INTO stage_pair.t VALUES {','.join(f'({i}, 1)' for i in range(at, at + rows))}")
                session.commit()
                at += rows

    writer = threading.Thread(target=load)
    writer.start()
    engine.until(lambda: len(engine.values()) > 500)
    pair.proxy.stall()
    for _ in range(50):
        engine.step()
    wait_for_row(pair.replica, "stage_pair.t", engine.values()[-1])  # or else it could not be gone on with
    pair.primary.kill()
    pair.proxy.cut()  # with all that it holds back
    pair.proxy.restore()
    killed = time.monotonic()
    stop.set()
    writer.join()
    promoting = threading.Thread(target=promote, args=(pair.replica,))
    promoting.start()
    engine.until(lambda: len(turns(engine)) == 2 and engine.counter(SourceCounter.CONNECTED))
    took_s = time.monotonic() - killed
    promoting.join()
    insert(pair.replica, "stage_pair", 10_000_000)
    engine.until(lambda: engine.values()[-1:] == [10_000_000])
    assert whole_values(engine) == selected(pair.replica)
    assert took_s < DETECTION_S + 8  # within 1 s of it on a machine that has nothing else to do
    first, second = turns(engine)
    assert (first.seq, second.seq, second.where) == (1, 2, f"127.0.0.1:{pair.replica.port}")
    assert second.why
    assert {record[SOURCE] for record in engine.changes()} == {1, 2}
    assert not any(record[FLAGS] & AGAIN for record in engine.records)
    print(f"take-over after {took_s:.2f} s with a detection of {DETECTION_S} s")


@pytest.mark.timeout(120)
def test_a_torn_transaction_is_ended_as_torn_and_comes_again_whole(pair: Pair, make_engine: Any) -> None:
    engine = make_engine(settings(pair), include=[r"stage_pair\..*"])
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    insert(pair.primary, "stage_pair", 1)
    engine.until(lambda: engine.values() == [1])
    pair.proxy.cut(after_bytes=150_000)
    rows = ",".join(f"({i}, '{'x' * 90}')" for i in range(10, 5010))
    pair.primary.sql(f"INSERT INTO stage_pair.t VALUES {rows}")
    wait_for(pair.replica, pair.primary)
    pair.proxy.refuse()
    engine.until(lambda: len(engine.values()) > 500)
    half = len(engine.values())
    assert half < 5001
    engine.stop()  # a source process that dies just now finds all it needs in its ring
    engine.start()
    engine.until(lambda: len(turns(engine)) == 2)
    engine.until(lambda: len(whole_values(engine)) == 5001)
    assert whole_values(engine) == selected(pair.replica)
    torn = [record for record in engine.records if record[KIND] == Kind.COMMIT and record[FLAGS] & TORN]
    assert len(torn) == 1
    assert torn[0][SOURCE] == 1
    engine.stop()
    insert(pair.replica, "stage_pair", 9000)
    engine.start()
    engine.until(lambda: engine.values()[-1] == 9000)
    assert len(engine.values()) == half - 1 + 5001 + 1


@pytest.mark.timeout(120)
def test_a_standby_that_lacks_delivered_changes_is_not_gone_to_until_it_has_them(pair: Pair, make_engine: Any) -> None:
    engine = make_engine(settings(pair), include=[r"stage_pair\..*"])
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    pair.replica.sql("STOP SLAVE SQL_THREAD" if pair.replica.name == "mariadb" else "STOP REPLICA SQL_THREAD")
    insert(pair.primary, "stage_pair", 1, 2)
    engine.until(lambda: engine.values() == [1, 2])
    pair.proxy.refuse()
    pair.proxy.cut()
    engine.until(lambda: engine.stage.trouble is not None and engine.stage.trouble.reason == "server_behind")
    assert engine.stage.trouble.facts["missing"]
    pair.replica.sql("START SLAVE SQL_THREAD" if pair.replica.name == "mariadb" else "START REPLICA SQL_THREAD")
    engine.until(lambda: len(turns(engine)) == 2)
    insert(pair.replica, "stage_pair", 3)
    engine.until(lambda: len(engine.values()) == 3)
    assert engine.values() == [1, 2, 3]


@pytest.mark.timeout(120)
def test_an_engine_that_lost_its_rings_goes_on_at_the_standby_after_the_acks_and_says_what_may_come_again(
    pair: Pair, make_engine: Any
) -> None:
    engine = make_engine(settings(pair), include=[r"stage_pair\..*"])
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    insert(pair.primary, "stage_pair", 1, 2, 3)
    engine.until(lambda: engine.values() == [1, 2, 3])
    acked = engine.changes()[1]
    engine.stop()
    meta = open_meta("file", engine.instance)
    meta.ack({Place("all", "default", 0, 1): Identity(*identity(acked))})
    meta.close()
    engine.drop_ring()
    wait_for(pair.replica, pair.primary)
    pair.proxy.refuse()
    engine.records.clear()
    engine.make_ring()
    engine.start()
    engine.until(lambda: len(turns(engine)) == 2 and engine.counter(SourceCounter.CONNECTED))
    engine.until(lambda: engine.values()[-1:] == [3])
    assert engine.values()[-1] == 3
    again = [record for record in engine.changes() if record[AFTER][0] == 3]
    assert len(again) == 1
    assert all(record[FLAGS] & AGAIN for record in engine.changes()), "how far each consumer was between two marks is not known"


def beats(engine: Engine, source: int) -> list[Record]:
    return [record for record in engine.records if record[KIND] == Kind.HEARTBEAT and record[SOURCE] == source]


@pytest.mark.timeout(120)
def test_it_is_told_how_far_the_source_is_before_the_first_transaction_comes_from_the_next_server(
    pair: Pair, make_engine: Any
) -> None:
    engine = make_engine(settings(pair), include=[r"stage_pair\..*"])
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    insert(pair.primary, "stage_pair", 1)
    wait_for(pair.replica, pair.primary)
    engine.until(lambda: engine.values() == [1])
    pair.proxy.cut()
    pair.proxy.refuse()
    engine.until(lambda: beats(engine, 2))
    file, _, offset = pair.replica.position().partition(":")
    assert identity(beats(engine, 2)[-1]) == (int(file.rpartition(".")[2]), int(offset), 0, 0)
    engine.stop()
    insert(pair.replica, "stage_pair", 2)
    engine.start()  # by place now
    engine.until(lambda: engine.values() == [1, 2])
    assert len(turns(engine)) == 2
    assert not any(record[FLAGS] & AGAIN for record in engine.records)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("pair", [{"binlog_row_metadata": "MINIMAL"}], indirect=True)
def test_the_schema_history_asks_the_server_in_use(pair: Pair, make_engine: Any) -> None:
    engine = make_engine(settings(pair), include=[r"stage_pair\..*"])
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    insert(pair.primary, "stage_pair", 1)
    wait_for(pair.replica, pair.primary)
    engine.until(lambda: engine.values() == [1])
    pair.proxy.cut()
    pair.proxy.refuse()
    engine.until(lambda: len(turns(engine)) == 2)
    engine.stop()
    insert(pair.replica, "stage_pair", 2)
    engine.start()  # this process knows no table
    engine.until(lambda: engine.values() == [1, 2])
    schemas = [record[AFTER] for record in engine.records if record[KIND] == Kind.SCHEMA]
    assert [[column["name"] for column in schema["columns"]] for schema in schemas] == [["id", "v"], ["id", "v"]]


@pytest.mark.timeout(120)
def test_a_primary_that_comes_back_before_another_server_could_is_gone_on_with_as_if_nothing_had_been(
    pair: Pair, make_engine: Any
) -> None:
    engine = make_engine(settings(pair), include=[r"stage_pair\..*"])
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    pair.replica.sql("STOP SLAVE SQL_THREAD" if pair.replica.name == "mariadb" else "STOP REPLICA SQL_THREAD")
    insert(pair.primary, "stage_pair", 1)
    engine.until(lambda: engine.values() == [1])
    pair.proxy.cut()
    pair.proxy.refuse()
    engine.until(lambda: engine.stage.trouble is not None and engine.stage.trouble.reason == "server_behind")
    pair.proxy.restore()
    insert(pair.primary, "stage_pair", 2)
    engine.until(lambda: engine.values() == [1, 2])
    assert len(turns(engine)) == 1


@pytest.mark.timeout(120)
def test_a_primary_that_was_reset_is_left_for_a_server_that_still_has_what_was_delivered(pair: Pair, make_engine: Any) -> None:
    engine = make_engine(settings(pair), include=[r"stage_pair\..*"])
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    insert(pair.primary, "stage_pair", 1)
    wait_for(pair.replica, pair.primary)
    engine.until(lambda: engine.values() == [1])
    engine.stop()
    pair.primary.sql("RESET MASTER" if pair.primary.name == "mariadb" else "RESET BINARY LOGS AND GTIDS")
    engine.start()
    engine.until(lambda: len(turns(engine)) == 2)
    insert(pair.replica, "stage_pair", 2)
    engine.until(lambda: engine.values() == [1, 2])
    assert turns(engine)[1].reason == "binlog_reset"
