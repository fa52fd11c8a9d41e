"""Destinations that start and stop while the engine runs, and what that does to the sources they share."""

from __future__ import annotations

import pytest

from engine.errors import PeerError
from tests.running_engine import RunningEngine
from tests.test_supervisor import binlog_files_of, left_in_shared_memory


@pytest.fixture
def conducted(tmp_path):
    """Three destinations, none of them running: `left` and `right` read one source, `other` another."""
    sources = {"shop": binlog_files_of("mariadb-shop"), "depot": binlog_files_of("mysql-shop")}
    destinations = {
        "left": {"from": ["shop"]},
        "right": {"from": ["shop"], "sinks": 2, "partitions": 2},
        "other": {"from": ["depot"]},
    }
    engine = RunningEngine(tmp_path, sources, destinations)
    try:
        yield engine.start_conducted()
    finally:
        engine.__exit__()
        for pipe in (engine.process.stdin, engine.process.stdout):
            pipe.close()


def read_all(engine: RunningEngine, destination: str, most: int | None = None) -> list[str]:
    """What comes until half a second passes without a batch, or `most` changes, all acked; connects until it is let in."""
    stream = None

    def connected() -> bool:
        nonlocal stream
        try:
            stream = engine.connect(destination)
        except PeerError:
            return False
        return True

    engine.wait_until(connected)
    seen: list[str] = []
    with stream:
        while most is None or len(seen) < most:
            batch = stream.get(wait_ms=500 if seen else 20_000, rows=most and most - len(seen))
            if batch is None:
                break
            seen += [str((change.op, change.position, change.before, change.after)) for change in batch]
            batch.ack()
    return seen


def titles(engine: RunningEngine) -> set[str]:
    return {stage["title"] for stage in engine.observe()["stages"]}


def test_a_destination_brings_its_sources_and_sinks_and_takes_them_with_it_when_nobody_else_needs_them(conducted):
    conducted.wait_until(lambda: titles(conducted) == {"server"})
    assert conducted.conduct("start", "left") == ["left"]
    conducted.wait_until(lambda: titles(conducted) == {"server", "sink left", "source shop"})
    everything = read_all(conducted, "left")
    assert everything
    assert conducted.conduct("start", "other") == ["left", "other"]
    conducted.wait_until(lambda: titles(conducted) == {"server", "sink left", "sink other", "source shop", "source depot"})
    assert read_all(conducted, "other")
    assert conducted.conduct("stop", "left") == ["other"]
    conducted.wait_until(lambda: titles(conducted) == {"server", "sink other", "source depot"})
    assert not [name for name in left_in_shared_memory(conducted) if "left" in name or "shop" in name]


def test_one_that_joins_a_source_already_read_gets_everything_and_the_others_nothing_twice(conducted):
    conducted.conduct("start", "left")
    first = read_all(conducted, "left", most=5)
    assert conducted.conduct("start", "right") == ["left", "right"]
    rest, other = read_all(conducted, "left"), read_all(conducted, "right")
    assert not set(first) & set(rest)
    assert sorted(first + rest) == sorted(other)


def test_one_that_leaves_a_shared_source_no_longer_holds_it_back_and_goes_on_from_its_acks_later(conducted):
    conducted.conduct("start", "left", "right")
    first = read_all(conducted, "left", most=5)
    assert conducted.conduct("stop", "left") == ["right"]
    everything = read_all(conducted, "right")
    ring = conducted.observe()["sources"]["shop"]
    assert ring["held_bytes"] == 0
    conducted.conduct("start", "left")
    assert sorted(first + read_all(conducted, "left")) == sorted(everything)
