"""`binlog-engine tail DESTINATION`: a consumer that prints what it gets and acks it."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

import engine
from engine.cli.show import text_line
from engine.client.change import Change
from engine.client.items import json_line
from engine.errors import ConfigError

_WAIT_MS = 500
_BATCH_ROWS = 1000
_TIMEOUT_S = 10.0  # twice the silence between heartbeats; a person waits for an answer


def tail(
    destination: Annotated[str, typer.Argument(help="The destination to read.")],
    server: Annotated[
        list[str] | None,
        typer.Option(
            help="Where engines listen, tcp://127.0.0.1:7411 by default: several times, with commas, or zk://host1,host2."
        ),
    ] = None,
    token_env: Annotated[str | None, typer.Option(help="The variable that holds the token the server wants.")] = None,
    tls_ca: Annotated[Path | None, typer.Option(help="PEM file of the authority behind tls:// servers.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    consumer: Annotated[str, typer.Option(help="The consumer to be; its position moves.")] = "default",
    max: Annotated[int | None, typer.Option(help="End after so many changes.", min=1)] = None,
    idle_exit: Annotated[float | None, typer.Option(help="End with 0 after so many seconds without a change.")] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", help='A new consumer begins at "oldest", "latest", "binlog.000012:4", "gtid:<set>" or a time.'),
    ] = None,
    transactions: Annotated[bool, typer.Option("--transactions", help="Print begin and commit too.")] = False,
) -> None:
    """Print the changes of a destination as they come, one a line, acked."""
    servers = [url for text in server or ("tcp://127.0.0.1:7411",) for url in _urls(text)]
    token = _token(token_env) if token_env is not None else None
    line = json_line if json else text_line
    printed = 0
    last_change = time.monotonic()
    with engine.connect(
        servers,
        consumer=consumer,
        destination=destination,
        prefetch=0,
        start=from_,
        token=token,
        tls_ca=tls_ca,
        timeout=_TIMEOUT_S,
    ) as stream:
        while max is None or printed < max:
            rows = _BATCH_ROWS if max is None else min(_BATCH_ROWS, max - printed)
            batch = stream.get(wait_ms=_WAIT_MS, rows=rows)
            if batch is not None:
                for event in batch.read(transactions=transactions):
                    printed += isinstance(event, Change)
                    print(line(event))
                sys.stdout.flush()
                batch.ack()
                last_change = time.monotonic()
            if idle_exit is not None and time.monotonic() - last_change >= idle_exit:
                return


def _urls(text: str) -> list[str]:
    """A comma stands between two URLs, and in one of ZooKeeper between two hosts."""
    return re.split(r",(?=\w+://)", text)


def _token(variable: str) -> str:
    if variable not in os.environ:
        raise ConfigError("--token-env names a variable that is not set", variable=variable, remedy=f"export {variable}=...")
    return os.environ[variable]
