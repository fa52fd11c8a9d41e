"""Stages that hang, and stages that die again and again: seen from outside, ended, started again, given up on."""

from __future__ import annotations

import json
import os
import signal
from itertools import pairwise

import pytest

from engine.child import FIRST_PAUSE_S, HEALTHY_AFTER_S, LONGEST_PAUSE_S, QUICK_DEATHS, RestartPolicy
from tests.running_engine import RunningEngine, command
from tests.test_supervisor import binlog_files_of, read_all


@pytest.fixture
def watched(tmp_path):
    """An engine that kills a stage soon after it is seen to be stalled."""
    engine = RunningEngine(tmp_path, {"shop": binlog_files_of("mariadb-shop")}, {"all": {}}, stall_kill_s=12.0)
    with engine:
        engine.wait_until(lambda: all(stage["state"] == "running" for stage in engine.observe()["stages"]))
        yield engine


def status(running: RunningEngine) -> tuple[int, dict]:
    done = command("status", str(running.config_path), "--json")
    return done.returncode, json.loads(done.stdout)


def test_stages_that_hang_are_seen_by_status_then_killed_and_go_on_where_they_were(watched):
    titles = ["sink all", "server"]
    pids = {title: watched.stage(title)["pid"] for title in titles}
    for pid in pids.values():
        os.kill(pid, signal.SIGSTOP)
    watched.wait_until(lambda: all(watched.stage(title)["state"] == "stalled" for title in titles))
    code, seen = status(watched)
    assert code == 3
    assert not seen["healthy"]
    for title, pid in pids.items():
        assert any(f"{title} is stalled: pid={pid} seconds=" in complaint for complaint in seen["complaints"])
        watched.wait_until(lambda title=title: watched.stage(title)["restarts"] == 1)
        assert watched.stage(title)["pid"] != pid
        assert "did not move" in watched.stage(title)["last_error"]
    assert watched.log.count("has not moved for") == 2
    watched.wait_until(lambda: watched.observe()["healthy"])
    assert status(watched)[0] == 0
    watched.wait_until(watched.listens)
    with watched.connect("all") as stream:
        assert read_all(stream)


def test_a_supervisor_that_hangs_is_seen_from_outside_and_harms_nobody_when_it_goes_on(watched):
    os.kill(watched.process.pid, signal.SIGSTOP)
    try:
        watched.wait_until(lambda: any("the supervisor stands still" in line for line in watched.observe()["complaints"]))
        assert status(watched)[0] == 3
        with watched.connect("all") as stream:
            assert read_all(stream)
    finally:
        os.kill(watched.process.pid, signal.SIGCONT)
    watched.wait_until(lambda: watched.observe()["healthy"])
    assert [stage["restarts"] for stage in watched.observe()["stages"]] == [0, 0, 0]


def test_stop_ends_also_what_was_stopped_by_hand(watched):
    pids = [stage["pid"] for stage in watched.observe()["stages"]]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    assert watched.stop() == 0
    assert "is killed" not in watched.log


def test_status_of_an_engine_that_does_not_run_ends_with_1(tmp_path):
    engine = RunningEngine(tmp_path, {"shop": binlog_files_of("mariadb-shop")}, {"all": {}})
    assert status(engine)[0] == 1


def test_a_failed_stage_is_named_with_its_reason_and_makes_status_end_with_3(tmp_path):
    sources = {"good": binlog_files_of("mariadb-shop"), "bad": {"files": [str(tmp_path / "binlog.000001")]}}
    (tmp_path / "binlog.000001").write_bytes(b"this is no binlog, but it is long enough to be one" * 10)
    with RunningEngine(tmp_path, sources, {"all": {}}) as running:
        running.wait_until(lambda: running.stage("source bad")["state"] == "failed")
        code, seen = status(running)
        assert code == 3
        stage = running.stage("source bad")
        assert f"source bad is failed: {stage['reason']}: {stage['error']}" in seen["complaints"]
        assert stage["reason"]
        assert stage["next_try"] is None
        assert stage["last_error"] == stage["error"] != ""
        text = command("status", str(running.config_path)).stdout
        assert "failed: " in text


def test_pauses_double_up_to_the_longest_and_then_it_gives_up():
    policy = RestartPolicy()
    pauses = [policy.pause_s(0.0) for _ in range(QUICK_DEATHS)]
    assert pauses[0] == FIRST_PAUSE_S
    assert all(later == min(2 * earlier, LONGEST_PAUSE_S) for earlier, later in pairwise(pauses[:-1]))
    assert pauses[-1] is None


def test_what_may_pass_by_itself_is_tried_again_without_end():
    policy = RestartPolicy()
    pauses = [policy.pause_s(0.0, may_pass=True) for _ in range(1000)]
    assert max(pauses) == pauses[-1] == LONGEST_PAUSE_S


def test_a_long_life_begins_the_pauses_anew():
    policy = RestartPolicy()
    for _ in range(QUICK_DEATHS - 1):
        policy.pause_s(0.0)
    assert policy.pause_s(HEALTHY_AFTER_S + 1) == FIRST_PAUSE_S


def test_a_stage_that_keeps_dying_is_given_up_on_and_status_says_so(tmp_path):
    """With pauses of nothing: the engine runs in a process of its own that sets them."""
    engine = RunningEngine(tmp_path, {"shop": binlog_files_of("mariadb-shop")}, {"all": {}})
    code = (
        "import sys, engine.child as child; child.FIRST_PAUSE_S = 0.001\n"
        "from engine.config import load_config; from engine.process import configure_logging\n"
        "from engine.supervisor import run_engine\n"
        "configure_logging(); sys.exit(run_engine(load_config(sys.argv[1])))"
    )
    with engine.start(program=("-c", code)):
        deaths = 0
        while engine.stage("sink all")["state"] != "failed":
            pid = engine.stage("sink all")["pid"]
            if pid is not None:
                try:
                    os.kill(pid, signal.SIGKILL)
                    deaths += 1
                except ProcessLookupError:
                    continue
            engine.wait_until(lambda old=pid: engine.stage("sink all")["pid"] != old)
        stage = engine.stage("sink all")
        assert stage["reason"] == "gave_up"
        assert stage["error"] == f"gave up after {QUICK_DEATHS} quick deaths; the last: killed by SIGKILL"
        assert stage["restarts"] == QUICK_DEATHS - 1 == deaths - 1
