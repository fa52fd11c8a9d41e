"""`binlog-engine status` and `top`: what a running engine does, read from outside, also when a stage hangs."""

from __future__ import annotations

import json as jsonlib
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from engine.config import load_config
from engine.errors import EngineError

ConfigArgument = Annotated[Path, typer.Argument(help="The config file of the running engine.")]
_WIDTH = 120  # where the output is no terminal
UNHEALTHY = 3
_STYLES = {"running": "green", "starting": "yellow", "restarting": "yellow", "stalled": "bold red", "failed": "bold red"}


def status(
    config: ConfigArgument = Path("conf/engine.toml"),
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show the stages, positions, lags and rates of the engine that runs on this config.

    Exit code: 0 it runs and is healthy, 1 it doesn't run, 3 it runs and needs attention.
    """
    from engine.observe import observe

    seen = observe(load_config(config))
    if json:
        print(jsonlib.dumps(seen))
    else:
        width = None if sys.stdout.isatty() else _WIDTH
        Console(width=width).print(_tables(seen, None, 0.0))
    if not seen["healthy"]:
        raise typer.Exit(UNHEALTHY if seen["running"] else 1)


def top(config: ConfigArgument = Path("conf/engine.toml")) -> None:
    """The same, live, with rates, until Ctrl-C."""
    from engine.observe import observe

    settings = load_config(config)
    before, before_at = observe(settings), time.monotonic()
    if not before["running"]:
        raise EngineError("no engine runs on this config", config=config, remedy=f"binlog-engine run {config}")
    try:
        with Live(_tables(before, None, 0.0), screen=True) as live:
            while True:
                time.sleep(1)
                now, now_at = observe(settings), time.monotonic()
                live.update(_tables(now, before, now_at - before_at))
                before, before_at = now, now_at
    except KeyboardInterrupt:
        pass


def _tables(seen: dict[str, Any], before: dict[str, Any] | None, seconds: float) -> Group:
    stages = Table("stage", "state", "for", "pid", "restarts", "last error", title=None if seen["running"] else "not running")
    for child in seen["stages"]:
        stages.add_row(
            child["title"], _state(child), _duration(time.time() - child["since"]), str(child["pid"] or "-"),
            str(child["restarts"]), _last_error(child),
        )  # fmt: skip
    sources = Table("source", "server", "connected", "position", "rows", "rows/s", "binlog MB", "ring held", "last change")
    for name, source in seen["sources"].items():
        old = before["sources"].get(name) if before else None
        sources.add_row(
            name, source["server"] or "-", "yes" if source["connected"] else "[bold red]no[/]", source["position"],
            f"{source['rows']:,}", _rate(source["rows"], old and old["rows"], seconds),
            f"{source['binlog_bytes'] / 1e6:,.1f}", _size(source["held_bytes"]), _age(source["last_change_s"]),
        )  # fmt: skip
    failovers = Table("source", "last failover", "from", "to", "by", "reason")
    for name, source in seen["sources"].items():
        if (last := source["failover"]) is not None:
            failovers.add_row(name, last["at"], last["from"], last["to"], last["by"], last["reason"] or escape(last["why"]))
    consumers = Table("destination", "consumer", "partition", "rows acked", "rows/s", "store held", "unsent", "session")
    for key, consumer in seen["consumers"].items():
        old = before["consumers"].get(key) if before else None
        consumers.add_row(
            consumer["destination"], consumer["consumer"], str(consumer["partition"]), f"{consumer['rows_acked']:,}",
            _rate(consumer["rows_acked"], old and old["rows_acked"], seconds), _size(consumer["held_bytes"]),
            _size(consumer["unsent_bytes"]), _session(consumer),
        )  # fmt: skip
    stores = Table("destination", "partition", "kept", "of", "goes back to", "position", "gtid")
    for store in seen["stores"].values():
        reach = store["reaches_back_s"]
        stores.add_row(
            store["destination"], str(store["partition"]), _size(store["kept_bytes"]), _size(store["capacity_bytes"]),
            "-" if reach is None else f"{_duration(reach)} ago", store["oldest"] or "-", escape(store["oldest_gtid"] or "-"),
        )  # fmt: skip
    complaints = (f"[bold red]{escape(complaint)}[/]" for complaint in seen["complaints"])
    return Group(*complaints, stages, sources, *([failovers] if failovers.row_count else []), stores, consumers)


def _state(child: dict[str, Any]) -> str:
    """`running`, `failed: position_purged`, `restarting in 3 s: died`."""
    words = child["state"]
    if child["next_try"] is not None:
        words += f" in {max(child['next_try'] - time.time(), 0):.0f} s"
    return f"[{_STYLES.get(child['state'], 'dim')}]{words}{': ' + child['reason'] if child['reason'] else ''}[/]"


def _last_error(child: dict[str, Any]) -> str:
    """With its age where it is over."""
    if child["error"] or not child["last_error"]:
        return escape(child["error"])
    return escape(f"{_duration(time.time() - child['last_error_at'])} ago: {child['last_error']}")


def _session(consumer: dict[str, Any]) -> str:
    """Whether it is there; for how long not, and when it will be dropped for that."""
    if consumer["present"]:
        return "open"
    if not consumer["away_s"]:
        return "-"
    return f"away {_duration(consumer['away_s'])}, dropped in {_duration(consumer['expires_in_s'])}"


def _duration(seconds: float) -> str:
    """`12 s`, `3 min`, `5 h`, `9 d`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _rate(now: int, before: int | None, seconds: float) -> str:
    return f"{(now - before) / seconds:,.0f}" if before is not None and seconds else ""


def _size(n: int) -> str:
    return f"{n / 2**20:,.1f} MiB"


def _age(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:,.1f} s ago"
