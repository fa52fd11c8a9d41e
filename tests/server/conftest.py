"""A server over stores that the test fills by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from engine.config import Config
from engine.instance import Instance
from engine.meta.open import open_meta
from engine.ring import Ring
from engine.schema import Column, TableSchema
from engine.server.stage import ServerStage, build
from engine.stage import run
from tests.server.peer import Peer

MIB = 1 << 20
SCHEMA = TableSchema("shop", "shop", "orders", (Column("id", "bigint"), Column("note", "text", charset="utf8mb4")), (0,))


class Engine:
    """The shared memory, the meta and the server of one engine; the server runs in a thread, or is stepped."""

    def __init__(self, tmp_path, *, settings: dict | None = None, tokens: dict | None = None, **destinations) -> None:
        self.config = Config.model_validate(
            {
                "server": {
                    "listen": ["tcp://127.0.0.1:0", f"unix://{tmp_path}/engine.sock"], "data_dir": tmp_path / "data",
                    "max_sessions": 20, "max_frame": 4096, **(settings or {}),
                },
                "tokens": tokens or {},
                "sources": {"shop": {"url": "mysql://u@127.0.0.1:3306"}},
                "destinations": destinations or {"orders": {"from": ["shop"], "store": {"size": "1MiB"}}},
            }
        )  # fmt: skip
        self.instance = Instance(self.config.server.data_dir)
        self.rings = {}
        for name, settings in self.config.destinations.items():
            for partition in range(settings.partitions):
                ring = Ring.create(self.instance.store_ring(name, partition), settings.store.size)
                ring.open_writer()
                for consumer in settings.consumers:
                    ring.add_reader(consumer)
                self.rings[name, partition] = ring
        self.meta = open_meta("file", self.instance)
        assert self.meta.source_number("shop", "binlog") == 1
        self.table = self.meta.table_key(SCHEMA.pack())
        self.peers: list[Peer] = []
        self.failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        self.stage: ServerStage | None = None

    @property
    def ring(self) -> Ring:
        return self.rings["orders", 0]

    def start(self) -> None:
        self.stage = build(self.config, self.instance)
        self._stopping = threading.Event()
        started = threading.Event()
        stage = self.stage

        def serve() -> None:
            try:
                run(stage, lambda: started.set() or self._stopping.is_set())
            except BaseException as failure:
                self.failure = failure
            finally:
                started.set()

        self._thread = threading.Thread(target=serve)
        self._thread.start()
        started.wait(10)
        assert self.failure is None, self.failure

    def call(self, function: Callable[[], object]) -> None:
        """Run it in the server's loop, and wait for that."""
        assert self.stage is not None
        done = threading.Event()
        self.stage.loop.call_soon_threadsafe(lambda: (function(), done.set()))
        assert done.wait(10)

    def stop(self) -> None:
        if self._thread is not None:
            assert self.stage is not None
            self._stopping.set()
            self.stage.wake()
            self._thread.join(10)
            assert not self._thread.is_alive()
            self._thread = None

    def connect(self, over: str = "tcp") -> Peer:
        assert self.stage is not None
        peer = Peer(next(a for a in self.stage.addresses if isinstance(a, str) == (over == "unix")))
        self.peers.append(peer)
        if self._thread is not None:  # the second call comes after the accept
            self.call(lambda: None)
            self.call(lambda: None)
        return peer

    def consumer(self, destination: str = "orders", consumer: str = "default", **keys) -> Peer:
        peer = self.connect()
        peer.hello(destination, consumer, **keys)
        return peer

    def close(self) -> None:
        for peer in self.peers:
            peer.close()
        self.stop()
        self.meta.close()
        for ring in self.rings.values():
            Ring.unlink(ring.name)
            ring.close()


@pytest.fixture
def make_engine(tmp_path):
    made = []

    def make(**settings) -> Engine:
        made.append(Engine(tmp_path, **settings))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def server(make_engine):
    """A running one with the destination `orders`, one partition, consumer `default`."""
    engine = make_engine()
    engine.start()
    return engine
