"""`tail` and `status` on a running engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.running_engine import RunningEngine, command
from tests.servers.process import free_port

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


def test_tail_goes_through_tls_with_a_token_and_the_engine_shows_it_nowhere(tmp_path, monkeypatch):
    token = "tail-token-" + "t" * 16
    authority = Authority(tmp_path)
    mine = authority.sign("engine")
    (tmp_path / "token").write_text(token)
    engine = RunningEngine(
        tmp_path / "engine", {"shop": {"files": [str(BINLOG)]}}, {"orders": {}}, tls_cert=str(mine.cert), tls_key=str(mine.key)
    )
    secure = f"tls://127.0.0.1:{free_port()}"
    text = engine.config_path.read_text().replace(f'"{engine.listen}"', f'["{engine.listen}", "{secure}"]')
    engine.config_path.write_text(text + f'[tokens.tail]\ntoken_file = "{tmp_path}/token"\ndestinations = ["orders"]\n')
    monkeypatch.setenv("TAIL_TOKEN", token)
    with engine:
        servers = f"tls://127.0.0.1:{free_port()},{secure}"  # at the first nobody is
        words = ("tail", "orders", "--server", servers, "--json", "--max", "3")
        refused = command(*words, "--tls-ca", str(authority.cert))
        assert refused.returncode != 0
        assert "this server wants a token" in refused.stderr
        done = command(*words, "--token-env", "TAIL_TOKEN", "--tls-ca", str(authority.cert))
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) >= 3
        assert token not in command("status", str(engine.config_path), "--json").stdout
        for process in engine.observe()["stages"]:
            assert token.encode() not in Path(f"/proc/{process['pid']}/cmdline").read_bytes()
    assert token not in engine.log_path.read_text()
    assert "by the token tail" in engine.log_path.read_text()
