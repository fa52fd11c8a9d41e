"""What a measurement prints: a table for people, or one JSON object for machines."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from engine.cli.bench.machine import machine
from engine.errors import EngineError

WIDTH = 130  # of a table that goes to a file


class Limit(NamedTuple):
    """What can't be surpassed, measured in the same run. paired: its rate next to each of the runs that it is the limit of, where
    they went in turn."""

    what: str
    mb_per_s: float
    paired: Sequence[float] = ()


@dataclass
class Result:
    """rows: changes; bytes: binlog bytes, unless `what` says otherwise; samples: wall clock of each run, in seconds;
    more: what else was seen."""

    what: str
    rows: int
    bytes: int
    samples: list[float]
    more: dict[str, Any] = field(default_factory=dict)
    limit: Limit | None = None

    @property
    def seconds(self) -> float:
        """Of the run in the middle."""
        return statistics.median(self.samples)

    @property
    def rows_per_s(self) -> int:
        return round(self.rows / max(self.seconds, 1e-9))

    @property
    def mb_per_s(self) -> float:
        return round(self.bytes / max(self.seconds, 1e-9) / 1e6, 1)

    @property
    def of_limit(self) -> float | None:
        """Of pairs the one in the middle: of what happens for seconds to a machine, both have their share."""
        if self.limit is None:
            return None
        if len(self.limit.paired) != len(self.samples):
            return self.mb_per_s / self.limit.mb_per_s
        pairs = zip(self.samples, self.limit.paired, strict=True)
        return statistics.median(self.bytes / seconds / 1e6 / limit for seconds, limit in pairs)

    def to_json(self) -> dict[str, Any]:
        """The fields that others read, and where it ran."""
        limit = {}
        if self.limit and self.of_limit is not None:
            limit = {
                "limit": self.limit.what,
                "limit_mb_per_s": round(self.limit.mb_per_s, 1),
                "of_limit": round(self.of_limit, 3),
            }
        return {
            "bench": self.what,
            "rows": self.rows,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 6),
            "samples_s": [round(sample, 6) for sample in self.samples],
            "rows_per_s": self.rows_per_s,
            "mb_per_s": self.mb_per_s,
            **limit,
            **self.more,
            **machine(),
        }

    def show(self, as_json: bool) -> None:
        """Print it.

        Raises:
            EngineError: JSON is asked for, which others keep, and this is a debug build.
        """
        if as_json:
            print_json(self.to_json())
            return
        lines = {
            "rows": f"{self.rows:,}" if self.rows else "-",
            "bytes": f"{self.bytes / 1e6:,.1f} MB",
            "seconds": f"{self.seconds:.3f}" + (f", the middle of {len(self.samples)} runs" if len(self.samples) > 1 else ""),
            "rows/s": f"{self.rows_per_s:,}" if self.rows else "-",
            "MB/s": f"{self.mb_per_s:,.1f}",
        }
        if self.limit and self.of_limit is not None:
            lines["limit"] = f"{self.limit.mb_per_s:,.0f} MB/s: {self.limit.what}"
            lines["of the limit"] = f"{self.of_limit:.2f}"
        lines |= {name.replace("_", " "): readable(value) for name, value in self.more.items()}
        table = Table(title=self.what, show_header=False, title_justify="left")
        for name, value in lines.items():
            table.add_row(name, value)
        show_table(table)


def readable(value: Any) -> str:
    """A number with commas; a dict as `name value, name value`."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {readable(part)}" for name, part in value.items())
    return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def show_table(table: Table) -> None:
    """Print the table, and below it where it was measured."""
    here = machine()
    console = Console(width=None if Console().is_terminal else WIDTH)
    console.print(table)
    console.print(f"{here['cpu']}, {here['cores']} cores, Linux {here['kernel']}, Python {here['python']}, {here['date']}")
    if here["profile"] != "release":
        console.print(f"this is a {here['profile']} build: its numbers mean nothing")


def print_json(result: dict[str, Any]) -> None:
    """One line of JSON.

    Raises:
        EngineError: this is no release build, whose numbers are not to be kept.
    """
    refuse_debug_build()
    print(json.dumps(result))


def refuse_debug_build() -> None:
    """Numbers of another build than the released one are not recorded.

    Raises:
        EngineError: this is one.
    """
    from engine.ring import PROFILE

    if PROFILE != "release":
        raise EngineError(
            "bench: only a release build is recorded", profile=PROFILE,
            remedy="build with BINLOG_ENGINE_PROFILE=release, or leave --json out to look at it",
        )  # fmt: skip


def check_equal(what: str, got: object, expected: object) -> None:
    """A measurement of a wrong answer is no measurement.

    Raises:
        EngineError: they differ.
    """
    if got != expected:
        raise EngineError(f"bench: wrong answer: {what}", got=got, expected=expected, remedy="please report this")


def check_content(got: int, expected: str | None) -> str:
    """The checksum of the changes as text, checked against what was expected, if anything was.

    Raises:
        EngineError: they differ.
    """
    text = f"{got % 2**64:016x}"
    if expected is not None:
        check_equal("checksum of the changes", text, expected)
    return text
