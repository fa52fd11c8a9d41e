"""Where the time goes: the functions in which each process of a streaming engine, and its consumer, spend it, by `perf`.

    python -m bench.profile [--rows N] [--copies N] [--server mariadb|mysql] [--json FILE]

A profile begins when the source connects and ends with the last ack: starting and stopping the processes isn't in it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from bench.binlogs import FLAVOURS, Recording, held_back, recorded, serving
from bench.workloads import WORKLOADS
from engine.cli.bench.binlog_end import end_of_binlog
from engine.cli.bench.machine import machine
from engine.cli.bench.processes import family
from engine.cli.bench.result import check_equal, refuse_debug_build, show_table
from engine.cli.bench.stream import Consume, Streaming, streamed
from engine.errors import EngineError

START = "binlog.000001:4"
CONSUMER = "consumer"
RUNS = (  # workload, what the consumer makes of it; with other than raw batches only the consumer differs
    ("inserts", Consume.RAW),
    ("inserts", Consume.CHANGES),
    ("single-row", Consume.RAW),
)
_SAMPLES_PER_S = 997  # of processor time; no multiple of what else is periodic
_LEAST_SAMPLES = 20  # of a process, to say anything
_LEAST_SHARE = 0.03  # of a process, to be named
_READY_S = 10.0
_INTERPRETER = ("libpython", "python")


class Sample(NamedTuple):
    """What a process was in: the shared object's name and the function."""

    pid: int
    object: str
    function: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, help="rows of a workload; each has a number of its own")
    parser.add_argument("--copies", type=int, default=3, help="how often its binlog is streamed, one copy after the other")
    parser.add_argument("--server", choices=[*FLAVOURS], default="mariadb")
    parser.add_argument("--json", type=Path, help="also write the results here")
    arguments = parser.parse_args()
    refuse_debug_build()
    if not available():
        print("perf is not installed, or may not look at processes here", file=sys.stderr)
        return 1
    profiles = measure(arguments.server, arguments.rows, arguments.copies)
    show(profiles)
    if arguments.json:
        arguments.json.write_text(json.dumps({"bench": "profile", "profiles": profiles, **machine()}, indent=1))
    return 0


def available() -> bool:
    """Whether perf is here and may look at a process of ours."""
    if shutil.which("perf") is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        argv = ["perf", "record", "-q", "-e", "cpu-clock", "-o", f"{folder}/perf.data", "true"]
        return subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def measure(server: str, rows: int | None, copies: int) -> list[dict[str, Any]]:
    """One entry per run and process: its processor time a row, and what share of that each function had."""
    profiles = []
    for workload, consume in RUNS:
        found = profiled(recorded(WORKLOADS[workload], server, rows or WORKLOADS[workload].rows), copies, consume)
        about = {"workload": workload, "consume": str(consume), "flavour": server}
        profiles += [{**about, **one} for one in found if consume is Consume.RAW or one["process"] == CONSUMER]
    return profiles


def profiled(recording: Recording, copies: int, consume: Consume) -> list[dict[str, Any]]:
    """Stream the recording so often under perf; every change counted."""
    titles: dict[int, str] = {}
    with serving(recording, copies) as server, tempfile.TemporaryDirectory() as folder:
        file, end = Path(folder) / "perf.data", end_of_binlog(server.url())
        begun_s = ended_s = 0.0
        with held_back(server) as release:

            @contextmanager
            def flow(supervisor: int) -> Iterator[None]:
                nonlocal begun_s, ended_s
                titles.update({**dict(family(supervisor)), os.getpid(): CONSUMER})
                with recording_to(file, [*titles]), release(supervisor):
                    begun_s = time.process_time()
                    yield
                    ended_s = time.process_time()

            run = streamed(server.url(), START, end, Streaming(consume), flow=flow)
        check_equal("changes consumed", run.rows, recording.rows * copies)
        taken = list(samples(file))
    profiles = []
    for pid, title in titles.items():
        counted = Counter(place(sample) for sample in taken if sample.pid == pid)
        number = counted.total()
        if number < _LEAST_SAMPLES:  # the supervisor's
            continue
        spent_s = ended_s - begun_s if title == CONSUMER else run.more["cpu_s"][title]
        shares = {name: round(count / number, 3) for name, count in counted.most_common() if count / number >= _LEAST_SHARE}
        profiles.append({"process": title, "ns_per_row": round(spent_s / run.rows * 1e9, 1), "samples": number, "shares": shares})
    return profiles


@contextmanager
def recording_to(file: Path, pids: list[int]) -> Iterator[None]:
    """perf looks at the processes meanwhile.

    Raises:
        EngineError: it doesn't begin to.
    """
    argv = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(_SAMPLES_PER_S), "-o", str(file), "-p", ",".join(map(str, pids))]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as perf:
        deadline = time.monotonic() + _READY_S
        while not (file.exists() and file.stat().st_size):  # it writes the head when it has attached to all
            if perf.poll() is not None or time.monotonic() > deadline:
                perf.kill()
                raise EngineError("bench: perf doesn't look at the processes", pids=pids)
            time.sleep(0.02)
        try:
            yield
        finally:
            perf.send_signal(signal.SIGINT)


def samples(file: Path) -> Iterator[Sample]:
    """What perf has seen."""
    argv = ["perf", "script", "-i", str(file), "-F", "pid,ip,sym,dso"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        if match := re.match(r"\s*(\d+)\s+[0-9a-f]+ (.*) \((.*)\)$", line):
            yield Sample(int(match[1]), match[3].rsplit("/", 1)[-1], match[2])


def place(sample: Sample) -> str:
    """What a person is told: `_rows: row_image`; the kernel and the interpreter as a whole."""
    module = sample.object.split(".")[0]
    if sample.object.startswith("[") or sample.object.endswith(".ko"):
        return "kernel"
    if module.startswith(_INTERPRETER):
        return "Python interpreter"
    if "cpython" not in sample.object:
        return f"{module}: {re.sub(r'^_*|_(avx512|avx2|evex|sse2)?_unaligned.*', '', sample.function)}"
    return f"{module}: {readable(sample.function)}"


def readable(symbol: str) -> str:
    """A C name that Cython made of a function: `__pyx_f_6engine_5_scan_7Scanner__scan` is `Scanner._scan`."""
    match = re.match(r"__pyx_(?:f|pf|pw|fuse_\d+\w*?)_(\d+[A-Za-z_].*)", symbol)
    if not match:
        return symbol
    rest, names = match[1], []
    while part := re.match(r"(\d+)([A-Za-z_].*)", rest):
        length, name = int(part[1]), part[2]
        if length > len(name) or (length < len(name) and name[length] != "_"):  # a number of the function among its like
            rest = name
            break
        names.append(name[:length])
        rest = name[length + 1 :]
    owner = [name for name in names if name[0].isupper()]
    return ".".join([*owner, rest]) if rest else ".".join(names)


def show(profiles: list[dict[str, Any]]) -> None:
    """One line per process."""
    table = Table(title="where the time goes", title_justify="left")
    for column in ("workload", "process", "ns a row", "of that in"):
        table.add_column(column, justify="right" if column == "ns a row" else "left")
    for one in profiles:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in one["shares"].items())
        table.add_row(f"{one['workload']} {one['consume']}", one["process"], f"{one['ns_per_row']:,.0f}", shares)
    show_table(table)


if __name__ == "__main__":
    sys.exit(main())
