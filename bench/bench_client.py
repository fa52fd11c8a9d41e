"""batch bytes → Python: what the consumer's side costs, on one core, with its extensions and without.

    batch (10,000 changes of the orders table) ──▶ Change objects | dicts | tuples | Arrow tables
    this process ══ loopback TCP ══▶ frames ──▶ Change objects, acked

Each bench checks what it has read. Python's garbage collector stays on, as it is in an application; gc.freeze() after the
imports, or a higher gc.set_threshold, is the application's choice and gains about a tenth.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext

import pytest

import engine
from engine import wire
from engine.client.batch import Batch
from engine.client.change import ChangeReader
from engine.position import Identity
from engine.record import Kind, pack_record
from engine.schema import Column, TableSchema
from tests.client.conftest import msgpack_alone

ROWS = 10_000
BATCHES = 50
TIME_US = 1_795_407_265_720_253
ORDERS = TableSchema(
    "shop",
    "shop",
    "orders",
    (
        Column("id", "bigint", unsigned=True, nullable=False),
        Column("customer_id", "int"),
        Column("sku", "varchar(32)", charset="utf8mb4"),
        Column("status", "enum", charset="utf8mb4", labels=("new", "paid", "shipped", "cancelled")),
        Column("total", "decimal(12,2)"),
        Column("quantity", "smallint"),
        Column("created", "datetime(3)"),
        Column("updated", "timestamp(6)"),
        Column("note", "varchar(120)", charset="utf8mb4"),
    ),
    (0,),
)


def order(number: int) -> list:
    return [
        number, number * 7919 % 100_000, f"SKU-{number:06d}", "paid", f"{number % 10_000}.50", number % 100,
        f"2026-01-01 02:46:{number % 60:02d}.123", f"2026-01-01 02:46:{number % 60:02d}.456789", f"note {number}",
    ]  # fmt: skip


def records() -> tuple[bytes, bytes]:
    """The schema record, and a transaction of ROWS inserts."""
    schema = {**wire.msgpack.unpackb(ORDERS.pack())}
    place = Identity(1, 1234, 0, 0)
    changes = [
        pack_record(
            Kind.INSERT, source=1, identity=Identity(1, 1234, 2, row), time_us=TIME_US, table=7, key_hash=row, after=order(row)
        )
        for row in range(ROWS)
    ]
    begin = pack_record(Kind.BEGIN, source=1, identity=place, time_us=TIME_US, after=["0-1-5", None])
    commit = pack_record(Kind.COMMIT, source=1, identity=place, time_us=TIME_US, after=["0-1-5", 77])
    return (
        pack_record(Kind.SCHEMA, source=1, identity=place, time_us=TIME_US, table=7, after=schema),
        b"".join([begin, *changes, commit]),
    )


SCHEMA, RECORDS = records()


@pytest.fixture
def batch() -> Batch:
    reader = ChangeReader({1: ("shop", "binlog")})
    reader.learn(SCHEMA)
    head = wire.BatchHead(1, 0, ROWS, ROWS + 2, len(RECORDS))
    return Batch(head, memoryview(RECORDS), reader, {"ddl": False, "transactions": False, "history": False})


def note(benchmark, rows: int = ROWS) -> None:
    """What a row costs, beside the times of a round."""
    benchmark.group = "batch to Python, one core"
    benchmark.extra_info.update(rows=rows, bytes_a_row=len(RECORDS) // ROWS, cores=os.cpu_count(), cores_needed=1)
    if benchmark.stats is not None:
        benchmark.extra_info["rows_per_s"] = round(rows / benchmark.stats.stats.min)


def test_change_objects(benchmark, batch: Batch) -> None:
    def read() -> engine.Change:
        return deque(batch, maxlen=1)[0]

    last = benchmark(read)
    note(benchmark)
    assert (last.op, last.gtid, last.after["id"]) == ("insert", "0-1-5", ROWS - 1)


def test_change_objects_whose_rows_are_looked_at(benchmark, batch: Batch) -> None:
    def read() -> int:
        return sum(change.after["id"] for change in batch if change.op == "insert")

    assert benchmark(read) == sum(range(ROWS))
    note(benchmark)


@pytest.fixture(params=["native", "msgpack"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """With the client's extensions, and as where nothing is compiled."""
    with nullcontext() if request.param == "native" else msgpack_alone():
        yield request.param


@pytest.mark.usefixtures("way")
def test_tuples_one_by_one(benchmark, batch: Batch) -> None:
    last = benchmark(lambda: deque(batch.iter_rows(), maxlen=1)[0])
    note(benchmark)
    assert last == ("insert", ORDERS, None, tuple(order(ROWS - 1)))


@pytest.mark.usefixtures("way")
def test_a_list_of_tuples(benchmark, batch: Batch) -> None:
    rows = benchmark(batch.rows)
    note(benchmark)
    assert len(rows) == ROWS
    assert rows[-1] == ("insert", ORDERS, None, tuple(order(ROWS - 1)))


@pytest.mark.usefixtures("way")
def test_arrow(benchmark, batch: Batch) -> None:
    pytest.importorskip("pyarrow")
    tables = benchmark(batch.arrow)
    note(benchmark)
    table = tables[ORDERS]
    assert len(table) == ROWS
    assert table["note"][-1].as_py() == f"note {ROWS - 1}"


def test_frames_from_a_socket_to_change_objects(benchmark) -> None:
    """One process sends from another thread, so that this measures a little less than one core of a consumer."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_serve, args=(listener,), daemon=True).start()
    url = f"tcp://127.0.0.1:{listener.getsockname()[1]}/orders"

    def consume() -> int:
        seen = 0
        with engine.connect(url) as stream:
            for _, got in zip(range(BATCHES), stream, strict=False):
                seen += sum(1 for _ in got)
                got.ack()
        return seen

    with listener:
        assert benchmark.pedantic(consume, rounds=3) == BATCHES * ROWS
    note(benchmark, BATCHES * ROWS)


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            reader, given = wire.FrameReader(), 0
            while data := connection.recv(65536):
                reader.feed(data)
                for payload in reader.frames():
                    answer = b""
                    match wire.parse_client_message(payload):
                        case wire.Hello() as hello:
                            sources = {1: {"name": "shop", "binlog": "binlog"}}
                            answer = wire.Welcome(1, "", "orders", hello.consumer, [0], sources).pack()
                            answer += wire.Schemas().pack_prefix(len(SCHEMA)) + SCHEMA
                        case wire.Credit(batches=batches):
                            for _ in range(batches):
                                given += 1
                                head = wire.BatchHead(given, 0, ROWS, ROWS + 2, len(RECORDS))
                                connection.sendall(head.pack_prefix(len(RECORDS)))
                                connection.sendall(RECORDS)
                        case wire.Ack(batch=number):
                            answer = wire.Acked(number).pack()
                        case wire.Bye():
                            connection.shutdown(socket.SHUT_WR)
                    connection.sendall(answer) if answer else None
