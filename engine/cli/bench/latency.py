"""`bench latency URL`: from a commit on the server to the consumer that sees its change, at given rates.

    a writer process, --connections ── INSERT, autocommit ──▶ server ══ dump ══▶ engine ══▶ consumer: this process

Each commit is due at its time, whether the ones before it are answered or not. The writer notes CLOCK_MONOTONIC before it sends
each INSERT and when the server has confirmed it; the consumer notes it once it has the row as a tuple. Shown is the time since
a commit was due, which is longer where the server couldn't keep up; since it was sent, which has the server's own work in it;
and since it was confirmed, after which another client can see the row.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

import engine
from engine.cli.bench.binlog_end import end_of_binlog
from engine.cli.bench.commits import commit_all, connected, read_times
from engine.cli.bench.engine_run import START_S, Transport, bench_config, listen_address, running_engine
from engine.cli.bench.machine import machine
from engine.cli.bench.processes import Watch
from engine.cli.bench.result import check_equal, print_json, show_table
from engine.cli.bench.server_url import JsonOption, Tls, UrlArgument, source_config
from engine.errors import EngineError

SCHEMA = "binlog_engine_bench"
PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)
MOST_MEDIAN_US, MOST_P99_US = 1_000, 5_000  # at 5,000 transactions a second
_RATES = [1000, 5000]
CONNECTIONS = 2
_WARM_UP = 0.1  # this share of the transactions comes before those that count
_LONGEST_NS = 60 * 10**9
_BEGIN_AFTER_S = 0.5
_WAIT_MS = 100


def latency(
    url: UrlArgument,
    rate: Annotated[list[int], typer.Option(help="Transactions a second; may be given again.", min=1)] = _RATES,
    seconds: Annotated[float, typer.Option(help="How long at each rate.", min=0.5)] = 10.0,
    connections: Annotated[int, typer.Option(help="How many the commits are shared by.", min=1, max=64)] = CONNECTIONS,
    transport: Annotated[Transport, typer.Option(help="How the consumer connects.")] = Transport.TCP,
    tls: Annotated[Tls, typer.Option(help="Of the source's connection; the writer and the consumer have none.")] = Tls.PREFERRED,
    json: JsonOption = False,
) -> None:
    """Percentiles of the time from commit to consumer. Makes a schema `binlog_engine_bench` on the server, and drops it."""
    end = end_of_binlog(url)
    with latency_schema(url) as writer:
        cases = [measured_latency(url, writer, wanted, seconds, connections, transport, source={"tls": tls}) for wanted in rate]
    result = {
        "bench": "latency",
        "server": end.server,
        "transport": str(transport),
        "tls": str(tls),
        "connections": connections,
        "cases": cases,
    }
    if json:
        print_json({**result, **machine()})
        return
    table = Table(title=f"commit to consumer, µs, {end.server}, {transport}", title_justify="left")
    for column in ("asked tx/s", "reached", "counted from", *(f"p{p:g}" for p in PERCENTILES[:-1]), "max", "of the limit"):
        table.add_column(column, justify="left" if column == "counted from" else "right")
    for case in cases:
        for begin in ("due", "sent", "confirmed"):
            row = case[f"from_{begin}_us"]
            limit = f"{row['p50'] / MOST_MEDIAN_US:.2f}, {row['p99'] / MOST_P99_US:.2f}"
            table.add_row(f"{case['rate']:,}", f"{case['reached']:,}", begin, *(f"{us:,.0f}" for us in row.values()), limit)
    show_table(table)


class Writer:
    """Makes tables on the server for transactions to be committed into."""

    def __init__(self, account: dict[str, Any]) -> None:
        self.account = account
        self._tables = 0

    def make_table(self) -> str:
        self._tables += 1
        _run(self.account, f"CREATE TABLE {SCHEMA}.t{self._tables} (id BIGINT NOT NULL PRIMARY KEY, v VARCHAR(40) NOT NULL)")
        return f"t{self._tables}"


@contextmanager
def latency_schema(url: str) -> Iterator[Writer]:
    """A schema of its own on the server, dropped in the end.

    Raises:
        EngineError: hdrhistogram is not installed, or the account may not.
    """
    _histogram()
    account = source_config(url, "latest").account()
    _run(account, f"DROP DATABASE IF EXISTS {SCHEMA}", f"CREATE DATABASE {SCHEMA}")
    try:
        yield Writer(account)
    finally:
        _run(account, f"DROP DATABASE IF EXISTS {SCHEMA}")


def measured_latency(
    url: str, writer: Writer, rate: int, seconds: float, connections: int, transport: Transport, **tables: dict[str, Any]
) -> dict[str, Any]:
    """One rate: every transaction committed, seen once, and its two intervals recorded; tables as in `bench_config`."""
    transactions = max(round(rate * seconds), 2)
    warm_up = round(transactions * _WARM_UP)
    context = multiprocessing.get_context("spawn")
    name = writer.make_table()
    with tempfile.TemporaryDirectory(prefix="binlog-engine-bench-") as folder:
        listen = listen_address(transport, Path(folder))
        tables["destination"] = {**tables.get("destination", {}), "include": [rf"{SCHEMA}\.{name}"]}
        config = bench_config(url, "latest", Path(folder), listen, **tables)
        told: Any = context.Queue()
        go: Any = context.Queue()
        times_file = Path(folder) / "times"
        process = context.Process(
            target=commit_all, daemon=True,
            args=(writer.account, f"{SCHEMA}.{name}", connections, rate, warm_up, transactions, str(times_file), told, go),
        )  # fmt: skip
        with (
            running_engine(config, Path(folder)) as pid,
            engine.connect(listen, destination="bench", timeout=START_S) as session,
        ):
            watch = Watch(pid)  # of processor time only: its samples of memory would take some
            _await_connected(config.server.data_dir)
            process.start()
            told.get(timeout=START_S)
            begin_ns = time.monotonic_ns() + round(_BEGIN_AFTER_S * 1e9)
            before = watch.cpu_ns()
            go.put(begin_ns)
            seen = _see(session, transactions, deadline_s=_BEGIN_AFTER_S + 3 * seconds + START_S)
            taken_s = (time.monotonic_ns() - begin_ns) / 1e9
            cpu = {title: round((ns - before[title]) / taken_s / 1e7, 1) for title, ns in watch.cpu_ns().items()}
            process.join(START_S)
        times = read_times(times_file, transactions)
    taken_ns = max(times.confirmed) - times.due[warm_up]
    return {
        "rate": rate, "reached": round((transactions - warm_up) / max(taken_ns / 1e9, 1e-9)), "transactions": transactions,
        **{f"from_{begin}_us": _percentiles(seen[warm_up:], column[warm_up:]) for begin, column in times._asdict().items()},
        "cpu_percent": cpu,
    }  # fmt: skip


def _see(session: engine.Stream, transactions: int, deadline_s: float) -> array[int]:
    """When each transaction's row was there, CLOCK_MONOTONIC in ns, by its number."""
    seen = array("q", bytes(8 * transactions))
    count = 0
    deadline = time.monotonic() + deadline_s
    batch: engine.Batch | None = next(session)  # from here on batches are sent ahead
    while True:
        if batch is not None:
            for op, _, _, row in batch.iter_rows():
                now = time.monotonic_ns()
                assert row is not None
                if op != "insert" or seen[row[0]]:
                    check_equal("what the consumer sees", (op, seen[row[0]]), ("insert", 0))
                seen[row[0]] = now
                count += 1
            batch.ack()
        if count == transactions:
            return seen
        if time.monotonic() > deadline:
            raise EngineError("bench: not every commit has arrived", arrived=count, committed=transactions)
        batch = session.get(wait_ms=_WAIT_MS)


