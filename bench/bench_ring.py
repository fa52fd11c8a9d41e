"""How fast one process puts records into the ring and gets them, and multiprocessing.Queue beside it.

    try_put ─▶ ring (16 MiB) ─▶ view, advance, ack          put ─▶ pickle ─▶ pipe ─▶ unpickle ─▶ get

`binlog-engine bench ring` measures the same between processes.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from engine.position import Identity
from engine.record import Kind, pack_record
from engine.ring import FULL, PROFILE, Reader, Ring, iter_records

RECORD_BYTES = 200
ROUND = 10_000  # records of one round; they fit in the ring
QUEUE_ROUND = 200  # what fits in a pipe: one process can't put more before it gets


def _record() -> bytes:
    def of(payload: bytes) -> bytes:
        return pack_record(Kind.INSERT, source=1, identity=Identity(1, 4, 1, 0), time_us=1, table=1, after=[payload])

    return of(b"x" * (RECORD_BYTES - len(of(b""))))


RECORD = _record()


@pytest.fixture
def ring() -> Iterator[Ring]:
    ring = Ring.create(None, 16 << 20, prefault=True)
    ring.open_writer()
    ring.add_reader("bench").open()
    yield ring
    ring.close()


@pytest.fixture
def reader(ring: Ring) -> Reader:
    reader = ring.reader("bench")
    reader.open()
    return reader


def measure(benchmark: Any, operation: Callable[[], object], records: int, setup: Callable[[], None] | None = None) -> None:
    if benchmark.enabled and PROFILE != "release":
        pytest.fail(f"a {PROFILE} build is not measured")
    benchmark.extra_info.update(
        profile=PROFILE, record_bytes=RECORD_BYTES, records=records, cores_needed=1, cores_had=os.cpu_count()
    )
    benchmark.pedantic(operation, setup=setup, rounds=30 if benchmark.enabled else 1)


def empty(reader: Reader) -> None:
    reader.advance(reader.lag_bytes)
    reader.ack_to(reader.get)


@pytest.mark.benchmark(group="one process: put")
def test_try_put(benchmark: Any, ring: Ring, reader: Reader) -> None:
    def put() -> None:
        try_put = ring.try_put
        for _ in range(ROUND):
            if try_put(RECORD) == FULL:
                raise AssertionError("the ring is full")

    measure(benchmark, put, ROUND, lambda: empty(reader))
    assert list(map(bytes, iter_records(reader.view()))) == [RECORD] * ROUND


@pytest.mark.benchmark(group="one process: put")
def test_claim_and_publish_by_the_batch(benchmark: Any, ring: Ring, reader: Reader) -> None:
    def put() -> None:
        try_claim = ring.try_claim
        for _ in range(ROUND):
            if try_claim(RECORD) == FULL:
                raise AssertionError("the ring is full")
        ring.publish()

    measure(benchmark, put, ROUND, lambda: empty(reader))
    assert list(map(bytes, iter_records(reader.view()))) == [RECORD] * ROUND


@pytest.mark.benchmark(group="one process: get")
@pytest.mark.parametrize("batch_bytes", [RECORD_BYTES, 64 * RECORD_BYTES])
def test_view_advance_ack(benchmark: Any, ring: Ring, reader: Reader, batch_bytes: int) -> None:
    got = 0

    def fill() -> None:
        nonlocal got
        got = 0
        empty(reader)
        for _ in range(ROUND):
            ring.try_put(RECORD)

    def get() -> None:
        nonlocal got
        while n_bytes := len(reader.view(batch_bytes)):
            reader.advance(n_bytes)
            reader.ack_to(reader.get)
            got += n_bytes

    measure(benchmark, get, ROUND, fill)
    assert got == ROUND * len(RECORD)
    assert reader.held_bytes == 0


@pytest.mark.benchmark(group="one process: put and get, one by one")
def test_ring_round_trip(benchmark: Any, ring: Ring, reader: Reader) -> None:
    def put_and_get() -> None:
        for _ in range(QUEUE_ROUND):
            ring.try_put(RECORD)
        for _ in range(QUEUE_ROUND):
            with reader.view(1) as view:
                found.append(bytes(view))
            reader.advance(RECORD_BYTES)
        reader.ack_to(reader.get)

    found: list[bytes] = []
    measure(benchmark, put_and_get, QUEUE_ROUND, found.clear)
    assert found == [RECORD] * QUEUE_ROUND


@pytest.mark.benchmark(group="one process: put and get, one by one")
def test_multiprocessing_queue_round_trip(benchmark: Any) -> None:
    queue: Any = multiprocessing.get_context("spawn").Queue()

    def put_and_get() -> None:
        for _ in range(QUEUE_ROUND):
            queue.put(RECORD)
        for _ in range(QUEUE_ROUND):
            found.append(queue.get(timeout=10))

    found: list[bytes] = []
    measure(benchmark, put_and_get, QUEUE_ROUND, found.clear)
    assert found == [RECORD] * QUEUE_ROUND
    queue.close()
    queue.join_thread()
