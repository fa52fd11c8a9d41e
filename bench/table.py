"""`make bench`: every measurement in one run, on real servers, as tables, and kept as JSON.

    python -m bench.table [--scale F] [--repeat N] [--json FILE]

Numbers of different machines can't be compared; ratios of one run can. `binlog-engine bench compare` sets two runs side by side,
`python -m bench.document FILE` writes docs/performance.md from one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from bench import growth, profile
from bench.binlogs import FLAVOURS, ORDINARY, Recording, recorded, serving
from bench.go_peer import go_peer
from bench.workloads import WORKLOADS
from engine.cli.bench.machine import machine
from engine.cli.bench.result import refuse_debug_build, show_table
from tests.servers import install
from tests.servers.missing import Missing

START = "binlog.000001:4"
TIMEOUT_S = 300
KINDS = ("raw", "tuples", "changes", "arrow")
ALL_KINDS = ("inserts", "updates", "single-row")  # the other workloads are streamed raw only
PEERS = ("inserts", "updates", "single-row")
GROWTH_REPEAT, PROFILE_COPIES = 1, 2
SOURCE_REPEAT, GOAL_REPEAT = 3, 9
LOOK_S = 5  # how long latency is measured at each rate, and an idle engine is looked at
ON_MYSQL = ("inserts", "updates", "single-row", "json")  # what differs there
ON_MARIADB = tuple(name for name in WORKLOADS if name != "one-transaction")  # that one is for bench.memory


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="times the rows that each workload usually has")
    parser.add_argument("--repeat", type=int, default=1, help="engines run for each stream; the middle one counts")
    parser.add_argument("--only", nargs="*", choices=list(WORKLOADS), help="these workloads")
    parser.add_argument("--skip", nargs="*", default=[], choices=["peers", "latency", "idle", "growth", "ring", "profile"])
    parser.add_argument("--growth-most", type=int, default=4_000_000, help="rows to double up to; `bench.growth` goes further")
    parser.add_argument("--json", type=Path, help="where the results go; otherwise a file of its own in .benchmarks")
    arguments = parser.parse_args()
    refuse_debug_build()
    begun = time.monotonic()
    results: list[dict[str, Any]] = [] if "ring" in arguments.skip else [measure("bench", "ring")]
    for name, workloads in (("mariadb", ON_MARIADB), ("mysql", ON_MYSQL)):
        chosen = [workload for workload in workloads if arguments.only is None or workload in arguments.only]
        try:
            FLAVOURS[name].template()
        except Missing as missing:
            print(f"{name} is left out: {missing}", file=sys.stderr)
            continue
        for workload in chosen:
            rows = round(WORKLOADS[workload].rows * arguments.scale)
            about = {"flavour": name, "workload": workload}
            with whatever_fails("workload", results, **about):
                results += measure_workload(recorded(WORKLOADS[workload], name, rows), arguments.repeat, arguments.skip)
        for what in ("latency", "idle"):
            if what not in arguments.skip:
                with whatever_fails(what, results, flavour=name), FLAVOURS[name](**ORDINARY[name]) as server:
                    options = ["--seconds", str(LOOK_S), *(["--tls", "disabled"] if what == "latency" else [])]
                    results.append(measure("bench", what, server.url("root"), *options, flavour=name))
    rows = round(WORKLOADS["needle"].rows * arguments.scale)
    if "growth" not in arguments.skip:
        scale = growth.Scale("mariadb", rows, round(arguments.growth_most * arguments.scale), GROWTH_REPEAT)
        for part in growth.PARTS:
            with whatever_fails(f"growth {part}", results):
                results.append({"bench": "growth", "checks": growth.measure(scale, [part])})
    if "profile" not in arguments.skip and profile.available():
        with whatever_fails("profile", results):
            results.append({"bench": "profile", "profiles": profile.measure("mariadb", None, PROFILE_COPIES)})
    path = arguments.json or Path(".benchmarks") / f"table-{time.strftime('%Y%m%dT%H%M%S')}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"bench": "table", "results": results, **machine()}, indent=1))
    show(results)
    print(f"{time.monotonic() - begun:.0f} s; kept in {path}")
    failed = sum("error" in result for result in results)
    if failed:
        print(f"{failed} measurements failed; the table says which", file=sys.stderr)
    return 1 if failed else 0


@contextmanager
def whatever_fails(what: str, results: list[dict[str, Any]], **about: str) -> Iterator[None]:
    """An error in one measurement becomes its line of the table, and the others go on."""
    try:
        yield
    except (Exception, SystemExit) as error:
        print(f"{what} failed on {about}: {error}", file=sys.stderr)
        results.append({"bench": what, "error": str(error).strip().splitlines()[-1][:200], **about})


def measure_workload(recording: Recording, repeat: int, skip: list[str]) -> list[dict[str, Any]]:
    """One workload on one kind of server, its counts and its checksum checked by every measurement."""
    about = {"flavour": recording.server, "workload": recording.workload}
    include = WORKLOADS[recording.workload].include
    answer = ["--rows", str(recording.wanted_rows), "--checksum", recording.checksum]
    decoded = measure("bench", "decode", *map(str, recording.paths), *answer, "--include", include, **about)
    results = [decoded]
    with serving(recording) as server:
        live = [server.url(), "--from", START]
        results.append(measure("bench", "drain", *live, **about))
        if recording.rows == recording.wanted_rows:  # `source` takes every table
            repeat_source = ["--repeat", str(GOAL_REPEAT if recording.workload == "inserts" else SOURCE_REPEAT)]
            results.append(measure("bench", "source", *live, *answer, *repeat_source, **about))
            if results[-1].get("tls") and recording.workload == "inserts":
                plain = [*live, *answer, *repeat_source, "--tls", "disabled"]
                results.append(measure("bench", "source", *plain, **about, bench="source without TLS"))
        for kind in KINDS if recording.workload in ALL_KINDS else KINDS[:1]:
            options = ["--as", kind, "--include", include, "--repeat", str(repeat)]
            results.append(measure("bench", "stream", *live, *answer, *options, **about))
        if recording.workload in PEERS and "peers" not in skip:
            results.append(measure("bench", "peers", server.url(), "--rows", str(recording.rows), *_programs(recording), **about))
    for result in results:
        if "rows" in result and result["bench"] != "drain":
            result["all_rows_per_s"] = round(recording.rows / result["seconds"])  # the unwanted ones, too
    return results


def _programs(recording: Recording) -> list[str]:
    """Where the peers' programs are."""
    tool = install.mysql_home() / "bin/mysqlbinlog" if recording.server == "mysql" else Path(install.mariadb_binlog())
    program = go_peer()
    return ["--tool", str(tool), *(["--go-mysql", str(program)] if program else [])]


