"""The measured parts of docs/performance.md and README.md, written from the results of `make bench`.

    python -m bench.document RESULTS.json...

Several files are one run in parts: `python -m bench.table`, `bench.growth`, `bench.memory` and `bench.profile` each wrote
theirs, and the last one of two that measured the same counts.
What lies between the marks is replaced; the rest of the pages is written by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
PAGES = (ROOT / "docs" / "performance.md", ROOT / "README.md")
MEASUREMENTS = {
    "decode": "`bench decode`: binlog file → ring, one core",
    "source": "`bench source`: live server → ring",
    "stream raw": "`bench stream`: live server → TCP consumer that acks, raw batches",
    "stream tuples": "… and makes tuples of the rows in Python",
    "stream changes": "… and makes `Change` objects",
    "stream arrow": "… and makes Arrow tables",
}
WORKLOADS = {"inserts": "bulk inserts", "updates": "bulk updates", "single-row": "single-row transactions"}
PEERS = ("go-mysql", "mariadb-binlog", "mysqlbinlog", "mysql-replication")
SERVERS = {"mariadb": "MariaDB", "mysql": "MySQL"}
GOALS = (  # of the design: what, (measurement, workload) or None, at least
    ("decode, rows/s", "decode", "inserts", 8_000_000),
    ("stream, rows/s", "stream raw", "inserts", 2_000_000),
    ("stream, single-row transactions/s", "stream raw", "single-row", 300_000),
    ("`Change` objects, rows/s", "stream changes", "inserts", 700_000),
    ("tuples, rows/s", "stream tuples", "inserts", 1_500_000),
    ("Arrow, rows/s", "stream arrow", "inserts", 3_000_000),
)


class Run:
    """The results of one run, found by what they measured."""

    def __init__(self, paths: list[Path]) -> None:
        files = [json.loads(path.read_text()) for path in paths]
        self.machine = files[0]
        found: list[dict[str, Any]] = [result for file in files if file["bench"] == "table" for result in file["results"]]
        found += [file for file in files if file["bench"] in ("growth", "memory", "profile")]
        self.results = [result for result in found if "error" not in result]
        self.failed = [result for result in found if "error" in result]
        self.checks = {check["check"]: check for result in self.results for check in result.get("checks", [])}  # the last counts
        self.profiles = next((result["profiles"] for result in reversed(self.results) if "profiles" in result), [])

    def find(self, bench: str, **about: str) -> dict[str, Any] | None:
        found = [r for r in self.results if r["bench"] == bench and all(r.get(name) == value for name, value in about.items())]
        return found[-1] if found else None

    def peer(self, peer: str, **about: str) -> int | None:
        """Rows per second of another decoder."""
        for one in (self.find("peers", **about) or {"results": []})["results"]:
            if one["peer"] == peer:
                return int(one["rows_per_s"])
        return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    arguments = parser.parse_args()
    run = Run(arguments.files)
    for page, text in zip(PAGES, (performance(run), readme(run)), strict=True):
        page.write_text(replaced(page.read_text(), text))
        print(page.relative_to(ROOT))
    return 0


def replaced(page: str, text: str) -> str:
    """The page with `text` between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"no {BEGIN} … {END} in the page")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def where(run: Run) -> str:
    here = run.machine
    servers = sorted({result["server"].removesuffix("-log") for result in run.results if "server" in result})
    versions = " and ".join(f"{SERVERS[name]} {version}" for name, _, version in (server.partition(" ") for server in servers))
    return f"{here['date'][:10]}, {here['cores']} cores of an {here['cpu']}, Linux {here['kernel']}, {versions}"


