"""Does cost grow as it should? Each check is a ratio with its bound, measured in one run, answers checked.

    python -m bench.growth [--part decode|stream|tables|partitions|filtered ...] [--rows N] [--most N] [--json FILE]

Cost is processor time, so that other work on the machine doesn't decide: of this process for decoding, of all the engine's
processes for streaming, from the source's connection to the consumer's last ack. What is compared runs in turn, round after
round and every other round the other way round: of decoding the cheapest run of each counts, of streaming the middle one of the
rounds' ratios.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from rich.table import Table

from bench.binlogs import FLAVOURS, Recording, held_back, recorded, serving
from bench.workloads import TABLES, WORKLOADS
from engine.cli.bench.binlog_end import End, end_of_binlog
from engine.cli.bench.decode import decoded_content
from engine.cli.bench.machine import machine
from engine.cli.bench.result import check_content, check_equal, refuse_debug_build, show_table
from engine.cli.bench.stream import Streaming, streamed
from engine.source.files import decode_files
from engine.table_filter import TableFilter
from tests.servers.database import Database

DOUBLED_WITHIN = 0.10
MANY_TABLES_AT_MOST = 1.3
PARTITIONS, PARTITIONS_AT_MOST = 8, 1.5
FILTERED_AT_MOST = 0.2
STEADY = 4  # copies of the files that are streamed after a first one, to see what a row costs once the engine runs
_STORES_MIB = 128  # in all, however many partitions share it
_NOTHING = "nothing"  # a table that there isn't
_REPEAT = 2
_ROUNDS = 3  # times as many where an engine streams
PARTITION_ROUNDS, _PARTITION_COPIES = 7, 3
_LONG = 4  # copies of the files; more of them are not repeated so often
_DECODED = 8  # times as many runs where only decoding is measured: they are short, and a virtual machine has slow and fast phases


@dataclass
class Cost:
    """Processor seconds of a run, in all and by process, and seconds by the clock; of several runs the least."""

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


class Decoding(NamedTuple):
    """Files, one after the other, and which of their tables are wanted."""

    paths: list[Path]
    include: str = ".*"


class Stream(NamedTuple):
    """So many copies of a recording, into a destination with these settings."""

    recording: Recording
    times: int
    destination: Mapping[str, Any] = MappingProxyType({})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="*", choices=[*PARTS], default=[*PARTS], help="what to measure")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows to begin with")
    parser.add_argument("--most", type=int, default=16_000_000, help="rows to double up to")
    parser.add_argument("--repeat", type=int, default=_REPEAT, help="how often as many runs of each")
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
    costs = decoded([Decoding(inserts.paths * times) for times in scale.powers], scale.repeat)
    return _doubling("decode", dict(zip(scale.powers, ([cost] for cost in costs), strict=True)), inserts.rows)


def doubled_streaming(scale: Scale) -> list[dict[str, Any]]:
    """A server with many copies of a file; the engine starts at the last, the second last, the fourth last ..."""
    inserts = scale.recorded("inserts")
    costs = streamed_in_turn([Stream(inserts, times) for times in scale.powers], scale.repeat)
    return _doubling("stream", dict(zip(scale.powers, costs, strict=True)), inserts.rows)


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
            first = [[cost] for cost in decoded([Decoding(recording.paths) for recording in recordings], scale.repeat)]
            steady = [[cost] for cost in decoded_again(recordings, scale.repeat)]
        else:
            first, steady = streamed_steadily([Stream(recording, 1) for recording in recordings], scale.repeat)
        checks.append(_check(f"{part}: {what}, met before", steady, rows, MANY_TABLES_AT_MOST))
        checks.append(_check(f"{part}: {what}, the first rows", first, rows, MANY_TABLES_AT_MOST))
    return checks


def partitions(scale: Scale) -> list[dict[str, Any]]:
    """The same rows into one partition and into some, whose stores take as much memory in all: a larger one finds less of itself
    in the processor's cache, whoever fills it."""
    inserts = scale.recorded("inserts")
    streams = [
        Stream(inserts, _PARTITION_COPIES, {"partitions": n, "store": {"size": f"{_STORES_MIB // n}MiB"}})
        for n in (1, PARTITIONS)
    ]
    costs = streamed_in_turn(streams, scale.repeat, PARTITION_ROUNDS)
    what = f"stream: a row into {PARTITIONS} partitions against one into one"
    return [_check(what, costs, [_PARTITION_COPIES * inserts.rows] * 2, PARTITIONS_AT_MOST)]


