"""Several processes on one ring: contention, joining and leaving, and death at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.errors import RingError
from engine.record import MIN_RING_BYTES
from engine.ring import FULL, MEMORY_DIRECTORY, Ring, iter_records
from tests.ring.records import number_of, record

pytestmark = pytest.mark.timeout(60)

MS = 1_000_000
SECOND = 1_000 * MS


class Role:
    """A process of tests/ring/roles.py."""

    def __init__(self, role: str, ring: Ring, *arguments: object) -> None:
        command = [sys.executable, "-m", "tests.ring.roles", role, MEMORY_DIRECTORY, ring.name, *map(str, arguments)]
        root = Path(__file__).parents[2]
        self.process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def hear(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """Without reaping it: the zombie must not pass for alive."""
        self.process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=10)


Start = Callable[..., Role]


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    """The smallest one, in shared memory."""
    name = f"binlog-engine-test-{tmp_path.name}-{time.monotonic_ns()}"
    ring = Ring.create(name, MIN_RING_BYTES)
    yield ring
    Ring.unlink(name)
    ring.close()


@pytest.fixture
def start(ring: Ring) -> Iterator[Start]:
    """Starts a role and waits until it is ready."""
    roles: list[Role] = []

    def start(role: str, *arguments: object, ready: bool = True) -> Role:
        roles.append(Role(role, ring, *arguments))
        if ready:
            assert roles[-1].hear() == "ready"
        return roles[-1]

    yield start
    for role in roles:
        role.end()


def test_three_readers_each_see_every_record_whole_and_in_order(ring: Ring, start: Start) -> None:
    records = 200_000
    names = ("sink", "cache", "audit")
    for name in names:
        ring.add_reader(name)
    readers = [start("read", name) for name in names]
    writer = start("write", records)
    writer.go()
    assert [reader.hear() for reader in readers] == [str(records)] * 3
    assert writer.hear() == "done"
    assert ring.put > 60 * ring.capacity
    assert ring.held_bytes == 0


def test_readers_that_join_and_leave_while_the_writer_wraps_see_only_whole_records(ring: Ring, start: Start) -> None:
    records = 150_000
    ring.add_reader("stays")
    stays = start("read", "stays")
    visitors = [start("visit", name) for name in ("one", "two")]
    writer = start("write", records, 3)
    writer.go()
    assert stays.hear() == str(records)
    assert min(int(visitor.hear()) for visitor in visitors) > 20
    assert ring.readers() == ["stays"]


def test_a_reader_that_joins_where_the_writer_overwrites_sees_what_it_joined_for(ring: Ring, start: Start) -> None:
    size = 96
    ring.open_writer()
    reader = ring.add_reader("stays")
    reader.open()
    joiner = start("join_at_the_edge", "joins", 60_000, size)
    said: list[str] = []
    listener = threading.Thread(target=lambda: said.append(joiner.hear()))
    listener.start()
    while not said:  # the ring stays full: each put overwrites what was acked just before
        if ring.try_put(record(ring.put // size, size)) == FULL and reader.held_bytes > ring.capacity - 2 * size:
            reader.advance(size)
            reader.ack_to(reader.get)
    listener.join()
    assert said == ["done"]


def test_a_writer_killed_anywhere_leaves_a_readable_ring_and_the_note_of_its_put(ring: Ring, start: Start) -> None:
    ring.add_reader("sink")
    killer = start("kill_writers", "sink", 1000, ready=False)
    assert int(killer.hear() or 0) > 1000, "each of the 1000 writers should have put something, on average"


def test_a_second_writer_is_refused_while_the_first_lives(ring: Ring, start: Start) -> None:
    ring.add_reader("sink")
    first = start("hold", "sink")
    assert ring.writer_alive()
    with pytest.raises(RingError, match=f"the writer is a live process.*pid={first.process.pid}"):
        ring.open_writer()
    first.kill()
    assert not ring.writer_alive()
    ring.open_writer()
    assert (ring.put, ring.note()) == (400, b"put 400")
    assert ring.try_put(record(4, 200)) == 600
    assert ring.note() == b"put 400", "the note of a put that never came must not come to life later"


def test_the_next_owner_of_a_reader_gets_again_what_the_dead_one_had_not_acked(ring: Ring, start: Start) -> None:
    ring.add_reader("sink")
    first = start("hold", "sink")
    reader = ring.reader("sink")
    for use in (reader.open, lambda: ring.drop_reader("sink")):
        with pytest.raises(RingError, match=f"owner of reader sink is a live process.*pid={first.process.pid}"):
            use()
    assert (reader.get, reader.ack) == (300, 100)
    first.kill()
    reader.open()
    assert (reader.get, reader.ack, reader.note()) == (100, 100, b"ack 100")
    assert [number_of(found) for found in iter_records(reader.view())] == [1, 2, 3]
    reader.advance(200)
    reader.ack_to(300)
    assert reader.note() == b"ack 100", "the dead owner's note for this ack was about another run"


def test_of_several_processes_that_add_the_same_reader_one_succeeds(ring: Ring, start: Start) -> None:
    racers = [start("join", "sink") for _ in range(4)]
    for racer in racers:
        racer.go()
    assert sum(int(racer.hear()) for racer in racers) == 30
    assert sorted(ring.readers()) == sorted(f"sink-{number}" for number in range(30))


def test_a_sleeping_reader_in_another_process_wakes_within_milliseconds(ring: Ring, start: Start) -> None:
    ring.add_reader("sink")
    ring.open_writer()
    reader = start("echo", "sink")
    written = record(1, 100)
    delays = []
    for _ in range(50):
        idle_until = time.monotonic_ns() + 2 * MS  # longer than it spins
        while time.monotonic_ns() < idle_until:
            pass
        put_ns = time.monotonic_ns()
        assert ring.try_put(written) != FULL
        while ring.held_bytes:
            pass
        delays.append(time.monotonic_ns() - put_ns)
    assert sorted(delays)[25] < 5 * MS
    ring.close_writer(finished=True)
    assert reader.hear() == "done"