def measure(*arguments: str, **about: str) -> dict[str, Any]:
    """One `binlog-engine` measurement in a process of its own; `error` instead of numbers if it failed."""
    argv = [sys.executable, "-m", "engine", *arguments, "--json"]
    name = f"stream {arguments[arguments.index('--as') + 1]}" if "--as" in arguments else arguments[1]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S)
        error = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1] if done.returncode else ""
    except subprocess.TimeoutExpired:
        error = f"not done in {TIMEOUT_S} s"
    if error:
        print(f"{name} failed on {about}: {error}", file=sys.stderr)
        return {"bench": name, "error": error[:200], **about}
    result = {**json.loads(done.stdout.splitlines()[-1]), **about}
    rate = f"{result['rows_per_s']:>12,} rows/s {result['mb_per_s']:>8,.0f} MB/s" if "rows_per_s" in result else ""
    print(f"{about.get('flavour', ''):8} {about.get('workload', ''):14} {result['bench']:18} {rate}", file=sys.stderr)
    return result


def show(results: list[dict[str, Any]]) -> None:
    """What a person wants to see of a run."""
    table = Table(title="throughput", title_justify="left")
    for column in ("server", "workload", "measurement", "rows/s", "MB/s", "of its limit", "limit"):
        table.add_column(column, justify="right" if column in ("rows/s", "MB/s", "of its limit") else "left")
    for result in results:
        if "rows_per_s" in result:
            table.add_row(
                result.get("flavour", "-"), result.get("workload", "-"), result["bench"],
                f"{result['rows_per_s']:,}" if result["rows"] else "", f"{result['mb_per_s']:,.0f}",
                f"{result['of_limit']:.2f}" if "of_limit" in result else "", result.get("limit", ""),
            )  # fmt: skip
    show_table(table)
    rest = Table(title="the others", title_justify="left")
    for column in ("server", "measurement", "found"):
        rest.add_column(column)
    for result in results:
        for line in others(result):
            rest.add_row(result.get("flavour", "-"), *line)
    show_table(rest)
    if checks := [check for result in results if result["bench"] == "growth" for check in result["checks"]]:
        growth.show(checks)
    for result in results:
        if "profiles" in result:
            profile.show(result["profiles"])


def others(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Peers, latency and idle as (what, found), and what failed."""
    if "error" in result:
        return [(f"{result['bench']}, {result.get('workload', '-')}", escape(f"FAILED: {result['error']}"))]
    if result["bench"] == "peers":
        return [(f"{one['peer']}, {result['workload']}", f"{one['rows_per_s']:,} rows/s") for one in result["results"]]
    if result["bench"] == "latency":
        return [
            (f"commit to consumer at {case['rate']:,} tx/s", f"median {case['from_sent_us']['p50']:,.0f} µs, "
             f"p99 {case['from_sent_us']['p99']:,.0f} µs")
            for case in result["cases"]
        ]  # fmt: skip
    if result["bench"] == "idle":
        largest = max(result["peak_mb"].values())
        return [("idle", f"{result['cpu_percent_in_all']:.2f} % of a core in all processes, the largest has {largest:.0f} MB")]
    return []


if __name__ == "__main__":
    sys.exit(main())
