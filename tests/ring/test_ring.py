"""One process, one ring: what it promises to whoever uses it rightly or wrongly."""

from __future__ import annotations

import fcntl
import os
import pickle
import resource
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgpack
import numpy
import pytest

from engine.errors import InternalError, RingError
from engine.record import FRAGMENT_BYTES, MIN_RING_BYTES
from engine.ring import (
    FULL,
    NOTE_BYTES,
    READER_NOTE_BYTES,
    READERS,
    Reader,
    Ring,
    iter_records,
    process_start_time,
    ring_names,
    ring_path,
    wait_any,
)  # fmt: skip
from tests.ring.records import LEAST_BYTES, number_of, numbers, record, take_all

pytestmark = pytest.mark.timeout(30)


# ---- made, found, closed


def test_the_stub_says_what_the_extension_does() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "mypy.stubtest", "--mypy-config-file", "pyproject.toml", "engine._ring"]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_capacity_is_rounded_up_to_whole_pages(tmp_path: Path) -> None:
    ring = Ring.create("r", MIN_RING_BYTES + 1, directory=str(tmp_path))
    assert ring.capacity == MIN_RING_BYTES + 4096
    assert ring.max_record == ring.capacity // 4
    assert os.path.getsize(ring_path("r", str(tmp_path))) == ring.capacity + 36864
    ring.close()


def test_a_fragment_passes_the_smallest_ring() -> None:
    assert FRAGMENT_BYTES + 4096 < MIN_RING_BYTES // 4


def test_a_ring_that_is_too_small_is_refused() -> None:
    with pytest.raises(RingError, match=f"ring too small.*least={MIN_RING_BYTES}"):
        Ring.create(None, MIN_RING_BYTES - 1)


def test_a_name_that_exists_is_refused_and_left_alone(tmp_path: Path) -> None:
    first = Ring.create("r", MIN_RING_BYTES, directory=str(tmp_path))
    with pytest.raises(RingError, match=r"ring exists.*unlink"):
        Ring.create("r", MIN_RING_BYTES, directory=str(tmp_path))
    assert Ring.attach("r", directory=str(tmp_path)).ring_id == first.ring_id


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b"])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(RingError, match="not a name"):
        Ring.create(name, MIN_RING_BYTES)


def test_unlinking_takes_the_name_but_not_the_ring(tmp_path: Path) -> None:
    ring = Ring.create("one", MIN_RING_BYTES, directory=str(tmp_path))
    assert ring_names("o", str(tmp_path)) == ["one"]
    Ring.unlink("one", directory=str(tmp_path))
    Ring.unlink("one", directory=str(tmp_path))
    assert ring_names("", str(tmp_path)) == []
    ring.open_writer()
    assert ring.try_put(record(1, 100)) == 100
    with pytest.raises(RingError, match="no such ring"):
        Ring.attach("one", directory=str(tmp_path))


@pytest.mark.parametrize(
    ("differs", "offset", "value"),
    [
        ("magic", 0, struct.pack("<Q", 0x123456)),
        ("version", 8, struct.pack("<I", 1)),
        ("header_bytes", 12, struct.pack("<I", 4096)),
        ("size", 16, struct.pack("<Q", 2 * MIN_RING_BYTES)),
    ],
)
def test_a_foreign_ring_is_refused_by_the_name_of_what_differs(tmp_path: Path, differs: str, offset: int, value: bytes) -> None:
    Ring.create("r", MIN_RING_BYTES, directory=str(tmp_path)).close()
    patch(tmp_path / "r", offset, value)
    with pytest.raises(RingError, match=f"foreign ring.*differs={differs} found=.* expected="):
        Ring.attach("r", directory=str(tmp_path))


def test_a_shortened_file_is_refused(tmp_path: Path) -> None:
    Ring.create("r", MIN_RING_BYTES, directory=str(tmp_path)).close()
    os.truncate(tmp_path / "r", MIN_RING_BYTES)
    with pytest.raises(RingError, match="differs=size"):
        Ring.attach("r", directory=str(tmp_path))


@pytest.mark.parametrize("contents", [b"", bytes(10), bytes(100_000)])
def test_a_ring_that_was_never_finished_is_refused(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "r").write_bytes(contents)
    with pytest.raises(RingError, match=r"incomplete.*differs=magic"):
        Ring.attach("r", directory=str(tmp_path))


