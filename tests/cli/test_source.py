"""`binlog-engine source`: turns at servers shown, a new beginning after a named state, a switch to another server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.running_engine import RunningEngine, command
from tests.servers.database import Database
from tests.servers.replication import REPLICA_OPTIONS, follow, wait_for


def table(server: Database) -> None:
    server.sql("CREATE DATABASE cli_source", "CREATE TABLE cli_source.t (id INT PRIMARY KEY)")


def read(engine: RunningEngine, rows: int) -> list[int]:
    seen: list[int] = []

    def more() -> bool:
        batch = stream.get(wait_ms=200)
        if batch is not None:
            seen.extend(change.after["id"] for change in batch)
            batch.ack()
        return len(seen) >= rows

    with engine.connect("all") as stream:
        engine.wait_until(more)
    return seen


@pytest.mark.timeout(120)
def test_a_source_whose_binlog_was_reset_begins_anew_where_the_operator_says(tmp_path: Path, make_server: Any) -> None:
    server = make_server()
    table(server)
    with RunningEngine(tmp_path, {"shop": {"url": server.url()}}, {"all": {"include": [r"cli_source\..*"]}}) as engine:
        engine.wait_until(lambda: engine.observe()["sources"]["shop"]["connected"])
        server.sql("INSERT INTO cli_source.t VALUES (1)")
        assert read(engine, 1) == [1]
        assert engine.stop() == 0
        server.sql("RESET MASTER" if server.name == "mariadb" else "RESET BINARY LOGS AND GTIDS")
        server.sql("INSERT INTO cli_source.t VALUES (2)", "INSERT INTO cli_source.t VALUES (3)")
        refused = command("run", str(engine.config_path))
        assert refused.returncode == 1
        assert "begun anew" in refused.stderr
        done = command("source", str(engine.config_path), "begin", "shop", "earliest")
        assert done.returncode == 0, done.stderr
        engine.start()
        assert read(engine, 2) == [2, 3]
        shown = command("source", str(engine.config_path), "show", "shop").stdout.splitlines()
        assert [line.split()[0] for line in shown] == ["1", "2"]
        assert "operator" in shown[1]


@pytest.mark.timeout(120)
def test_a_switch_leads_a_running_source_to_another_server_and_back(tmp_path: Path, make_server: Any) -> None:
    primary = make_server()
    replica = make_server(**REPLICA_OPTIONS[primary.name])
    follow(replica, primary)
    table(primary)
    wait_for(replica, primary)
    source = {"urls": [primary.url(), replica.url()]}
    with RunningEngine(tmp_path, {"shop": source}, {"all": {"include": [r"cli_source\..*"]}}) as engine:
        engine.wait_until(lambda: engine.observe()["sources"]["shop"]["connected"])

        def turns() -> list[str]:
            return command("source", str(engine.config_path), "show", "shop").stdout.splitlines()

        for n, at in enumerate((primary, replica, primary)):
            if n:
                done = command("source", str(engine.config_path), "switch", "shop", f"127.0.0.1:{at.port}")
                assert done.returncode == 0, done.stderr
                engine.wait_until(lambda n=n: len(turns()) == n + 1)
            primary.sql(f"INSERT INTO cli_source.t VALUES ({n})")
            assert read(engine, 1) == [n]
        primary.sql("INSERT INTO cli_source.t VALUES (9)")
        assert read(engine, 1) == [9]
        seen = engine.observe()["sources"]["shop"]
        ends = {"from": f"127.0.0.1:{replica.port}", "to": f"127.0.0.1:{primary.port}"}
        assert seen["server"] == ends["to"]
        last = {"by": "gtid", "reason": "switched", "why": "an operator switched it"}
        assert seen["failover"] == {**ends, **last, "at": seen["server_since"]}
        shown = command("status", str(engine.config_path)).stdout
        assert all(word in shown for word in (*ends.values(), "switched", "gtid"))
        lines = [line for line in engine.log.splitlines() if "event=failover" in line]
        assert len(lines) == 2
        assert f"from={ends['from']} to={ends['to']} by=gtid reason=switched" in lines[-1]
        assert command("source", str(engine.config_path), "switch", "shop", "nowhere:1").returncode == 2
