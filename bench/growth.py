"""Does cost grow as it should? Each check is a ratio with its bound, measured in one run, answers checked.

    python -m bench.growth [--part decode|stream|tables|partitions|filtered ...] [--rows N] [--most N] [--json FILE]

Cost is processor time, so that other work on the machine doesn't decide: of this process for decoding, of all the engine's
processes for streaming, from the source's connection to the consumer's last ack.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.binlogs import FLAVOURS, Recording, held_back, recorded, serving
from bench.workloads import TABLES, WORKLOADS
from engine.cli.bench.binlog_end import end_of_binlog
from engine.cli.bench.decode import decoded_content
from engine.cli.bench.machine import machine
from engine.cli.bench.result import check_content, check_equal, refuse_debug_build, show_table
from engine.cli.bench.stream import Streaming, streamed
from engine.source.files import decode_files
from engine.table_filter import TableFilter

DOUBLED_WITHIN = 0.10
MANY_TABLES_AT_MOST = 1.3
PARTITIONS, PARTITIONS_AT_MOST = 8, 1.5
FILTERED_AT_MOST = 0.2
STEADY = 4  # copies of the files that are streamed after a first one, to see what a row costs once the engine runs
_SMALL_STORE = "16MiB"
_NOTHING = "nothing"  # a table that there isn't
_REPEAT = 3
_DECODED = 4  # times as many runs where only decoding is measured: they are short, and a virtual machine has slow and fast phases


@dataclass
class Cost:
    """The least processor seconds of some runs, and the least seconds by the clock."""

    cpu_s: float = float("inf")
    clock_s: float = float("inf")
    by_process: dict[str, float] = field(default_factory=dict)

    def take(self, cpu_s: float, clock_s: float, by_process: dict[str, float] | None = None) -> None:
        """Another run."""
        self.clock_s = min(self.clock_s, clock_s)
        if cpu_s < self.cpu_s:
            self.cpu_s, self.by_process = cpu_s, by_process or {}

    def less(self, other: Cost, share: float = 1) -> Cost:
        """Without so much of another cost."""
        by_process = {title: spent_s - other.by_process.get(title, 0) * share for title, spent_s in self.by_process.items()}
        return Cost(self.cpu_s - other.cpu_s * share, self.clock_s - other.clock_s * share, by_process)

    def over(self, parts: int) -> Cost:
        """Of one of so many equal parts."""
        return Cost(
            self.cpu_s / parts, self.clock_s / parts, {title: spent_s / parts for title, spent_s in self.by_process.items()}
        )


@dataclass
class Scale:
    """What is measured, and how large: `rows` of a workload, up to `most` where it is doubled."""

    server: str
    rows: int
    most: int
    repeat: int = _REPEAT

    @property
    def powers(self) -> list[int]:
        return [1 << power for power in range((self.most // self.rows).bit_length())]

    def recorded(self, workload: str) -> Recording:
        return recorded(WORKLOADS[workload], self.server, self.rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="*", choices=[*PARTS], default=[*PARTS], help="what to measure")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows to begin with")
    parser.add_argument("--most", type=int, default=16_000_000, help="rows to double up to")
    parser.add_argument("--repeat", type=int, default=_REPEAT, help="runs of each; the cheapest counts")
    parser.add_argument("--server", choices=[*FLAVOURS], default="mariadb")
    parser.add_argument("--json", type=Path, help="also write the results here")
    arguments = parser.parse_args()
    refuse_debug_build()
    checks = measure(Scale(arguments.server, arguments.rows, arguments.most, arguments.repeat), arguments.part)
    show(checks)
    if arguments.json:
        arguments.json.write_text(json.dumps({"bench": "growth", "checks": checks, **machine()}, indent=1))
    return 0 if all(holds(check) for check in checks) else 1


def measure(scale: Scale, parts: list[str]) -> list[dict[str, Any]]:
    """Every check: what was measured, its ratio, the bound of that, and the costs that it is of."""
    return [check for part in parts for check in PARTS[part](scale)]


def doubled_decoding(scale: Scale) -> list[dict[str, Any]]:
    """The same file decoded once, twice, four times ... in one go."""
    inserts = scale.recorded("inserts")
    for times in scale.powers:
        check_decoded(inserts, times)
    return _doubling("decode", decoded([inserts], scale.repeat, copies=scale.powers)[0], inserts.rows)


def doubled_streaming(scale: Scale) -> list[dict[str, Any]]:
    """A server with many copies of a file; the engine starts at the last, the second last, the fourth last ..."""
    inserts = scale.recorded("inserts")
    return _doubling("stream", streamed_copies(inserts, scale.repeat, scale.powers), inserts.rows)


def many_tables(scale: Scale) -> list[dict[str, Any]]:
    """Transactions of as many rows, in one table and in many: from the start, and once each table has been met."""
    recordings = [scale.recorded(name) for name in ("one-table", "tables")]
    for recording in recordings:
        check_decoded(recording)
    rows = [recording.rows for recording in recordings]
    what = f"a row of {TABLES:,} tables against one of one table"
    checks = []
    for part in ("decode", "stream"):
        if part == "decode":
            costs = decoded(recordings, scale.repeat, copies=[1])
            steady = decoded_again(recordings, scale.repeat)
        else:
            costs = [streamed_copies(recording, scale.repeat) for recording in recordings]
            steady = [_steady(one) for one in costs]
        checks.append(_check(f"{part}: {what}, met before", steady, rows, MANY_TABLES_AT_MOST))
        checks.append(_check(f"{part}: {what}, the first rows", [one[1] for one in costs], rows, MANY_TABLES_AT_MOST))
    return checks


def partitions(scale: Scale) -> list[dict[str, Any]]:
    """The same rows into one partition and into some, whose stores are small enough to be filled soon.

    Memory costs when it is touched for the first time, and the stores of some partitions have that much more of it.
    """
    inserts = scale.recorded("inserts")
    store = {"size": _SMALL_STORE}
    costs = [_steady(streamed_copies(inserts, scale.repeat, partitions=number, store=store)) for number in (1, PARTITIONS)]
    what = f"stream: a row into {PARTITIONS} partitions against one into one"
    return [_check(what, costs, [inserts.rows, inserts.rows], PARTITIONS_AT_MOST)]


def filtered(scale: Scale) -> list[dict[str, Any]]:
    """Decoded: no table is wanted against every. Streamed: one of twenty is wanted, so the unwanted rows' cost is the rest."""
    needle = scale.recorded("needle")
    unwanted = needle.rows - needle.wanted_rows
    check_equal("rows of all tables", decoded_content(needle.paths)[0], needle.rows)
    check_equal("rows of no table", decoded_content(needle.paths, _NOTHING)[0], 0)
    every, none = (decoded([needle], scale.repeat, include, [STEADY])[0][STEADY].over(STEADY) for include in (".*", _NOTHING))
    delivered, few = (
        _steady(streamed_copies(needle, scale.repeat, include=[include])) for include in (".*", WORKLOADS["needle"].include)
    )
    rest = few.less(delivered, needle.wanted_rows / needle.rows)
    what = "a filtered-out row against a delivered one"
    return [
        _check(f"decode: {what}", [every, none], [needle.rows, needle.rows], FILTERED_AT_MOST),
        _check(f"stream: {what}", [delivered, rest], [needle.rows, unwanted], FILTERED_AT_MOST),
    ]


