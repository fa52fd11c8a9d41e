"""The FIFO that makes of a store's new records something that an event loop can wait for."""

import os
import select
import subprocess
import sys

import pytest

from engine.errors import RingError
from engine.ring import Ring, bell_when, hang_bell
from engine.server.bell import Bell
from tests.histories import History, put

MIB = 1 << 20


@pytest.fixture
def bell(tmp_path):
    bell = Bell(tmp_path / "bell")
    yield bell
    bell.close()
    bell.close()


@pytest.fixture
def rings(bell):
    rings = [Ring.create(None, MIB) for _ in range(3)]
    for ring in rings:
        ring.open_writer()
        ring.add_reader("cache")
        bell.hang(ring)
    yield rings
    for ring in rings:
        ring.close()


def rung(bell, timeout=10.0):
    if not select.select([bell.fd], [], [], timeout)[0]:
        return False
    os.read(bell.fd, 4096)
    return True


def test_a_put_into_any_ring_that_is_waited_for_rings(rings, bell):
    history = History()
    for ring in rings:
        assert not any(bell_when(each, each.put) for each in rings)
        put(ring, history.heartbeat())
        assert rung(bell)


def test_what_is_there_already_is_said_at_once(rings):
    put(rings[0], History().heartbeat())
    assert bell_when(rings[0], 0)


def test_it_rings_once_for_each_time_that_it_is_asked_for(rings, bell):
    history = History()
    bell_when(rings[0], 0)
    put(rings[0], history.heartbeat())
    assert rung(bell)
    put(rings[0], history.heartbeat())
    assert not rung(bell, 0.05)


def test_a_finished_writer_is_no_news(rings, bell):
    bell_when(rings[0], 0)
    rings[0].close_writer(finished=True)
    assert not rung(bell, 0.05)


def test_thousands_of_rings_lose_none(rings, bell):
    history = History()
    ring = rings[0]
    for number in range(3000):
        assert not bell_when(ring, ring.put)
        put(ring, history.heartbeat())
        assert rung(bell), number


def test_a_bell_that_is_not_heard_holds_no_writer_up(rings, bell):
    put(rings[0], History().heartbeat())
    for _ in range(70_000):  # more than a FIFO holds
        bell_when(rings[0], 0)
        rings[0].publish()
    assert rung(bell)


def test_a_server_that_comes_after_a_killed_one_is_rung_for_too(tmp_path):
    history = History()
    with_name = f"binlog-engine-test-bell.{os.getpid()}"
    ring = Ring.create(with_name, MIB)
    try:
        ring.open_writer()
        ring.add_reader("cache")
        killed = (
            "import os, signal, sys; from pathlib import Path; from engine.ring import Ring, bell_when;"
            "from engine.server.bell import Bell; bell = Bell(Path(sys.argv[1])); ring = Ring.attach(sys.argv[2]);"
            "bell.hang(ring); bell_when(ring, ring.put); os.kill(os.getpid(), signal.SIGKILL)"
        )
        subprocess.run([sys.executable, "-c", killed, str(tmp_path / "bell"), with_name], check=False, timeout=60)
        put(ring, history.heartbeat())  # nobody hears it
        for _ in range(2):  # the second has another file under the same name
            bell = Bell(tmp_path / "bell")
            bell.hang(ring)
            assert not bell_when(ring, ring.put)
            put(ring, history.heartbeat())
            assert rung(bell)
            bell.close()
            bell_when(ring, ring.put)
            put(ring, history.heartbeat())
    finally:
        ring.close()
        Ring.unlink(with_name)


def test_a_closed_ring_and_a_path_that_is_too_long_are_refused(rings):
    with pytest.raises(RingError, match="too long"):
        hang_bell(rings[0], "/" + "x" * 255)
    rings[2].close()
    with pytest.raises(RingError, match="closed"):
        bell_when(rings[2], 0)