def filtered(scale: Scale) -> list[dict[str, Any]]:
    """Decoded: no table is wanted against every. Streamed: one of twenty is wanted, so the unwanted rows' cost is the rest."""
    needle = scale.recorded("needle")
    unwanted = needle.rows - needle.wanted_rows
    check_equal("rows of all tables", decoded_content(needle.paths)[0], needle.rows)
    check_equal("rows of no table", decoded_content(needle.paths, _NOTHING)[0], 0)
    every, none = decoded([Decoding(needle.paths * STEADY, include) for include in (".*", _NOTHING)], scale.repeat)
    streams = [Stream(needle, 1, {"include": [include]}) for include in (".*", WORKLOADS["needle"].include)]
    _, (delivered, few) = streamed_steadily(streams, scale.repeat)
    share = needle.wanted_rows / needle.rows
    rest = [one.less(other, share) for one, other in zip(few, delivered, strict=True)]
    what = "a filtered-out row against a delivered one"
    return [
        _check(f"decode: {what}", [[every], [none]], [STEADY * needle.rows] * 2, FILTERED_AT_MOST),
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


def decoded(cases: Sequence[Decoding], repeat: int) -> list[Cost]:
    """The cheapest run of each, records dropped unread; all of them in turn."""
    costs = [Cost() for _ in cases]
    for _ in range(repeat * _DECODED):
        for case, cost in zip(cases, costs, strict=True):
            began_s, cpu_began_s = time.perf_counter(), time.process_time()
            for _ in decode_files(case.paths, wants=TableFilter([case.include]).wants):
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


def streamed_in_turn(cases: Sequence[Stream], repeat: int, rounds: int = _ROUNDS) -> list[list[Cost]]:
    """A whole engine for each, all of them in turn, each recording from a server of its own; the costs of each by round.

    Every change is counted, and its content checked. Those of many copies have fewer rounds.
    """
    costs: list[list[Cost]] = [[] for _ in cases]
    most: dict[str, int] = {}
    for case in cases:
        most[case.recording.workload] = max(case.times, most.get(case.recording.workload, 0))
    with ExitStack() as stack:
        servers: dict[str, tuple[Database, End]] = {}
        for workload, recording in {case.recording.workload: case.recording for case in cases}.items():
            server = stack.enter_context(serving(recording, most[workload]))
            servers[workload] = server, end_of_binlog(server.url())
        for number in range(repeat * rounds):
            turn = [(case, cost) for case, cost in zip(cases, costs, strict=True)
                    if number < repeat or case.times <= max(_LONG, 1 + STEADY)]  # fmt: skip
            for case, cost in turn if number % 2 == 0 else turn[::-1]:
                workload = case.recording.workload
                start = f"binlog.{(most[workload] - case.times) * len(case.recording.files) + 1:06}:4"
                cost.append(_streamed_once(case, *servers[workload], start))
    return costs


def streamed_steadily(cases: Sequence[Stream], repeat: int) -> tuple[list[list[Cost]], list[list[Cost]]]:
    """Of each the cost of one copy from the start, and of one when what is done once has been done: asking for a table, touching
    the store's memory."""
    longer = [case._replace(times=case.times + STEADY) for case in cases]
    costs = streamed_in_turn([*cases, *longer], repeat)
    first, all_of_them = costs[: len(cases)], costs[len(cases) :]
    steady = [
        [many.less(one).over(STEADY) for one, many in zip(ones, manies, strict=True)]
        for ones, manies in zip(first, all_of_them, strict=True)
    ]
    return first, steady


def _streamed_once(case: Stream, server: Database, end: End, start: str) -> Cost:
    recording, destination = case.recording, case.destination
    wanted = recording.wanted_rows if destination.get("include") == [WORKLOADS[recording.workload].include] else recording.rows
    with held_back(server) as flow:
        run = streamed(server.url(), start, end, Streaming(tables={"destination": dict(destination)}), flow=flow)
    check_equal("changes consumed", run.rows, wanted * case.times)
    if wanted == recording.wanted_rows:  # their checksum is the one that the recording has
        check_equal("checksum of the changes", run.more["checksum"], _checksum(recording, case.times))
    return Cost(sum(run.more["cpu_s"].values()), run.seconds, run.more["cpu_s"])


def _checksum(recording: Recording, times: int) -> str:
    return f"{int(recording.checksum, 16) * times % 2**64:016x}"


def _doubling(what: str, costs: dict[int, list[Cost]], rows: int) -> list[dict[str, Any]]:
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


def _check(what: str, costs: list[list[Cost]], rows: list[int], most: float) -> dict[str, Any]:
    """The second costs against the first, both per row, round by round: the middle one of the ratios, and of each cost."""
    pairs = list(zip(*costs, strict=False))
    cpu_ns, clock_ns = (
        [[getattr(pair[i], name) / rows[i] * 1e9 for pair in pairs] for i in (0, 1)] for name in ("cpu_s", "clock_s")
    )
    ratios = sorted(after / before for before, after in zip(*cpu_ns, strict=True))
    return {
        "check": what, "ratio": round(statistics.median(ratios), 3), "limit": most, "rows": rows,
        "ratios": [round(ratio, 3) for ratio in ratios], "cpu_ns_per_row": [round(statistics.median(ns), 1) for ns in cpu_ns],
        "clock_ratio": round(statistics.median(after / before for before, after in zip(*clock_ns, strict=True)), 3),
        "cpu_ns_by_process": [
            {title: round(spent_s / count * 1e9, 1) for title, spent_s in cost.by_process.items()}
            for cost, count in zip(pairs[0], rows, strict=True)
        ],
    }  # fmt: skip


def holds(check: dict[str, Any]) -> bool:
    """Whether the ratio keeps to its bound."""
    return bool(check["ratio"] <= check["limit"])


def show(checks: list[dict[str, Any]]) -> None:
    """A table with what held and what didn't."""
    table = Table(title="how cost grows: processor time per row", title_justify="left")
    for column in ("check", "ns a row", "ratio", "from", "at most", "", "by the clock"):
        table.add_column(column, justify="left" if column in ("check", "") else "right")
    for check in checks:
        cost = " → ".join(f"{ns:,.0f}" for ns in check["cpu_ns_per_row"])
        held, by_clock = "holds" if holds(check) else "MISSED", f"{check['clock_ratio']:.2f}"
        table.add_row(
            check["check"], cost, f"{check['ratio']:.2f}", _spread(check["ratios"]), f"{check['limit']:.2f}", held, by_clock
        )
    show_table(table)


def _spread(ratios: list[float]) -> str:
    """Of several rounds, the least and the greatest."""
    return f"{ratios[0]:.2f}-{ratios[-1]:.2f}" if len(ratios) > 1 else ""


if __name__ == "__main__":
    sys.exit(main())