PARTS: dict[str, Callable[[Scale], list[dict[str, Any]]]] = {
    "decode": doubled_decoding,
    "stream": doubled_streaming,
    "tables": many_tables,
    "partitions": partitions,
    "filtered": filtered,
}


def check_decoded(recording: Recording, times: int = 1) -> None:
    """The changes of the files, read so often, by number and content."""
    rows, content = decoded_content(recording.paths * times)
    check_equal("rows decoded", rows, recording.rows * times)
    check_content(content, _checksum(recording, times))


def decoded(recordings: list[Recording], repeat: int, include: str = ".*", copies: Sequence[int] = (1,)) -> list[dict[int, Cost]]:
    """The files of each so many times one after the other, decoded, records dropped unread; all of them in turn."""
    costs = [{times: Cost() for times in copies} for _ in recordings]
    for _ in range(repeat * _DECODED):
        for recording, by_times in zip(recordings, costs, strict=True):
            for times, cost in by_times.items():
                began_s, cpu_began_s = time.perf_counter(), time.process_time()
                for _ in decode_files(recording.paths * times, wants=TableFilter([include]).wants):
                    pass
                cost.take(time.process_time() - cpu_began_s, time.perf_counter() - began_s)
    return costs


def decoded_again(recordings: list[Recording], repeat: int) -> list[Cost]:
    """One copy of the files of each, decoded after a first one in which all its tables were met; all of them in turn."""
    costs = [Cost() for _ in recordings]
    first = [sum(len(records) for records, _ in decode_files(recording.paths)) for recording in recordings]
    for _ in range(repeat * _DECODED):
        for recording, first_bytes, cost in zip(recordings, first, costs, strict=True):
            passed = 0
            for records, _ in decode_files(recording.paths * (1 + STEADY)):
                if passed < first_bytes:
                    began_s, cpu_began_s = time.perf_counter(), time.process_time()
                passed += len(records)
            cost.take(time.process_time() - cpu_began_s, time.perf_counter() - began_s)
    return [cost.over(STEADY) for cost in costs]


