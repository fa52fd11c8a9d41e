"""One source, two destinations, and a consumer of one of them that dies: what becomes of the other."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kills import is_alive
from tests.running_engine import RunningEngine
from tests.source.made_binlog import MadeBinlog

MIB = 1 << 20
TRANSACTIONS, ROWS, ROW_BYTES = 200, 100, 1000  # 20 MB: ten times what the memory rings of this engine hold together
SMALL = {"kind": "memory", "size": "1MiB"}
Rows = list[tuple[int, bytes]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Rows]:
    """A binlog file, and the rows that it inserts."""
    made, random_bytes, rows = MadeBinlog(), random.Random(4).randbytes, []
    for number in range(TRANSACTIONS):
        these = [(number * ROWS + n, random_bytes(ROW_BYTES)) for n in range(ROWS)]
        made.transaction(these, number + 1)
        rows += these
    path = tmp_path_factory.mktemp("binlog") / "binlog.000001"
    path.write_bytes(made.data)
    return path, rows


@pytest.fixture
def make_engine(tmp_path: Path, written: tuple[Path, Rows]) -> Callable[..., RunningEngine]:
    """Of the destinations `quick`, which has a store in memory, and `slow`; `slow_store`: the store of that one."""

    def make(slow_store: dict[str, str]) -> RunningEngine:
        sources = {"shop": {"files": [str(written[0])], "ring": "1MiB"}}
        return RunningEngine(tmp_path / "engine", sources, {"quick": {"store": SMALL}, "slow": {"store": slow_store}})

    return make


def take(stream: Any, taken: Rows, wait_ms: int = 20_000, rows: int | None = None) -> bool:
    """Get a batch and ack it; False: none came."""
    batch = stream.get(wait_ms=wait_ms, rows=rows)
    if batch is None:
        return False
    taken += [(change.after["id"], change.after["v"]) for change in batch]
    batch.ack()
    stream.flush()
    return True


def die_early(running: RunningEngine) -> Rows:
    """A consumer of `slow` that goes away with one batch acked and one not."""
    taken: Rows = []
    with running.connect("slow", prefetch=0) as stream:
        assert take(stream, taken, rows=ROWS)
        assert stream.get(wait_ms=20_000, rows=ROWS) is not None
    return taken


def held(running: RunningEngine, destination: str) -> int:
    return running.observe()["consumers"][f"{destination}/default/0"]["held_bytes"]


def test_with_stores_in_memory_a_dead_consumer_stops_the_other_destination_until_it_is_back(make_engine, written) -> None:
    quick: Rows = []
    with make_engine(SMALL) as running:
        slow = die_early(running)
        with running.connect("quick", prefetch=0) as stream:
            running.wait_until(  # all that this consumer can have, while the other's store and the source's ring are full
                lambda: (
                    not take(stream, quick, wait_ms=200)
                    and held(running, "slow") > MIB * 3 // 4
                    and running.observe()["sources"]["shop"]["held_bytes"] > MIB // 2
                )
            )
            assert 0 < len(quick) < len(written[1]) // 4
            with running.connect("slow", prefetch=0) as back:
                while len(slow) < len(written[1]):
                    assert take(back, slow)
                    take(stream, quick, wait_ms=0)
            while len(quick) < len(written[1]):
                assert take(stream, quick)
    assert quick == written[1]
    assert slow == written[1]


@pytest.mark.parametrize("killed", [False, True])
def test_with_its_store_in_a_file_the_other_goes_on_and_it_gets_everything_when_it_is_back(make_engine, written, killed) -> None:
    """Also if the whole engine is killed before that."""
    quick: Rows = []
    with make_engine({"kind": "file", "size": "32MiB"}) as running:
        slow = die_early(running)
        with running.connect("quick", prefetch=0) as stream:
            while len(quick) < len(written[1]):
                assert take(stream, quick)
        running.wait_until(lambda: held(running, "slow") > (len(written[1]) - len(slow)) * ROW_BYTES)
        if killed:
            pids = [stage["pid"] for stage in running.observe()["stages"]]
            running.kill()
            running.process = None
            running.wait_until(lambda: not any(is_alive(pid) for pid in pids))
            running.start()
        with running.connect("slow", prefetch=0) as stream:
            while len(slow) < len(written[1]):
                assert take(stream, slow)
            assert stream.get() is None
    assert quick == written[1]
    assert slow == written[1]
