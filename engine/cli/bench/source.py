"""`bench source URL`: a live server's dump, decoded into a ring, in one process."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from engine.cli.bench.result import Result, check_equal
from engine.cli.bench.server_url import FromOption, JsonOption, UrlArgument
from engine.config import Config
from engine.counters import SourceCounter
from engine.instance import Instance


def source(url: UrlArgument, from_: FromOption = "earliest", json: JsonOption = False) -> None:
    """Decode the server's dump into a ring up to where its binlog ends now."""
    from engine.meta.open import open_meta
    from engine.ring import Ring
    from engine.source.stage import build

    end_file, end_offset = end_of_binlog(url)
    with tempfile.TemporaryDirectory(prefix="binlog-engine-bench-") as folder:
        config = bench_config(url, from_, Path(folder))
        instance = Instance(config.server.data_dir)
        open_meta("file", instance).close()
        name = instance.source_ring("bench")
        ring = Ring.create(name, config.sources["bench"].ring)
        try:
            reader = ring.add_reader("bench")
            reader.open()
            stage = build(config, "bench", instance)
            stage.on_start()
            counters = ring.counters
            start = time.perf_counter()
            got = 0
            while (counters[SourceCounter.FILE], counters[SourceCounter.OFFSET]) < (end_file, end_offset):
                if not stage.do_work(time.monotonic_ns()):
                    stage.idle(10_000_000)
                size = reader.lag_bytes
                reader.advance(size)
                reader.ack_to(reader.get)
                got += size
            seconds = time.perf_counter() - start
            rows, size = counters[SourceCounter.ROWS], counters[SourceCounter.BINLOG_BYTES]
            check_equal("bytes of records", got + reader.lag_bytes, ring.put)
            stage.on_close()
            counters.release()
        finally:
            Ring.unlink(name)
    Result("source", rows, size, seconds).show(json)


def bench_config(url: str, start: str, data_dir: Path, listen: str = "tcp://127.0.0.1:7411", **destination: object) -> Config:
    """An engine with one source `bench` and one destination `bench` that takes everything."""
    return Config.model_validate(
        {
            "server": {"listen": listen, "data_dir": str(data_dir)},
            "sources": {"bench": {"url": url, "start": start}},
            "destinations": {"bench": {"exclude": [r"mysql\..*"], **destination}},
        }
    )


def end_of_binlog(url: str) -> tuple[int, int]:
    """Number of the server's current binlog file, and the offset where it ends now."""
    from engine.cli.bench.server_url import source_config
    from engine.position import parse_start, split_file_name
    from engine.source.connection import Connection

    connection = Connection(source_config(url, "latest"), "bench")
    connection.connect()
    try:
        end = connection.resolve_start(parse_start("latest"))
    finally:
        connection.close()
    return split_file_name(end.file)[1], end.offset
