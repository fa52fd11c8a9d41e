"""The command line. One file per command; errors are one line; exit codes: 0 done, 1 failed, 2 wrong use."""

from __future__ import annotations

import os
import sys

import typer

from engine.cli import bench, check, cluster, decode, position, run, schema, source, status, tail
from engine.errors import ConfigError, EngineError

app = typer.Typer(
    name="binlog-engine",
    help="Change data capture for MySQL and MariaDB.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (run.run, check.check, status.status, status.top, tail.tail, decode.decode):
    app.command()(command)
app.add_typer(bench.app, name="bench")
app.add_typer(schema.app, name="schema")
app.add_typer(position.app, name="position")
app.add_typer(source.app, name="source")
app.add_typer(cluster.app, name="cluster")


def main() -> None:
    """Run the command line and exit."""
    try:
        app()
    except ConfigError as error:
        _fail(error, 2)
    except EngineError as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `binlog-engine tail … | head`: the reader has what it wants
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _fail(error: EngineError, code: int) -> None:
    print(f"binlog-engine: {error}", file=sys.stderr)
    sys.exit(code)
