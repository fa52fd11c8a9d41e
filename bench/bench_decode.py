"""How fast one core turns a binlog file into records: mysql-replication on the same file beside it.

    file ─▶ read ─▶ events, CRC32 ─▶ rows ─▶ ring (8 MiB) ─▶ acked unread        file ─▶ mysql-replication ─▶ rows as dicts

`binlog-engine bench decode FILE...` measures any other file.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import WriteRowsEvent

from bench.workloads import insert_orders, insert_orders_one_by_one, make_orders_table, update_orders
from engine.record import CHANGES, unpack_head
from engine.ring import PROFILE, iter_records
from engine.source.files import decode_files
from tests.servers.mariadb import MariaDB

Bench = Callable[..., Any]


class Workload:
    """A binlog file with so many changes in so many transactions."""

    def __init__(self, path: Path, changes: int, transactions: int) -> None:
        self.path = path
        self.changes = changes
        self.transactions = transactions
        self.path.read_bytes()  # the disk is not what is measured


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    with MariaDB(max_binlog_size=1 << 30) as server:
        yield server


@pytest.fixture
def schema(server: MariaDB, request: pytest.FixtureRequest) -> Iterator[str]:
    name = request.node.name[:60]
    make_orders_table(server.sql, name)
    yield name
    server.sql(f"DROP DATABASE {name}")


@pytest.fixture
def make_workload(server: MariaDB, schema: str, tmp_path: Path) -> Callable[..., Workload]:
    def make(fill: Callable[..., int], rows: int, *, one_by_one: bool = False) -> Workload:
        server.sql("FLUSH BINARY LOGS")
        changes = fill(server.sql, schema, rows)
        file = server.binlog_files()[-1]
        server.sql("FLUSH BINARY LOGS")
        shutil.copy(file, tmp_path / file.name)
        return Workload(tmp_path / file.name, changes, changes if one_by_one else -(-changes // 50_000))

    return make


def rows_of(benchmark: Any) -> int:
    """As many as measure something; a few where the bench only shows that it works."""
    return 1_000_000 if benchmark.enabled else 50_000


def decode(path: Path) -> int:
    return sum(len(records) for records, _ in decode_files([path]))


def check(workload: Workload) -> None:
    found = [unpack_head(record).kind for records, _ in decode_files([workload.path]) for record in iter_records(records)]
    assert sum(kind in CHANGES for kind in found) == workload.changes


def measure(benchmark: Any, workload: Workload) -> None:
    if benchmark.enabled:
        assert PROFILE == "release", "a debug build's numbers mean nothing"
    check(workload)
    benchmark.extra_info.update(
        profile=PROFILE, cores=os.cpu_count(), rows=workload.changes, transactions=workload.transactions,
        binlog_bytes=workload.path.stat().st_size,
    )  # fmt: skip
    record_bytes = benchmark(decode, workload.path)
    assert record_bytes > workload.changes * 61
    if benchmark.enabled:
        seconds = benchmark.stats.stats.min
        benchmark.extra_info.update(rows_per_s=round(workload.changes / seconds), correct=True)


@pytest.mark.benchmark(group="binlog file to ring, one core")
def test_bulk_inserts_are_decoded(benchmark: Any, make_workload: Bench) -> None:
    measure(benchmark, make_workload(insert_orders, rows_of(benchmark)))


@pytest.mark.benchmark(group="binlog file to ring, one core")
def test_bulk_updates_are_decoded(benchmark: Any, make_workload: Bench, server: MariaDB, schema: str) -> None:
    insert_orders(server.sql, schema, rows_of(benchmark) // 2)
    measure(benchmark, make_workload(update_orders, rows_of(benchmark) // 2))


@pytest.mark.benchmark(group="binlog file to ring, one core")
def test_single_row_transactions_are_decoded(benchmark: Any, make_workload: Bench) -> None:
    measure(benchmark, make_workload(insert_orders_one_by_one, rows_of(benchmark) // 5, one_by_one=True))


@pytest.mark.filterwarnings("ignore:.* is deprecated:DeprecationWarning")  # what it passes to PyMySQL
@pytest.mark.benchmark(group="binlog file to ring, one core")
def test_mysql_replication_decodes_bulk_inserts(benchmark: Any, server: MariaDB, schema: str) -> None:
    """From the server, since it reads no files; its own time is far above the network's."""
    rows = 50_000
    server.sql("FLUSH BINARY LOGS")
    file = server.binlog_files()[-1].name
    insert_orders(server.sql, schema, rows)
    settings = {"host": "127.0.0.1", "port": server.port, "user": "root", "password": ""}

    def read() -> int:
        stream = BinLogStreamReader(
            connection_settings=settings, server_id=4711, log_file=file, log_pos=4, resume_stream=True,
            only_events=[WriteRowsEvent],
        )  # fmt: skip
        try:
            return sum(len(event.rows) for event in stream)
        finally:
            stream.close()

    assert benchmark(read) == rows
    benchmark.extra_info["rows"] = rows
