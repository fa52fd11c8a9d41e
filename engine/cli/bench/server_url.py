"""The URL argument of the measurements on a live server."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.config import Config, SourceConfig
from engine.errors import ConfigError

UrlArgument = Annotated[str, typer.Argument(help="mysql://user:password@host:port", metavar="URL")]
FromOption = Annotated[str, typer.Option("--from", help='Where to start: "earliest", "binlog.000001:4", …')]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object.")]


def source_config(url: str, start: str, ring: str = "64MiB") -> SourceConfig:
    """The config of a source made of the command line.

    Raises:
        ConfigError: the URL or the position is wrong.
    """
    try:
        config = Config.model_validate(
            {"sources": {"bench": {"url": url, "start": start, "ring": ring}}, "destinations": {"bench": {}}}
        )
    except ValueError as error:
        raise ConfigError("bad argument", error=str(error).splitlines()[2].strip(), url="not shown") from None
    return config.sources["bench"]