def readme(run: Run) -> str:
    """One table of the first server, with the peers below."""
    lines = [
        f"`make bench`, {where(run)}; server, engine and consumer on the same machine,",
        "the 9-column orders table on MariaDB; every run's changes checked by number and checksum:", "",
        *throughput(run, "mariadb"),
    ]  # fmt: skip
    if cases := (run.find("latency", flavour="mariadb") or {"cases": []})["cases"]:
        delays = (
            f"{case['from_sent_us']['p50'] / 1e3:.2f} ms (99 %: {case['from_sent_us']['p99'] / 1e3:.1f} ms) at {case['rate']:,}"
            for case in cases
        )
        lines += [
            "",
            f"From sending the INSERT to the consumer, commit included, the median took {', '.join(delays)} commits a second.",
        ]
    if idle := run.find("idle", flavour="mariadb"):
        sizes = sorted(idle["peak_mb"].values())
        lines.append(f"An idle engine takes {idle['cpu_percent_in_all']:.1f} % of a core in all its processes, each of them "
                     f"{sizes[0]:.0f} to {sizes[-1]:.0f} MB beside its rings.")  # fmt: skip
    return "\n".join(lines)


def throughput(run: Run, flavour: str) -> list[str]:
    lines = [f"| rows/s | {' | '.join(WORKLOADS.values())} |", "|---|---|---|---|"]
    for bench, title in MEASUREMENTS.items():
        cells = [
            short(found["rows_per_s"]) if (found := run.find(bench, workload=name, flavour=flavour)) else "" for name in WORKLOADS
        ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    for peer in PEERS:
        rates = [run.peer(peer, workload=name, flavour=flavour) for name in WORKLOADS]
        if any(rates):
            lines.append(f"| {peer}, on the same binlog | {' | '.join(short(rate) if rate else '' for rate in rates)} |")
    return lines


def performance(run: Run) -> str:
    """Everything that was measured, goals first."""
    parts = [
        f"{where(run)}. `make bench`; memory with `python -m bench.memory`, ",
        "growth up to 16 M rows with `python -m bench.growth`.",
        "",
        "### Against the goals",
        "",
        *goals(run),
        "",
    ]
    for flavour, title in SERVERS.items():
        if run.find("decode", flavour=flavour):
            parts += [f"### Orders on {title}", "", *throughput(run, flavour), ""]
    parts += ["### Every workload", "", *workloads(run), "", "### Latency and rest", "", *latency(run), ""]
    if memory := run.find("memory"):
        parts += ["### Memory", "", *memory_table(memory), ""]
    if run.profiles:
        parts += ["### Where the time goes", "", *profiles(run), ""]
    if run.checks:
        parts += ["### How cost grows", "", *growth_table(run), ""]
    if run.failed:
        parts += ["### What failed in this run", ""]
        parts += [f"- {one['bench']}, {one.get('flavour', '')} {one.get('workload', '')}: {one['error']}" for one in run.failed]
    return "\n".join(parts).rstrip()


def profiles(run: Run) -> list[str]:
    lines = ["| stream | process | ns a row, processor time | of that in |", "|---|---|---|---|"]
    for one in run.profiles:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in one["shares"].items())
        cells = [f"{WORKLOADS[one['workload']]}, {one['consume']}", one["process"], f"{one['ns_per_row']:,.0f}", shares]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def growth_table(run: Run) -> list[str]:
    lines = ["| check, by processor time | ns a row | ratio | at most | by the clock |", "|---|---|---|---|---|"]
    for check in run.checks.values():
        costs = " → ".join(f"{ns:,.0f}" for ns in check["cpu_ns_per_row"])
        ratio = f"{check['ratio']:.2f}{missed(check)}"
        lines.append(f"| {check['check']} | {costs} | {ratio} | {check['limit']:.2f} | {check['clock_ratio']:.2f} |")
    return lines


def missed(check: dict[str, Any]) -> str:
    return "" if check["ratio"] <= check["limit"] else " (missed)"


