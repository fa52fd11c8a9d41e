"""`bench stream URL`: a whole engine, from the live server to a consumer that acks."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

import engine
from engine.cli.bench.binlog_end import End, end_of_binlog
from engine.cli.bench.drain import drain_limit
from engine.cli.bench.engine_run import START_S, HeldSources, Transport, bench_config, listen_address, running_engine
from engine.cli.bench.processes import Watch
from engine.cli.bench.result import Limit, Result, check_content, check_equal
from engine.cli.bench.server_url import ChecksumOption, FromOption, JsonOption, LimitOption, RepeatOption, RowsOption, UrlArgument
from engine.config import Config
from engine.counters import SourceCounter
from engine.errors import EngineError
from engine.instance import Instance

_WAIT_MS = 20
_CONNECTED_POLL_S = 0.001
_REST_S, _REST_SHARE = 0.25, 0.1  # processes that took less of a core for so long have started and wait


class Consume(StrEnum):
    """What the consumer makes of a batch."""

    RAW = "raw"
    TUPLES = "tuples"
    CHANGES = "changes"
    ARROW = "arrow"


class StoreKind(StrEnum):
    """Of the destination's store."""

    MEMORY = "memory"
    FILE = "file"


@dataclass(frozen=True)
class Streaming:
    """How an engine is run and consumed; the tables are the config's, as in `bench_config`."""

    consume: Consume = Consume.RAW
    transport: Transport = Transport.TCP
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)


def stream(
    url: UrlArgument,
    from_: FromOption = "earliest",
    consume: Annotated[Consume, typer.Option("--as", help="What the consumer makes of a batch.")] = Consume.RAW,
    transport: Annotated[Transport, typer.Option(help="How the consumer connects.")] = Transport.TCP,
    partitions: Annotated[int, typer.Option(min=1, max=64)] = 1,
    sinks: Annotated[int, typer.Option(min=1, max=8)] = 1,
    store: Annotated[
        StoreKind, typer.Option(help="Where the store lies; a file is as large as memory's default.")
    ] = StoreKind.MEMORY,
    include: Annotated[str, typer.Option(help="Regular expression on schema.table: which tables are wanted.")] = ".*",
    rows: RowsOption = None,
    checksum: ChecksumOption = None,
    limit: LimitOption = True,
    repeat: RepeatOption = 1,
    json: JsonOption = False,
) -> None:
    """Stream the server's binlog, up to where it ends now, through a whole engine to a consumer that acks."""
    tables = {"destination": {"partitions": partitions, "sinks": sinks, "include": [include], "store": {"kind": store}}}
    end = end_of_binlog(url)
    drain = drain_limit(url, from_, limit)
    how = Streaming(consume, transport, tables)
    result = streamed(url, from_, end, how, drain)
    for _ in range(repeat - 1):
        again = streamed(url, from_, end, how)
        check_equal("changes consumed again", (again.rows, again.more["checksum"]), (result.rows, result.more["checksum"]))
        result.samples += again.samples
    check_content(int(result.more["checksum"], 16), checksum)
    if rows is not None:
        check_equal("changes consumed", result.rows, rows)
    result.more |= {"partitions": partitions, "sinks": sinks, "transport": str(transport), "store": str(store)}
    result.show(json)


def streamed(
    url: str,
    start: str,
    end: End,
    how: Streaming,
    limit: Limit | None = None,
    flow: Callable[[int], AbstractContextManager[None]] | None = None,
) -> Result:
    """One measurement with an engine of its own.

    Nothing comes until all other processes have started and wait: the source is held back until then, or, with flow, the caller
    keeps the server from answering. Entered then, with the supervisor's pid, flow lets the server answer; it is left after the
    last ack. `more["cpu_s"]` has the processor time of each process from the source's connection to the last ack, by title.

    Raises:
        EngineError: the engine didn't start, nothing arrives any more, or what arrived is not what was read.
    """
    if how.consume is Consume.ARROW:  # as an application does when it starts: pyarrow and what it needs take 0.3 s
        import_module("engine.client.arrow_walk")
    with tempfile.TemporaryDirectory(prefix="binlog-engine-bench-") as folder:
        listen = listen_address(how.transport, Path(folder))
        config = bench_config(url, start, Path(folder), listen, **how.tables)
        with ExitStack() as stack:
            held = HeldSources()
            pid = stack.enter_context(running_engine(config, Path(folder), held.look if flow is None else None))
            stack.callback(held.let_go)
            watch = stack.enter_context(Watch(pid))
            _await_rest(watch)
            with held.going() if flow is None else flow(pid):
                result = _consume(config, listen, end, how.consume, watch)
            watch.look()
    result.limit = limit
    result.more |= {"server": end.server, "peak_mb": watch.peak_mb}
    return result


def _await_rest(watch: Watch) -> None:
    deadline = time.monotonic() + START_S
    taken, spent = sum(watch.cpu_ns().values()), _REST_S * 1e9
    while spent > _REST_S * _REST_SHARE * 1e9:
        if time.monotonic() > deadline:
            raise EngineError("bench: the engine doesn't come to rest", seconds=START_S)
        time.sleep(_REST_S)
        before, taken = taken, sum(watch.cpu_ns().values())
        spent = taken - before


def _consume(config: Config, listen: str, end: End, consume: Consume, watch: Watch) -> Result:
    """Read until the source has come to the end and all its rows have arrived.

    The clock starts when the source connects to the server, and stops when the last batch is acked.
    """
    from engine._content import content
    from engine.ring import Ring

    ring = Ring.attach(Instance(config.server.data_dir).source_ring("bench"))
    counters = ring.counters
    rows = checksum = 0
    with engine.connect(listen, destination="bench", timeout=START_S) as session:
        deadline = time.monotonic() + START_S
        while not counters[SourceCounter.CONNECTED_NS] and time.monotonic() < deadline:
            time.sleep(_CONNECTED_POLL_S)
        before = watch.cpu_ns()
        batch: engine.Batch | None = next(session)  # from here on batches are sent ahead
        while True:
            if batch is not None:
                checksum += content(batch.raw)[1]
                rows += _take(batch, consume)
                batch.ack()
                last_ns = time.monotonic_ns()
            elif (counters[SourceCounter.FILE], counters[SourceCounter.OFFSET]) >= end.place and rows == counters[
                SourceCounter.ROWS
            ]:
                break
            elif time.monotonic_ns() - last_ns > START_S * 1e9:
                raise EngineError("bench: nothing arrives any more", rows=rows, read=counters[SourceCounter.ROWS])
            batch = session.get(wait_ms=_WAIT_MS)
        cpu_s = {title: round((after - before.get(title, 0)) / 1e9, 6) for title, after in watch.cpu_ns().items()}
    size = counters[SourceCounter.BINLOG_BYTES]
    check_equal("rows consumed", rows, counters[SourceCounter.ROWS])
    seconds = (last_ns - counters[SourceCounter.CONNECTED_NS]) / 1e9
    counters.release()
    ring.close()
    return Result(f"stream {consume}", rows, size, [seconds], {"checksum": check_content(checksum, None), "cpu_s": cpu_s})


def _take(batch: engine.Batch, consume: Consume) -> int:
    """Changes in the batch, counted the way the consumer sees them."""
    if consume is Consume.RAW:
        return len(batch)
    if consume is Consume.TUPLES:
        return sum(1 for _ in batch.iter_rows())
    if consume is Consume.ARROW:
        return sum(table.num_rows for table in batch.arrow().values())
    return sum(change.op in ("insert", "update", "delete") for change in batch)
