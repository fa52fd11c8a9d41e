"""`bench compare A.json B.json`: what has changed between two runs, beside their noise."""

from __future__ import annotations

import json as json_module
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.table import Table

from engine.cli.bench.result import WIDTH
from engine.errors import ConfigError

_LEAST_NOISE = 0.02  # of runs that were made once, or agree by chance
_SAME = ("cpu", "cores", "kernel", "profile")  # fields that have to be the same for numbers to be compared
_NAMES = ("server", "workload", "bench", "factor", "value", "rate", "peer")  # what a measurement is known by


class Measured(NamedTuple):
    """Seconds of one measurement: the middle of its runs, and half of what lies between the fastest and the slowest."""

    middle_s: float
    noise: float  # share of the middle


def compare(
    before: Annotated[
        Path, typer.Argument(metavar="A.json", help="What --json, `sweep`, `make bench` or pytest-benchmark wrote.")
    ],
    after: Annotated[Path, typer.Argument(metavar="B.json", help="Later results of the same kind.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show which measurements are faster or slower in B than in A, and which differ by no more than their noise."""
    first, second = _load(before), _load(after)
    old, new = dict(_measured(first)), dict(_measured(second))
    both = [name for name in old if name in new]
    if not both:
        raise ConfigError("nothing to compare: no measurement is in both files", a=before, b=after)
    changes = []
    for name in both:
        faster = old[name].middle_s / new[name].middle_s - 1
        noise = max(old[name].noise + new[name].noise, _LEAST_NOISE)
        verdict = "same" if abs(faster) <= noise else "faster" if faster > 0 else "slower"
        changes.append({"name": name, "a_s": old[name].middle_s, "b_s": new[name].middle_s, "change": round(faster, 4),
                        "noise": round(noise, 4), "verdict": verdict})  # fmt: skip
    only = {"only_a": [name for name in old if name not in new], "only_b": [name for name in new if name not in old]}
    differs = _machines_differ(first, second)
    if json:
        print(json_module.dumps({"bench": "compare", "changes": changes, **only, "machines_differ": differs}))
        return
    _show(changes, only, differs)


def _show(changes: list[dict[str, Any]], only: dict[str, list[str]], differs: list[str]) -> None:
    from rich.console import Console

    console = Console(width=None if Console().is_terminal else WIDTH)
    table = Table(title="A against B: rates, + is faster", title_justify="left")
    for column in ("measurement", "A", "B", "change", "noise", ""):
        table.add_column(column, justify="left" if column in ("measurement", "") else "right")
    for change in sorted(changes, key=lambda change: change["change"]):
        style = {"slower": "red", "faster": "green", "same": None}[change["verdict"]]
        table.add_row(
            change["name"], _seconds(change["a_s"]), _seconds(change["b_s"]), f"{change['change']:+.1%}",
            f"± {change['noise']:.1%}", change["verdict"], style=style,
        )  # fmt: skip
    console.print(table)
    for name, missing in only.items():
        if missing:
            console.print(f"only in {name[-1].upper()}: {', '.join(missing)}")
    for line in differs:
        console.print(f"not the same machine or build: {line}")


def _load(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of the file, one or one a line.

    Raises:
        ConfigError: there are none.
    """
    try:
        text = path.read_text()
        try:
            found = json_module.loads(text)
        except ValueError:
            found = [json_module.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise ConfigError("not a file of results", file=path, error=error) from None
    return found if isinstance(found, list) else [found]


def _measured(results: list[dict[str, Any]]) -> Iterator[tuple[str, Measured]]:
    """Each measurement by its name; those inside of others, too."""
    for result in results:
        for part in ("results", "cases"):
            if isinstance(result.get(part), list):
                shared = {name: result[name] for name in _NAMES if name in result}
                yield from _measured([{**shared, **inner} for inner in result[part]])
        for one in result.get("benchmarks", ()):  # pytest-benchmark's
            stats = one["stats"]
            yield one["fullname"], Measured(stats["median"], stats["iqr"] / stats["median"] / 2)
        name = " ".join(str(result[name]) for name in _NAMES if name in result)
        if "samples_s" in result:
            yield name, _of_samples(result["samples_s"])
        for kind in ("from_due_us", "from_sent_us", "from_confirmed_us"):
            for percentile in ("p50", "p99"):
                if kind in result:
                    yield f"{name} latency {kind.removesuffix('_us')} {percentile}", Measured(result[kind][percentile] / 1e6, 0.1)


def _of_samples(samples: list[float]) -> Measured:
    middle = statistics.median(samples)
    return Measured(middle, (max(samples) - min(samples)) / middle / 2)


def _machines_differ(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> list[str]:
    return [
        f"{name} {first[0][name]} and {second[0][name]}"
        for name in _SAME
        if name in first[0] and name in second[0] and first[0][name] != second[0][name]
    ]


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds >= 0.1 else f"{seconds * 1e3:.3f} ms" if seconds >= 1e-4 else f"{seconds * 1e6:.3f} µs"
