"""Does an engine keep to its memory, however much it reads? Peaks of each process, beside the rings.

    python -m bench.memory [--gigabytes N] [--transaction-rows N] [--server mariadb|mysql] [--json FILE]

A binlog of so many gigabytes (one recording, served again and again), then one transaction of so many rows.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.binlogs import FLAVOURS, Recording, recorded, serving
from bench.workloads import WORKLOADS
from engine.cli.bench.binlog_end import end_of_binlog
from engine.cli.bench.idle import MOST_MB
from engine.cli.bench.machine import machine
from engine.cli.bench.result import check_equal, refuse_debug_build, show_table
from engine.cli.bench.stream import Streaming, streamed

START = "binlog.000001:4"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=20, help="of binlog; the disk needs 0.2 GB")
    parser.add_argument("--transaction-rows", type=int, default=5_000_000, help="of the one transaction")
    parser.add_argument("--server", choices=[*FLAVOURS], default="mariadb")
    parser.add_argument("--json", type=Path, help="also write the results here")
    arguments = parser.parse_args()
    refuse_debug_build()
    results = []
    if arguments.gigabytes:
        inserts = recorded(WORKLOADS["inserts"], arguments.server)
        times = max(round(arguments.gigabytes * 1e9 / inserts.bytes), 1)
        results.append(peaks(f"{inserts.bytes * times / 1e9:.1f} GB of binlog", inserts, times))
    if arguments.transaction_rows:
        one = recorded(WORKLOADS["one-transaction"], arguments.server, arguments.transaction_rows)
        results.append(peaks(f"a transaction of {one.rows:,} rows", one))
    show(results)
    if arguments.json:
        arguments.json.write_text(json.dumps({"bench": "memory", "results": results, **machine()}, indent=1))
    return 0


def peaks(what: str, recording: Recording, times: int = 1) -> dict[str, Any]:
    """Stream it all, and look at the processes every 50 ms."""
    with serving(recording, times) as server:
        run = streamed(server.url(), START, end_of_binlog(server.url()), Streaming())
    check_equal("changes consumed", run.rows, recording.rows * times)
    checksum = int(recording.checksum, 16) * times % 2**64
    check_equal("checksum of the changes", run.more["checksum"], f"{checksum:016x}")
    return {"workload": what, "rows": run.rows, "bytes": run.bytes, "samples_s": run.samples, "peak_mb": run.more["peak_mb"],
            "limit_mb": MOST_MB}  # fmt: skip


def show(results: list[dict[str, Any]]) -> None:
    table = Table(title="memory beside the rings, MB", title_justify="left")
    for column in ("workload", "process", "peak", "at most", ""):
        table.add_column(column, justify="right" if column in ("peak", "at most") else "left")
    for result in results:
        for process, size in result["peak_mb"].items():
            missed = "missed" if size > result["limit_mb"] else ""
            table.add_row(result["workload"], process, f"{size:.1f}", f"{result['limit_mb']:.0f}", missed)
    show_table(table)


if __name__ == "__main__":
    sys.exit(main())
