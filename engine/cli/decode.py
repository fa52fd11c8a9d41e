"""`binlog-engine decode FILE...`: binlog files to changes, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.show import text_line
from engine.client.change import ChangeReader
from engine.client.items import json_line


def decode(
    files: Annotated[list[Path], typer.Argument(help="Binlog files, in order.", metavar="FILE...")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    transactions: Annotated[bool, typer.Option("--transactions", help="Print begin and commit too.")] = False,
) -> None:
    """Print the changes in binlog files, one a line."""
    from engine.source.files import decode_files

    line = json_line if json else text_line
    reader = ChangeReader({})
    for records, sources in decode_files(files):
        reader.sources = sources
        for event in reader.read(records, transactions=transactions):
            print(line(event))
