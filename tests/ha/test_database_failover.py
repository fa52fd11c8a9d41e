"""The active engine and the database primary are lost together: the next engine goes on at the replica, as ZooKeeper has it."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path
from typing import Any

import pytest

from engine import connect
from engine.instance import Instance
from engine.meta.open import open_meta
from tests.ha.conftest import eventually
from tests.ha.test_engines import active
from tests.running_engine import RunningEngine
from tests.servers.proxy import Proxy
from tests.servers.replication import REPLICA_OPTIONS, follow, wait_for


@pytest.mark.timeout(240)
def test_engines_that_read_one_source_give_the_next_server_one_number_and_nothing_comes_again_when_one_takes_over_all(
    shared_zookeeper: Any, make_mariadb: Any, tmp_path: Path
) -> None:
    primary = make_mariadb()
    replica = make_mariadb(**REPLICA_OPTIONS[primary.name])
    follow(replica, primary)
    primary.sql("CREATE DATABASE pair", "CREATE TABLE pair.t (id INT PRIMARY KEY)")
    wait_for(replica, primary)
    with Proxy(primary.port) as proxy, contextlib.ExitStack() as running:
        first_url = primary.url().replace(str(primary.port), str(proxy.port))
        source = {"urls": [first_url, replica.url()], "tls": "disabled", "failover_s": 1.0, "start": "earliest", "ring": "1MiB"}
        destination = {"include": [r"pair\.t"], "store": {"kind": "memory", "size": "1MiB"}}
        root = f"/test/{uuid.uuid4().hex}"
        made = [
            RunningEngine(tmp_path / name, {"shop": source}, {"orders": destination, "audit": destination}, {
                "zookeeper": shared_zookeeper.hosts, "root": root, "name": name, "session_timeout_s": 2.0, "balance_after_s": 0.5,
            })
            for name in "ab"
        ]  # fmt: skip
        for engine in made:
            running.push(engine.__exit__)
            engine.start()
        eventually(lambda: set(made[0].observe()["cluster"]["owners"].values()) == {"a", "b"}, 60)
        servers = [engine.listen for engine in made]
        streams = [running.enter_context(connect(servers, destination=name)) for name in ("orders", "audit")]
        primary.sql(*(f"INSERT INTO pair.t VALUES ({i})" for i in range(1, 51)))
        for stream in streams:
            assert [change.after["id"] for change in _read_until(stream, 50)] == list(range(1, 51))
        wait_for(replica, primary)
        proxy.refuse()
        proxy.cut()
        replica.sql("INSERT INTO pair.t VALUES (51)")
        for stream in streams:
            assert [change.after["id"] for change in _read_until(stream, 51)] == [51]
        kept = open_meta("zookeeper", Instance(made[0].loaded.server.data_dir), made[0].loaded.cluster)
        assert len(kept.histories()) == 2
        assert made[0].stop() == 0
        replica.sql("INSERT INTO pair.t VALUES (52)")
        for stream in streams:
            seen = _read_until(stream, 52)
            assert [(change.after["id"], change.again) for change in seen] == [(52, False)]
        assert len(kept.histories()) == 2
        kept.close()


@pytest.mark.timeout(240)
def test_the_next_engine_goes_on_at_the_replica_after_the_acks(shared_zookeeper: Any, make_mysql: Any, tmp_path: Path) -> None:
    primary = make_mysql()
    replica = make_mysql(**REPLICA_OPTIONS[primary.name])
    follow(replica, primary)
    primary.sql("CREATE DATABASE pair", "CREATE TABLE pair.t (id INT PRIMARY KEY)")
    wait_for(replica, primary)
    with Proxy(primary.port) as proxy:
        first_url = primary.url().replace(str(primary.port), str(proxy.port))
        source = {"urls": [first_url, replica.url()], "tls": "disabled", "failover_s": 1.0, "start": "earliest", "ring": "1MiB"}
        destination = {"include": [r"pair\.t"], "store": {"kind": "memory", "size": "1MiB"}}
        root = f"/test/{uuid.uuid4().hex}"
        made = [
            RunningEngine(tmp_path / name, {"shop": source}, {"orders": destination}, {
                "zookeeper": shared_zookeeper.hosts, "root": root, "name": name, "session_timeout_s": 2.0,
            })
            for name in "ab"
        ]  # fmt: skip
        try:
            for engine in made:
                engine.start()
            _the_next_goes_on(made, primary, replica, proxy)
        finally:
            for engine in made:
                engine.__exit__()


def _the_next_goes_on(made: list[RunningEngine], primary: Any, replica: Any, proxy: Proxy) -> None:
    owner = active(made)
    other = next(engine for engine in made if engine is not owner)
    primary.sql(*(f"INSERT INTO pair.t VALUES ({i})" for i in range(1, 51)))
    assert [change.after["id"] for change in _until(owner, 50)] == list(range(1, 51))
    wait_for(replica, primary)
    proxy.refuse()
    owner.kill()
    replica.sql("INSERT INTO pair.t VALUES (51)")
    eventually(lambda: active([other]) is other, 60)
    seen = _until(other, 51)
    fresh = [change.after["id"] for change in seen if not change.again]
    assert sorted({change.after["id"] for change in seen} | set(range(1, 51))) == list(range(1, 52))
    assert set(fresh) <= {51}, "what was acked comes at most for a second more, and says so"
    source = other.observe()["sources"]["shop"]
    assert source["server"] == f"127.0.0.1:{replica.port}"
    assert source["failover"]["by"] == "gtid"
    owner.start()
    assert other.stop() == 0
    replica.sql("INSERT INTO pair.t VALUES (52)")
    assert [change.after["id"] for change in _until(active([owner]), 52)] == [52], "by its place there now"


def _until(engine: RunningEngine, last: int) -> list[Any]:
    """The changes up to the one with this id, acked and confirmed."""
    with engine.connect("orders") as stream:
        return _read_until(stream, last)


def _read_until(stream: Any, last: int) -> list[Any]:
    seen: list[Any] = []
    while not seen or seen[-1].after["id"] != last:
        batch = stream.get(wait_ms=20_000)
        assert batch is not None, seen
        seen += batch
        batch.ack()
    stream.flush()
    return seen
