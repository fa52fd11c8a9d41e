"""`binlog-engine bench`: how fast, with the answer checked. One file per measurement."""

from __future__ import annotations

import typer

from engine.cli.bench import compare, decode, drain, idle, latency, peers, ring, source, stream, sweep

app = typer.Typer(help="Measure; each checks its answer, and shows its limit beside.", no_args_is_help=True)
for command in (
    ring.ring, decode.decode, drain.drain, source.source, stream.stream, latency.latency, idle.idle, peers.peers,
    sweep.sweep, compare.compare,
):  # fmt: skip
    app.command()(command)