def streamed_copies(
    recording: Recording, repeat: int, copies: Sequence[int] = (1, 1 + STEADY), **destination: Any
) -> dict[int, Cost]:
    """A whole engine for so many copies of the files; every change counted, and its content checked."""
    wanted = recording.wanted_rows if destination.get("include") == [WORKLOADS[recording.workload].include] else recording.rows
    costs = {times: Cost() for times in copies}
    most = max(costs)
    with serving(recording, most) as server:
        end = end_of_binlog(server.url())
        for _ in range(repeat):
            for times, cost in costs.items():
                start = f"binlog.{(most - times) * len(recording.files) + 1:06}:4"
                with held_back(server) as flow:
                    run = streamed(server.url(), start, end, Streaming(tables={"destination": destination}), flow=flow)
                check_equal("changes consumed", run.rows, wanted * times)
                if wanted == recording.wanted_rows:  # their checksum is the one that the recording has
                    check_equal("checksum of the changes", run.more["checksum"], _checksum(recording, times))
                cost.take(sum(run.more["cpu_s"].values()), run.seconds, run.more["cpu_s"])
    return costs


def _checksum(recording: Recording, times: int) -> str:
    return f"{int(recording.checksum, 16) * times % 2**64:016x}"


def _steady(costs: dict[int, Cost]) -> Cost:
    """Of one copy of the files, when what is done once has been done: asking for a table, touching the store's memory."""
    return costs[1 + STEADY].less(costs[1]).over(STEADY)


def _doubling(what: str, costs: dict[int, Cost], rows: int) -> list[dict[str, Any]]:
    """What is done once is in it: asking for a table, touching the store's memory. So less than double is no miss."""
    return [
        _check(
            f"{what}: {rows * after / 1e6:g} M rows against twice {rows * before / 1e6:g} M",
            [costs[before], costs[after]],
            [rows * before, rows * after],
            1 + DOUBLED_WITHIN,
        )
        for before, after in itertools.pairwise(costs)
    ]


def _check(what: str, costs: list[Cost], rows: list[int], most: float) -> dict[str, Any]:
    """The second cost against the first, both per row."""
    cpu_ns, clock_ns = (
        [getattr(cost, name) / count * 1e9 for cost, count in zip(costs, rows, strict=True)] for name in ("cpu_s", "clock_s")
    )
    return {
        "check": what, "ratio": round(cpu_ns[1] / cpu_ns[0], 3), "limit": most, "rows": rows,
        "cpu_ns_per_row": [round(ns, 1) for ns in cpu_ns], "clock_ratio": round(clock_ns[1] / clock_ns[0], 3),
        "cpu_ns_by_process": [
            {title: round(spent_s / count * 1e9, 1) for title, spent_s in cost.by_process.items()}
            for cost, count in zip(costs, rows, strict=True)
        ],
    }  # fmt: skip


def holds(check: dict[str, Any]) -> bool:
    """Whether the ratio keeps to its bound."""
    return bool(check["ratio"] <= check["limit"])


def show(checks: list[dict[str, Any]]) -> None:
    """A table with what held and what didn't."""
    table = Table(title="how cost grows: processor time per row", title_justify="left")
    for column in ("check", "ns a row", "ratio", "at most", "", "by the clock"):
        table.add_column(column, justify="left" if column in ("check", "") else "right")
    for check in checks:
        cost = " → ".join(f"{ns:,.0f}" for ns in check["cpu_ns_per_row"])
        held = "holds" if holds(check) else "MISSED"
        table.add_row(check["check"], cost, f"{check['ratio']:.2f}", f"{check['limit']:.2f}", held, f"{check['clock_ratio']:.2f}")
    show_table(table)


if __name__ == "__main__":
    sys.exit(main())
