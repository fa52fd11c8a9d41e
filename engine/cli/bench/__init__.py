"""`binlog-engine bench`: how fast, with the answer checked. One file per measurement."""

from __future__ import annotations

import typer

from engine.cli.bench import decode, drain, ring, source, stream

app = typer.Typer(help="Measure: ring, decode, drain (the limit), source, stream.", no_args_is_help=True)
for measurement in (ring.ring, decode.decode, drain.drain, source.source, stream.stream):
    app.command()(measurement)
