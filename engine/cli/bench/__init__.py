"""`binlog-engine bench`: how fast, with the answer checked. One file per measurement."""

from __future__ import annotations

import typer

from engine.cli.bench import decode, drain, idle, latency, ring, source, stream

app = typer.Typer(help="Measure; each checks its answer, and shows its limit beside.", no_args_is_help=True)
for measurement in (
    ring.ring, decode.decode, drain.drain, source.source, stream.stream, latency.latency, idle.idle,
):  # fmt: skip
    app.command()(measurement)
