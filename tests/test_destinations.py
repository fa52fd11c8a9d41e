"""Destinations that start and stop while the engine runs, and what that does to the sources they share."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import PeerError
from tests.running_engine import RunningEngine
from tests.test_supervisor import binlog_files_of, left_in_shared_memory


@pytest.fixture
def conducted(tmp_path):
    """Destinations, none of them running: `left` and `right` read one source, `other` another, `both` both."""
    sources = {"shop": binlog_files_of("mariadb-shop"), "depot": binlog_files_of("mysql-shop")}
    destinations = {
        "left": {"from": ["shop"]},
        "right": {"from": ["shop"], "sinks": 2, "partitions": 2},
        "other": {"from": ["depot"]},
        "both": {"from": ["shop", "depot"]},
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
            seen += [as_text(change) for change in batch]
            batch.ack()
    return seen


def as_text(change: Any) -> str:
    return str((change.op, change.source, change.position, change.before, change.after))


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


@pytest.mark.parametrize(("first", "joining"), [("left", "right"), ("both", "left")])
def test_one_that_joins_a_source_already_read_gets_everything_and_who_reads_another_keeps_his_session(conducted, first, joining):
    conducted.conduct("start", first)
    conducted.wait_until(lambda: first in conducted.observe()["destinations"])
    seen: list[str] = []

    def take(stream, rows: int | None, wait_ms: int = 20_000):
        batch = stream.get(wait_ms=wait_ms, rows=rows)
        seen.extend(as_text(change) for change in batch or ())
        return batch

    with conducted.connect(first, prefetch=0) as stream:
        take(stream, 5).ack()
        not_acked = take(stream, 7)
        assert conducted.conduct("start", joining) == [first, joining]
        not_acked.ack()
        everything = read_all(conducted, joining)
        while (batch := take(stream, None, 1000)) is not None:
            batch.ack()
        stream.flush()
        consumers = conducted.observe()["consumers"].values()
        assert {one["sessions"] for one in consumers if one["destination"] == first} == {1}
    assert len(seen) == len(set(seen)) > 12
    smaller, larger = sorted((sorted(seen), sorted(everything)), key=len)
    assert set(smaller) <= set(larger)
    if "both" in (first, joining):
        assert len(smaller) < len(larger)
    else:
        assert smaller == larger


def test_one_that_leaves_a_shared_source_no_longer_holds_it_back_and_goes_on_from_its_acks_later(conducted):
    conducted.conduct("start", "left", "right")
    first = read_all(conducted, "left", most=5)
    assert conducted.conduct("stop", "left") == ["right"]
    everything = read_all(conducted, "right")
    ring = conducted.observe()["sources"]["shop"]
    assert ring["held_bytes"] == 0
    conducted.conduct("start", "left")
    assert sorted(first + read_all(conducted, "left")) == sorted(everything)
