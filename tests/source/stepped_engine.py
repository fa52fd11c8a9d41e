"""A source stage stepped by hand, with a reader that takes all it writes: what tests on real servers have in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack

from engine.config import Config
from engine.counters import SourceCounter
from engine.instance import Instance
from engine.meta.open import open_meta
from engine.record import CHANGES
from engine.ring import Reader, Ring
from engine.source.stage import SourceStage, build
from tests.servers.database import Database
from tests.source.decoding import AFTER, KIND, Record

WAIT_S = 20.0


class Engine:
    """A data_dir, the source's ring with one reader, and source stages on it one after the other, stepped by hand."""

    def __init__(self, folder: Path, source: dict[str, Any], ring_bytes: int = 1 << 20, **destination: Any) -> None:
        destination = {"include": [r"stage_.*\..*"], **destination}
        self.config = Config.model_validate({
            "server": {"data_dir": str(folder)}, "sources": {"shop": source}, "destinations": {"all": destination},
        })  # fmt: skip
        self.instance = Instance(folder)
        open_meta("file", self.instance).close()
        self.ring_bytes = ring_bytes
        self.records: list[Record] = []
        self.stage: SourceStage | None = None
        self.make_ring()

    def make_ring(self) -> None:
        name = self.instance.source_ring("shop")
        self.ring = Ring.create(name, self.ring_bytes)
        self.reader: Reader = self.ring.add_reader("all.0")
        self.reader.open()

    def start(self) -> SourceStage:
        self.stage = build(self.config, "shop", self.instance)
        self.stage.on_start()
        return self.stage

    def stop(self) -> None:
        if self.stage is not None:
            self.stage.on_close()
            self.stage = None

    def drop_ring(self) -> None:
        """What is left of an engine that was stopped: its data_dir."""
        self.stop()
        self.ring.close()
        Ring.unlink(self.instance.source_ring("shop"))

    def close(self) -> None:
        self.drop_ring()

    def take(self) -> int:
        with self.reader.view() as view:
            size = len(view)
            unpacker = msgpack.Unpacker(max_buffer_size=0)
            unpacker.feed(view)
            self.records += list(unpacker)
        self.reader.advance(size)
        self.reader.ack_to(self.reader.get)
        return size

    def step(self) -> None:
        """One turn of the stage, one of the reader."""
        assert self.stage is not None
        if not self.stage.do_work(time.monotonic_ns()) + self.take():
            self.stage.idle(2_000_000)

    def until(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, f"not in {WAIT_S} s; {len(self.records)} records"
            self.step()

    def changes(self) -> list[Record]:
        return [record for record in self.records if record[KIND] in CHANGES]

    def values(self) -> list[int]:
        """The first column of every change."""
        return [(record[AFTER] or record[AFTER - 1])[0] for record in self.changes()]

    def counter(self, counter: SourceCounter) -> int:
        with self.ring.counters as counters:
            return int(counters[counter])


def live(server: Database, **settings: Any) -> dict[str, Any]:
    return {"url": server.url(), "heartbeat_s": 0.2, **settings}


def insert(server: Database, schema: str, *ids: int) -> None:
    server.sql(*(f"INSERT INTO {schema}.t VALUES ({i}, 'value {i}')" for i in ids))
