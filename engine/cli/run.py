"""`binlog-engine run CONFIG`: the engine, until Ctrl-C or SIGTERM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.config import load_config


def run(config: Annotated[Path, typer.Argument(help="The config file, such as conf/engine.toml.")]) -> None:
    """Run the engine until Ctrl-C or SIGTERM."""
    from engine.process import configure_logging
    from engine.supervisor import run_engine

    settings = load_config(config)
    configure_logging()
    raise typer.Exit(run_engine(settings))
