"""The thread that turns a store's futex into something an event loop can wait for."""

import os
import select

import pytest

from engine.errors import InternalError, RingError
from engine.ring import Ring
from engine.server._waker import MOST_RINGS, Waker
from tests.histories import History, put

MIB = 1 << 20


@pytest.fixture
def rings():
    rings = [Ring.create(None, MIB) for _ in range(3)]
    for ring in rings:
        ring.open_writer()
        ring.add_reader("cache")
    yield rings
    for ring in rings:
        ring.close()


@pytest.fixture
def waker(rings):
    waker = Waker()
    yield waker
    waker.close()
    waker.close()


def woken(waker, timeout=10.0):
    if not select.select([waker.fd], [], [], timeout)[0]:
        return False
    os.eventfd_read(waker.fd)
    return True


def test_a_put_into_any_armed_ring_wakes(rings, waker):
    history = History()
    for ring in rings:
        waker.arm(rings, [ring.put for ring in rings])
        put(ring, history.heartbeat())
        assert woken(waker)


def test_what_is_there_already_wakes_at_once(rings, waker):
    put(rings[0], History().heartbeat())
    waker.arm([rings[0]], [0])
    assert woken(waker)


def test_one_wake_up_disarms(rings, waker):
    history = History()
    waker.arm([rings[0]], [0])
    put(rings[0], history.heartbeat())
    assert woken(waker)
    put(rings[0], history.heartbeat())
    assert not woken(waker, 0.05)


def test_arming_anew_forgets_the_rings_before(rings, waker):
    waker.arm([rings[0]], [0])
    waker.arm([rings[1]], [0])
    put(rings[0], History().heartbeat())
    assert not woken(waker, 0.05)
    put(rings[1], History().heartbeat())
    assert woken(waker)


def test_a_finished_writer_is_no_news(rings, waker):
    waker.arm(rings, [0, 0, 0])
    rings[0].close_writer(finished=True)
    assert not woken(waker, 0.05)
    put(rings[1], History().heartbeat())
    assert woken(waker)


def test_thousands_of_wake_ups_lose_none(rings, waker):
    history = History()
    ring = rings[0]
    for number in range(3000):
        waker.arm([ring], [ring.put])
        put(ring, history.heartbeat())
        assert woken(waker), number


def test_closed_and_too_many_rings_are_refused(rings, waker):
    with pytest.raises(InternalError, match=f"most={MOST_RINGS}"):
        waker.arm([rings[0]] * (MOST_RINGS + 1), [0] * (MOST_RINGS + 1))
    rings[2].close()
    with pytest.raises(RingError, match="closed"):
        waker.arm([rings[2]], [0])
