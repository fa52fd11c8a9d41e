"""`bench source URL`: a live server's dump, decoded into a ring, in one process."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from engine.cli.bench.binlog_end import End, end_of_binlog
from engine.cli.bench.drain import Drained, drained, middle
from engine.cli.bench.engine_run import bench_config
from engine.cli.bench.result import Result, check_content, check_equal
from engine.cli.bench.server_url import (
    ChecksumOption,
    FromOption,
    JsonOption,
    LimitOption,
    RepeatOption,
    RowsOption,
    Tls,
    TlsOption,
    UrlArgument,
)
from engine.counters import SourceCounter
from engine.instance import Instance


def source(
    url: UrlArgument,
    from_: FromOption = "earliest",
    rows: RowsOption = None,
    checksum: ChecksumOption = None,
    tls: TlsOption = Tls.PREFERRED,
    limit: LimitOption = True,
    repeat: RepeatOption = 3,
    json: JsonOption = False,
) -> None:
    """Decode the server's dump into a ring up to where its binlog ends now. Each time next to a drain, its limit."""
    end = end_of_binlog(url)
    # As in `decode`: the first pass looks at every record, the others are measured.
    _, counted, _, content = _pass(url, from_, tls, end, check=True)
    text = check_content(content, checksum)
    if rows is not None:
        check_equal("changes decoded", counted, rows)
    samples: list[float] = []
    drains: list[Drained] = []
    for _ in range(repeat):
        if limit:  # in turn, since a core may be slow for seconds
            drains.append(drained(url, from_, tls))
        seconds, again, size, _ = _pass(url, from_, tls, end, check=False)
        check_equal("changes of a later pass", again, counted)
        samples.append(seconds)
    more: dict[str, Any] = {"server": end.server, "checksum": text}
    limit_seen = middle(drains)
    if limit_seen:
        more["tls"] = drains[0].tls
        limit_seen = limit_seen._replace(paired=[run.mb_per_s for run in drains])
    Result("source", counted, size, samples, more, limit_seen).show(json)


def _pass(url: str, start: str, tls: Tls, end: End, *, check: bool) -> tuple[float, int, int, int]:
    """Seconds since the first bytes, changes, binlog bytes, and the checksum of what the changes say if it is to be taken."""
    from engine._content import content
    from engine.meta.open import open_meta
    from engine.ring import Ring
    from engine.source.stage import build

    with tempfile.TemporaryDirectory(prefix="binlog-engine-bench-") as folder:
        config = bench_config(url, start, Path(folder), source={"tls": tls})
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
            got = checksum = begun_ns = 0
            while (counters[SourceCounter.FILE], counters[SourceCounter.OFFSET]) < end.place or reader.lag_bytes:
                if not stage.do_work(time.monotonic_ns()):
                    stage.idle(10_000_000)
                if not begun_ns and counters[SourceCounter.BINLOG_BYTES]:
                    begun_ns = max(counters[SourceCounter.CONNECTED_NS], counters[SourceCounter.RECEIVED_NS])
                size = reader.lag_bytes
                if check and size:
                    with reader.view() as view:
                        size = len(view)
                        checksum += content(view)[1]
                reader.advance(size)
                reader.ack_to(reader.get)
                got += size
            seconds = (time.monotonic_ns() - begun_ns) / 1e9
            rows, size = counters[SourceCounter.ROWS], counters[SourceCounter.BINLOG_BYTES]
            check_equal("bytes of records", got, ring.put)
            stage.on_close()
            counters.release()
        finally:
            Ring.unlink(name)
    return seconds, rows, size, checksum
