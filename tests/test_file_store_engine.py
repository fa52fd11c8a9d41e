"""A whole engine with a file store: whatever goes down, consumers get what they had not acked, also from the store alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import EngineError
from engine.instance import Instance
from tests.kills import is_alive
from tests.running_engine import RunningEngine

BINLOG = Path(__file__).parent / "data" / "mysql-shop" / "binlog.000001"
STORE = {"kind": "file", "size": "1MiB", "sync": "batch"}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a consumer of an engine without trouble gets."""
    with RunningEngine(tmp_path_factory.mktemp("calm"), {"shop": {"files": [str(BINLOG)]}}, {"all": {}}) as calm:
        return take(calm)


@pytest.fixture
def make_engine(tmp_path: Path) -> Callable[..., RunningEngine]:
    """Of one source, a binlog file, and one destination with a file store."""

    def make(**destination: object) -> RunningEngine:
        sources = {"shop": {"files": [str(BINLOG)]}}
        return RunningEngine(tmp_path / "engine", sources, {"all": {"store": STORE, **destination}})

    return make


def take(running: RunningEngine, n: int | None = None) -> list[str]:
    """Get and ack at least n changes; None: all there are, until none has come for a second."""
    taken: list[str] = []
    try:
        with running.connect("all") as stream:
            while n is None or len(taken) < n:
                batch = stream.get(wait_ms=1000 if taken else 20_000, rows=None if n is None else 3)
                if batch is None:
                    break
                taken += [str(change.to_json()) for change in batch]
                batch.ack()
    except EngineError as error:
        raise AssertionError(f"{error}; the engine's log:\n{running.log}") from error
    assert taken
    return taken


def kill_everything(running: RunningEngine) -> None:
    pids = [stage["pid"] for stage in running.observe()["stages"]]
    running.kill()
    running.process = None
    running.wait_until(lambda: not any(is_alive(pid) for pid in pids))


def lose_memory(running: RunningEngine) -> None:
    """Of what a power cut takes, what a test can take."""
    for path in Path("/dev/shm").glob(Instance(running.folder / "data").prefix + "*"):
        path.unlink()


def test_after_an_ordered_stop_every_partition_goes_on_where_it_was(make_engine, expected) -> None:
    with make_engine(partitions=3) as running:
        got = take(running, 5)
        assert running.stop() == 0
        running.start()
        got += take(running)
        assert sorted(got) == sorted(expected)


def test_after_the_loss_of_all_memory_nothing_acked_comes_again_and_nothing_is_missing(make_engine, expected) -> None:
    with make_engine() as running:
        got = take(running, 7)
        for _ in range(2):
            kill_everything(running)
            lose_memory(running)
            running.start()
            got += take(running, 5)
        got += take(running)
        assert got == expected


def test_after_a_kill_of_everything_the_store_goes_on_where_it_was(make_engine, expected) -> None:
    with make_engine() as running:
        got = take(running, 7)
        kill_everything(running)
        running.start()
        assert "is taken over as the killed engine left it" in running.log
        got += take(running, 5)
        kill_everything(running)
        (running.folder / "data" / "rings.json").unlink()  # another source ring, the same store
        running.start()
        got += take(running)
        assert got == expected


def test_a_store_that_can_not_be_trusted_ends_the_engine_with_the_file_and_what_to_do(make_engine) -> None:
    with make_engine() as running:
        take(running, 5)
        assert running.stop() == 0
        data = running.folder / "data" / "stores" / "all.0.data"
        damaged = bytearray(data.read_bytes())
        damaged[100] ^= 1
        data.write_bytes(damaged)
        with pytest.raises(
            AssertionError, match=rf"the engine ended with 1:(?s:.*){data} offset=0(?s:.*)move the store's files away"
        ):
            running.start()
        for path in data.parent.iterdir():
            path.unlink()
        running.start()
        assert take(running)
