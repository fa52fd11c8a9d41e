"""The shared memory of one engine: rings of sources and stores, made before the stages start and removed after them."""

from __future__ import annotations

from engine.config import Config
from engine.instance import Instance
from engine.meta.open import open_meta
from engine.ring import Ring, ring_names


class SharedMemory:
    """Makes and removes what the stages of this data_dir attach to. Only the supervisor, under its lock, has one."""

    def __init__(self, config: Config, instance: Instance) -> None:
        self._config = config
        self._instance = instance

    def make_source(self, source: str, destinations: list[str]) -> None:
        """The ring of a source that feeds these destinations: a reader for each of their sinks."""
        ring = Ring.create(self._instance.source_ring(source), self._config.sources[source].ring)
        try:
            for destination in destinations:
                for sink in range(self._config.destinations[destination].sinks):
                    ring.add_reader(self._instance.sink_reader(destination, sink))
        finally:
            ring.close()

    def make_stores(self, destination: str) -> None:
        """The stores of a destination, each with all its known consumers as readers."""
        settings = self._config.destinations[destination]
        consumers = self._known_consumers(destination)
        for partition in range(settings.partitions):
            ring = Ring.create(self._instance.store_ring(destination, partition), settings.store.size)
            try:
                for consumer in consumers:
                    ring.add_reader(consumer)
            finally:
                ring.close()

    def _known_consumers(self, destination: str) -> list[str]:
        """Those of the config, and those that have acked before: all hold the stores back."""
        meta = open_meta(self._config.server.meta, self._instance, self._config.cluster)
        try:
            acked = {place.consumer for place in meta.acked(destination)}
        finally:
            meta.close()
        return list(dict.fromkeys([*self._config.destinations[destination].consumers, *sorted(acked)]))

    def remove_source(self, source: str) -> None:
        Ring.unlink(self._instance.source_ring(source))

    def remove_stores(self, destination: str) -> None:
        for partition in range(self._config.destinations[destination].partitions):
            Ring.unlink(self._instance.store_ring(destination, partition))

    def leave_source(self, source: str, destination: str) -> None:
        """The ring goes on without the readers of a destination's sinks, which have ended."""
        ring = Ring.attach(self._instance.source_ring(source))
        try:
            for sink in range(self._config.destinations[destination].sinks):
                ring.drop_reader(self._instance.sink_reader(destination, sink))
        finally:
            ring.close()

    def remove_all(self) -> None:
        """Everything of this data_dir, also what a killed predecessor with another config has left."""
        for name in ring_names(self._instance.prefix):
            Ring.unlink(name)
        memory = self._instance.meta_file("memory")
        for leftover in memory.parent.glob(memory.name + "*"):
            leftover.unlink(missing_ok=True)
