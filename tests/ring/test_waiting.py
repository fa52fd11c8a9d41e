"""Waiting on a ring: what wakes, how soon, and that it costs nothing meanwhile."""

from __future__ import annotations

import re
import resource
import signal
import threading
import time
from typing import Any

import pytest

from engine.errors import RingError
from engine.record import MIN_RING_BYTES
from engine.ring import FULL, Reader, Ring, touch, wait_any
from tests.ring.records import record, take_all

pytestmark = pytest.mark.timeout(30)

MS = 1_000_000
SECOND = 1_000 * MS


def later(delay_s: float, what: Any) -> threading.Timer:
    timer = threading.Timer(delay_s, what)
    timer.start()
    return timer


def test_a_wait_costs_no_processor_time(ring: Ring, reader: Reader) -> None:
    while ring.try_put(record(1, 200_000)) != FULL:
        pass
    reader.advance(reader.lag_bytes)
    for wait in (lambda: reader.wait(SECOND // 2), lambda: ring.wait_writable(200_000, SECOND // 2),
                 lambda: wait_any([reader, reader], SECOND // 2)):  # fmt: skip
        used, start = time.process_time(), time.monotonic()
        assert wait() is False
        assert 0.45 < time.monotonic() - start < 2
        assert time.process_time() - used < 0.1


def test_a_wait_ends_at_once_when_there_is_something(ring: Ring, reader: Reader) -> None:
    ring.try_put(record(1, 100))
    assert reader.wait(SECOND) is reader.wait(0) is True
    assert wait_any([reader], SECOND) is ring.wait_writable(100, SECOND) is True


@pytest.mark.parametrize("how", ["wait", "wait_any"])
def test_a_waiting_reader_wakes_within_milliseconds_of_a_put(ring: Ring, reader: Reader, how: str) -> None:
    empty = Ring.create(None, MIN_RING_BYTES).add_reader("empty")
    delays = []
    for number in range(20):
        put_ns: list[int] = []

        def put(number: int = number, put_ns: list[int] = put_ns) -> None:
            put_ns.append(time.monotonic_ns())
            ring.try_put(record(number, 100))

        timer = later(0.005, put)
        assert (reader.wait(5 * SECOND) if how == "wait" else wait_any([empty, reader], 5 * SECOND)) is True
        delays.append(time.monotonic_ns() - put_ns[0])
        timer.join()
        assert take_all(reader) == [number]
    assert sorted(delays)[10] < 5 * MS


@pytest.mark.parametrize("how", ["acks", "goes"])
def test_a_waiting_writer_wakes_when_the_slowest_reader_acks_or_goes(ring: Ring, reader: Reader, how: str) -> None:
    ahead = ring.add_reader("ahead")
    ahead.open()
    written = record(1, 200_000)
    while ring.try_put(written) != FULL:
        pass
    take_all(ahead)
    timer = later(0.02, lambda: take_all(reader) if how == "acks" else ring.drop_reader("sink"))
    start = time.monotonic()
    assert ring.wait_writable(len(written), 5 * SECOND) is True
    assert time.monotonic() - start < 2
    timer.join()
    assert ring.try_put(written) != FULL


def test_a_wait_for_more_room_than_there_can_be_is_refused(ring: Ring) -> None:
    with pytest.raises(RingError, match="more than the ring holds"):
        ring.wait_writable(ring.capacity + 1, SECOND)


def test_a_finished_writer_ends_every_wait(ring: Ring, reader: Reader) -> None:
    other = Ring.create(None, MIN_RING_BYTES)
    waiting = [reader, other.add_reader("other")]
    for wait in (lambda: reader.wait(20 * SECOND), lambda: wait_any(waiting, 20 * SECOND)):
        ring.open_writer()
        timer = later(0.02, lambda: ring.close_writer(finished=True))
        start = time.monotonic()
        assert wait() is False
        assert time.monotonic() - start < 5
        timer.join()
        assert ring.writer_finished
    other.open_writer()
    timer = later(0.02, lambda: other.try_put(record(1, 100)))
    assert wait_any(waiting, 20 * SECOND) is True, "one finished ring doesn't end the wait for the others"
    timer.join()


def test_what_was_put_just_before_the_end_is_still_found(ring: Ring, reader: Reader) -> None:
    ring.try_put(record(1, 100))
    ring.close_writer(finished=True)
    assert reader.wait(SECOND) is True
    assert take_all(reader) == [1]
    assert reader.wait(SECOND) is False


@pytest.mark.parametrize("how", ["wait", "wait_any", "wait_writable"])
def test_a_signal_handler_runs_in_the_middle_of_a_wait(ring: Ring, reader: Reader, how: str) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    while ring.try_put(record(1, 200_000)) != FULL:
        pass
    reader.advance(reader.lag_bytes)
    waits = {
        "wait": lambda: reader.wait(20 * SECOND),
        "wait_any": lambda: wait_any([reader], 20 * SECOND),
        "wait_writable": lambda: ring.wait_writable(200_000, 20 * SECOND),
    }
    before = signal.signal(signal.SIGALRM, interrupt)
    start = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Interrupted):
            waits[how]()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - start < 5


def test_a_ring_closed_under_a_wait_stays_mapped_until_it_ends(ring: Ring, reader: Reader) -> None:
    timer = later(0.02, ring.close)
    assert reader.wait(SECOND // 5) is False
    timer.join()
    with pytest.raises(RingError, match="closed"):
        reader.wait(1)


@pytest.mark.parametrize("count", [0, 129])
def test_wait_any_takes_1_to_128_readers(reader: Reader, count: int) -> None:
    with pytest.raises(RingError, match=re.escape(f"readers={count}")):
        wait_any([reader] * count, 1)


def test_memory_that_was_touched_ahead_costs_no_page_fault_when_it_is_written(ring: Ring) -> None:
    ring.try_put(record(1, 1000))
    assert touch(ring, 1000, ring.capacity // 2) == 1000 + ring.capacity // 2
    assert touch(ring, 1000 + ring.capacity // 2, ring.capacity) == ring.capacity, "the rest comes when the ring begins anew"
    assert touch(ring, ring.capacity + 5000, 3000) == ring.capacity + 8000
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    while ring.try_put(record(2, 1000)) != FULL:
        pass
    faults = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before
    assert faults < ring.capacity // 4096 // 4
    reader = ring.add_reader("sink")
    reader.open()
    assert take_all(reader) == [1] + [2] * (ring.capacity // 1000 - 1)
    ring.close()
    with pytest.raises(RingError, match="closed"):
        touch(ring, 0, 1000)
