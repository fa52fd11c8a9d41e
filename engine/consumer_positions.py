"""Where consumers are, as meta knows it, and moving them: `binlog-engine position`.

A consumer's place in a source is, per partition, its acked position under the source's highest number that it has acked one of:
a source gets a new number when it goes on with another server, and the older ones are history then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import ConfigError
from engine.meta import Meta
from engine.position import Identity, join_file_name

if TYPE_CHECKING:
    from engine.config import Config


@dataclass(frozen=True)
class ConsumerPosition:
    """at None: it has acked nothing of this source yet. gtid_set: the last one known to be executed at or before it."""

    destination: str
    consumer: str
    partition: int
    source: str
    binlog: str
    at: Identity | None
    gtid_set: str | None

    @property
    def text(self) -> str | None:
        return f"{join_file_name(self.binlog, self.at.file)}:{self.at.start}" if self.at else None


def consumers_of(config: Config, meta: Meta, destination: str) -> list[str]:
    """Those of the config, and those that have acked before."""
    acked = {place.consumer for place in meta.acked(destination)}
    return list(dict.fromkeys([*config.destinations[destination].consumers, *sorted(acked)]))


def positions_of(config: Config, meta: Meta, destination: str) -> list[ConsumerPosition]:
    """Of every consumer in every partition for every source of a destination."""
    histories, acked = meta.histories(), meta.acked(destination)
    sets = {number: meta.gtid_sets(number) for number in histories}
    found = []
    for consumer in consumers_of(config, meta, destination):
        for partition in range(config.destinations[destination].partitions):
            for source in config.sources_of(destination):
                numbers = [
                    place.source
                    for place in acked
                    if (place.consumer, place.partition) == (consumer, partition) and histories[place.source].source == source
                ]
                number = max(numbers, default=0)
                at = next((at for place, at in acked.items() if place[1:] == (consumer, partition, number)), None)
                before = [text for place, text in sets.get(number, []) if at is not None and place <= at]
                binlog = histories[number].binlog if number else ""
                found.append(
                    ConsumerPosition(destination, consumer, partition, source, binlog, at, before[-1] if before else None)
                )
    return found


def move(config: Config, meta: Meta, destination: str, consumers: Iterable[str], places: dict[str, tuple[str, int, int]]) -> None:
    """From now on these consumers get, of each source in `places`, what stands from that place on: base name, file, offset.

    All or nothing; what they have acked of other sources stays.
    """
    histories, acked = meta.histories(), meta.acked(destination)
    numbers = {source: meta.source_number(source, place[0]) for source, place in places.items()}
    moved: dict[str, dict[tuple[int, int], Identity]] = {}
    for consumer in consumers:
        kept = {
            (place.partition, place.source): at
            for place, at in acked.items()
            if place.consumer == consumer and histories[place.source].source not in places
        }
        new = {
            (partition, numbers[source]): Identity(file, offset, 0, 0)  # before the transaction's first event
            for source, (_, file, offset) in places.items()
            for partition in range(config.destinations[destination].partitions)
        }
        moved[consumer] = kept | new
    meta.replace_acked(destination, moved)


def forget(meta: Meta, destination: str, consumers: Iterable[str]) -> None:
    """All their positions, at once."""
    meta.replace_acked(destination, {consumer: {} for consumer in consumers})
    meta.keep_presence(destination, {consumer: None for consumer in consumers})


def check_consumer(config: Config, meta: Meta, destination: str, consumer: str) -> None:
    """Raises ConfigError: neither the config nor meta knows it."""
    known = consumers_of(config, meta, destination)
    if consumer not in known and consumer not in meta.presence(destination):
        raise ConfigError("no such consumer", destination=destination, consumer=consumer, known=", ".join(known))
