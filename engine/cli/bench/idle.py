"""`bench idle URL`: what an engine takes while nothing happens on its server and its consumer waits."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

import engine
from engine.cli.bench.binlog_end import end_of_binlog
from engine.cli.bench.engine_run import START_S, Transport, bench_config, listen_address, running_engine
from engine.cli.bench.machine import machine
from engine.cli.bench.processes import Watch
from engine.cli.bench.result import check_equal, print_json, show_table
from engine.cli.bench.server_url import JsonOption, UrlArgument
from engine.counters import SourceCounter
from engine.instance import Instance

MOST_CPU_PERCENT = 1.0  # of one core, all processes together
MOST_MB = 60.0  # of a process, beside the rings
_SETTLE_S = 2.0


def idle(
    url: UrlArgument,
    seconds: Annotated[float, typer.Option(help="How long to look.", min=1)] = 10.0,
    json: JsonOption = False,
) -> None:
    """Processor time and memory of each process of an engine that has nothing to do, a consumer connected."""
    from engine.ring import Ring

    end = end_of_binlog(url)
    with tempfile.TemporaryDirectory(prefix="binlog-engine-bench-") as folder:
        listen = listen_address(Transport.TCP, Path(folder))
        config = bench_config(url, "latest", Path(folder), listen)
        with (
            running_engine(config, Path(folder)) as pid,
            engine.connect(listen, destination="bench", timeout=START_S) as session,
            Watch(pid) as watch,
        ):
            ring = Ring.attach(Instance(config.server.data_dir).source_ring("bench"))
            counters = ring.counters
            session.get(wait_ms=round(_SETTLE_S * 1000))  # the imports are done then, and the caches filled
            before, begun = watch.cpu_ns(), time.monotonic_ns()
            batch = session.get(wait_ms=round(seconds * 1000))
            after, ended = watch.cpu_ns(), time.monotonic_ns()
            check_equal("changes of an idle server", (batch, counters[SourceCounter.ROWS]), (None, 0))
            check_equal("a connected source", counters[SourceCounter.CONNECTED], 1)
            check_equal("the processes that lived", sorted(after), sorted(before))
            counters.release()
            ring.close()
    percent = {title: (after[title] - before[title]) / (ended - begun) * 100 for title in after}
    result = {
        "bench": "idle", "server": end.server, "seconds": round((ended - begun) / 1e9, 3),
        "cpu_percent": {title: round(value, 3) for title, value in percent.items()},
        "cpu_percent_in_all": round(sum(percent.values()), 3), "peak_mb": watch.peak_mb,
        "limit_cpu_percent": MOST_CPU_PERCENT, "limit_mb": MOST_MB,
        "of_limit": round(sum(percent.values()) / MOST_CPU_PERCENT, 3),
    }  # fmt: skip
    if json:
        print_json({**result, **machine()})
        return
    table = Table(title=f"idle, {end.server}, {seconds:g} s", title_justify="left")
    for column in ("process", "% of a core", f"of {MOST_CPU_PERCENT:g} %", "MB beside the rings", f"of {MOST_MB:g} MB"):
        table.add_column(column, justify="left" if column == "process" else "right")
    for title, value in percent.items():
        size = watch.peak_mb[title]
        table.add_row(title, f"{value:.3f}", f"{value / MOST_CPU_PERCENT:.2f}", f"{size:.1f}", f"{size / MOST_MB:.2f}")
    whole = sum(percent.values())
    table.add_row("all", f"{whole:.3f}", f"{whole / MOST_CPU_PERCENT:.2f}", f"{sum(watch.peak_mb.values()):.1f}", "")
    show_table(table)
