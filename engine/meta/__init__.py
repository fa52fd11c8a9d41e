"""Meta: what must outlive a process. Acked positions per consumer, source numbers, table keys, schema histories."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from engine.position import Identity


class SourceHistory(NamedTuple):
    """What a source number stands for: one source and one base name of its binlog files."""

    source: str
    binlog: str


class Place(NamedTuple):
    """Whose acked position: one consumer in one partition of one destination, for one source number."""

    destination: str
    consumer: str
    partition: int
    source: int


class Meta(Protocol):
    """The contract of every meta manager. All calls are durable (as far as the kind is) when they return.

    Numbers and keys are given out once and never again to anything else. Safe to use from several processes at a time.
    """

    def source_number(self, source: str, binlog: str) -> int:
        """The number of this history; a new one, from 1, when it is first asked for."""
        ...

    def histories(self) -> dict[int, SourceHistory]: ...

    def table_key(self, packed_schema: bytes) -> int:
        """The key of this table version (TableSchema.pack()); a new one, from 1, when it is first asked for."""
        ...

    def packed_schema(self, table_key: int) -> bytes | None: ...

    def ack(self, positions: dict[Place, Identity]) -> None:
        """Keep acked positions, all or none. A position that lies before the kept one doesn't move it back."""
        ...

    def acked(self, destination: str | None = None) -> dict[Place, Identity]: ...

    def forget_consumer(self, destination: str, consumer: str) -> None: ...

    def first_position(self, source: int, position: Identity | None = None) -> Identity | None:
        """Where this history was first read from: keeps `position` unless one is kept already; returns the kept one."""
        ...

    def keep_history(self, source: int, position: Identity, entry: bytes) -> None:
        """Keep one entry of this source number's schema history."""
        ...

    def history(self, source: int) -> list[tuple[Identity, bytes]]:
        """The entries kept for this source number by position; those of one position in the order in which they were kept."""
        ...

    def close(self) -> None: ...
