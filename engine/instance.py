"""Names of what one running engine owns: its rings in shared memory and its files in data_dir."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Instance:
    """An engine is known by its data_dir: the same data_dir finds the same rings and files."""

    data_dir: Path

    @property
    def prefix(self) -> str:
        """What all ring names of this engine begin with."""
        return f"binlog-engine.{hashlib.sha256(str(self.data_dir.resolve()).encode()).hexdigest()[:12]}."

    def source_ring(self, source: str) -> str:
        return f"{self.prefix}source.{source}"

    def store_ring(self, destination: str, partition: int) -> str:
        return f"{self.prefix}store.{destination}.{partition}"

    def store_stem(self, destination: str, partition: int, folder: Path | None) -> Path:
        """What the names of a file store's files begin with, in `folder` (None: data_dir/stores)."""
        return (folder or self.data_dir / "stores") / f"{destination}.{partition}"

    @staticmethod
    def sink_reader(destination: str, sink: int) -> str:
        """Name of the cursor that sink number `sink` of a destination has in each of its source rings."""
        return f"{destination}.{sink}"

    @property
    def lock_file(self) -> Path:
        return self.data_dir / "lock"

    @property
    def state_file(self) -> Path:
        """JSON the supervisor keeps up to date: pids, states and last errors."""
        return self.data_dir / "engine.json"

    @property
    def spare_state_file(self) -> Path:
        """The same while data_dir is full."""
        return Path("/dev/shm") / f"{self.prefix}state"

    @property
    def rings_file(self) -> Path:
        """JSON that says which rings were made whole and for which config, for an engine that comes after a killed one."""
        return self.data_dir / "rings.json"

    def switch_file(self, source: str) -> Path:
        """What `source switch` leaves for a source: the server to go to."""
        return self.data_dir / f"switch.{source}"

    def meta_file(self, kind: str) -> Path:
        """SQLite file of the meta manager; the memory kind lies in shared memory and goes with the engine."""
        return self.data_dir / "meta.sqlite" if kind == "file" else Path("/dev/shm") / f"{self.prefix}meta.sqlite"

    @property
    def bell_file(self) -> Path:
        """FIFO that the writers of stores write to when the server waits for records."""
        return Path("/dev/shm") / f"{self.prefix}bell"

    def grant_file(self, destination: str) -> Path:
        """In a cluster: up to when this engine may serve a destination; made and removed like the rings."""
        return Path("/dev/shm") / f"{self.prefix}grant.{destination}"
