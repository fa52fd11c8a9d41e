"""The server's event loop: what is called, in which order, and what ends its waiting."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time

import pytest

from engine.server._loop import Loop


class Run:
    """A loop, and the exceptions that its callbacks have raised."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.loop = Loop(self.errors.append)

    def turn(self) -> None:
        """One, without waiting."""
        self.loop.stop()
        self.loop.run_forever()


@pytest.fixture
def run():
    made = Run()
    yield made
    made.loop.close()
    made.loop.close()


@pytest.fixture
def pair():
    one, other = socket.socketpair()
    one.setblocking(False)
    yield one, other
    one.close()
    other.close()


def test_calls_come_in_the_order_of_the_asking_and_what_they_ask_for_in_the_next_turn(run):
    seen = []
    run.loop.call_soon(lambda: (seen.append(1), run.loop.call_soon(seen.append, 3)))
    run.loop.call_soon(seen.append, 2)
    run.turn()
    assert seen == [1, 2]
    run.turn()
    assert seen == [1, 2, 3]


def test_a_turn_calls_what_was_asked_for_then_descriptors_then_timers(run, pair):
    seen = []
    one, other = pair
    other.send(b"x")
    run.loop.call_at(0.0, seen.append, "timer")
    run.loop.add_reader(one, seen.append, "readable")
    run.loop.add_writer(one, seen.append, "writable")
    run.loop.call_soon(seen.append, "call")
    run.turn()
    assert seen == ["call", "readable", "writable", "timer"]


def test_timers_come_when_they_are_due_the_earlier_one_first(run):
    seen = []
    begun = run.loop.time()
    run.loop.call_later(0.02, lambda: (seen.append("late"), run.loop.stop()))
    run.loop.call_later(0.01, seen.append, "early")
    run.loop.run_forever()
    assert seen == ["early", "late"]
    assert run.loop.time() - begun >= 0.02
    assert abs(run.loop.time() - time.monotonic()) < 1.0


def test_what_is_cancelled_is_not_called_even_in_the_same_turn(run, pair):
    seen = []
    one, other = pair
    other.send(b"x")
    calls = [run.loop.call_soon(seen.append, 1), run.loop.call_at(0.0, seen.append, 2)]
    run.loop.add_reader(one, seen.append, 3)
    calls[0].cancel()
    calls[0].cancel()
    run.loop.call_soon(lambda: (calls[1].cancel(), run.loop.remove_reader(one)))
    run.turn()
    run.turn()
    assert seen == []


def test_a_descriptor_is_called_for_as_long_as_it_is_ready_and_watched(run, pair):
    seen = []
    one, other = pair
    run.loop.add_reader(one, seen.append, "first")
    run.turn()
    assert seen == []
    other.send(b"x")
    run.turn()
    run.loop.add_reader(one, seen.append, "second")  # in place of it
    run.loop.add_writer(one, seen.append, "writable")
    run.turn()
    run.loop.remove_writer(one)
    run.loop.remove_writer(one)
    run.turn()
    one.recv(1)
    run.turn()
    other.close()
    run.turn()
    run.loop.remove_reader(one)
    run.turn()
    assert seen == ["first", "second", "writable", "second", "second"]
    one.close()
    run.loop.remove_reader(one)  # of one that is closed: harmless


def test_more_descriptors_than_a_turn_takes_all_have_theirs(run):
    seen = set()
    pairs = [socket.socketpair() for _ in range(150)]
    for number, (one, other) in enumerate(pairs):
        run.loop.add_reader(one, lambda number=number, one=one: (one.recv(1), seen.add(number)))
        other.send(b"x")
    for _ in range(4):
        run.turn()
    assert seen == set(range(150))
    for one, other in pairs:
        run.loop.remove_reader(one)
        one.close()
        other.close()


def test_an_exception_is_told_and_the_others_are_called(run):
    seen = []
    run.loop.call_soon(lambda: 1 / 0)
    run.loop.call_soon(seen.append, 1)
    run.turn()
    assert seen == [1]
    assert [type(error) for error in run.errors] == [ZeroDivisionError]


def test_what_ends_the_process_passes_and_the_rest_is_called_later(run):
    seen = []

    def leave():
        raise SystemExit(3)

    run.loop.call_soon(leave)
    run.loop.call_soon(seen.append, 1)
    with pytest.raises(SystemExit):
        run.turn()
    run.turn()
    assert seen == [1]


def test_another_thread_ends_the_waiting(run):
    thread = threading.Thread(target=run.loop.call_soon_threadsafe, args=(run.loop.stop,))
    run.loop.call_soon(thread.start)
    run.loop.run_forever()
    thread.join()
    run.loop.close()
    run.loop.call_soon_threadsafe(run.loop.stop)  # too late, and harmless
    assert run.loop.is_closed()


def test_a_signal_ends_the_waiting(run):
    before = signal.signal(signal.SIGUSR1, lambda *_: run.loop.call_soon_threadsafe(run.loop.stop))
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    try:
        run.loop.call_soon(timer.start)
        run.loop.run_forever()
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_descriptor_that_cannot_be_watched_is_refused_and_not_remembered(run, tmp_path):
    with (tmp_path / "file").open("wb") as file:
        for _ in range(2):
            with pytest.raises(PermissionError):
                run.loop.add_reader(file, print)
    with pytest.raises(OSError, match="Bad file descriptor"):
        run.loop.add_reader(99_999, print)
