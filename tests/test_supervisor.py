"""The engine's processes: started, watched, started again, stopped, and nothing left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from engine.instance import Instance
from tests.kills import is_alive
from tests.running_engine import RunningEngine, command


def left_in_shared_memory(running: RunningEngine) -> list[str]:
    prefix = Instance(running.folder / "data").prefix
    return [path.name for path in Path("/dev/shm").iterdir() if path.name.startswith(prefix)]


def binlog_files_of(case: str) -> dict[str, object]:
    return {"files": [str(Path(__file__).parent / "data" / case / "binlog.000001")]}


@pytest.fixture
def running(tmp_path):
    """An engine that needs no server: it reads a recorded binlog."""
    engine = RunningEngine(tmp_path, {"shop": binlog_files_of("mariadb-shop")}, {"all": {}})
    with engine:
        yield engine


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_every_process_with_exit_code_0_and_leaves_nothing_in_shared_memory(running, stop_signal):
    pids = [stage["pid"] for stage in running.observe()["stages"]]
    assert len(pids) == 3
    assert left_in_shared_memory(running)
    running.process.send_signal(stop_signal)
    assert running.process.wait(10) == 0
    assert left_in_shared_memory(running) == []
    for pid in pids:
        assert not Path(f"/proc/{pid}").exists()


def test_positions_kept_in_memory_last_through_a_dead_server_process_and_go_with_the_engine(tmp_path):
    with RunningEngine(tmp_path, {"shop": binlog_files_of("mariadb-shop")}, {"all": {}}, meta="memory") as engine:
        with engine.connect("all") as stream:
            before = read_all(stream)
        os.kill(engine.stage("server")["pid"], signal.SIGKILL)
        engine.wait_until(lambda: engine.stage("server")["restarts"] == 1)
        engine.wait_until(engine.listens)
        with engine.connect("all") as stream:
            assert stream.get(wait_ms=500) is None
        assert engine.stop() == 0
        assert left_in_shared_memory(engine) == []
        assert not (tmp_path / "data" / "meta.sqlite").exists()
        engine.start()
        with engine.connect("all") as stream:
            assert read_all(stream) == before


def test_ctrl_c_in_a_terminal_stops_in_order_without_a_traceback(tmp_path):
    engine = RunningEngine(tmp_path, {"shop": binlog_files_of("mariadb-shop")}, {"all": {}})
    with engine:
        os.killpg(engine.process.pid, signal.SIGINT)  # what the terminal does: to the whole foreground group
        assert engine.process.wait(10) == 0
    assert "Traceback" not in engine.log


@pytest.mark.parametrize("title", ["source shop", "sink all", "server"])
def test_a_killed_stage_is_started_again_and_status_counts_it(running, title):
    pid = running.stage(title)["pid"]
    running.wait_until(lambda: running.stage(title)["state"] == "running")
    os.kill(pid, signal.SIGKILL)
    running.wait_until(lambda: running.stage(title)["restarts"] == 1 and running.stage(title)["state"] == "running")
    assert running.stage(title)["pid"] != pid


def test_killing_every_stage_in_the_middle_loses_and_doubles_nothing(tmp_path):
    sources, destinations = {"shop": binlog_files_of("mysql-shop")}, {"all": {}}
    with RunningEngine(tmp_path / "calm", sources, destinations) as calm, calm.connect("all") as stream:
        expected = read_all(stream)
    with RunningEngine(tmp_path / "troubled", sources, destinations) as troubled:
        for title in ("source shop", "sink all", "server"):
            pid = troubled.stage(title)["pid"]
            os.kill(pid, signal.SIGKILL)
        troubled.wait_until(lambda: all(stage["restarts"] == 1 for stage in troubled.observe()["stages"]))
        troubled.wait_until(troubled.listens)
        with troubled.connect("all") as stream:
            assert read_all(stream) == expected


def read_all(stream) -> list[object]:
    """Everything until a second passes without a batch; the first may take longer, while stages are starting again."""
    seen: list[object] = []
    while (batch := stream.get(wait_ms=1000 if seen else 15_000)) is not None:
        seen += [change.to_json() for change in batch]
        batch.ack()
    assert seen
    return seen


def test_the_children_die_with_a_killed_supervisor_and_the_next_run_goes_on_after_the_last_ack(running):
    with running.connect("all") as stream:
        first = []
        while len(first) < 7:
            batch = stream.get(wait_ms=5000, rows=3)
            first += [change.to_json() for change in batch]
            batch.ack()
    pids = [stage["pid"] for stage in running.observe()["stages"]]
    running.kill()
    running.process = None
    running.wait_until(lambda: not any(is_alive(pid) for pid in pids))
    running.start()
    with running.connect("all") as stream:
        rest = read_all(stream)
    assert not {str(change) for change in first} & {str(change) for change in rest}
    assert first
    assert rest
    assert "is taken over as the killed engine left it" in running.log


def test_without_the_record_of_what_was_whole_the_next_run_reads_again_after_the_last_ack(running):
    with running.connect("all") as stream:
        batch = stream.get(wait_ms=5000, rows=3)
        first = [change.to_json() for change in batch]
        batch.ack()
    pids = [stage["pid"] for stage in running.observe()["stages"]]
    running.kill()
    running.process = None
    running.wait_until(lambda: not any(is_alive(pid) for pid in pids))
    (running.folder / "data" / "rings.json").unlink()
    running.start()
    with running.connect("all") as stream:
        rest = read_all(stream)
    assert not {str(change) for change in first} & {str(change) for change in rest}
    assert "is not taken over" in running.log


def test_a_second_engine_on_the_same_data_dir_is_refused_by_name(running):
    second = command("run", str(running.config_path))
    assert second.returncode == 2
    assert "another engine runs with this data_dir" in second.stderr
    assert f"pid={running.process.pid}" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_port_in_use_ends_the_engine_with_an_error_that_names_it(running, tmp_path):
    sources = {"shop": binlog_files_of("mariadb-shop")}
    other = RunningEngine(tmp_path / "other", sources, {"all": {}}, listen=running.listen)
    done = command("run", str(other.config_path))
    assert done.returncode == 1
    assert running.listen.removeprefix("tcp://") in done.stderr
    assert "Traceback" not in done.stderr


def test_one_source_that_can_not_run_is_named_and_the_others_go_on(tmp_path):
    sources = {"good": binlog_files_of("mariadb-shop"), "bad": {"files": [str(tmp_path / "binlog.000001")]}}
    (tmp_path / "binlog.000001").write_bytes(b"this is no binlog, but it is long enough to be one" * 10)
    with RunningEngine(tmp_path, sources, {"all": {}}) as running:
        running.wait_until(lambda: running.stage("source bad")["state"] == "failed")
        assert "binlog.000001" in running.stage("source bad")["error"]
        with running.connect("all") as stream:
            assert read_all(stream)
