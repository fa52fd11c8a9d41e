"""Meta: what must outlive a process. Acked positions, source numbers, table keys, schema histories, GTID sets, file marks."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple, Protocol

from engine.position import Identity


class SourceHistory(NamedTuple):
    """What a source number stands for: one source, one base name of its binlog files, and the server that wrote them.

    identity: of the server and of its turn in this source's history, as engine.source.server_identity writes it; "": not known.
    """

    source: str
    binlog: str
    identity: str = ""


class Place(NamedTuple):
    """Whose acked position: one consumer in one partition of one destination, for one source number."""

    destination: str
    consumer: str
    partition: int
    source: int


class Presence(NamedTuple):
    """away_s: for how long a consumer has had no session while its destination ran; expired_at: when it was dropped for that,
    in seconds since 1970, 0: it wasn't."""

    away_s: float
    expired_at: float = 0.0


class Meta(Protocol):
    """The contract of every meta manager. All calls are durable (as far as the kind is) when they return; those with `later`
    when `sync` has returned, which takes as long for one as for many. Until then other processes may wait to write: it must
    follow within milliseconds.

    Numbers and keys are given out once and never again to anything else. Safe to use from several processes at a time.
    """

    def source_number(
        self, source: str, binlog: str, identity: str = "", newest: int | None = None, under: Iterable[str] = ()
    ) -> int:
        """The number of this history; a new one, from 1, when it is first asked for.

        A history that was kept without an identity gets the first one it is asked for with. Without identity: the newest
        number of this source and base name. newest: a new one is given only while this is the newest of the source (0: it has
        none); 0 is returned otherwise. under: in a cluster, only under the leases that the caller has of these destinations.
        """
        ...

    def change_history(self, number: int, was: str, identity: str, under: Iterable[str] = ()) -> bool:
        """Keep another identity of a history; False, and nothing happens: it isn't `was` any more. under: as above."""
        ...

    def histories(self) -> dict[int, SourceHistory]: ...

    def table_key(self, packed_schema: bytes, *, later: bool = False) -> int:
        """The key of this table version (TableSchema.pack()); a new one, from 1, when it is first asked for."""
        ...

    def packed_schema(self, table_key: int) -> bytes | None: ...

    def packed_schemas(self, table_keys: Collection[int]) -> dict[int, bytes]:
        """Of those of the keys that are known."""
        ...

    def ack(self, positions: dict[Place, Identity]) -> None:
        """Keep acked positions, all or none. A position that lies before the kept one doesn't move it back."""
        ...

    def acked(self, destination: str | None = None) -> dict[Place, Identity]: ...

    def forget_consumer(self, destination: str, consumer: str) -> None: ...

    def replace_acked(self, destination: str, positions: dict[str, dict[tuple[int, int], Identity]]) -> None:
        """From now on these are all the acked positions of each of these consumers, also where that moves one back.

        consumer → (partition, source number) → position; all or none. Only while nobody serves the destination.
        """
        ...

    def keep_presence(self, destination: str, presence: dict[str, Presence | None]) -> None:
        """Keep how long these consumers have been away; None: forget it."""
        ...

    def presence(self, destination: str) -> dict[str, Presence]: ...

    def first_position(self, source: int, position: Identity | None = None) -> Identity | None:
        """Where this history was first read from: keeps `position` unless an earlier one is kept; returns the kept one."""
        ...

    def keep_history(self, source: int, position: Identity, entry: bytes, *, later: bool = False) -> None:
        """Keep one entry of this source number's schema history."""
        ...

    def history(self, source: int) -> list[tuple[Identity, bytes]]:
        """The entries kept for this source number by position; those of one position in the order in which they were kept."""
        ...

    def keep_gtid_set(self, source: int, position: Identity, gtid_set: str) -> None:
        """Keep which transactions were executed before `position` (event and row are 0): a set as the server prints it.

        At places in file 0, which no binlog has: what was executed when an engine began to read this history.
        """
        ...

    def gtid_sets(self, source: int) -> list[tuple[Identity, str]]:
        """The sets kept for this source number, by position."""
        ...

    def keep_file_mark(self, source: int, file: int, mark: str) -> None:
        """Keep what tells this binlog file from another one of the same name."""
        ...

    def file_marks(self, source: int) -> dict[int, str]: ...

    def prune_marks(self, source: int, before: Identity) -> None:
        """Forget GTID sets before this position and marks of the files before its file; but not the last set before it, and
        none in file 0."""
        ...

    def sync(self) -> None:
        """What was kept with `later` is durable; where that fails, all of it is lost, and this fails again when called again."""
        ...

    def close(self) -> None: ...
