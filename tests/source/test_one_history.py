"""Engines with one meta that go to the next server each for itself: its history has one number, whoever comes first."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.counters import SourceCounter
from engine.meta import Place
from engine.meta.file import FileMeta
from engine.meta.open import open_meta
from engine.position import Identity
from engine.record import AGAIN
from engine.source import connection
from engine.source.beginnings import beginning, sure_mark, time_mark
from engine.source.gtid_set import parse_gtids
from engine.source.server_identity import Turn
from tests.servers.replication import executed, wait_for
from tests.source.decoding import identity
from tests.source.stepped_engine import Engine, insert
from tests.source.test_failover import FLAGS, SOURCE, Pair, pair, settings, turns

__all__ = ["pair"]


@pytest.fixture(autouse=True)
def as_two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source of one process has one uuid as a replica, and a server sends away the older one of two that have the same."""
    monkeypatch.setattr(connection, "_replica_uuid", lambda name, pid: str(uuid.uuid4()))


def two_with_one_meta(pair: Pair, make_engine: Any) -> tuple[Engine, Engine]:
    """Both read the primary; as two engines of a cluster would, each for a destination of its own."""
    one, other = (make_engine(settings(pair, server_id=id), include=[r"stage_pair\..*"]) for id in (1001, 1002))
    kept = other.instance.meta_file("file")
    for file in kept.parent.glob(f"{kept.name}*"):
        file.unlink()
    kept.symlink_to(one.instance.meta_file("file"))
    for each in (one, other):
        each.start()
        each.until(lambda each=each: each.counter(SourceCounter.CONNECTED))
    return one, other


def acked(engine: Engine, **by_consumer: Any) -> None:
    """Of each consumer, the change that it has acked last."""
    meta = open_meta("file", engine.instance)
    meta.ack({Place("all", name, 0, change[SOURCE]): Identity(*identity(change)) for name, change in by_consumer.items()})
    meta.close()


@pytest.mark.timeout(120)
def test_the_one_that_comes_later_joins_and_either_can_go_on_for_the_consumers_of_both(pair: Pair, make_engine: Any) -> None:
    ahead, behind = two_with_one_meta(pair, make_engine)
    insert(pair.primary, "stage_pair", 1, 2)
    for engine in (ahead, behind):
        engine.until(lambda engine=engine: engine.values() == [1, 2])
    behind.stop()
    insert(pair.primary, "stage_pair", 3)
    ahead.until(lambda: ahead.values() == [1, 2, 3])
    wait_for(pair.replica, pair.primary)
    pair.proxy.cut()
    pair.proxy.refuse()
    ahead.until(lambda: len(turns(ahead)) == 2 and ahead.counter(SourceCounter.CONNECTED))
    behind.start()
    behind.until(lambda: behind.values() == [1, 2, 3])
    insert(pair.replica, "stage_pair", 4)
    for engine in (ahead, behind):
        engine.until(lambda engine=engine: engine.values() == [1, 2, 3, 4])
    assert len(turns(ahead)) == 2
    assert [[change[SOURCE] for change in engine.changes()] for engine in (ahead, behind)] == [[1, 1, 1, 2], [1, 1, 2, 2]]
    assert identity(ahead.changes()[3]) == identity(behind.changes()[3])

    acked(ahead, default=ahead.changes()[3], other=behind.changes()[2])
    ahead.drop_ring()
    ahead.records.clear()
    ahead.make_ring()
    insert(pair.replica, "stage_pair", 5)
    ahead.start()
    ahead.until(lambda: ahead.values() == [4, 5])
    assert len(turns(ahead)) == 2
    assert ahead.stage is not None
    assert ahead.stage._ledger.executed() == parse_gtids(pair.replica.name, executed(pair.replica))
    assert not any(record[FLAGS] & AGAIN for engine in (ahead, behind) for record in engine.records)


@pytest.mark.timeout(120)
def test_of_two_that_come_at_the_same_moment_one_is_first_and_another_binlog_under_the_same_names_is_not_joined(
    pair: Pair, make_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two_with_one_meta(pair, make_engine)
    insert(pair.primary, "stage_pair", 1)
    for engine in (one, other):
        engine.until(lambda engine=engine: engine.values() == [1])
    wait_for(pair.replica, pair.primary)
    pair.proxy.cut()
    pair.proxy.refuse()
    give: Callable[..., int] = FileMeta.source_number
    seen: list[int] = []

    def after_the_other(self: FileMeta, *args: Any) -> int:
        monkeypatch.setattr(FileMeta, "source_number", give)
        other.until(lambda: other.counter(SourceCounter.CONNECTED) and len(turns(other)) == 2)
        seen.append(give(self, *args))
        return seen[0]

    monkeypatch.setattr(FileMeta, "source_number", after_the_other)
    one.until(lambda: seen and one.counter(SourceCounter.CONNECTED))
    insert(pair.replica, "stage_pair", 2)
    for engine in (one, other):
        engine.until(lambda engine=engine: engine.values() == [1, 2])
    assert seen == [0], "it was not first"
    assert len(turns(one)) == 2

    meta = open_meta("file", one.instance)
    kept = meta.histories()[2].identity
    assert meta.change_history(2, kept, replace(Turn(**json.loads(kept)), mark="of a binlog that was begun otherwise").pack())
    meta.close()
    acked(one, default=one.changes()[0])
    one.drop_ring()
    one.records.clear()
    one.make_ring()
    one.start()
    one.until(lambda: one.values()[-1:] == [2])
    assert len(turns(one)) == 3


def test_before_what_all_had_executed_lies_behind_only_what_all_beginnings_have_is_sure(tmp_path: Path) -> None:
    meta = FileMeta(tmp_path / "meta.sqlite")
    kept = [
        (beginning("0-1-5,1-1-9"), "0-1-5,1-1-9"), (beginning("0-1-7,2-1-1"), "0-1-7,2-1-1"),
        (Identity(3, 100, 0, 0), "0-1-8"), (Identity(3, 900, 0, 0), "0-1-9"),
    ]  # fmt: skip
    turn = Turn(2, "server", settled_file=3, settled_start=500)
    for place, text in kept:
        meta.keep_gtid_set(2, place, text)
    assert sure_mark(meta, 2, [], turn) is None
    assert sure_mark(meta, 2, kept[:1], turn) == kept[0], "only one has begun here"
    assert sure_mark(meta, 2, kept[1:3], turn) == kept[2]
    assert sure_mark(meta, 2, kept, turn) == kept[3]
    common = sure_mark(meta, 2, kept[:3], turn)
    assert common == (beginning("0-1-5"), "0-1-5")
    assert common in meta.gtid_sets(2), "a ring's note refers to it"
    times = [(beginning(time_mark(us)), time_mark(us)) for us in (7, 5)]
    assert sure_mark(meta, 2, times, turn) == times[1]
    meta.close()
