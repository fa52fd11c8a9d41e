"""`binlog-engine cluster`: who runs what in a cluster, seen from any machine that has its config; drain and balance."""

from __future__ import annotations

import json as jsonlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from engine.config import Config, load_config
from engine.errors import ConfigError, EngineError, MetaAway

app = typer.Typer(help="The engines that share the destinations of a config.", no_args_is_help=True, rich_markup_mode=None)

ConfigArgument = Annotated[Path, typer.Argument(help="The config file, with [cluster].")]
PATIENCE_S = 10.0  # for ZooKeeper
MOVE_S = 30.0  # for destinations to move
LOOK_S = 0.02
_WIDTH = 140


@app.command()
def status(config: ConfigArgument, json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """Show engines, who runs which destination since when and why, epochs and lag."""
    settings = load_config(config)
    with _session(settings) as session:
        seen = _describe(session, settings)
    if json:
        print(jsonlib.dumps(seen))
    else:
        width = None if sys.stdout.isatty() else _WIDTH
        for table in _tables(seen):
            Console(width=width).print(table)
    if any(destination["node"] is None for destination in seen["destinations"].values()):
        raise typer.Exit(1)


@app.command()
def drain(
    config: ConfigArgument,
    name: Annotated[str, typer.Argument(help="The engine, as `cluster status` names it.")],
    back: Annotated[bool, typer.Option("--back", help="It may take destinations again.")] = False,
) -> None:
    """Have an engine hand its destinations to the others, and take none: before it is stopped or mended."""
    from kazoo.exceptions import NoNodeError

    from engine.ha import layout
    from engine.ha.leases import Picture

    settings = load_config(config)
    with _session(settings) as session:
        path = layout.drained_path(session, name)
        if back:
            try:
                session.persist(lambda: session.wait(session.client.delete_async(path)), PATIENCE_S)
            except EngineError as error:
                if not isinstance(error.__cause__, NoNodeError):
                    raise
            print(f"{name} may take destinations again")
            return
        known = session.persist(lambda: _look(session, settings), PATIENCE_S)
        if name not in known.nodes:
            raise ConfigError("no such engine in the cluster", name=name, known=", ".join(sorted(known.nodes)) or "none")
        if not set(known.eligible) - {name}:
            raise EngineError(
                "no other engine could take its destinations", name=name, remedy="start one, or --back one that is drained"
            )
        session.persist(lambda: session.ensure(path), PATIENCE_S)

        def drained(picture: Picture) -> bool:
            return name not in {owner["node"] for owner in picture.owners.values()} and _all_owned(picture, settings)

        seconds = _wait_for(session, settings, drained)
        print(f"{name} has no destinations any more ({seconds:.2f} s); `cluster drain {config} {name} --back` undoes it")


@app.command()
def balance(config: ConfigArgument) -> None:
    """Spread the destinations evenly now, and not only after balance_after_s."""
    from engine.ha import layout
    from engine.ha.leases import Picture

    settings = load_config(config)
    with _session(settings) as session:
        path = layout.balance_path(session)
        session.persist(lambda: session.ensure(path), PATIENCE_S)
        session.persist(lambda: session.wait(session.client.set_async(path, b"")), PATIENCE_S)

        def even(picture: Picture) -> bool:
            counts = picture.counts().values()
            return _all_owned(picture, settings) and not picture.moves and max(counts) - min(counts) <= 1

        seconds = _wait_for(session, settings, even)
        print(f"destinations are spread evenly ({seconds:.2f} s)")


@contextmanager
def _session(settings: Config) -> Iterator[Any]:
    from engine.ha.session import ZooKeeperSession

    if settings.cluster is None:
        raise ConfigError("this config has no [cluster]", remedy="binlog-engine status shows an engine that is alone")
    session = ZooKeeperSession(settings.cluster)
    try:
        session.wait_connected(PATIENCE_S)
        yield session
    finally:
        session.close()


def _look(session: Any, settings: Config) -> Any:
    from kazoo.exceptions import NoNodeError

    from engine.ha.leases import Picture, look

    try:
        return look(session, list(settings.destinations))
    except NoNodeError:  # no engine was ever there
        return Picture()


def _all_owned(picture: Any, settings: Config) -> bool:
    return all(name in picture.owners for name in settings.destinations)


def _wait_for(session: Any, settings: Config, condition: Callable[[Any], bool]) -> float:
    began = time.monotonic()
    while not condition(session.persist(lambda: _look(session, settings), PATIENCE_S)):
        if time.monotonic() - began > MOVE_S:
            raise EngineError(
                "not done in time", seconds=MOVE_S, remedy="see `binlog-engine cluster status` and the engines' logs"
            )
        time.sleep(LOOK_S)
    return time.monotonic() - began


def _describe(session: Any, settings: Config) -> dict[str, Any]:
    picture = session.persist(lambda: _look(session, settings), PATIENCE_S)
    destinations = {}
    for name in settings.destinations:
        owner = picture.owners.get(name)
        lease = owner or _last_lease(session, name)
        about = picture.nodes.get(owner["node"], {}) if owner else {}
        told = about.get("destinations", {}).get(name, {})
        move = picture.moves.get(name)
        destinations[name] = {
            "node": owner and owner["node"], "address": owner and owner["address"], "epoch": lease.get("epoch", 0),
            "since": lease.get("since"), "reason": lease.get("reason"), "from": lease.get("from"),
            "moving_to": move and move.target, "lag_bytes": told.get("lag_bytes"), "sessions": told.get("sessions"),
        }  # fmt: skip
    engines = {
        name: {
            "address": about["address"], "host": about.get("host"), "pid": about.get("pid"), "since": about["since"],
            "seen": about.get("seen"), "drained": name in picture.drained,
            "destinations": sorted(one for one, owner in picture.owners.items() if owner["node"] == name),
        }
        for name, about in sorted(picture.nodes.items())
    }  # fmt: skip
    return {"engines": engines, "drained": sorted(picture.drained), "destinations": destinations}


def _last_lease(session: Any, destination: str) -> dict[str, Any]:
    """Of a destination that nobody has now."""
    from kazoo.exceptions import NoNodeError

    from engine.ha import layout

    try:
        content, _ = session.wait(session.client.get_async(layout.epoch_path(session, destination)))
    except (NoNodeError, MetaAway):
        return {}
    return jsonlib.loads(content) if content else {}


def _tables(seen: dict[str, Any]) -> list[Table]:
    from engine.cli.status import _duration

    now = time.time()
    engines = Table("engine", "address", "host", "pid", "up", "destinations")
    for name, one in seen["engines"].items():
        shown = ", ".join(one["destinations"]) or "-"
        engines.add_row(
            name, one["address"], str(one["host"]), str(one["pid"]), _duration(now - one["since"]),
            shown + (" [yellow](drained)[/]" if one["drained"] else ""),
        )  # fmt: skip
    destinations = Table("destination", "engine", "epoch", "since", "why", "from", "moving to", "sessions", "lag")
    for name, one in seen["destinations"].items():
        destinations.add_row(
            name, one["node"] or "[bold red]nobody[/]", str(one["epoch"]),
            f"{_duration(now - one['since'])} ago" if one["since"] else "-", one["reason"] or "-", one["from"] or "-",
            one["moving_to"] or "-", "-" if one["sessions"] is None else str(one["sessions"]),
            "-" if one["lag_bytes"] is None else f"{one['lag_bytes']:,} B",
        )  # fmt: skip
    return [engines, destinations]
