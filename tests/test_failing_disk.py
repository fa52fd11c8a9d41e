"""A running engine whose disk becomes full, or fails: a named state, nothing acked lost, and on it goes once that is over."""

from __future__ import annotations

import fcntl
import os
import resource
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from engine.journal import BLOCK_BYTES
from tests.running_engine import RunningEngine
from tests.source.made_binlog import MadeBinlog

TRANSACTIONS, ROWS, ROW_BYTES = 150, 20, 1000
STORE = {"kind": "file", "size": "1MiB", "sync": "batch"}  # smaller than the binlog of 3 MB
FS_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2  # ext4 answers everything with EIO from then on, as if its disk had gone


@pytest.fixture(scope="module")
def binlog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = MadeBinlog()
    for number in range(TRANSACTIONS):
        made.transaction([(number * ROWS + n, bytes([n]) * ROW_BYTES) for n in range(ROWS)], number + 1)
    path = tmp_path_factory.mktemp("binlog") / "binlog.000001"
    path.write_bytes(made.data)
    return path


def engine_in(folder: Path, binlog: Path, **server: Any) -> RunningEngine:
    sources = {"shop": {"files": [str(binlog)], "ring": "1MiB"}}
    return RunningEngine(folder / "engine", sources, {"all": {"store": STORE}}, **server)


@contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[None]:
    if subprocess.run(["mount", *arguments, str(folder)], capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system takes root, and loop devices")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill_up(filler: Path) -> None:
    """Take all the room that is left on its file system."""
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def shut_down(file_system: Path) -> None:
    fd = os.open(file_system, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    finally:
        os.close(fd)


def take_one(stream: Any, taken: list[int], wait_ms: int) -> bool:
    """Get a batch and ack it; False: none came."""
    batch = stream.get(wait_ms=wait_ms, rows=ROWS)
    if batch is None:
        return False
    taken += [change.after["id"] for change in batch]
    batch.ack()
    return True


def take(stream: Any, taken: list[int], until: int) -> None:
    """Until so many changes have come."""
    while len(taken) < until:
        assert take_one(stream, taken, 30_000), f"only {len(taken)} of {until} came"


def is_full(running: RunningEngine) -> bool:
    """The sink waits for room, which only a checkpoint can give, and none can before something is acked."""
    store = running.observe()["stores"]["all/0"]
    acked_bytes = store["kept_bytes"] - store["held_bytes"]
    return store["capacity_bytes"] - store["kept_bytes"] < 2 * ROW_BYTES and acked_bytes < BLOCK_BYTES


ALL = list(range(TRANSACTIONS * ROWS))


def test_a_data_dir_that_becomes_full_has_acks_wait_until_there_is_room(tmp_path: Path, binlog: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    taken: list[int] = []
    with (
        mounted(disk, "-t", "tmpfs", "-o", "size=8m", "tmpfs"),
        engine_in(tmp_path, binlog, data_dir=str(disk / "data")) as running,
    ):
        with running.connect("all", prefetch=0) as stream:
            take(stream, taken, 100)
            stream.flush()
            filler = disk / "filler"
            fill_up(filler)
            running.wait_until(lambda: not take_one(stream, taken, 100) and running.stage("server")["reason"] == "disk_full")
            stage = running.stage("server")
            assert stage["state"] == "running"
            assert f"file={disk}/data/meta.sqlite" in stage["error"]
            assert "make room" in stage["error"]
            assert any("disk_full" in complaint for complaint in running.observe()["complaints"])
            filler.unlink()
            running.wait_until(lambda: running.observe()["healthy"])
            stream.flush(timeout=30)  # what was acked on the full disk is confirmed
            acked = len(taken)
        assert running.stop() == 0
        running.start()
        with running.connect("all", prefetch=0) as stream:
            take(stream, taken, len(ALL))
        assert acked < len(ALL)
    assert taken == ALL


def test_a_store_whose_disk_is_full_stops_its_sink_by_name_until_there_is_room(tmp_path: Path, binlog: Path) -> None:
    """By a limit of file sizes, which the sink's next checkpoint meets; before that it has no room to put anything."""
    taken: list[int] = []
    with engine_in(tmp_path, binlog) as running, running.connect("all", prefetch=0) as stream:
        take(stream, taken, 100)
        stream.flush()
        running.wait_until(lambda: is_full(running))
        pid = running.stage("sink all")["pid"]
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, before[1]))
        running.wait_until(lambda: not take_one(stream, taken, 100) and running.stage("sink all")["reason"] == "disk_full")
        assert len(taken) < len(ALL)
        stage = running.stage("sink all")
        assert stage["state"] == "running"
        assert "stores/all.0." in stage["error"]
        assert "make room" in stage["error"]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        running.wait_until(lambda: running.stage("sink all")["reason"] == "")
        take(stream, taken, len(ALL))
    assert taken == ALL


def test_an_io_error_under_a_store_stops_its_sink_by_name_and_the_next_run_goes_on(tmp_path: Path, binlog: Path) -> None:
    """ext4 that is shut down under the engine, and mounted again: what was not synced is gone from memory, too."""
    image, disk = tmp_path / "image", tmp_path / "disk"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(32 << 20)
    if subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], capture_output=True, check=False).returncode:
        pytest.skip("no mkfs.ext4")
    taken: list[int] = []
    running = engine_in(tmp_path, binlog)
    running.config_path.write_text(running.config_path.read_text().replace('"batch" }', f'"batch", dir = "{disk}" }}'))
    with mounted(disk, "-o", "loop", str(image)), running:
        with running.connect("all", prefetch=0) as stream:
            take(stream, taken, 100)
            stream.flush()
            shut_down(disk)
            running.wait_until(lambda: not take_one(stream, taken, 100) and running.stage("sink all")["state"] == "failed")
            assert running.stage("sink all")["reason"] == "io_error"
            assert str(disk) in running.stage("sink all")["error"]
            stream.flush()
        assert running.stop() == 0
        assert "goes on from its last checkpoint" in running.log
    with mounted(disk, "-o", "loop", str(image)), running.start(), running.connect("all", prefetch=0) as stream:
        take(stream, taken, len(ALL))
    assert taken == ALL
