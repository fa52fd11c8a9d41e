"""What the other processes of tests/ring/test_processes.py do: `python -m tests.ring.roles ROLE DIRECTORY RING ...`.

They say on standard output how far they are, a line each, and go on when a line comes on standard input.
"""

from __future__ import annotations

import os
import random
import signal
import struct
import sys
import time
from collections.abc import Iterator

from engine.errors import RingError
from engine.ring import FULL, Reader, Ring, iter_records
from tests.ring.records import LEAST_BYTES, number_of, record

SECOND = 1_000_000_000
NOTE = struct.Struct("<QQ")  # number of the last record, put after it


def say(*words: object) -> None:
    print(*words, flush=True)


def listen() -> None:
    assert sys.stdin.readline(), "the test has gone"


def sizes(seed: int) -> Iterator[int]:
    """Mostly small, now and then large enough that a death or a wrap falls into the middle of it."""
    chance = random.Random(seed)
    while True:
        yield chance.randint(LEAST_BYTES, 600) if chance.random() < 0.999 else chance.randint(LEAST_BYTES, 200_000)


def write(ring: Ring, records: str, publish_every: str = "16") -> None:
    """Puts the records 0, 1, 2 ... and finishes."""
    ring.open_writer()
    say("ready")
    listen()
    for number, size in zip(range(int(records)), sizes(0), strict=False):
        written = record(number, size)
        while ring.try_claim(written) == FULL:
            ring.publish()
            ring.wait_writable(size, SECOND)
        if number % int(publish_every) == 0:
            ring.publish()
    ring.publish()
    ring.close_writer(finished=True)
    say("done")


def read_batch(reader: Reader, expected: int | None) -> int | None:
    """Takes one batch and checks that every record is whole and follows the one before it."""
    with reader.view(64 * 1024) as view:
        for found in iter_records(view):
            number = number_of(found)
            assert expected is None or number == expected, f"record {number} instead of {expected}"
            expected = number + 1
        reader.advance(len(view))
    reader.ack_to(reader.get)
    return expected


def read(ring: Ring, name: str) -> None:
    """Reads from record 0 to the end."""
    reader = ring.reader(name)
    reader.open()
    say("ready")
    expected: int | None = 0
    while reader.wait(SECOND) or not ring.writer_finished or reader.lag_bytes:
        expected = read_batch(reader, expected)
    say(expected)


def visit(ring: Ring, name: str) -> None:
    """Joins, reads a few batches and leaves, again and again, until the writer has finished."""
    visits = 0
    say("ready")
    while not ring.writer_finished:
        reader = ring.add_reader(f"{name}-{visits}", latest=visits % 4 == 0)
        reader.open()
        expected: int | None = None
        for _ in range(visits % 3 + 1):
            reader.wait(SECOND // 100)
            expected = read_batch(reader, expected)
        ring.drop_reader(reader.name)
        visits += 1
    say(visits)


def join_at_the_edge(ring: Ring, name: str, joins: str, record_bytes: str) -> None:
    """Joins at the very bytes that the writer is about to overwrite, where the number of a record tells its place."""
    say("ready")
    for visit in range(int(joins)):
        reader = ring.add_reader(f"{name}-{visit}")
        with reader.view(int(record_bytes)) as view:
            assert not view or number_of(view) * int(record_bytes) == reader.get
        ring.drop_reader(reader.name)
    say("done")


def hold(ring: Ring, name: str) -> None:
    """Has the writer's role and a reader, of which it has got 300 bytes and acked 100, until it is killed."""
    ring.open_writer()
    reader = ring.reader(name)
    reader.open()
    for number in range(4):
        ring.try_put(record(number, 100))
    ring.set_note(b"put 400")
    ring.try_claim(record(4, 100))
    ring.set_note(b"put 500, which never comes")
    reader.advance(300)
    reader.set_note(b"ack 100", 100)
    reader.ack_to(100)
    reader.set_note(b"ack 300, which never comes", 300)
    say("ready")
    listen()


def join(ring: Ring, name: str) -> None:
    """Adds readers of names that others add at the same time."""
    say("ready")
    listen()
    won = 0
    for number in range(30):
        try:
            ring.add_reader(f"{name}-{number}")
            won += 1
        except RingError as error:
            if "reader exists" not in error.what:
                raise
    say(won)


def echo(ring: Ring, name: str) -> None:
    """Acks whatever comes, as soon as it is woken."""
    reader = ring.reader(name)
    reader.open()
    say("ready")
    while reader.wait(SECOND) or not ring.writer_finished:
        read_batch(reader, None)
    say("done")


def put_until_killed(ring: Ring, ready: int) -> None:
    """Goes on after the last record that anyone can see; its number and place are in the note."""
    ring.open_writer()
    note = ring.note()
    number, put = NOTE.unpack(note) if note else (-1, 0)
    assert put == ring.put
    chance = random.Random(number)
    of_any_size = sizes(number)
    os.write(ready, b"x")
    while True:
        for _ in range(chance.randint(1, 4)):
            number += 1
            written = record(number, next(of_any_size))
            while (put := ring.try_claim(written)) == FULL:
                time.sleep(0.001)  # only the death is waited for
        ring.set_note(NOTE.pack(number, put))
        ring.publish()


def kill_writers(ring: Ring, name: str, deaths: str) -> None:
    """Forks a writer, kills it at any moment, looks what it left behind, and again."""
    reader = ring.reader(name)
    reader.open()
    chance = random.Random(1)
    expected: int | None = 0
    for _ in range(int(deaths)):
        ready, ready_in_child = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                put_until_killed(ring, ready_in_child)
            finally:
                os._exit(1)
        os.close(ready_in_child)
        assert os.read(ready, 1) == b"x", "the next writer could not take over"
        os.close(ready)
        time.sleep(chance.random() * 0.002)  # the moment of death is what is random here
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        while reader.lag_bytes:
            expected = read_batch(reader, expected)
        assert expected is not None
        note = ring.note()
        assert (NOTE.unpack(note) if note else (-1, 0)) == (expected - 1, ring.put)
        assert not ring.writer_alive()
    say(expected)


ROLES = {role.__name__: role for role in (write, read, visit, join_at_the_edge, hold, join, echo, kill_writers)}

if __name__ == "__main__":
    role, directory, name, *arguments = sys.argv[1:]
    ROLES[role](Ring.attach(name, directory=directory), *arguments)  # type: ignore[operator]
