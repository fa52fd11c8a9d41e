"""Whole engines in a cluster: `binlog-engine run` several times, with a real ZooKeeper and a real database."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress

import pytest

from engine.errors import EngineError
from tests.ha.conftest import eventually
from tests.running_engine import RunningEngine, command
from tests.servers.database import REPL_PASSWORD, REPL_USER

RING = "1MiB"


@pytest.fixture
def mariadb(make_mariadb):
    """One of the test's own: these engines read its binlog from the earliest, and not what other tests have put into it."""
    return make_mariadb()


@pytest.fixture
def make_engines(tmp_path):
    """`make_engines(hosts, database, 2, timeout_s=2.0)`: so many engines with one config, started; they serve `orders`."""
    made: list[RunningEngine] = []

    def make(hosts, database, count, schema, timeout_s=2.0, destinations=("orders",), **cluster):
        url = f"mysql://{REPL_USER}:{REPL_PASSWORD}@127.0.0.1:{database.port}"
        source = {"url": url, "start": "earliest", "ring": RING}
        table = {"include": [rf"{schema}\.t"], "store": {"kind": "memory", "size": RING}}
        for n in range(count):
            own = {"zookeeper": hosts, "root": f"/test/{schema}", "name": "abc"[n], "session_timeout_s": timeout_s, **cluster}
            tables = {name: dict(table) for name in destinations}
            made.append(RunningEngine(tmp_path / "abc"[n], {"shop": source}, tables, cluster=own))
        for engine in made:
            engine.start()
        return made

    yield make
    for engine in made:
        if engine.process is not None and engine.process.poll() is None:
            engine.process.send_signal(signal.SIGCONT)
        engine.__exit__()


def serves(engine: RunningEngine, destination: str = "orders", consumer: str = "probe") -> bool:
    try:
        engine.connect(destination, consumer, timeout=2, reconnect=False).close()
    except (EngineError, OSError):
        return False
    return True


def active(engines: list[RunningEngine]) -> RunningEngine:
    """The one that serves; waits until there is one."""
    found: list[RunningEngine] = []

    def one_serves() -> bool:
        found[:] = [engine for engine in engines if engine.process.poll() is None and serves(engine)]
        return len(found) == 1

    eventually(one_serves, 30)
    return found[0]


def read(engine: RunningEngine, count: int) -> list[int]:
    """Ids of the next changes, acked and confirmed."""
    ids: list[int] = []
    with engine.connect("orders") as stream:
        while len(ids) < count:
            batch = stream.get(wait_ms=20_000)
            assert batch is not None, f"{ids}; the log:\n{engine.log}"
            ids += [change.after["id"] for change in batch]
            batch.ack()
        stream.flush()
    return ids


@pytest.fixture
def table(mariadb, unique_schema):
    mariadb.sql(f"CREATE TABLE {unique_schema}.t (id INT PRIMARY KEY)")

    def insert(*ids):
        mariadb.sql(f"INSERT INTO {unique_schema}.t VALUES {', '.join(f'({n})' for n in ids)}")

    return insert


def test_engines_take_over_after_a_stop_and_after_a_kill_and_what_was_acked_does_not_come_again(
    shared_zookeeper, mariadb, unique_schema, make_engines, table
):
    engines = make_engines(shared_zookeeper.hosts, mariadb, 2, unique_schema)
    first = active(engines)
    second = next(engine for engine in engines if engine is not first)
    table(1, 2)
    assert read(first, 2) == [1, 2]
    with pytest.raises(EngineError, match=r"active=tcp://127\.0\.0\.1") as refused:
        second.connect("orders", reconnect=False)
    assert first.listen in str(refused.value)

    assert first.stop() == 0
    eventually(lambda: serves(second))
    table(3)
    assert read(second, 1) == [3], "the next owner starts where the consumer has acked"
    with second.connect("orders") as stream:
        assert stream.epoch == 2
    first.start()
    eventually(lambda: first.observe()["cluster"]["owners"] == {"orders": second.observe()["cluster"]["name"]})

    second.kill()
    began = time.monotonic()
    eventually(lambda: serves(first))
    assert time.monotonic() - began < 10
    table(4)
    assert read(first, 1) == [4]
    lease = first.observe()["cluster"]["leases"]["orders"]
    assert (lease["epoch"], lease["reason"]) == (3, "owner gone")


def test_an_engine_that_stands_by_has_processes_waiting_and_starts_with_them(
    shared_zookeeper, mariadb, unique_schema, make_engines, table
):
    engines = make_engines(shared_zookeeper.hosts, mariadb, 2, unique_schema)
    first = active(engines)
    second = next(engine for engine in engines if engine is not first)
    eventually(lambda: len(second.pids()) == 4)  # supervisor, server, and one spare each of a source and a sink
    waiting = set(second.pids()[2:])
    assert len(first.pids()) == 4, "supervisor, server, source, sink: it runs all there is, and keeps no spares"
    first.kill()
    eventually(lambda: serves(second))
    assert {second.stage("source shop")["pid"], second.stage("sink orders")["pid"]} == waiting
    table(1)
    assert read(second, 1) == [1]


