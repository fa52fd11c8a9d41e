"""`binlog-engine source CONFIG show|begin|switch`: which database server a source reads, and where it begins anew."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.config import Config, load_config
from engine.errors import ConfigError

if TYPE_CHECKING:
    from engine.meta import Meta

app = typer.Typer(no_args_is_help=True, help="Which database server a source reads, and where it begins anew.")
SourceArgument = Annotated[str, typer.Argument(help="The source's name in the config.")]


@app.callback()
def source(
    context: typer.Context, config: Annotated[Path, typer.Argument(help="The config file, such as conf/engine.toml.")]
) -> None:
    """Which database server a source reads, and where it begins anew."""
    context.obj = config


def _opened(context: typer.Context, name: str) -> tuple[Config, Meta]:
    from engine.instance import Instance
    from engine.meta.open import open_meta

    config = load_config(context.obj)
    if name not in config.sources or config.sources[name].files:
        raise ConfigError("no source with a server has this name", source=name, known=", ".join(config.sources))
    return config, open_meta(config.server.meta, Instance(config.server.data_dir), config.cluster)


@app.command()
def show(context: typer.Context, name: SourceArgument) -> None:
    """A source's turns at database servers, oldest first: source number, since when, where, why."""
    from engine.source.server_identity import Turn

    _, meta = _opened(context, name)
    try:
        for number, history in sorted(meta.histories().items()):
            turn = Turn.unpack(history.identity)
            if history.source == name:
                print(number, history.binlog, *((turn.since, turn.where, turn.server, turn.why) if turn else ()), sep="  ")
    finally:
        meta.close()


@app.command()
def begin(
    context: typer.Context,
    name: SourceArgument,
    start: Annotated[str, typer.Argument(help="earliest, latest, a time, or FILE:OFFSET.")],
) -> None:
    """Let a source that stopped in a named state begin anew, at this place of the server's binlog, with the engine's next start.

    What consumers had not acked of what came before is not delivered any more.
    """
    from engine.position import Identity, parse_start, split_file_name
    from engine.source.connection import Connection
    from engine.source.server_identity import Turn, read_file_mark, server_name
    from engine.source.servers import Servers

    wanted = parse_start(start)
    if wanted.kind == "gtid":
        raise ConfigError(
            "a new beginning is a place in the binlog", start=start, remedy="name earliest, latest, a time or FILE:OFFSET"
        )
    config, meta = _opened(context, name)
    try:
        with Connection(Servers(config.sources[name]).in_use(), name) as connection:
            facts = connection.connect()
            place = connection.resolve_start(wanted)
            mark = read_file_mark(connection, place.file)
            where = connection.where
        base, file = split_file_name(place.file)
        seq = 1 + sum(history.source == name for history in meta.histories().values())
        since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        turn = Turn(seq, server_name(facts), where, since, f"an operator had it begin at {start}", fresh=True)
        number = meta.source_number(name, base, turn.pack())
        meta.keep_file_mark(number, file, mark)
        meta.first_position(number, Identity(file, place.offset, 0, 0))
    finally:
        meta.close()
    print(f"{name} begins at {place.file}:{place.offset} of {where}, as source number {number}, with the engine's next start")


@app.command()
def switch(
    context: typer.Context,
    name: SourceArgument,
    url: Annotated[str, typer.Argument(help="HOST:PORT of one of the source's urls.")],
) -> None:
    """Let a source go on at another of its servers, by GTID, such as back to the old primary."""
    from engine.instance import Instance
    from engine.source.servers import Servers

    config, meta = _opened(context, name)
    meta.close()
    if not Servers(config.sources[name]).choose(url):
        raise ConfigError("the source has no such server", source=name, server=url, remedy="name HOST:PORT of one of its urls")
    request = Instance(config.server.data_dir).switch_file(name)
    draft = request.with_suffix(".new")
    draft.write_text(url)
    draft.replace(request)
