"""The arguments that the measurements on a live server have in common."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from engine.config import Config, SourceConfig
from engine.errors import ConfigError


class Tls(StrEnum):
    """`tls` of a source."""

    PREFERRED = "preferred"
    DISABLED = "disabled"
    REQUIRED = "required"


UrlArgument = Annotated[str, typer.Argument(help="mysql://user:password@host:port", metavar="URL")]
FromOption = Annotated[str, typer.Option("--from", help='Where to start: "earliest", "binlog.000001:4", …')]
RowsOption = Annotated[int | None, typer.Option(help="How many changes there are, to be checked.")]
ChecksumOption = Annotated[str | None, typer.Option(help="Checksum of the changes, as `bench decode` prints it, to be checked.")]
LimitOption = Annotated[bool, typer.Option(help="Measure the limit, which is the raw socket, in the same run.")]
RepeatOption = Annotated[int, typer.Option(help="Measure so many times; the run in the middle counts.", min=1, max=99)]
TlsOption = Annotated[Tls, typer.Option(help="Of the connection to the server, as a source's `tls`.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object.")]


def source_config(url: str, start: str, tls: Tls = Tls.PREFERRED) -> SourceConfig:
    """The config of a source made of the command line.

    Raises:
        ConfigError: the URL or the position is wrong.
    """
    try:
        source = {"url": url, "start": start, "tls": tls}
        config = Config.model_validate({"sources": {"bench": source}, "destinations": {"bench": {}}})
    except ValueError as error:
        raise ConfigError("bad argument", error=str(error).splitlines()[2].strip(), url="not shown") from None
    return config.sources["bench"]
