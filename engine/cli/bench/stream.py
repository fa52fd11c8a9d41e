"""`bench stream URL`: a whole engine, from the live server to a consumer on TCP that acks."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import engine
from engine.cli.bench.result import Result, check_equal
from engine.cli.bench.server_url import FromOption, JsonOption, UrlArgument
from engine.cli.bench.source import bench_config, end_of_binlog
from engine.config import Config
from engine.counters import SourceCounter
from engine.errors import EngineError
from engine.instance import Instance

_START_S = 30.0


class Consume(StrEnum):
    """What the consumer makes of a batch."""

    RAW = "raw"
    TUPLES = "tuples"
    CHANGES = "changes"
    ARROW = "arrow"


def stream(
    url: UrlArgument,
    from_: FromOption = "earliest",
    consume: Annotated[Consume, typer.Option("--as", help="What the consumer makes of a batch.")] = Consume.RAW,
    partitions: Annotated[int, typer.Option(min=1, max=64)] = 1,
    sinks: Annotated[int, typer.Option(min=1, max=8)] = 1,
    json: JsonOption = False,
) -> None:
    """Stream the server's binlog, up to where it ends now, through a whole engine to a consumer that acks."""
    end = end_of_binlog(url)
    with tempfile.TemporaryDirectory(prefix="binlog-engine-bench-") as folder:
        listen = f"tcp://127.0.0.1:{_free_port()}"
        config = bench_config(url, from_, Path(folder), listen, partitions=partitions, sinks=sinks)
        with _running(config, Path(folder)):
            rows, seconds, size = _consume(config, listen, end, consume)
    Result(f"stream {consume}", rows, size, seconds, {"partitions": partitions, "sinks": sinks}).show(json)


def _consume(config: Config, listen: str, end: tuple[int, int], consume: Consume) -> tuple[int, float, int]:
    """Read until the source has come to the end and all its rows have arrived; rows, seconds, binlog bytes.

    The clock starts when the source connects to the server, and stops when the last batch is acked.
    """
    from engine.ring import Ring

    ring = Ring.attach(Instance(config.server.data_dir).source_ring("bench"))
    counters = ring.counters
    rows = 0
    with engine.connect(listen, destination="bench", timeout=_START_S) as stream:
        batch: engine.Batch | None = next(stream)  # from here on batches are sent ahead
        while True:
            if batch is not None:
                rows += _take(batch, consume)
                batch.ack()
                last_ns = time.monotonic_ns()
            elif (counters[SourceCounter.FILE], counters[SourceCounter.OFFSET]) >= end and rows == counters[SourceCounter.ROWS]:
                break
            elif time.monotonic_ns() - last_ns > _START_S * 1e9:
                raise EngineError("bench: nothing arrives any more", rows=rows, read=counters[SourceCounter.ROWS])
            batch = stream.get(wait_ms=20)
    size = counters[SourceCounter.BINLOG_BYTES]
    check_equal("rows consumed", rows, counters[SourceCounter.ROWS])
    seconds = (last_ns - counters[SourceCounter.CONNECTED_NS]) / 1e9
    counters.release()
    ring.close()
    return rows, seconds, size


def _take(batch: engine.Batch, consume: Consume) -> int:
    """Changes in the batch, counted the way the consumer sees them."""
    if consume is Consume.RAW:
        return len(batch)
    if consume is Consume.TUPLES:
        return sum(1 for _ in batch.iter_rows())
    if consume is Consume.ARROW:
        return sum(table.num_rows for table in batch.arrow().values())
    return sum(change.op in ("insert", "update", "delete") for change in batch)


@contextmanager
def _running(config: Config, folder: Path) -> Iterator[None]:
    """An engine in processes of its own, as `binlog-engine run` starts it; its log is shown if it fails."""
    log = folder / "engine.log"
    code = (
        "import sys; from engine.config import Config; from engine.process import configure_logging;"
        "from engine.supervisor import run_engine; configure_logging();"
        "sys.exit(run_engine(Config.model_validate_json(sys.stdin.read())))"
    )
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=output, stderr=output)
        try:
            assert process.stdin is not None
            process.stdin.write(config.model_dump_json(by_alias=True).encode())
            process.stdin.close()
            _await_listening(config.server.listen[0], process, log)
            yield
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            process.wait()


def _await_listening(listen: str, process: subprocess.Popen[bytes], log: Path) -> None:
    host, port = listen.removeprefix("tcp://").split(":")
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection((host, int(port)), 0.2):
            return
        time.sleep(0.02)
    raise EngineError("bench: the engine didn't start", log=log.read_text()[-2000:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