def patch(path: Path, offset: int, value: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(value)


def test_a_full_file_system_is_an_error_at_creation(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "ring-test", tmp_path], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("may not mount a small tmpfs here")
    try:
        with pytest.raises(RingError, match=r"no room for the ring.*No space left.*smaller"):
            Ring.create("r", MIN_RING_BYTES, directory=str(tmp_path))
        assert os.listdir(tmp_path) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_file_size_limit_is_an_error_at_creation(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIN_RING_BYTES, hard))
    try:
        with pytest.raises(RingError, match=r"no room for the ring.*File too large"):
            Ring.create("r", MIN_RING_BYTES, directory=str(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


def test_a_prefaulted_ring_takes_no_page_fault_when_it_is_written() -> None:
    ring = Ring.create(None, 8 * MIN_RING_BYTES, prefault=True)
    ring.open_writer()
    written = record(1, 1 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        assert ring.try_put(written) != FULL
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 200  # 2048 pages
    ring.close()


def test_views_outlive_the_ring_they_came_from(ring: Ring, reader: Reader) -> None:
    ring.try_put(record(1, 300))
    view, counters = reader.view(), ring.counters
    array = numpy.frombuffer(view, numpy.uint8)
    inode = inode_at(array.ctypes.data)
    ring.close()
    del ring
    assert numbers(view) == [1]
    assert array[0] == 0x9D
    assert counters[0] == 0
    assert len(mappings(inode)) == 2
    view.release()
    counters.release()
    del array
    assert mappings(inode) == []


def mappings(inode: str) -> list[str]:
    """Of one file, in this process: other tests' rings may still be there."""
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if line.split()[4] == inode]


def inode_at(address: int) -> str:
    """Of the file mapped at an address."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, _, _, inode, *_ = line.split()
        first, last = (int(end, 16) for end in span.split("-"))
        if first <= address < last:
            return inode
    raise AssertionError(f"nothing is mapped at {address:#x}")


def test_a_closed_ring_says_so(ring: Ring, reader: Reader) -> None:
    ring.close()
    ring.close()
    for use in (lambda: ring.put, lambda: ring.try_put(record(1, 100)), lambda: reader.view(), lambda: reader.wait(1),
                lambda: ring.add_reader("a"), lambda: wait_any([reader], 1), lambda: ring.counters):  # fmt: skip
        with pytest.raises(RingError, match="closed"):
            use()
    assert ring.capacity == MIN_RING_BYTES


def test_a_ring_is_attached_and_never_copied_or_made_by_hand(ring: Ring, reader: Reader) -> None:
    for made in (ring, reader):
        with pytest.raises(TypeError):
            pickle.dumps(made)
        with pytest.raises(TypeError, match="use Ring"):
            type(made)()


# ---- bytes


def test_records_are_contiguous_across_the_wrap(ring: Ring, reader: Reader) -> None:
    size, number, crossed = 9_973, 0, 0
    while crossed < 5:
        start, first = ring.put, number
        while ring.put - start < MIN_RING_BYTES // 2:
            assert ring.try_put(record(number, size)) != FULL
            number += 1
        if start // ring.capacity != (ring.put - 1) // ring.capacity:
            crossed += 1
        assert take_all(reader) == list(range(first, number))


def test_a_view_is_the_ring_itself_and_read_only(ring: Ring, reader: Reader) -> None:
    ring.try_put(record(7, 500))
    one, other = numpy.frombuffer(reader.view(), numpy.uint8), numpy.frombuffer(reader.view(), numpy.uint8)
    assert one.ctypes.data == other.ctypes.data
    with pytest.raises(TypeError, match="read-only"):
        reader.view()[0] = 0
    assert not one.flags.writeable
    assert msgpack.unpackb(reader.view())[7] == 7  # any msgpack library reads it as it is


def test_an_empty_ring_gives_an_empty_view(reader: Reader) -> None:
    assert len(reader.view()) == len(reader.view(10)) == 0
    assert list(iter_records(reader.view())) == []


def test_a_view_is_cut_after_whole_records_but_holds_at_least_one(ring: Ring, reader: Reader) -> None:
    for number, size in enumerate((100, 200, 300)):
        ring.try_put(record(number, size))
    lengths = [len(reader.view(max_bytes)) for max_bytes in (0, 1, 99, 100, 299, 300, 301, 599, 600, 601)]
    assert lengths == [600, 100, 100, 100, 100, 300, 300, 300, 600, 600]
    assert numbers(reader.view(1, 100)) == [1]
    assert numbers(reader.view(from_=300)) == [2]
    for outside in (601, 10**6):
        with pytest.raises(RingError, match="not held"):
            reader.view(from_=outside)


@pytest.mark.parametrize("bytes_", [b"", b"\x9d", bytes(100), record(1, 100)[:-1], record(1, 100) * 2])
def test_what_is_not_one_whole_record_is_refused(ring: Ring, reader: Reader, bytes_: bytes) -> None:
    with pytest.raises(RingError, match="not one whole record"):
        ring.try_put(bytes_)
    assert ring.put == ring.claim == 0


def test_any_bytes_like_record_is_taken(ring: Ring, reader: Reader) -> None:
    kinds: list[Any] = [bytes, bytearray, memoryview, lambda plain: numpy.frombuffer(plain, numpy.uint8)]
    for kind in kinds:
        ring.try_put(kind(record(5, 200)))
    assert take_all(reader) == [5] * 4
    with pytest.raises(TypeError):
        ring.try_put("text")  # type: ignore[arg-type]


def test_a_record_larger_than_a_quarter_of_the_ring_is_refused(ring: Ring) -> None:
    assert ring.try_put(record(1, ring.max_record)) == ring.max_record
    with pytest.raises(RingError, match=r"too large.*max_record=262144.*fragments"):
        ring.try_put(record(1, ring.max_record + 1))


def test_a_full_ring_answers_full_until_the_slowest_reader_acks(ring: Ring, reader: Reader) -> None:
    other = ring.add_reader("cache")
    other.open()
    written = record(1, MIN_RING_BYTES // 8)
    assert [ring.try_put(written) == FULL for _ in range(9)] == [False] * 8 + [True]
    take_all(other)
    assert ring.try_put(written) == FULL
    reader.advance(len(written))
    assert ring.try_put(written) == FULL
    reader.ack_to(len(written))
    assert ring.try_put(written) == ring.put == 9 * len(written)
    assert ring.held_bytes == MIN_RING_BYTES


def test_what_is_put_before_the_first_reader_waits_for_it(ring: Ring) -> None:
    written = record(1, MIN_RING_BYTES // 8)
    assert [ring.try_put(written) == FULL for _ in range(9)] == [False] * 8 + [True]
    assert len(ring.add_reader("sink").view()) == MIN_RING_BYTES
    assert len(ring.add_reader("late", latest=True).view()) == 0


def test_claims_are_invisible_until_they_are_published(ring: Ring, reader: Reader) -> None:
    assert [ring.try_claim(record(number, 100)) for number in range(3)] == [100, 200, 300]
    assert (ring.put, ring.claim, len(reader.view())) == (0, 300, 0)
    assert ring.publish() == ring.put == 300
    assert take_all(reader) == [0, 1, 2]


def test_iter_records_refuses_bytes_that_are_no_records() -> None:
    for damaged in (b"\x9d", bytes(100), record(1, 100)[:-1], record(1, 100) + b"\x00"):
        with pytest.raises(InternalError, match="no record"):
            list(iter_records(damaged))


# ---- roles and readers


def test_only_the_writer_writes_and_only_the_owner_moves_a_reader(tmp_path: Path) -> None:
    Ring.create("r", MIN_RING_BYTES, directory=str(tmp_path)).add_reader("sink")
    ring = Ring.attach("r", directory=str(tmp_path))
    reader = ring.reader("sink")
    for use in (lambda: ring.try_put(record(1, 100)), ring.publish, ring.close_writer, lambda: ring.set_note(b""),
                lambda: ring.wait_writable(1, 1), lambda: ring.add(0, 1), lambda: ring.beat(1)):  # fmt: skip
        with pytest.raises(RingError, match=r"not the writer.*open_writer\(\)"):
            use()
    for move in (lambda: reader.advance(0), lambda: reader.ack_to(0), reader.rollback, reader.release,
                 lambda: reader.set_note(b"", 0), lambda: reader.beat(1)):  # fmt: skip
        with pytest.raises(RingError, match=r"not ours.*open\(\)"):
            move()


WRITER, FIRST_READER, SLOT_BYTES = 320, 8192 + 128, 768  # where the owners lie in the header


def owner(pid: int, start_time: int, state: int) -> bytes:
    return struct.pack("<IIQ", state, pid, start_time)


def test_a_role_of_a_live_process_is_refused_and_of_a_dead_one_taken_over(tmp_path: Path) -> None:
    ring = Ring.create("r", MIN_RING_BYTES, directory=str(tmp_path))
    ring.open_writer()
    ring.try_put(record(1, 100))
    ring.try_claim(record(2, 100))
    ring.add_reader("sink")
    other = Ring.attach("r", directory=str(tmp_path))
    reader = other.reader("sink")
    parent = os.getppid()
    live = process_start_time(parent)
    for start_time, alive in ((live, True), (live + 1, False)):  # the second: its pid now belongs to somebody else
        patch(tmp_path / "r", WRITER, owner(parent, start_time, 1))
        patch(tmp_path / "r", FIRST_READER, owner(parent, start_time, 2))
        assert (other.writer_pid, other.writer_alive()) == (parent, alive)
        assert (reader.owner_pid, reader.owner_alive()) == (parent, alive)
        if alive:
            for take in (other.open_writer, reader.open, lambda: other.drop_reader("sink")):
                with pytest.raises(RingError, match=f"is a live process.*pid={parent}"):
                    take()
        else:
            with pytest.raises(RingError, match=f"died.*pid={parent}"):
                other.open_writer(takeover=False)
            with pytest.raises(RingError, match=f"died.*pid={parent}"):
                reader.open(takeover=False)
            other.open_writer()
            reader.open()
    assert (other.writer_pid, reader.owner_pid) == (os.getpid(), os.getpid())
    assert other.try_put(record(3, 100)) == 200
    assert numbers(reader.view()) == [1, 3]


def test_roles_change_hands_one_at_a_time(tmp_path: Path) -> None:
    ring = Ring.create("r", MIN_RING_BYTES, directory=str(tmp_path))
    reader = ring.add_reader("sink")
    for change in (lambda: ring.add_reader("other"), ring.open_writer, reader.open, lambda: ring.drop_reader("sink")):
        thread = threading.Thread(target=change)
        with open(tmp_path / "r", "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # as another process in the middle of it
            thread.start()
            thread.join(0.02)
            assert thread.is_alive(), "it didn't wait for the other"
        thread.join(5)
        assert not thread.is_alive()


def test_a_slot_whose_reader_died_while_joining_is_used_again(tmp_path: Path) -> None:
    ring = Ring.create("r", MIN_RING_BYTES, directory=str(tmp_path))
    patch(tmp_path / "r", FIRST_READER, owner(0, 0, 1))
    assert ring.readers() == []
    assert ring.add_reader("sink").number == 0


def test_a_reader_that_joins_with_an_old_tail_cannot_pull_the_tail_back(tmp_path: Path) -> None:
    ring = Ring.create("r", MIN_RING_BYTES, directory=str(tmp_path))
    ring.open_writer()
    reader = ring.add_reader("sink")
    reader.open()
    written = record(1, MIN_RING_BYTES // 8)
    for _ in range(12):
        assert ring.try_put(written) != FULL
        take_all(reader)
    tail = ring.tail
    assert tail > 0
    # What ring_join has stored when it read the tail long ago and is about to look at it again.
    patch(tmp_path / "r", FIRST_READER + SLOT_BYTES, owner(0, 0, 2))
    while ring.try_put(written) != FULL:
        pass
    assert ring.tail == tail, "its bytes are overwritten already: it must see that and join there"


def test_readers_are_found_by_name_and_there_are_32_at_most(ring: Ring) -> None:
    names = [f"reader-{number}" for number in range(READERS)]
    for name in names:
        ring.add_reader(name)
    assert ring.readers() == names
    assert ring.reader("reader-7").number == 7
    with pytest.raises(RingError, match=r"no room.*reader-0,reader-1,"):
        ring.add_reader("one more")
    with pytest.raises(RingError, match=r"no such reader.*readers=reader-0,reader-1,"):
        ring.reader("none")
    with pytest.raises(RingError, match="reader exists"):
        ring.add_reader("reader-3")
    for name in ("", "a\0b", "x" * 64):
        with pytest.raises(RingError, match="not a name"):
            ring.add_reader(name)
    ring.drop_reader("reader-3")
    assert ring.add_reader("ä" * 31).number == 3


def test_a_handle_to_a_dropped_reader_never_touches_its_successor(ring: Ring, reader: Reader) -> None:
    ring.try_put(record(1, 100))
    ring.drop_reader("sink")
    successor = ring.add_reader("sink")
    successor.open()
    assert successor.number == reader.number
    for use in (lambda: reader.advance(100), lambda: reader.get, reader.view, reader.open, lambda: reader.wait(1)):
        with pytest.raises(RingError, match="dropped"):
            use()
    assert successor.get == 0
    with pytest.raises(RingError, match=r"no such reader.*readers=sink"):
        ring.drop_reader("other")


def test_when_the_last_reader_goes_the_next_begins_at_its_ack(ring: Ring, reader: Reader) -> None:
    for number in range(3):
        ring.try_put(record(number, 100))
    reader.advance(300)
    reader.ack_to(200)
    ring.drop_reader("sink")
    assert ring.tail == 200
    assert numbers(ring.add_reader("next").view()) == [2]


def test_acks_go_in_order_and_twice_is_harmless(ring: Ring, reader: Reader) -> None:
    for number in range(3):
        ring.try_put(record(number, 100))
    reader.advance(200)
    assert [reader.ack_to(sequence) for sequence in (100, 100, 0, 200)] == [100, 100, 100, 200]
    with pytest.raises(RingError, match=r"can't pass get.*get=200"):
        reader.ack_to(201)
    with pytest.raises(RingError, match=r"can't pass put.*put=300"):
        reader.advance(101)
    with pytest.raises(RingError, match=r"between ack and get.*ack=200 get=200"):
        reader.rollback(100)
    reader.advance(100)
    reader.rollback()
    assert numbers(reader.view()) == [2]


def test_notes_belong_to_exactly_one_place(ring: Ring, reader: Reader) -> None:
    assert ring.note() is reader.note() is None
    ring.set_note(b"at 0")
    assert ring.note() == b"at 0"
    ring.try_claim(record(1, 100))
    ring.set_note(b"at 100")
    assert ring.note() == b"at 0"
    ring.publish()
    assert ring.note() == b"at 100"
    reader.advance(100)
    reader.set_note(b"acked 100", 100)
    assert reader.note() is None
    reader.ack_to(100)
    assert reader.note() == b"acked 100"
    ring.set_note(bytes(NOTE_BYTES))
    assert ring.note() == bytes(NOTE_BYTES)
    with pytest.raises(RingError, match="note too long"):
        ring.set_note(bytes(NOTE_BYTES + 1))
    with pytest.raises(RingError, match="note too long"):
        reader.set_note(bytes(READER_NOTE_BYTES + 1), 0)


def test_counters_and_heartbeats_are_seen_from_outside(tmp_path: Path) -> None:
    ring = Ring.create("r", MIN_RING_BYTES, directory=str(tmp_path))
    ring.open_writer()
    reader = ring.add_reader("sink")
    reader.open()
    ring.add(63, 5)
    ring.add(63, 2)
    ring.counters[0] = 2**64 - 1
    reader.counters[7] = 9
    ring.beat(11)
    reader.beat(12)
    other = Ring.attach("r", directory=str(tmp_path))
    assert (len(other.counters), other.counters[63], other.counters[0]) == (64, 7, 2**64 - 1)
    assert other.reader("sink").counters.tolist() == [0] * 7 + [9]
    assert (other.writer_heartbeat_ns, other.reader("sink").heartbeat_ns) == (11, 12)
    assert other.created_ns == ring.created_ns <= time.time_ns()
    assert other.ring_id == ring.ring_id != 0
    for index in (-1, 64):
        with pytest.raises(RingError, match="no such counter"):
            ring.add(index, 1)


def test_the_start_time_tells_processes_apart() -> None:
    assert process_start_time(os.getpid()) >= process_start_time(os.getppid()) > 0
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process_start_time(child.pid) == 0, "a zombie holds no role"
    child.wait()
    assert process_start_time(child.pid) == 0


def test_the_least_record_of_these_tests_is_a_record() -> None:
    assert number_of(record(3, LEAST_BYTES)) == 3
