"""`bench ring`: one writer process, one or several reader processes, beside multiprocessing.Queue and memcpy."""

from __future__ import annotations

import multiprocessing
import os
import time
from typing import Annotated, Any

import typer

from engine.cli.bench.result import Limit, Result, check_equal
from engine.position import Identity
from engine.record import Kind, pack_record

_RING_BYTES = 8 << 20
_PUBLISH_EVERY = 64
_QUEUE_SHARE = 20  # the queue is measured with this part of the records: it is that much slower
_SPIN_US = 10
_READERS = [1, 2, 4]


def ring(
    records: Annotated[int, typer.Option(help="How many records to send.", min=1000)] = 2_000_000,
    record_bytes: Annotated[int, typer.Option(help="Size of one record.", min=80, max=65536)] = 200,
    readers: Annotated[list[int], typer.Option(help="Processes that read; may be given again.", min=1, max=8)] = _READERS,
    spin_us: Annotated[int, typer.Option(help="How long a reader looks before it sleeps.", min=0)] = _SPIN_US,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Records per second through the shared-memory ring, written from Python, across processes."""
    record = _record(record_bytes)
    seconds = {count: _through_ring(record, records, count, spin_us * 1000) for count in readers}
    queue_records = max(records // _QUEUE_SHARE, 1)
    queue_per_s = queue_records / _through_queue(record, queue_records)
    first = readers[0]
    Result(
        "ring", records, records * len(record), [seconds[first]],
        {
            "readers": first, "records_per_s_by_readers": {str(count): round(records / took) for count, took in seconds.items()},
            "queue_records_per_s": round(queue_per_s), "times_queue": round(records / seconds[first] / queue_per_s, 1),
            "spin_us": spin_us,
        },
        Limit("memcpy of as many bytes", _memcpy_mb_per_s()),
    ).show(json)  # fmt: skip


def _record(record_bytes: int) -> bytes:
    def make(payload_bytes: int) -> bytes:
        payload = b"x" * payload_bytes
        return pack_record(Kind.INSERT, source=1, identity=Identity(1, 4, 1, 0), time_us=1, table=1, after=[payload])

    return make(max(record_bytes - len(make(0)) - 1, 0))


def _memcpy_mb_per_s() -> float:
    """Between two areas of the ring's size."""
    source, target = bytes(_RING_BYTES), memoryview(bytearray(_RING_BYTES))
    rounds = 50
    begun = time.perf_counter()
    for _ in range(rounds):
        target[:] = source
    return rounds * _RING_BYTES / (time.perf_counter() - begun) / 1e6


def _through_ring(record: bytes, records: int, readers: int, spin_ns: int) -> float:
    from engine._content import content
    from engine.ring import FULL, Ring

    context = multiprocessing.get_context("spawn")
    name = f"binlog-engine.bench.{os.getpid()}"
    ring = Ring.create(name, _RING_BYTES)
    try:
        results: Any = context.Queue()
        processes = []
        for number in range(readers):
            ring.add_reader(str(number))
            arguments = (name, str(number), records * len(record), spin_ns, results)
            process = context.Process(target=_read, args=arguments, daemon=True)
            process.start()
            processes.append(process)
        for _ in processes:
            results.get(timeout=30)  # each says that it is ready
        ring.open_writer()
        start = time.perf_counter()
        sent = 0
        while sent < records:
            if ring.try_claim(record) == FULL:
                ring.publish()
                ring.wait_writable(len(record), 100_000_000)
                continue
            sent += 1
            if sent % _PUBLISH_EVERY == 0:
                ring.publish()
        ring.publish()
        ring.close_writer(finished=True)
        expected = (records, records * content(record)[1] % 2**64)
        for _ in processes:
            check_equal("records read, and their checksum", results.get(timeout=120), expected)
        seconds = time.perf_counter() - start
        for process in processes:
            process.join(10)
        return seconds
    finally:
        Ring.unlink(name)


def _read(name: str, reader_name: str, expected_bytes: int, spin_ns: int, results: Any) -> None:
    from engine._content import content
    from engine.ring import Ring

    reader = Ring.attach(name).reader(reader_name)
    reader.open()
    results.put("ready")
    got = records = checksum = 0
    while got < expected_bytes:
        if not reader.wait(1_000_000_000, spin_ns):
            continue
        with reader.view() as view:
            size = len(view)
            count, part = content(view)
        records += count
        checksum += part
        reader.advance(size)
        reader.ack_to(reader.get)
        got += size
    results.put((records, checksum % 2**64))


def _through_queue(record: bytes, records: int) -> float:
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    done: Any = context.Queue()
    process = context.Process(target=_read_queue, args=(queue, done, records), daemon=True)
    process.start()
    done.get(timeout=30)
    start = time.perf_counter()
    for _ in range(records):
        queue.put(record)
    check_equal("bytes read from the queue", done.get(timeout=120), records * len(record))
    seconds = time.perf_counter() - start
    process.join(10)
    return seconds


def _read_queue(queue: Any, done: Any, records: int) -> None:
    done.put("ready")
    done.put(sum(len(queue.get()) for _ in range(records)))
