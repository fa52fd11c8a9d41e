"""What the engine delivers of a server's binlog: read from its files in this process, or live through a source stage."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.client.change import ChangeReader, Item
from engine.config import Config
from engine.instance import Instance
from engine.meta.open import open_meta
from engine.ring import Ring
from engine.source.files import decode_files
from engine.source.stage import build
from tests.servers.database import Database

LIVE_WAIT_S = 60.0


def read_files(paths: Sequence[Path]) -> Iterator[Item]:
    """The items of binlog files, in order."""
    reader = ChangeReader({})
    for records, sources in decode_files(paths):
        reader.know(sources)
        yield from reader.read(records)


def read_live(server: Database, start: str, folder: Path, ring_bytes: int = 1 << 20) -> Iterator[Item]:
    """The items of a running server's binlog from a position on, through the source stage; ends when the caller stops asking."""
    config = Config.model_validate({
        "server": {"data_dir": str(folder)},
        "sources": {"shop": {"url": server.url(), "start": start, "heartbeat_s": 0.2}},
        "destinations": {"all": {"include": [r".*"], "exclude": [r"mysql\..*"]}},
    })  # fmt: skip
    instance = Instance(folder)
    meta = open_meta("file", instance)
    name = instance.source_ring("shop")
    ring = Ring.create(name, ring_bytes)
    stage = build(config, "shop", instance)
    try:
        reader = ring.add_reader("all.0")
        reader.open()
        stage.on_start()
        changes = ChangeReader({})
        deadline = time.monotonic() + LIVE_WAIT_S
        while time.monotonic() < deadline:
            worked = stage.do_work(time.monotonic_ns())
            with reader.view() as view:
                size = len(view)
                changes.know({number: history[:2] for number, history in meta.histories().items()})
                yield from changes.read(view)
            reader.advance(size)
            reader.ack_to(reader.get)
            if not worked and not size:
                stage.idle(2_000_000)
        raise AssertionError(f"the live stream did not come to its end in {LIVE_WAIT_S} s")
    finally:
        stage.on_close()
        meta.close()
        ring.close()
        Ring.unlink(name)
