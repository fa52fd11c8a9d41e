"""`binlog-engine schema CONFIG show|reread|set`: the schema history, shown and mended by hand."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.config import Config, load_config
from engine.errors import ConfigError, EngineError
from engine.position import Identity, join_file_name, split_file_name

if TYPE_CHECKING:
    from engine.meta import Meta
    from engine.source.history.catalog import Entry, Known
    from engine.source.history.definition import TableDefinition

app = typer.Typer(no_args_is_help=True, help="Show, edit or re-read what the engine knows of a source's tables.")
SourceArgument = Annotated[str, typer.Argument(help="The source's name in the config.")]
TableArgument = Annotated[str, typer.Argument(help="SCHEMA.TABLE as the binlog has it.")]
AtOption = Annotated[
    str, typer.Option("--at", help="From where on: FILE:START[:EVENT], as the source's error names it.", metavar="POSITION")
]


@app.callback()
def schema(
    context: typer.Context, config: Annotated[Path, typer.Argument(help="The config file, such as conf/engine.toml.")]
) -> None:
    """Show, edit or re-read what the engine knows of a source's tables."""
    context.obj = config


@app.command()
def show(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="Only this source.")] = "",
    table: Annotated[str, typer.Argument(help="Only this SCHEMA.TABLE, with all its versions.")] = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line; its columns are what `set` takes.")] = False,
) -> None:
    """The tables as they are known at the end of the history; of one table every version, with what made it."""
    from engine.source.history.catalog import Entry

    with _meta(context.obj, source) as (_, meta):
        for number, history in meta.histories().items():
            if source and history.source != source:
                continue
            entries = [Entry.unpack(position, packed) for position, packed in meta.history(number)]
            for name, entry in _versions(entries, table):
                known = entry.tables[name]
                position = _shown(history.binlog, entry.position)
                if json:
                    print(jsonlib.dumps(_as_json(history.source, name, position, entry, known), ensure_ascii=False))
                else:
                    print(_as_text(history.source, name, position, entry, known, with_columns=bool(table)))


def _versions(entries: list[Entry], table: str) -> list[tuple[tuple[str, str], Entry]]:
    """Of one table all entries, of all tables the last one each, without those that are gone."""
    if table:
        return [(name, entry) for entry in entries for name in entry.tables if ".".join(name) == table]
    last = {name: entry for entry in entries for name in entry.tables}
    return [(name, entry) for name, entry in sorted(last.items()) if entry.tables[name] is not None]


def _as_json(source: str, name: tuple[str, str], position: str, entry: Entry, known: Known) -> dict[str, Any]:
    fields = {"source": source, "schema": name[0], "table": name[1], "from": position, "how": entry.how, "sql": entry.sql}
    if known is None:
        return {**fields, "dropped": True}
    return {**fields, **(known.to_map() if not isinstance(known, tuple) else {"unknown": known.why})}


def _as_text(source: str, name: tuple[str, str], position: str, entry: Entry, known: Known, *, with_columns: bool) -> str:
    made = {"ddl": "by", "server": "as the server had it", "set": "set by hand"}[entry.how]
    what = "gone" if known is None else f"unknown: {known.why}" if isinstance(known, tuple) else f"{len(known.columns)} columns"
    line = f"{source}: {'.'.join(name)} from {position} on: {what}, {made} {' '.join(entry.sql.split())}".rstrip()
    if not with_columns or known is None or isinstance(known, tuple):
        return line
    return "\n".join([line, *(f"    {jsonlib.dumps(column.to_map(), ensure_ascii=False)}" for column in known.columns)])


@app.command()
def reread(context: typer.Context, source: SourceArgument, table: TableArgument, at: AtOption) -> None:
    """Take the table as the server has it now, from a position of the binlog on. Start the source again afterwards."""
    from engine.source.history.snapshot import ServerTables
    from engine.source.servers import last_in_use

    with _meta(context.obj, source) as (config, meta):
        settings = config.sources[source]
        if settings.files:
            raise ConfigError("this source has no server to ask", source=source, remedy="schema CONFIG set ... --columns FILE")
        server = ServerTables(last_in_use(settings, meta, source).in_use, source)
        try:
            tables = server.read(_table(table)).tables
        finally:
            server.close()
        if not tables:
            raise EngineError(
                "the server has no such table, or doesn't show it to this account", source=source, table=table,
                remedy="GRANT SELECT on it, or say what it was: schema CONFIG set ... --columns FILE",
            )  # fmt: skip
        _keep(meta, source, table, at, next(iter(tables.values())), "server")


@app.command(name="set")
def set_columns(
    context: typer.Context,
    source: SourceArgument,
    table: TableArgument,
    at: AtOption,
    columns: Annotated[Path, typer.Option("--columns", help="JSON: what `show --json` prints, or its list of columns.")],
) -> None:
    """Say what a table's columns are from a position of the binlog on. Start the source again afterwards."""
    from engine.source.history.definition import TableDefinition

    with _meta(context.obj, source) as (_, meta):
        try:
            given = jsonlib.loads(columns.read_text())
            fields = given if isinstance(given, dict) else {"columns": given}
            definition = TableDefinition.from_map(
                {name: fields[name] for name in ("columns", "keys", "charset") if name in fields}
            )
        except OSError as error:
            raise ConfigError("the file of columns can't be read", file=columns, error=error.strerror) from None
        except (ValueError, TypeError, KeyError, AttributeError, LookupError) as error:
            raise ConfigError(
                "these are no columns", file=columns, error=error,
                remedy='write what `schema CONFIG show SOURCE TABLE --json` prints, such as [{"name": "id", "type": "bigint"}]',
            ) from None  # fmt: skip
        _keep(meta, source, table, at, definition, "set")


@contextmanager
def _meta(path: Path, source: str) -> Iterator[tuple[Config, Meta]]:
    from engine.instance import Instance
    from engine.meta.open import open_meta

    config = load_config(path)
    if source and source not in config.sources:
        raise ConfigError("no such source", source=source, known=", ".join(config.sources))
    meta = open_meta(config.server.meta, Instance(config.server.data_dir), config.cluster)
    try:
        yield config, meta
    finally:
        meta.close()


def _keep(meta: Meta, source: str, table: str, at: str, definition: TableDefinition, how: str) -> None:
    from engine.source.history.catalog import Entry

    base, position = parse_moment(at)
    entry = Entry(position, how, tables={_table(table): definition})
    meta.keep_history(meta.source_number(source, base), position, entry.pack())
    print(f"{table} has {len(definition.columns)} columns from {_shown(base, position)} on; start the source again")


def _table(name: str) -> tuple[str, str]:
    schema, dot, table = name.partition(".")
    if not (schema and dot and table):
        raise ConfigError("not a table", table=name, remedy="write SCHEMA.TABLE")
    return schema, table


def parse_moment(text: str) -> tuple[str, Identity]:
    """`binlog.000012:4711:2` → base name, and the place of that event; without an event the transaction's beginning.

    Raises:
        ConfigError: it isn't a position.
    """
    file, _, rest = text.partition(":")
    start, _, event = rest.partition(":")
    if not (start.isdecimal() and (event or "0").isdecimal()):
        raise ConfigError("not a position", at=text, remedy="write FILE:START or FILE:START:EVENT, such as binlog.000012:4711:2")
    base, number = split_file_name(file)
    return base, Identity(number, int(start), int(event or 0), 0)


def _shown(base: str, position: Identity) -> str:
    return f"{join_file_name(base, position.file)}:{position.start}:{position.event}"