def _percentiles(seen: array[int], begun: array[int]) -> dict[str, float]:
    histogram = _histogram()
    for begin, end in zip(begun, seen, strict=True):
        histogram.record_value(max(end - begin, 1))
    return {
        "max" if percentile == 100 else f"p{percentile:g}": round(histogram.get_value_at_percentile(percentile) / 1000, 1)
        for percentile in PERCENTILES
    }


def _histogram() -> Any:
    try:
        from hdrh.histogram import HdrHistogram
    except ImportError:
        raise EngineError("bench: hdrhistogram is not installed", remedy="pip install 'binlog-engine[bench]'") from None
    return HdrHistogram(1, _LONGEST_NS, 3)


def _await_connected(data_dir: Path) -> None:
    """Until the source reads: what is committed from now on is measured."""
    from engine.counters import SourceCounter
    from engine.instance import Instance
    from engine.ring import Ring

    ring = Ring.attach(Instance(data_dir).source_ring("bench"))
    counters = ring.counters
    deadline = time.monotonic() + START_S
    while not counters[SourceCounter.CONNECTED]:
        if time.monotonic() > deadline:
            raise EngineError("bench: the source doesn't connect to the server")
        time.sleep(0.01)
    counters.release()
    ring.close()


def _run(account: dict[str, Any], *statements: str) -> None:
    import pymysql

    connection = connected(account)
    try:
        for statement in statements:
            connection.query(statement)
    except pymysql.err.MySQLError as error:
        raise EngineError(
            "bench: the account may not make what is needed", statement=statement, error=error,
            remedy=f"GRANT ALL ON {SCHEMA}.* to it",
        ) from None  # fmt: skip
    finally:
        connection.close()
