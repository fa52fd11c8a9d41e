"""A probe beside the heartbeats: a server that still sends its binlog, but no longer does what it is for, is left."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from engine.config import SourceConfig
from engine.counters import SourceCounter
from tests.source.stepped_engine import insert
from tests.source.test_failover import Pair, pair, settings, turns

__all__ = ["pair"]
PROBE = {
    "probe": "SELECT COUNT(*) > 0 AND @@GLOBAL.read_only = 0 FROM stage_pair.health",
    "probe_s": 0.3, "probe_timeout_s": 1.0, "probe_failures": 2, "failover_s": 3600.0,
}  # fmt: skip


@pytest.mark.timeout(180)
def test_a_server_that_does_not_answer_or_answers_no_makes_room_for_the_next(pair: Pair, make_engine: Any) -> None:
    pair.primary.sql("CREATE TABLE stage_pair.health (id INT PRIMARY KEY)", "INSERT INTO stage_pair.health VALUES (1)")
    engine = make_engine({**settings(pair), **PROBE}, include=[r"stage_pair\.t"])
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    insert(pair.primary, "stage_pair", 1)
    engine.until(lambda: engine.values() == [1])
    with pair.primary.connect() as session:
        session.query("LOCK TABLES stage_pair.health WRITE")  # the dump goes on, with its heartbeats
        engine.until(lambda: len(turns(engine)) == 2 and engine.counter(SourceCounter.CONNECTED))
        session.query("UNLOCK TABLES")
    pair.replica.sql("SET GLOBAL read_only = 1")
    engine.until(lambda: len(turns(engine)) == 3 and engine.counter(SourceCounter.CONNECTED))
    insert(pair.primary, "stage_pair", 2)
    engine.until(lambda: engine.values() == [1, 2])
    assert [(turn.reason, turn.where.rpartition(":")[2]) for turn in turns(engine)[1:]] == [
        ("probe_failed", str(pair.replica.port)), ("probe_failed", str(pair.proxy.port)),
    ]  # fmt: skip
    assert "answer" in turns(engine)[2].why


def test_a_probe_without_another_server_to_go_to_is_refused() -> None:
    with pytest.raises(ValidationError, match="probe is for a source with urls"):
        SourceConfig(url="mysql://repl@db1:3306", probe="SELECT 1")
