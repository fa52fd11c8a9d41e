"""A consumer that stays away too long no longer holds anything; absence is counted by one clock, and only while it could come."""

from __future__ import annotations

import subprocess
import sys

import pytest

from engine import expiry
from engine.config import Config
from engine.errors import RingError
from engine.expiry import LOOK_S, SAVE_S, Expiry, drop_consumer
from engine.instance import Instance
from engine.meta import Place, Presence
from engine.meta.open import open_meta
from engine.position import Identity
from engine.ring import Ring
from engine.shared_memory import SharedMemory

LIMIT_S = 600.0
HERE = Identity(1, 4, 0, 0)


class Clock:
    """CLOCK_MONOTONIC and the wall clock, in the test's hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.wall_s = 1_700_000_000.0

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return self.wall_s


class Engine:
    """The stores of one destination, with a consumer of the config and one that isn't in it."""

    def __init__(self, tmp_path, clock: Clock) -> None:
        self.clock = clock
        tables = {"sources": {"shop": {"files": ["x"], "ring": 1 << 20}}, "server": {"data_dir": str(tmp_path)}}
        orders = {"partitions": 2, "store": {"size": 1 << 20}, "consumer_expiry": LIMIT_S}
        self.config = Config.model_validate({**tables, "destinations": {"orders": orders}})
        self.instance = Instance(tmp_path)
        self.memory = SharedMemory(self.config, self.instance)
        self.meta = open_meta("file", self.instance)
        self.meta.ack({Place("orders", name, partition, 1): HERE for name in ("default", "visitor") for partition in (0, 1)})
        self.memory.open()
        self.memory.provide(["orders"])
        self.stores = [Ring.attach(self.instance.store_ring("orders", partition)) for partition in (0, 1)]
        self.expiry = Expiry(self.config, self.instance)

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds / LOOK_S)):
            self.clock.now_s += LOOK_S
            self.expiry.look(["orders"])

    @property
    def readers(self) -> list[set[str]]:
        return [set(ring.readers()) for ring in self.stores]

    @property
    def remembered(self) -> set[str]:
        return {place.consumer for place in self.meta.acked("orders")}

    def close(self) -> None:
        for ring in self.stores:
            ring.close()
        self.expiry.close()
        self.meta.close()
        self.memory.remove_all()


@pytest.fixture
def engine(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(expiry, "time", clock)
    engine = Engine(tmp_path, clock)
    yield engine
    engine.close()


def test_one_that_is_away_for_longer_is_dropped_everywhere_and_meta_says_so(engine, caplog):
    engine.pass_time(LIMIT_S - LOOK_S)
    assert engine.readers == [{"default", "visitor"}] * 2
    assert engine.meta.presence("orders")["visitor"].away_s >= LIMIT_S - SAVE_S - LOOK_S
    engine.pass_time(3 * LOOK_S)
    assert engine.readers == [{"default"}] * 2
    assert engine.remembered == {"default"}
    assert engine.meta.presence("orders")["visitor"].expired_at == engine.clock.wall_s
    assert caplog.text.count("orders/visitor was away for") == 1


def test_those_of_the_config_never_expire(engine):
    engine.pass_time(3 * LIMIT_S)
    assert engine.readers == [{"default"}] * 2


def test_a_session_makes_the_absence_begin_anew_also_one_that_came_and_went_between_two_looks(engine):
    engine.pass_time(LIMIT_S - 2 * LOOK_S)
    with engine.stores[1].reader("visitor").counters as counters:
        counters[5] += 1  # ConsumerCounter.SESSIONS
    engine.pass_time(LIMIT_S - 2 * LOOK_S)
    assert engine.readers == [{"default", "visitor"}] * 2
    reader = engine.stores[0].reader("visitor")
    reader.open()
    engine.pass_time(2 * LIMIT_S)
    assert engine.readers == [{"default", "visitor"}] * 2
    assert engine.meta.presence("orders")["visitor"].away_s == 0.0


def test_a_wall_clock_that_jumps_and_an_engine_that_is_down_or_stood_still_make_nobody_older(engine):
    engine.pass_time(SAVE_S + LOOK_S)
    engine.clock.wall_s += 10 * 365 * 86400
    engine.clock.now_s += 10 * LIMIT_S  # the process stood still
    engine.expiry.look(["orders"])
    engine.clock.wall_s -= 20 * 365 * 86400
    engine.expiry.close()
    engine.clock.now_s += 10 * LIMIT_S  # no engine ran
    engine.expiry = Expiry(engine.config, engine.instance)
    engine.pass_time(LIMIT_S / 2)
    assert engine.readers == [{"default", "visitor"}] * 2


def test_absence_is_counted_on_after_a_restart(engine):
    engine.pass_time(LIMIT_S * 0.7)
    engine.expiry.close()
    engine.expiry = Expiry(engine.config, engine.instance)
    engine.pass_time(LIMIT_S * 0.2)
    assert engine.readers == [{"default", "visitor"}] * 2
    engine.pass_time(LIMIT_S * 0.2)
    assert engine.readers == [{"default"}] * 2


def test_one_with_a_session_in_any_partition_is_not_dropped_and_nothing_is_changed(engine):
    code = (
        "import sys; from engine.ring import Ring; reader = Ring.attach(sys.argv[1]).reader('visitor'); reader.open();"
        "print('open', flush=True); sys.stdin.read()"
    )
    name = engine.instance.store_ring("orders", 1)
    with subprocess.Popen([sys.executable, "-c", code, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as session:
        assert session.stdout.readline() == b"open\n"
        with pytest.raises(RingError, match="is a live process"):
            drop_consumer(engine.config, engine.instance, engine.meta, "orders", "visitor", Presence(1.0, 2.0))
        session.stdin.close()
    assert engine.readers == [{"default", "visitor"}] * 2
    assert engine.remembered == {"default", "visitor"}
    assert engine.meta.presence("orders") == {}
    assert engine.stores[0].reader("visitor").owner_pid == 0
