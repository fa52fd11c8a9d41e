"""`bench ring`: one writer process, one or several reader processes, beside multiprocessing.Queue."""

from __future__ import annotations

import multiprocessing
import os
import time
from typing import Annotated, Any

import typer

from engine.cli.bench.result import Result, check_equal
from engine.position import Identity
from engine.record import Kind, pack_record

_RING_BYTES = 16 << 20
_PUBLISH_EVERY = 64
_QUEUE_SHARE = 20  # the queue is measured with this part of the records: it is that much slower


def ring(
    records: Annotated[int, typer.Option(help="How many records to send.", min=1000)] = 2_000_000,
    record_bytes: Annotated[int, typer.Option(help="Size of one record.", min=80, max=65536)] = 200,
    readers: Annotated[int, typer.Option(help="How many processes read.", min=1, max=8)] = 1,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Records per second through the shared-memory ring, written from Python, across processes."""
    record = _record(record_bytes)
    seconds = _through_ring(record, records, readers)
    queue_records = max(records // _QUEUE_SHARE, 1)
    queue_seconds = _through_queue(record, queue_records)
    ratio = (records / seconds) / (queue_records / queue_seconds)
    Result(
        "ring", records, records * len(record), seconds,
        {"readers": readers, "queue_records_per_s": round(queue_records / queue_seconds), "times_queue": round(ratio, 1)},
    ).show(json)  # fmt: skip


def _record(record_bytes: int) -> bytes:
    def make(payload_bytes: int) -> bytes:
        payload = b"x" * payload_bytes
        return pack_record(Kind.INSERT, source=1, identity=Identity(1, 4, 1, 0), time_us=1, table=1, after=[payload])

    return make(max(record_bytes - len(make(0)) - 1, 0))


def _through_ring(record: bytes, records: int, readers: int) -> float:
    from engine.ring import FULL, Ring

    context = multiprocessing.get_context("spawn")
    name = f"binlog-engine.bench.{os.getpid()}"
    ring = Ring.create(name, _RING_BYTES)
    try:
        results: Any = context.Queue()
        processes = []
        for number in range(readers):
            ring.add_reader(str(number))
            process = context.Process(target=_read, args=(name, str(number), records * len(record), results))
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
        for _ in processes:
            check_equal("bytes read", results.get(timeout=120), records * len(record))
        seconds = time.perf_counter() - start
        for process in processes:
            process.join(10)
        return seconds
    finally:
        Ring.unlink(name)


def _read(name: str, reader_name: str, expected: int, results: Any) -> None:
    from engine.ring import Ring

    reader = Ring.attach(name).reader(reader_name)
    reader.open()
    results.put("ready")
    got = 0
    while got < expected:
        if not reader.wait(1_000_000_000):
            continue
        size = len(reader.view())
        reader.advance(size)
        reader.ack_to(reader.get)
        got += size
    results.put(got)


def _through_queue(record: bytes, records: int) -> float:
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    done: Any = context.Queue()
    process = context.Process(target=_read_queue, args=(queue, done, records))
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