def test_drain_hands_over_at_once_and_status_says_who_has_what_and_why(
    shared_zookeeper, mariadb, unique_schema, make_engines, table
):
    engines = make_engines(shared_zookeeper.hosts, mariadb, 2, unique_schema, timeout_s=10.0)
    first = active(engines)
    second = next(engine for engine in engines if engine is not first)
    table(1)
    assert read(first, 1) == [1]
    name, other = first.observe()["cluster"]["name"], second.observe()["cluster"]["name"]

    drained = command("cluster", "drain", str(first.config_path), name)
    assert drained.returncode == 0, drained.stderr
    assert f"{name} has no destinations any more" in drained.stdout
    eventually(lambda: serves(second), 5)
    assert not serves(first)
    table(2)
    assert read(second, 1) == [2]
    seen = json.loads(command("cluster", "status", str(first.config_path), "--json").stdout)
    assert seen["drained"] == [name]
    assert sorted(seen["engines"]) == ["a", "b"]
    orders = seen["destinations"]["orders"]
    assert (orders["node"], orders["from"], orders["reason"], orders["epoch"]) == (other, name, "drained", 2)
    assert "drained" in command("cluster", "status", str(first.config_path)).stdout

    last = command("cluster", "drain", str(second.config_path), other)
    assert last.returncode == 1
    assert "no other engine could take" in last.stderr
    assert command("cluster", "drain", str(first.config_path), name, "--back").returncode == 0


def test_a_stopped_engine_that_goes_on_says_nothing_to_its_consumers_and_its_late_acks_change_nothing(
    shared_zookeeper, mariadb, unique_schema, make_engines, table
):
    engines = make_engines(shared_zookeeper.hosts, mariadb, 2, unique_schema, timeout_s=1.0)
    first = active(engines)
    second = next(engine for engine in engines if engine is not first)
    table(1, 2)
    old = first.connect("orders", reconnect=False)
    batch = old.get(wait_ms=20_000)
    pids = [first.process.pid, *(stage["pid"] for stage in first.observe()["stages"])]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    batch.ack()  # reaches the socket of a server that is asleep
    eventually(lambda: serves(second))
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    with pytest.raises(EngineError):
        old.flush()
    with suppress(EngineError):
        old.close()
    assert read(second, 2) == [1, 2], "the late ack did not count"
    eventually(lambda: not serves(first))


def test_an_ack_is_confirmed_only_when_zookeeper_has_it_and_waits_while_it_is_away(
    zookeeper, mariadb, unique_schema, make_engines, table
):
    engine = active(make_engines(zookeeper.hosts, mariadb, 1, unique_schema, timeout_s=20.0))
    table(1, 2)
    with engine.connect("orders") as stream:
        changes: list[int] = []
        while len(changes) < 2:  # the table's DDL may come in a batch of its own
            batch = stream.get(wait_ms=20_000)
            changes += [change.after["id"] for change in batch]
        zookeeper.freeze()
        batch.ack()
        assert stream.get(wait_ms=500) is None
        assert not batch.durable
        zookeeper.thaw()
        stream.flush()
        assert batch.durable


def test_while_all_of_zookeeper_is_away_the_engine_goes_on_as_long_as_it_may_then_stops_says_why_and_comes_back_by_itself(
    ensemble, mariadb, unique_schema, make_engines, table
):
    engine = active(make_engines(ensemble.hosts, mariadb, 1, unique_schema, timeout_s=8.0))  # 2 s for the next row to come
    table(1)
    assert read(engine, 1) == [1]
    stream = engine.connect("orders", reconnect=False)
    for node in ensemble.nodes:
        node.kill()
    table(2)
    batch = stream.get(wait_ms=20_000)
    assert [change.after["id"] for change in batch] == [2], "its lease can be proven for at least a quarter of the time-out more"
    batch.ack()
    eventually(lambda: engine.observe()["cluster"]["leases"] == {})
    seen = engine.observe()
    assert "ZooKeeper" in seen["cluster"]["trouble"]
    assert any("ZooKeeper" in complaint for complaint in seen["complaints"])
    with pytest.raises(EngineError, match="another server serves the destination now, or will soon"):
        stream.flush()
    assert not batch.durable
    with suppress(EngineError):
        stream.close()
    assert not serves(engine)
    ensemble.start()
    eventually(lambda: serves(engine), 30)
    eventually(lambda: engine.observe()["cluster"]["trouble"] == "")
    table(3)
    ids = read(engine, 1)
    while ids[-1] != 3:
        ids += read(engine, 1)
    assert ids in ([3], [2, 3]), "an ack that was not confirmed may count or not"


def test_position_set_in_a_cluster_needs_all_engines_stopped_and_counts_for_whichever_takes_over(
    shared_zookeeper, mariadb, unique_schema, make_engines, table
):
    engines = make_engines(shared_zookeeper.hosts, mariadb, 2, unique_schema)
    first = active(engines)
    second = next(engine for engine in engines if engine is not first)
    table(1, 2)
    place = mariadb.position()
    table(3)
    assert read(first, 3) == [1, 2, 3]
    assert second.stop() == 0
    refused = command("position", str(second.config_path), "set", "orders", place)
    assert refused.returncode == 2
    assert f"engine={first.observe()['cluster']['name']}" in refused.stderr
    assert first.stop() == 0
    moved = command("position", str(first.config_path), "set", "orders", place)
    assert moved.returncode == 0, moved.stderr
    second.start()
    assert active(engines) is second
    assert read(second, 1) == [3], "from the other engine, after the place that was set"
