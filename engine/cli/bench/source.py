"""`bench source URL`: a live server's dump, decoded into a ring, in one process."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from engine.cli.bench.drain import drain_limit
from engine.cli.bench.engine_run import bench_config
from engine.cli.bench.result import Result, check_content, check_equal
from engine.cli.bench.server_url import (
    ChecksumOption,
    FromOption,
    JsonOption,
    LimitOption,
    RowsOption,
    UrlArgument,
    source_config,
)
from engine.counters import SourceCounter
from engine.instance import Instance


class End(NamedTuple):
    """Where the server's binlog ends, and which server it is."""

    place: tuple[int, int]  # number of the file, offset
    server: str  # as it calls itself


def source(
    url: UrlArgument,
    from_: FromOption = "earliest",
    rows: RowsOption = None,
    checksum: ChecksumOption = None,
    limit: LimitOption = True,
    json: JsonOption = False,
) -> None:
    """Decode the server's dump into a ring up to where its binlog ends now."""
    end = end_of_binlog(url)
    drain = drain_limit(url, from_, limit)
    # As in `decode`: the first pass looks at every record, the second one is measured.
    _, counted, _, content = _pass(url, from_, end, check=True)
    text = check_content(content, checksum)
    if rows is not None:
        check_equal("changes decoded", counted, rows)
    seconds, again, size, _ = _pass(url, from_, end, check=False)
    check_equal("changes of the second pass", again, counted)
    Result("source", counted, size, seconds, {"server": end.server, "checksum": text}, drain).show(json)


def _pass(url: str, start: str, end: End, *, check: bool) -> tuple[float, int, int, int]:
    """Seconds, changes, binlog bytes, and the checksum of what the changes say if it is to be taken."""
    from engine._content import content
    from engine.meta.open import open_meta
    from engine.ring import Ring
    from engine.source.stage import build

    with tempfile.TemporaryDirectory(prefix="binlog-engine-bench-") as folder:
        config = bench_config(url, start, Path(folder))
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
            begun = time.perf_counter()
            got = checksum = 0
            while (counters[SourceCounter.FILE], counters[SourceCounter.OFFSET]) < end.place or reader.lag_bytes:
                if not stage.do_work(time.monotonic_ns()):
                    stage.idle(10_000_000)
                size = reader.lag_bytes
                if check and size:
                    with reader.view() as view:
                        size = len(view)
                        checksum += content(view)[1]
                reader.advance(size)
                reader.ack_to(reader.get)
                got += size
            seconds = time.perf_counter() - begun
            rows, size = counters[SourceCounter.ROWS], counters[SourceCounter.BINLOG_BYTES]
            check_equal("bytes of records", got, ring.put)
            stage.on_close()
            counters.release()
        finally:
            Ring.unlink(name)
    return seconds, rows, size, checksum


def end_of_binlog(url: str) -> End:
    """Where the server's binlog ends now."""
    from engine.position import parse_start, split_file_name
    from engine.source.connection import Connection

    connection = Connection(source_config(url, "latest"), "bench")
    facts = connection.connect()
    try:
        end = connection.resolve_start(parse_start("latest"))
    finally:
        connection.close()
    return End((split_file_name(end.file)[1], end.offset), f"{facts.flavour} {facts.version_text}")
