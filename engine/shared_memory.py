"""The shared memory of one engine: rings of sources and stores, taken over or made before the stages start, and removed."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable
from contextlib import ExitStack, closing
from pathlib import Path

from engine.adoption import (
    Obstacle,
    RingRecord,
    attach_recorded,
    check_source_known,
    check_unchanged,
    destination_settings,
    keep_readers,
    source_settings,
)
from engine.config import Config, DestinationConfig
from engine.errors import MetaError, StoreError
from engine.file_store import lock_store, make_store, settle_store
from engine.instance import Instance
from engine.meta import Meta
from engine.meta.open import open_meta
from engine.ring import Ring, ring_names

log = logging.getLogger("engine.supervisor")


class SharedMemory:
    """What the stages of this data_dir attach to. Only the supervisor, under its lock, has one."""

    def __init__(self, config: Config, instance: Instance) -> None:
        self._config = config
        self._instance = instance
        self._record = RingRecord(instance)
        self._locks: dict[str, int] = {}  # file stores → descriptor of their lock

    def open(self) -> None:
        """Look at what a killed predecessor has left; `provide` goes on with it, `forget_leftovers` ends that."""
        self._record.load()
        if self._config.server.meta != "memory":
            self._remove_memory_meta()
            return
        try:
            open_meta("memory", self._instance).close()
        except MetaError as error:
            log.warning("positions in shared memory are not taken over: %s", error)
            self._remove_memory_meta()

    def provide(self, destinations: Iterable[str], kept: Collection[str] = ()) -> None:
        """Stores for these destinations and rings for their sources: taken over, if they are there and sound, or new.

        kept: those of them that run. Their stores stay; their sinks leave out what they have of what the new source rings bring.

        Raises:
            RingError: no room.
            StoreError: a file store can't be made, or can't be trusted.
        """
        for joined in self._joined(list(destinations)):
            sources = [source for source in self._config.sources if any(source in self._sources(d) for d in joined)]
            there = [name for name in joined if name in kept]
            names = self._names(sources, [name for name in joined if name not in there])
            self._lock_stores(joined)
            try:
                if there:
                    raise Obstacle(f"they join {', '.join(there)}")
                self._adopt(sources, joined)
            except Obstacle as obstacle:
                if left := [name for name in self._there() if name in names]:
                    log.warning(
                        "shared memory of %s is not taken over, and read again from the acks (%d rings): %s",
                        ", ".join(joined), len(left), obstacle,
                    )  # fmt: skip
                self._remove(names)
                self._make(sources, joined, there)
            else:
                log.info("shared memory of %s is taken over as the killed engine left it", ", ".join(joined))

    def forget_leftovers(self, running: list[str], sources: Iterable[str]) -> None:
        """Remove everything of this data_dir but what these destinations and sources use."""
        used = self._names(sources, running)
        self._remove([name for name in self._there() if name not in used])

    def remove_source(self, source: str) -> None:
        self._remove([self._instance.source_ring(source)])

    def remove_stores(self, destination: str) -> None:
        self._remove(self._names([], [destination]))

    def leave_source(self, source: str, destination: str) -> None:
        """The ring goes on without the readers of a destination's sinks, which have ended."""
        with closing(Ring.attach(self._instance.source_ring(source))) as ring:
            for reader in self._sink_readers(source, [destination]):
                ring.drop_reader(reader)

    def remove_all(self) -> None:
        """At the end: nothing is left."""
        self._record.remove()
        self._instance.bell_file.unlink(missing_ok=True)  # of a server that was killed
        for name in ring_names(self._instance.prefix):
            try:
                settle_store(name)
            except StoreError as error:
                log.error("not synced at the end; the next run tries it again: %s", error)

    # -- taken over ------------------------------------------------------------------------------------------------

    def _adopt(self, sources: list[str], destinations: list[str]) -> None:
        """All of them or none: a sink's place in a source's ring and what its stores hold belong together."""
        for source in sources:
            check_unchanged(self._record, f"sources.{source}", source_settings(self._config, source))
        for destination in destinations:
            check_unchanged(self._record, f"destinations.{destination}", destination_settings(self._config, destination))
        with ExitStack() as opened, closing(self._open_meta()) as meta:
            for source in sources:
                ring = opened.enter_context(closing(attach_recorded(self._record, self._instance.source_ring(source))))
                check_source_known(ring, source, meta)
                keep_readers(ring, self._sink_readers(source, destinations), only=True)
            for destination in destinations:
                for name in self._names([], [destination]):
                    ring = opened.enter_context(closing(attach_recorded(self._record, name)))
                    keep_readers(ring, self._consumers(destination, meta), only=False)

    # -- made ------------------------------------------------------------------------------------------------------

    def _make(self, sources: list[str], destinations: list[str], kept: list[str]) -> None:
        """Rings for the sources, and stores for the destinations but those that are kept."""
        made: dict[str, int] = {}
        for source in sources:
            name, size = self._instance.source_ring(source), self._config.sources[source].ring
            made[name] = self._make_ring(name, size, self._sink_readers(source, destinations))
        with closing(self._open_meta()) as meta:
            for destination in [name for name in destinations if name not in kept]:
                consumers = self._consumers(destination, meta)
                settings = self._config.destinations[destination]
                for partition, name in enumerate(self._names([], [destination])):
                    if settings.store.kind == "file":
                        stem = self._instance.store_stem(destination, partition, settings.store.dir)
                        made[name] = self._make_file_store(name, stem, settings, consumers)
                    else:
                        made[name] = self._make_ring(name, settings.store.size, consumers)
        made_for = {f"sources.{source}": source_settings(self._config, source) for source in sources}
        made_for |= {f"destinations.{name}": destination_settings(self._config, name) for name in destinations}
        self._record.add(made, made_for)

    @staticmethod
    def _make_ring(name: str, size: int, readers: list[str]) -> int:
        with closing(Ring.create(name, size)) as ring:
            for reader in readers:
                ring.add_reader(reader)
            return ring.ring_id

    @staticmethod
    def _make_file_store(name: str, stem: Path, settings: DestinationConfig, consumers: list[str]) -> int:
        """With the readers it had, as far as they are still known."""
        with closing(make_store(name, stem, settings.store.size, settings.partitions)) as ring:
            there = ring.readers()
            for consumer in there:
                if consumer not in consumers:
                    ring.drop_reader(consumer)
            for consumer in consumers:
                if consumer not in there:
                    ring.add_reader(consumer)
            return ring.ring_id

    def _lock_stores(self, destinations: list[str]) -> None:
        for destination in destinations:
            settings = self._config.destinations[destination]
            for partition, name in enumerate(self._names([], [destination])):
                if settings.store.kind == "file" and name not in self._locks:
                    stem = self._instance.store_stem(destination, partition, settings.store.dir)
                    self._locks[name] = lock_store(stem)

    def _consumers(self, destination: str, meta: Meta) -> list[str]:
        """Those of the config, and those that have acked before: all hold the stores back."""
        acked = {place.consumer for place in meta.acked(destination)}
        return list(dict.fromkeys([*self._config.destinations[destination].consumers, *sorted(acked)]))

    def _sink_readers(self, source: str, destinations: list[str]) -> list[str]:
        return [
            self._instance.sink_reader(destination, sink)
            for destination in destinations
            if source in self._sources(destination)
            for sink in range(self._config.destinations[destination].sinks)
        ]

    def _open_meta(self) -> Meta:
        return open_meta(self._config.server.meta, self._instance, self._config.cluster)

    # -- names -----------------------------------------------------------------------------------------------------

    def _sources(self, destination: str) -> list[str]:
        return self._config.sources_of(destination)

    def _names(self, sources: Iterable[str], destinations: Iterable[str]) -> list[str]:
        """Of the rings of sources, and of all stores of destinations."""
        return [self._instance.source_ring(source) for source in sources] + [
            self._instance.store_ring(destination, partition)
            for destination in destinations
            for partition in range(self._config.destinations[destination].partitions)
        ]

    def _there(self) -> list[str]:
        """The rings of this data_dir that are in shared memory, whoever made them."""
        prefix = self._instance.prefix
        return [name for kind in ("source.", "store.") for name in ring_names(prefix + kind)]

    def _joined(self, destinations: list[str]) -> list[list[str]]:
        """The destinations in groups that have no source in common."""
        groups: list[list[str]] = []
        for name in destinations:
            mine = {*self._sources(name)}
            touching = [group for group in groups if any(mine & {*self._sources(other)} for other in group)]
            groups = [group for group in groups if group not in touching]
            groups.append([*(other for group in touching for other in group), name])
        return groups

    def _remove(self, names: list[str]) -> None:
        self._record.take_back(names)
        for name in names:
            settle_store(name)
            if name in self._locks:
                os.close(self._locks.pop(name))

    def _remove_memory_meta(self) -> None:
        memory = self._instance.meta_file("memory")
        for leftover in memory.parent.glob(memory.name + "*"):
            leftover.unlink(missing_ok=True)
