"""Does cost grow as it should? Each check is a ratio with a limit, measured in one run.

    python -m bench.growth [--rows N] [--most N] [--server mariadb|mysql] [--json FILE]

Decoding is timed by the processor time of this process, streaming by the clock.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.binlogs import FLAVOURS, Recording, recorded, serving
from bench.workloads import TABLES, WORKLOADS
from engine.cli.bench.binlog_end import end_of_binlog
from engine.cli.bench.machine import machine
from engine.cli.bench.result import check_equal, refuse_debug_build, show_table
from engine.cli.bench.stream import Streaming, streamed
from engine.source.files import decode_files
from engine.table_filter import TableFilter

START = "binlog.000001:4"
DOUBLED_WITHIN = 0.10
MANY_TABLES_AT_MOST = 1.3
PARTITIONS, PARTITIONS_AT_MOST = 8, 1.5
FILTERED_AT_MOST = 0.2
_REPEAT = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows to begin with")
    parser.add_argument("--most", type=int, default=16_000_000, help="rows to double up to")
    parser.add_argument("--server", choices=[*FLAVOURS], default="mariadb")
    parser.add_argument("--json", type=Path, help="also write the results here")
    arguments = parser.parse_args()
    refuse_debug_build()
    checks = measure(arguments.server, arguments.rows, arguments.most)
    show(checks)
    if arguments.json:
        arguments.json.write_text(json.dumps({"bench": "growth", "checks": checks, **machine()}, indent=1))
    return 0


def measure(server: str, rows: int, most: int) -> list[dict[str, Any]]:
    """Every check: what was measured, its ratio, and the limit of that."""
    inserts = recorded(WORKLOADS["inserts"], server, rows)
    return [
        *_doubling("decode", {times: decoding_s(inserts, times) for times in _powers(most // rows)}, rows),
        *_doubling("stream", {times: streaming_s(inserts, times) for times in _powers(most // rows)}, rows),
        many_tables(server, rows),
        partitions(inserts),
        filtered(server, rows),
    ]


def _powers(most: int) -> list[int]:
    return [1 << power for power in range(most.bit_length())]


def decoding_s(recording: Recording, times: int = 1, include: str = ".*") -> float:
    """The least processor time of some runs over the files, `times` times one after the other."""
    taken = []
    for _ in range(_REPEAT):
        begun = time.process_time()
        for _ in decode_files(recording.paths * times, wants=TableFilter([include]).wants):
            pass
        taken.append(time.process_time() - begun)
    return min(taken)


def streaming_s(recording: Recording, times: int = 1, **destination: Any) -> float:
    """The least time of some runs, every change counted."""
    with serving(recording, times) as server:
        end = end_of_binlog(server.url())
        runs = [streamed(server.url(), START, end, Streaming(tables={"destination": destination})) for _ in range(_REPEAT)]
    for run in runs:
        check_equal("changes consumed", run.rows, recording.rows * times)
    return min(sample for run in runs for sample in run.samples)


def _doubling(what: str, seconds: dict[int, float], rows: int) -> list[dict[str, Any]]:
    steps = list(seconds)
    return [
        {
            "check": f"{what}: {rows * after / 1e6:g} M rows against twice {rows * before / 1e6:g} M",
            "ratio": round(seconds[after] / seconds[before] / 2, 3),
            "limit": 1 + DOUBLED_WITHIN,
            "seconds": [round(seconds[before], 4), round(seconds[after], 4)],
        }
        for before, after in itertools.pairwise(steps)
    ]


def many_tables(server: str, rows: int) -> dict[str, Any]:
    many, one = (recorded(WORKLOADS[name], server, rows) for name in ("tables", "one-table"))
    seconds = [decoding_s(one) / one.rows, decoding_s(many) / many.rows]
    return _check(f"decode: a row of {TABLES:,} tables against one of one table", seconds, MANY_TABLES_AT_MOST)


def partitions(inserts: Recording) -> dict[str, Any]:
    seconds = [streaming_s(inserts), streaming_s(inserts, partitions=PARTITIONS)]
    return _check(f"stream: {PARTITIONS} partitions against one", seconds, PARTITIONS_AT_MOST)


def filtered(server: str, rows: int) -> dict[str, Any]:
    needle = recorded(WORKLOADS["needle"], server, rows)
    seconds = [decoding_s(needle) / needle.rows, decoding_s(needle, include="nothing") / needle.rows]
    return _check("decode: a filtered-out row against a delivered one", seconds, FILTERED_AT_MOST)


def _check(what: str, seconds: list[float], limit: float) -> dict[str, Any]:
    ratio = round(seconds[1] / seconds[0], 3)
    return {"check": what, "ratio": ratio, "limit": limit, "seconds": [float(f"{value:.4g}") for value in seconds]}


def show(checks: list[dict[str, Any]]) -> None:
    table = Table(title="how cost grows", title_justify="left")
    for column in ("check", "ratio", "at most", ""):
        table.add_column(column, justify="left" if column in ("check", "") else "right")
    for check in checks:
        held = check["ratio"] <= check["limit"]
        table.add_row(check["check"], f"{check['ratio']:.2f}", f"{check['limit']:.2f}", "" if held else "missed")
    show_table(table)


if __name__ == "__main__":
    sys.exit(main())
