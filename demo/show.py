"""How changes look on the screen: one line each, what changed in colour, and a line of rates every second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

OPS = {"insert": ("+", "green"), "update": ("~", "yellow"), "delete": ("-", "red")}
VALUE_WIDTH = 28


def value(shown: Any) -> str:
    """A column's value in a few characters."""
    if shown is None:
        return "NULL"
    if isinstance(shown, bytes):
        return f"{len(shown)} bytes"
    text = str(shown)
    return text if len(text) <= VALUE_WIDTH else text[: VALUE_WIDTH - 1] + "…"


def key(change: Any) -> str:
    """`7`, or `7/2` of two columns."""
    return "/".join(map(value, change.key))


def line(change: Any, width: int) -> Text:
    """A change on one line of `width` columns, its position at the right."""
    sign, colour = OPS[change.op]
    left = Text()
    left.append(f"{sign} {change.op:<6} ", style=f"bold {colour}")
    left.append(f"{change.table:<12}", style="cyan")
    left.append(f"{key(change):<10} ", style="bold")
    if change.op == "update":
        _append_differences(left, change.before, change.after)
    else:
        _append_row(left, change.after if change.op == "insert" else change.before, "" if change.op == "insert" else "dim")
    position = Text(str(change.position), style="dim")
    room = width - position.cell_len - 2
    left.truncate(room, overflow="ellipsis")
    left.append(" " * (room - left.cell_len + 2))
    return left + position


def _append_row(text: Text, row: Mapping[str, Any], style: str) -> None:
    for name, shown in row.items():
        text.append(f"{name}=", style="dim")
        text.append(f"{value(shown)} ", style=style)


def _append_differences(text: Text, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    for name, new in after.items():
        old = before.get(name)
        if old != new:
            text.append(f"{name} ", style="dim")
            text.append(value(old), style="red strike")
            text.append(" → ", style="dim")
            text.append(f"{value(new)} ", style="green")


class Screen:
    """Shows a sample of the changes, evenly spread over time, and counts them all."""

    def __init__(self, console: Console, lines_per_second: float = 20) -> None:
        self.console = console
        self.counts: Counter[tuple[str, str]] = Counter()
        self.interval_s = 1 / lines_per_second
        self._next_line_s = 0.0
        self._second_began_s: float | None = None
        self._counted = 0
        self._hidden = 0
        self._lags_ms: list[float] = []

    @property
    def total(self) -> int:
        return self.counts.total()

    def change(self, change: Any, now_s: float, lag_ms: float | None = None) -> None:
        """Count a change, and show it unless it comes too soon after the last line."""
        self.counts[change.table, change.op] += 1
        if lag_ms is not None:
            self._lags_ms.append(lag_ms)
        if now_s >= self._next_line_s:
            self._next_line_s = now_s + self.interval_s
            self.console.print(line(change, self.console.width), no_wrap=True, highlight=False)
        else:
            self._hidden += 1

    def tick(self, now_s: float) -> None:
        """Call it often; once a second it shows the rates of that second."""
        if self._second_began_s is None:
            self._second_began_s = now_s
        elapsed_s = now_s - self._second_began_s
        if elapsed_s < 1:
            return
        lags = sorted(self._lags_ms)
        parts = [f"{(self.total - self._counted) / elapsed_s:,.0f} changes/s", f"{self.total:,} total"]
        if lags:
            parts.append(f"lag {lags[len(lags) // 2]:.1f} ms, worst {lags[-1]:.1f} ms")
        if self._hidden:
            parts.append(f"{self._hidden:,} not shown (a sample of {1 / self.interval_s:.0f} a second is)")
        self.console.rule(" · ".join(parts), style="blue", align="left")
        self._second_began_s, self._counted, self._hidden, self._lags_ms = now_s, self.total, 0, []

    def summary(self) -> Table:
        """Counts by table and op."""
        table = Table("table", "insert", "update", "delete", title=f"{self.total:,} changes", title_justify="left")
        for name in sorted({name for name, _ in self.counts}):
            table.add_row(name, *(f"{self.counts[name, op]:,}" for op in OPS))
        for column in table.columns[1:]:
            column.justify = "right"
        return table
