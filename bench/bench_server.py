"""store → server → loopback TCP → a consumer that only drains and acks.

    ring (filled beforehand) ──▶ server process ══ TCP ══▶ this process: counts, acks

Beside it, the same memory through a plain sendall: what the loopback gives at best.
"""

from __future__ import annotations

import multiprocessing
import socket
import statistics
import struct
import tempfile
import time
from pathlib import Path

import pytest

from engine.config import Config
from engine.instance import Instance
from engine.meta.open import open_meta
from engine.process import build_stage
from engine.ring import PROFILE, Ring
from engine.schema import Column, TableSchema
from engine.stage import run
from engine.wire import Ack, Credit, FrameReader, Get, Hello, parse_server_message
from tests.histories import History

SPAWN = multiprocessing.get_context("spawn")
MIB = 1 << 20
RECORD_BYTES = 200
SCHEMA = TableSchema("shop", "shop", "orders", (Column("id", "bigint"), Column("note", "text")), (0,))
_PREFIX = struct.Struct(">I")


def _serve(config_json, data_dir, stop):
    stage = build_stage("server", "", 0, Config.model_validate_json(config_json), Instance(Path(data_dir)))
    run(stage, stop.is_set)


def _send_all(ring_name, begin, end, port):
    ring = Ring.attach(ring_name)
    reader = ring.reader("plain")
    with reader.view() as view, socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(view[begin:end])
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)


class Setup:
    """A store, filled by hand, and a server process on a free port."""

    def __init__(self, folder: Path, store_bytes: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.config = Config.model_validate(
            {
                "server": {"listen": f"tcp://127.0.0.1:{self.port}", "data_dir": folder},
                "sources": {"shop": {"url": "mysql://u@127.0.0.1"}},
                "destinations": {"orders": {"store": {"size": store_bytes}, "consumers": ["default", "plain"]}},
            }
        )
        self.instance = Instance(folder)
        self.ring = Ring.create(self.instance.store_ring("orders", 0), store_bytes)
        self.ring.open_writer()
        for consumer in self.config.destinations["orders"].consumers:
            self.ring.add_reader(consumer)
        meta = open_meta("file", self.instance)
        meta.source_number("shop", "binlog")
        self.history = History(1, meta.table_key(SCHEMA.pack()))
        meta.close()
        self.stop = SPAWN.Event()
        arguments = (self.config.model_dump_json(by_alias=True), str(folder), self.stop)
        self.process = SPAWN.Process(target=_serve, args=arguments)

    def fill(self, rows_per_transaction: int) -> int:
        """Until it is full; returns the rows."""
        value = "x" * (RECORD_BYTES - 61 - 6)
        records = self.history.transaction(rows_per_transaction, value)
        rows = 0
        while self.ring.put + sum(map(len, records)) < self.ring.capacity:
            for record in records:
                self.ring.try_claim(record)
            self.ring.publish()
            rows += rows_per_transaction
        return rows

    def connect(self) -> socket.socket:
        deadline = time.monotonic() + 10
        while True:
            try:
                sock = socket.create_connection(("127.0.0.1", self.port))
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def close(self) -> None:
        self.stop.set()
        self.process.join(10)
        Ring.unlink(self.ring.name)
        self.ring.close()


@pytest.fixture
def setup(request):
    with tempfile.TemporaryDirectory() as folder:
        made = Setup(Path(folder), request.param)
        yield made
        made.close()


def drain(sock: socket.socket, rows: int) -> int:
    """Streams until exactly so many rows have come, acking each batch; returns the bytes received."""
    sock.sendall(Hello(1, "orders").pack() + Credit(4).pack())
    again = Credit(1).pack()
    room = bytearray(8 * MIB)
    view = memoryview(room)
    start = end = total = 0
    while rows > 0:
        count = sock.recv_into(view[end:])
        assert count, "the server has closed the connection"
        total += count
        end += count
        while end - start >= 4 and end - start >= 4 + (size := _PREFIX.unpack_from(room, start)[0]):
            message, _ = parse_server_message(view[start + 4 : start + 4 + size])
            start += 4 + size
            if message.type == "batch":
                rows -= message.rows
                sock.sendall(Ack(message.batch).pack() + again)
        assert rows >= 0, "more rows than there are in the store"
        if start == end:
            start = end = 0
        elif len(room) - start < 5 * MIB:
            room[: end - start] = room[start:end]
            start, end = 0, end - start
    return total


def plain(setup: Setup) -> float:
    """Seconds for a sendall of the same bytes to this process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        arguments = (setup.ring.name, 0, setup.ring.put, listener.getsockname()[1])
        process = SPAWN.Process(target=_send_all, args=arguments)
        process.start()
        sock, _ = listener.accept()
        room = bytearray(8 * MIB)
        started = time.perf_counter()
        total = 0
        while count := sock.recv_into(room):
            total += count
        seconds = time.perf_counter() - started
        assert total == setup.ring.put
        sock.close()
        process.join()
    return seconds


@pytest.mark.parametrize("rows_per_transaction", [1000, 1])
@pytest.mark.parametrize("setup", [256 * MIB], indirect=True)
def test_a_store_drained_over_tcp_by_a_consumer_that_acks(benchmark, setup, rows_per_transaction):
    rows = setup.fill(rows_per_transaction)
    stored = setup.ring.put
    setup.process.start()
    sock = setup.connect()
    received = benchmark.pedantic(drain, args=(sock, rows), rounds=1, iterations=1)
    assert received > stored
    sock.close()
    benchmark.group = "store to TCP consumer"
    benchmark.extra_info.update(profile=PROFILE, rows=rows, bytes=stored, cores_needed=2)
    if benchmark.stats:
        assert PROFILE == "release"
        seconds = benchmark.stats.stats.mean
        plain_seconds = plain(setup)
        benchmark.extra_info.update(
            rows_per_s=round(rows / seconds), mb_per_s=round(stored / seconds / 1e6),
            plain_mb_per_s=round(stored / plain_seconds / 1e6),
        )  # fmt: skip


@pytest.mark.parametrize("setup", [4 * MIB], indirect=True)
def test_put_to_consumer_latency(benchmark, setup):
    setup.process.start()
    sock = setup.connect()
    sock.sendall(Hello(1, "orders").pack() + Credit(60_000).pack())
    frames = FrameReader()
    taken_us = []

    def receive(kind):
        while True:
            for payload in frames.frames():
                message, _ = parse_server_message(payload)
                if message.type == kind:
                    return message
            frames.feed(sock.recv(65536))

    receive("welcome")

    def one():
        for record in setup.history.transaction(1):
            setup.ring.try_claim(record)
        before = time.perf_counter()
        setup.ring.publish()
        message = receive("batch")
        taken_us.append((time.perf_counter() - before) * 1e6)
        assert message.rows == 1
        sock.sendall(Ack(message.batch).pack())
        receive("acked")

    benchmark.pedantic(one, rounds=2000, iterations=1, warmup_rounds=50)
    assert setup.ring.reader("default").lag_bytes == 0
    benchmark.group = "latency"
    taken_us.sort()
    benchmark.extra_info.update(
        profile=PROFILE, median_us=round(statistics.median(taken_us)), p99_us=round(taken_us[len(taken_us) * 99 // 100])
    )
    sock.sendall(Get().pack())
    sock.close()
