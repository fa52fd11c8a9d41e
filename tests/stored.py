"""File stores for tests: one with its ring, and a disk that remembers what was written to it, and when it was synced."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from engine.file_store import Checkpoints, StoreFiles, make_store
from engine.journal import SystemDisk
from engine.ring import FULL, Ring, iter_records
from tests.ring.records import record

MIB = 1 << 20
_numbers = itertools.count()


@dataclass
class Change:
    """What was done to the files: bytes written to the journal, or (data None) a sync, with the store's data at that moment."""

    journal: bool
    offset: int = 0
    data: bytes | None = None
    image: bytes = b""


@dataclass
class RecordingDisk(SystemDisk):
    """failing: the error that syncs answer with, once each. meanwhile: happens while the data are synced."""

    changes: list[Change] = field(default_factory=list)
    failing: list[OSError] = field(default_factory=list)
    meanwhile: Callable[[], None] | None = None

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        super().pwrite(fd, data, offset)
        self.changes.append(Change(self._is_journal(fd), offset, bytes(data)))

    def sync(self, fd: int) -> None:
        if self.failing:
            raise self.failing.pop(0)
        super().sync(fd)
        journal = self._is_journal(fd)
        if self.meanwhile is not None and not journal:
            self.meanwhile()
        self.changes.append(Change(journal, image=b"" if journal else os.pread(fd, os.fstat(fd).st_size, 0)))

    @staticmethod
    def _is_journal(fd: int) -> bool:
        return os.readlink(f"/proc/self/fd/{fd}").endswith(".journal")


class Stored:
    """One file store under `folder`, with its header there too, written and read by the test."""

    def __init__(self, folder: Path, capacity: int = MIB) -> None:
        self.folder = folder
        self.capacity = capacity
        self.name = f"stored-{next(_numbers)}"
        self.stem = folder / "stores" / "orders.0"
        self.stem.parent.mkdir(exist_ok=True)
        self.files = StoreFiles.at(self.stem)
        self.disk = RecordingDisk()
        self.stream = b""  # all records ever put

    @contextmanager
    def opened(self) -> Iterator[Ring]:
        """The ring, of which this process is the writer; `checkpoints` writes its checkpoints."""
        with self._written(make_store(self.name, self.stem, self.capacity, 1, str(self.folder))) as ring:
            yield ring

    @contextmanager
    def opened_again(self) -> Iterator[Ring]:
        """The same by another process, while the header is still there."""
        with self._written(Ring.attach(self.name, directory=str(self.folder))) as ring:
            yield ring

    @contextmanager
    def _written(self, ring: Ring) -> Iterator[Ring]:
        ring.open_writer()
        self.checkpoints = Checkpoints(ring, self.disk)
        try:
            yield ring
        finally:
            self.checkpoints.close()
            ring.close()

    def lose_memory(self) -> None:
        """What a power cut does to the header."""
        Ring.unlink(self.name, directory=str(self.folder))

    def put(self, ring: Ring, size: int) -> bool:
        """Whether there was room."""
        one = record(len(self.stream), size)
        if ring.try_put(one) == FULL:
            return False
        self.stream += one
        return True


def take(reader, n_records: int = 10**9) -> int:
    """Get and ack so many records; returns ack."""
    view = reader.view()
    sizes = [len(one) for one in itertools.islice(iter_records(view), n_records)]
    reader.advance(sum(sizes))
    return reader.ack_to(reader.get)
