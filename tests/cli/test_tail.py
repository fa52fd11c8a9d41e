"""`tail` and `status` on a running engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.running_engine import RunningEngine, command

BINLOG = Path(__file__).parents[1] / "data" / "mysql-shop" / "binlog.000001"


@pytest.fixture
def running(tmp_path):
    with RunningEngine(tmp_path / "engine", {"shop": {"files": [str(BINLOG)]}}, {"orders": {}}) as engine:
        yield engine


def tail(running: RunningEngine, *arguments: str) -> list[dict]:
    done = command("tail", "orders", "--server", running.listen, "--json", "--idle-exit", "1", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_tail_prints_what_decode_prints_and_acks_it(running):
    decoded = [json.loads(line) for line in command("decode", str(BINLOG), "--json").stdout.splitlines()]
    tailed = tail(running)
    assert [{**line, "source": "-"} for line in tailed] == [{**line, "source": "-"} for line in decoded]
    assert {line["source"] for line in tailed} == {"shop"}
    assert tail(running) == []


def test_tail_with_max_acks_exactly_what_it_printed(running):
    whole = tail(running, "--consumer", "whole")
    changes = [line for line in whole if line["op"] != "ddl"]
    pieces = []
    for count in (1, 2, 7):
        piece = [line for line in tail(running, "--max", str(count)) if line["op"] != "ddl"]
        assert len(piece) == count
        pieces += piece
    assert pieces == changes[:10]


def test_transaction_marks_are_printed_only_when_asked_for(running):
    assert {line["op"] for line in tail(running, "--consumer", "plain")} <= {"insert", "update", "delete", "ddl"}
    assert {"begin", "commit"} <= {line["op"] for line in tail(running, "--consumer", "marks", "--transactions")}


def test_status_shows_stages_sources_and_consumers_and_says_so_when_nothing_runs(running):
    tail(running)
    done = command("status", str(running.config_path), "--json")
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert {stage["title"]: stage["state"] for stage in seen["stages"]} == {
        "server": "running", "sink orders": "running", "source shop": "running",
    }  # fmt: skip
    assert seen["sources"]["shop"]["rows"] > 0
    assert seen["consumers"]["orders/default/0"]["rows_acked"] == seen["sources"]["shop"]["rows"]
    assert "default" in command("status", str(running.config_path)).stdout
    running.stop()
    stopped = command("status", str(running.config_path), "--json")
    assert stopped.returncode == 1
    assert json.loads(stopped.stdout)["running"] is False
