"""A machine that has too little shared memory or open files: clear words, nothing broken, and on it goes when there is more."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys

import pytest

from tests.kills import is_alive
from tests.running_engine import RunningEngine
from tests.test_supervisor import binlog_files_of, left_in_shared_memory, read_all

WITH_SMALL_SHM = 'mount -t tmpfs -o size="$1" tmpfs /dev/shm && shift && exec "$@"'
SOURCES = {"shop": binlog_files_of("mariadb-shop")}


def in_small_shm(size: str, *command: str) -> list[str]:
    """The command with a /dev/shm of its own, of so many bytes."""
    return ["unshare", "-m", "sh", "-c", WITH_SMALL_SHM, "sh", size, *command]


@pytest.fixture(scope="module")
def own_mounts():
    """Needs the right to mount in a namespace of one's own: root has it."""
    if subprocess.run(in_small_shm("1M", "true"), capture_output=True).returncode:
        pytest.skip("may not mount a /dev/shm of its own")


@pytest.mark.usefixtures("own_mounts")
@pytest.mark.parametrize("ring", ["source", "store", "heartbeats"])
def test_too_little_shared_memory_is_said_at_the_start_with_what_was_wanted(tmp_path, ring):
    page = resource.getpagesize()
    store = (1 << 20) + 9 * page  # ring and header
    size = {"source": 1 << 19, "store": store + (1 << 19), "heartbeats": 2 * store}[ring]
    engine = RunningEngine(tmp_path, {"shop": {**SOURCES["shop"], "ring": "1MiB"}}, {"all": {"store": {"size": "1MiB"}}})
    run = in_small_shm(str(size), sys.executable, "-m", "engine", "run", str(engine.config_path))
    done = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "no room for the" in done.stderr
    assert "docker: --shm-size" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "rings.json").exists()


def test_a_stage_that_finds_no_open_files_left_is_started_again_when_there_are_some(tmp_path):
    with RunningEngine(tmp_path, SOURCES, {"all": {}}) as engine:
        engine.wait_until(lambda: engine.observe()["healthy"])
        pid = engine.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), before[1]))
        os.kill(engine.stage("sink all")["pid"], signal.SIGKILL)
        engine.wait_until(lambda: engine.stage("sink all")["reason"] == "no_resources")
        stage = engine.stage("sink all")
        assert "Too many open files" in stage["error"]
        assert "ulimit -n" in stage["error"]
        assert not engine.observe()["healthy"]
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        engine.wait_until(lambda: engine.observe()["healthy"])
        with engine.connect("all") as stream:
            assert read_all(stream)
        assert engine.stop() == 0
        assert left_in_shared_memory(engine) == []


def test_each_kind_of_process_says_by_name_that_it_has_no_open_files_left(tmp_path):
    """Each as the supervisor starts it, with a limit that its start just fits: what it opens then is refused."""
    with RunningEngine(tmp_path, SOURCES, {"all": {}}) as engine:
        engine.wait_until(lambda: engine.observe()["healthy"])
        for title in ("source shop", "sink all", "server"):
            stage = engine.stage(title)
            os.kill(engine.process.pid, signal.SIGSTOP)  # so that it starts none itself
            try:
                os.kill(stage["pid"], signal.SIGKILL)
                engine.wait_until(lambda pid=stage["pid"]: not is_alive(pid))
                said = start_with_few_files(engine, stage)
            finally:
                os.kill(engine.process.pid, signal.SIGCONT)
            assert "Too many open files" in said
            assert '"state": "failed"' in said
            assert '"reason": "bug"' not in said
            engine.wait_until(lambda title=title: engine.stage(title)["restarts"] == 1)
        engine.wait_until(lambda: engine.observe()["healthy"])
        engine.wait_until(engine.listens)
        with engine.connect("all") as stream:
            assert read_all(stream)


def start_with_few_files(engine: RunningEngine, stage: dict) -> str:
    """What a process of this stage reports whose limit is lowered when Python and the modules have been loaded."""
    code = (
        "import os, resource, sys, engine.process as process, engine.source.stage, engine.sink.stage, engine.server.stage\n"
        "import engine.meta.file, sqlite3, asyncio, selectors\n"
        "read = process.Lines.next\n"
        "def next_line(self):\n"
        "    line = read(self)\n"
        "    used = len(os.listdir('/proc/self/fd'))\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (used, used))\n"
        "    return line\n"
        "process.Lines.next = next_line\n"
        "sys.exit(process.main(sys.argv[1:]))"
    )
    config = engine.loaded.model_dump_json(by_alias=True)
    about = {"name": stage["name"], "number": stage["number"], "place": stage["place"], "active": ["all"]}
    first = f'{{"config": {config}, {json.dumps(about)[1:]}\n'
    done = subprocess.run(
        [sys.executable, "-c", code, stage["role"], stage["name"], str(stage["number"]), str(os.getpid())],
        input=first, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    return done.stdout + done.stderr
