"""`binlog-engine position CONFIG show|set|reset|forget`: where consumers are, and moving them by hand."""

from __future__ import annotations

import json as jsonlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.config import Config, load_config
from engine.errors import ConfigError, EngineError, RingError

if TYPE_CHECKING:
    from engine.consumer_positions import ConsumerPosition
    from engine.instance import Instance
    from engine.meta import Meta

app = typer.Typer(no_args_is_help=True, help="Show where consumers are, and move them.")
DestinationArgument = Annotated[str, typer.Argument(help="The destination's name in the config.")]
ConsumerOption = Annotated[str, typer.Option("--consumer", help="Only this one; without it, all of the destination.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@app.callback()
def position(
    context: typer.Context, config: Annotated[Path, typer.Argument(help="The config file, such as conf/engine.toml.")]
) -> None:
    """Show where consumers are, and move them: while the engine runs within what its stores hold, otherwise anywhere."""
    context.obj = config


@dataclass(frozen=True)
class _Kept:
    """What the commands work on."""

    config: Config
    instance: Instance
    meta: Meta

    def consumers(self, destination: str, consumer: str) -> list[str]:
        from engine.consumer_positions import check_consumer, consumers_of

        if consumer:
            check_consumer(self.config, self.meta, destination, consumer)
            return [consumer]
        return consumers_of(self.config, self.meta, destination)

    def sources(self, destination: str, source: str) -> list[str]:
        """All of the destination's, or the one that was named."""
        known = self.config.sources_of(destination)
        if source and source not in known:
            raise ConfigError("this source does not feed the destination", source=source, known=", ".join(known))
        return [source] if source else known


@app.command()
def show(
    context: typer.Context,
    destination: Annotated[str, typer.Argument(help="Only this destination.")] = "",
    consumer: ConsumerOption = "",
    json: JsonOption = False,
) -> None:
    """The acked positions of every consumer. Answers while the engine runs, too, and shows how far behind they are then."""
    from engine.consumer_positions import positions_of

    with _kept(context.obj, destination) as kept:
        for name in [destination] if destination else kept.config.destinations:
            presence = kept.meta.presence(name)
            for found in positions_of(kept.config, kept.meta, name):
                if not consumer or found.consumer == consumer:
                    fields = _fields(kept, found)
                    print(jsonlib.dumps(fields) if json else _as_text(fields))
            for gone, seen in presence.items():
                if seen.expired_at and not consumer:
                    fields = {"destination": name, "consumer": gone, "expired_at": _utc(seen.expired_at)}
                    print(jsonlib.dumps(fields) if json else f"{name}/{gone}: expired {fields['expired_at']}")


def _fields(kept: _Kept, found: ConsumerPosition) -> dict[str, Any]:
    from engine.observe import consumer_in_store

    seen = consumer_in_store(kept.instance, found.destination, found.consumer, found.partition) or {}
    acked_us = seen.get("acked_time_us")
    behind = bool(seen.get("held_bytes"))
    return {
        "destination": found.destination, "consumer": found.consumer, "partition": found.partition, "source": found.source,
        "position": found.text, "event": found.at and found.at.event, "row": found.at and found.at.row,
        "gtid_set": found.gtid_set, "acked": _utc(acked_us / 1e6) if acked_us else None,
        "lag_s": (time.time() - acked_us / 1e6 if behind else 0.0) if acked_us else None,
        "held_bytes": seen.get("held_bytes"), "unsent_bytes": seen.get("unsent_bytes"),
    }  # fmt: skip


def _as_text(fields: dict[str, Any]) -> str:
    where = f"{fields['destination']}/{fields['consumer']}/{fields['partition']} of {fields['source']}: "
    if fields["position"] is None:
        return where + "has acked nothing yet"
    exact = f" event {fields['event']} row {fields['row']}" if fields["event"] else ""
    extras = [
        f"after {fields['gtid_set']}" if fields["gtid_set"] else "",
        f"committed {fields['acked']}" if fields["acked"] else "",
        f"{fields['lag_s']:.1f} s behind" if fields["lag_s"] is not None else "",
        f"holds {fields['held_bytes']:,} bytes" if fields["held_bytes"] is not None else "",
    ]
    return where + fields["position"] + exact + "".join(f", {extra}" for extra in extras if extra)


@app.command(name="set")
def set_position(
    context: typer.Context,
    destination: DestinationArgument,
    start: Annotated[
        str,
        typer.Argument(
            metavar="POSITION", help='"earliest", "latest", "binlog.000012:4", "gtid:<set>" or a time; running, "oldest" too.'
        ),
    ],
    consumer: ConsumerOption = "",
    source: Annotated[str, typer.Option("--source", help="Only in this source; needed for a place if there are several.")] = "",
) -> None:
    """Deliver from this position on, whatever has been acked.

    While the engine runs: from what its stores hold ("oldest" is the first of it), to consumers that have no session just now.
    With the engine stopped: from the sources, whose servers are asked for the position.
    """
    try:
        with _stopped(context.obj, destination) as kept:
            said = _set_in_sources(kept, destination, start, consumer, source)
    except ConfigError as error:
        if error.reason != "data_dir_in_use" or load_config(context.obj).cluster is not None:
            raise
        with _kept(context.obj, destination) as kept:
            said = _set_in_stores(kept, destination, start, consumer, source)
    print("\n".join(said))


def _set_in_sources(kept: _Kept, destination: str, start: str, consumer: str, source: str) -> list[str]:
    from engine.consumer_positions import move
    from engine.position import join_file_name, parse_start
    from engine.source.places import locate
    from engine.source.servers import last_in_use

    wanted, sources = parse_start(start), kept.sources(destination, source)
    if len(sources) > 1 and wanted.kind in ("file", "gtid"):
        raise ConfigError("which source's position is this?", position=start, remedy=f"--source {' or '.join(sources)}")
    consumers = kept.consumers(destination, consumer)
    places = {name: locate(last_in_use(kept.config.sources[name], kept.meta, name).in_use(), name, wanted) for name in sources}
    move(kept.config, kept.meta, destination, consumers, places)
    kept.meta.keep_presence(destination, {name: None for name in consumers})
    return [
        f"{destination}: {', '.join(consumers)} get {name} from {join_file_name(base, number)}:{offset} on"
        for name, (base, number, offset) in places.items()
    ]


def _set_in_stores(kept: _Kept, destination: str, start: str, consumer: str, source: str) -> list[str]:
    from engine.rewind import rewind

    consumers, _ = kept.consumers(destination, consumer), kept.sources(destination, source)
    rewind(kept.config, kept.instance, kept.meta, destination, consumers, start, source)
    return [f"{destination}: {', '.join(consumers)} get what the store holds from {start} on"]


@app.command()
def reset(context: typer.Context, destination: DestinationArgument, consumer: ConsumerOption = "") -> None:
    """Forget what was acked, with the engine stopped. Consumers of the config then get everything from where the engine first
    read each source; others no longer exist, hold nothing, and begin as new ones when they connect."""
    from engine.consumer_positions import forget

    with _stopped(context.obj, destination) as kept:
        consumers = kept.consumers(destination, consumer)
        forget(kept.meta, destination, consumers)
    print(f"{destination}: positions of {', '.join(consumers)} are forgotten")


@app.command(name="forget")
def forget_command(
    context: typer.Context,
    destination: DestinationArgument,
    consumer: Annotated[str, typer.Argument(help="One that the config does not list.")],
) -> None:
    """Have a consumer that is no longer needed hold nothing back. Also while the engine runs, if it has no session."""
    from engine.expiry import drop_consumer

    with _kept(context.obj, destination) as kept:
        if consumer in kept.config.destinations[destination].consumers:
            raise ConfigError(
                "the config lists this consumer, it would come back at once", destination=destination, consumer=consumer,
                remedy="take it out of the config, or use `position CONFIG reset`",
            )  # fmt: skip
        kept.consumers(destination, consumer)
        try:
            drop_consumer(kept.config, kept.instance, kept.meta, destination, consumer, None)
        except RingError as error:
            raise EngineError(
                "the consumer has a session", destination=destination, consumer=consumer, error=error.what,
                remedy="end its session first",
            ) from None  # fmt: skip
    print(f"{destination}: {consumer} is forgotten")


@contextmanager
def _kept(path: Path, destination: str) -> Iterator[_Kept]:
    from engine.instance import Instance
    from engine.meta.open import open_meta

    config = load_config(path)
    if destination and destination not in config.destinations:
        raise ConfigError("no such destination", destination=destination, known=", ".join(config.destinations))
    instance = Instance(config.server.data_dir)
    meta = open_meta(config.server.meta, instance, config.cluster)
    try:
        yield _Kept(config, instance, meta)
    finally:
        meta.close()


@contextmanager
def _stopped(path: Path, destination: str) -> Iterator[_Kept]:
    """The same with the engine kept from starting, and what lies in its stores no longer counting."""
    from engine.adoption import forget_rings
    from engine.file_store import forget_stores
    from engine.instance import Instance
    from engine.lock import only_one

    config = load_config(path)
    instance = Instance(config.server.data_dir)
    with only_one(instance, "stop it first: it would go on from what it has in its stores"), _kept(path, destination) as kept:
        _check_nobody_owns(config, destination)
        yield kept
        forget_stores(config, instance, destination)
        forget_rings(instance.rings_file)


def _check_nobody_owns(config: Config, destination: str) -> None:
    """In a cluster an engine of another machine may serve it."""
    if config.cluster is None:
        return
    from engine.ha.leases import look
    from engine.ha.session import ZooKeeperSession

    session = ZooKeeperSession(config.cluster)
    try:
        owner = session.persist(lambda: look(session, [destination])).owners.get(destination)
    finally:
        session.close()
    if owner is not None:
        raise ConfigError(
            "an engine of the cluster serves this destination", destination=destination, engine=owner["node"],
            remedy="stop all engines of the cluster first",
        )  # fmt: skip


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