def goals(run: Run) -> list[str]:
    lines = ["| what | goal | MariaDB | MySQL |", "|---|---|---|---|"]
    for title, bench, workload, least in GOALS:
        found = [run.find(bench, workload=workload, flavour=flavour) for flavour in SERVERS]
        lines.append(f"| {title} | {short(least)} | {' | '.join(short(one['rows_per_s']) if one else '' for one in found)} |")
    times, of_drain, of_tls, rest = [], [], [], []
    delays: dict[str, list[str]] = {"sent": [], "confirmed": []}
    for flavour in SERVERS:
        decode, slow = (
            run.find("decode", workload="inserts", flavour=flavour),
            run.peer("mysql-replication", workload="inserts", flavour=flavour),
        )
        times.append(f"{decode['rows_per_s'] / slow:,.0f}" if decode and slow else "")
        source = run.find("source", workload="inserts", flavour=flavour)
        plain = run.find("source without TLS", workload="inserts", flavour=flavour) or source
        of_drain.append(f"{plain['of_limit']:.2f}" if plain else "")
        of_tls.append(f"{source['of_limit']:.2f}" if source and source["tls"] else "")
        case = next(
            (case for case in (run.find("latency", flavour=flavour) or {"cases": []})["cases"] if case["rate"] == 5000), None
        )
        for begin, cells in delays.items():
            us = case[f"from_{begin}_us"] if case else None
            cells.append(f"{us['p50'] / 1e3:.2f} ms, {us['p99'] / 1e3:.2f} ms" if us else "")
        idle = run.find("idle", flavour=flavour)
        rest.append(f"{idle['cpu_percent_in_all']:.2f} %" if idle else "")
    lines.append(f"| decode against mysql-replication | 300 × | {' | '.join(times)} |")
    lines.append(f"| source against the raw socket, MB/s | 0.5 | {' | '.join(of_drain)} |")
    lines.append(f"| … both over TLS, where the server offers it | 0.5 | {' | '.join(of_tls)} |")
    for begin, cells in delays.items():
        lines.append(f"| commit → consumer at 5,000 tx/s, from {begin}: median, p99 | 1 ms, 5 ms | {' | '.join(cells)} |")
    lines.append(f"| idle engine, of a core | 1 % | {' | '.join(rest)} |")
    return lines


def workloads(run: Run) -> list[str]:
    lines = ["| server | workload | measurement | rows/s | MB/s | of its limit |", "|---|---|---|---|---|---|"]
    for result in run.results:
        if "rows_per_s" in result and "workload" in result:
            rate = f"{result['rows_per_s']:,}" if result["rows"] else ""
            limit = f"{result['of_limit']:.2f}" if "of_limit" in result else ""
            cells = [SERVERS[result["flavour"]], result["workload"], result["bench"], rate, f"{result['mb_per_s']:,.0f}", limit]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def latency(run: Run) -> list[str]:
    lines = ["| server | commits/s | counted from | p50 µs | p90 | p99 | p99.9 | max |", "|---|---|---|---|---|---|---|---|"]
    for flavour, title in SERVERS.items():
        for case in (run.find("latency", flavour=flavour) or {"cases": []})["cases"]:
            for begin in ("due", "sent", "confirmed"):
                cells = " | ".join(f"{us:,.0f}" for us in case[f"from_{begin}_us"].values())
                lines.append(f"| {title} | {case['rate']:,} | {begin} | {cells} |")
    lines += ["", "| idle: % of a core, MB beside the rings | MariaDB | MySQL |", "|---|---|---|"]
    idle = [run.find("idle", flavour=flavour) for flavour in SERVERS]
    for process in next((one["cpu_percent"] for one in idle if one), {}):
        cells = [f"{one['cpu_percent'][process]:.2f} %, {one['peak_mb'][process]:.0f} MB" if one else "" for one in idle]
        lines.append(f"| {process} | {' | '.join(cells)} |")
    return lines


def memory_table(memory: dict[str, Any]) -> list[str]:
    processes = list(memory["results"][0]["peak_mb"])
    lines = [f"| peak MB beside the rings | {' | '.join(processes)} |", f"|---|{'---|' * len(processes)}"]
    for one in memory["results"]:
        lines.append(f"| {one['workload']} | {' | '.join(str(round(one['peak_mb'][process])) for process in processes)} |")
    return lines


def short(rate: float) -> str:
    if rate >= 1e6:
        return f"{rate / 1e6:.1f} M"
    return f"{rate / 1e3:.0f} k" if rate >= 1e4 else f"{rate / 1e3:.1f} k"


if __name__ == "__main__":
    sys.exit(main())
