"""Source rings filled by hand, a sink, and its stores, all in one process; and what should be in the stores, in plain Python."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from engine.config import DestinationConfig
from engine.file_store import Checkpoints, make_store
from engine.position import Identity
from engine.record import FRAGMENT_BYTES, HEAD_BYTES, KEY_CHANGED, SPLIT, Kind, pack_record, unpack_head
from engine.ring import FULL, Ring, iter_records
from engine.schema import Column, TableSchema
from engine.sink.stage import SinkStage

MASK = 2**64 - 1
_numbers = itertools.count()


def key_hash(schema: TableSchema, row: list[Any], columns: Iterable[int]) -> int:
    """docs/protocol.md, The key hash, word for word."""
    h = 0xCBF29CE484222325
    seed = f"{schema.schema}\0{schema.table}\0".encode()
    for byte in seed + b"".join(msgpack.packb(row[column]) for column in columns):
        h = (h ^ byte) * 0x100000001B3 & MASK
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        h = (h ^ h >> 33) * multiplier & MASK
    return h ^ h >> 33


def make_table(name: str, columns: str = "id shop name", primary_key: tuple[int, ...] = (0,)) -> TableSchema:
    schema, table = name.split(".")
    return TableSchema("s0", schema, table, tuple(Column(c, "int") for c in columns.split()), primary_key)


class Got(NamedTuple):
    """One record found in a store."""

    kind: int
    flags: int
    source: int
    table: int
    identity: Identity
    key_hash: int
    before: Any
    after: Any


def to_got(record: bytes) -> Got:
    head = unpack_head(record)
    body = msgpack.unpackb(record)
    return Got(head.kind, head.flags, head.source, head.table, head.identity, head.key_hash, body[11], body[12])


def to_fragments(record: bytes) -> list[bytes]:
    """docs/protocol.md, Fragments."""
    count = -(-len(record) // FRAGMENT_BYTES)
    fragments = []
    for index in range(count):
        body = msgpack.packb([index, count, len(record)])
        body += msgpack.packb(record[index * FRAGMENT_BYTES : (index + 1) * FRAGMENT_BYTES])
        head = bytearray(record[:HEAD_BYTES])
        head[2:6], head[7] = (HEAD_BYTES + len(body)).to_bytes(4), Kind.FRAGMENT
        fragments.append(bytes(head) + body)
    return fragments


def join_fragments(records: list[bytes]) -> list[bytes]:
    """Whole records again; fails where fragments are torn apart."""
    whole: list[bytes] = []
    parts: list[bytes] = []
    for record in records:
        if record[7] != Kind.FRAGMENT:
            assert not parts, "another record stands between the fragments of a change"
            whole.append(record)
            continue
        index, count, total = msgpack.unpackb(record)[11]
        assert index == len(parts)
        parts.append(msgpack.unpackb(record)[12])
        if len(parts) == count:
            assert len(b"".join(parts)) == total
            whole.append(b"".join(parts))
            parts = []
    assert not parts, "a change is missing its last fragments"
    return whole


def schemas_first(records: list[Got]) -> list[Got]:
    """With the schema records of a transaction moved before its begin: there too they are early enough."""
    ordered: list[Got] = []
    begin: dict[int, int] = {}
    for record in records:
        if record.kind == Kind.SCHEMA and record.source in begin:
            ordered.insert(begin[record.source], record)
            begin = {source: at + (at >= begin[record.source]) for source, at in begin.items()}
            continue
        if record.kind == Kind.BEGIN:
            begin[record.source] = len(ordered)
        elif record.kind == Kind.COMMIT:
            begin.pop(record.source, None)
        ordered.append(record)
    return ordered


class Origin:
    """Makes the records of one source, in binlog order."""

    def __init__(self, number: int = 1) -> None:
        self.number = number
        self.start = 4
        self.event = 0
        self.time_us = 1_000_000 * number
        self.schemas: dict[int, TableSchema] = {}

    def record(self, kind: int, **fields: Any) -> bytes:
        identity = Identity(1, self.start, self.event, 0)
        self.event += 1
        return pack_record(kind, source=self.number, identity=identity, time_us=self.time_us, **fields)

    def table(self, key: int, schema: TableSchema) -> bytes:
        self.schemas[key] = schema
        return self.record(Kind.SCHEMA, table=key, after=msgpack.unpackb(schema.pack()))

    def insert(self, key: int, row: list[Any]) -> bytes:
        schema = self.schemas[key]
        return self.record(Kind.INSERT, table=key, after=row, key_hash=key_hash(schema, row, schema.primary_key))

    def delete(self, key: int, row: list[Any]) -> bytes:
        schema = self.schemas[key]
        return self.record(Kind.DELETE, table=key, before=row, key_hash=key_hash(schema, row, schema.primary_key))

    def update(self, key: int, before: list[Any], after: list[Any]) -> bytes:
        schema = self.schemas[key]
        changed = any(before[column] != after[column] for column in schema.primary_key)
        return self.record(
            Kind.UPDATE, table=key, before=before, after=after, flags=KEY_CHANGED if changed else 0,
            key_hash=key_hash(schema, before, schema.primary_key),
        )  # fmt: skip

    def history(self, key: int, *, before: list[Any] | None = None, after: list[Any] | None = None) -> bytes:
        schema, row = self.schemas[key], before or after or []
        hashed = key_hash(schema, row, schema.primary_key)
        return self.record(Kind.HISTORY, table=key, before=before, after=after, key_hash=hashed)

    def ddl(self, *tables: str) -> bytes:
        self.move_on()
        return self.record(Kind.DDL, after=["db", "ALTER", None, [table.split(".") for table in tables]])

    def heartbeat(self) -> bytes:
        self.move_on()
        return self.record(Kind.HEARTBEAT)

    def move_on(self) -> None:
        self.start, self.event, self.time_us = self.start + 100, 0, self.time_us + 1000

    def begin(self, gtid: str | None = None) -> bytes:
        self.move_on()
        return self.record(Kind.BEGIN, after=[gtid or f"0-1-{self.start}", None])

    def commit(self) -> bytes:
        return self.record(Kind.COMMIT, after=[f"0-1-{self.start}", self.start])


class SteppedCheckpoints:
    """In place of the sink's thread: a checkpoint after every publish."""

    trouble = None

    def __init__(self, ring: Ring, interval_s: float) -> None:
        self._checkpoints = Checkpoints(ring)

    def check(self) -> None:
        """What has been acked since may be overwritten."""
        if self._checkpoints.could_free():
            self._checkpoints.write()

    def nudge(self, *, hungry: bool) -> None:
        if self._checkpoints.due:
            self._checkpoints.write()

    def close(self) -> None:
        self._checkpoints.close()


class Rig:
    """Source rings s0, s1, ..., a destination, its stores with a reader each, and sinks that can be started again."""

    def __init__(self, *, sources: int = 1, source_bytes: int = 1 << 20, store_bytes: int = 1 << 20, **settings: Any) -> None:
        self.settings = DestinationConfig.model_validate(settings)
        self.prefix = f"test-sink.{os.getpid()}.{next(_numbers)}."
        self.sources = [Ring.create(f"{self.prefix}s{i}", source_bytes) for i in range(sources)]
        self.folder = Path(tempfile.mkdtemp()) if self.settings.store.kind == "file" else None
        self.stores = [self.make_store(i, store_bytes) for i in range(self.settings.partitions)]
        for ring in self.sources:
            ring.open_writer()
            for sink in range(self.settings.sinks):
                ring.add_reader(f"d.{sink}")
        self.consumers = [ring.add_reader("consumer") for ring in self.stores]
        for consumer in self.consumers:
            consumer.open()
        self.schemas: dict[int, bytes] = {}
        self.stages: list[SinkStage] = []
        self.kept: list[list[bytes]] = [[] for _ in self.stores]

    def make_store(self, partition: int, size: int) -> Ring:
        name = f"{self.prefix}p{partition}"
        if self.folder is None:
            return Ring.create(name, size)
        return make_store(name, self.folder / f"d.{partition}", size, self.settings.partitions)

    def make_source_anew(self, number: int = 0) -> None:
        """As after the death of everything: the ring is another one, and holds nothing."""
        old = self.sources[number]
        old.close()
        Ring.unlink(old.name)
        self.sources[number] = ring = Ring.create(old.name, old.capacity)
        ring.open_writer()
        for sink in range(self.settings.sinks):
            ring.add_reader(f"d.{sink}")

    def sink(self, number: int = 0) -> SinkStage:
        """A started sink; the one before it, if any, is left as if it had been killed."""
        stage = SinkStage(
            f"sink d #{number}", self.settings, reader=f"d.{number}",
            source_rings={f"s{i}": ring.name for i, ring in enumerate(self.sources)},
            store_rings={p: self.stores[p].name for p in range(number, self.settings.partitions, self.settings.sinks)},
            packed_schema=self.schemas.get, numbers={i + 1: f"s{i}" for i in range(len(self.sources))},
            checkpointer=SteppedCheckpoints,
        )  # fmt: skip
        stage.on_start()
        self.stages.append(stage)
        return stage

    def put(self, *records: bytes, source: int = 0) -> None:
        """Put and publish all of it at once, large ones as fragments."""
        ring = self.sources[source]
        for record in records:
            for part in to_fragments(record) if len(record) > ring.max_record else [record]:
                assert ring.try_claim(part) != FULL
        ring.publish()

    def collect(self) -> None:
        """Take and ack what is in the stores."""
        for consumer, kept in zip(self.consumers, self.kept, strict=True):
            with consumer.view() as view:
                kept.extend(bytes(record) for record in iter_records(view))
                size = len(view)
            consumer.advance(size)
            consumer.ack_to(consumer.get)

    def run(self, *stages: SinkStage, now_ns: int = 0) -> None:
        """Work until nothing is left to do, consuming all the while."""
        while True:
            self.collect()
            work = sum(stage.do_work(now_ns) for stage in stages)
            if not work:
                self.collect()
                return

    def got(self, partition: int = 0, heartbeats: bool = False) -> list[Got]:
        """All that came out of a partition."""
        self.collect()
        found = [to_got(record) for record in join_fragments(self.kept[partition])]
        return schemas_first([record for record in found if heartbeats or record.kind != Kind.HEARTBEAT])

    def close(self) -> None:
        for stage in self.stages:
            stage.on_close()
        for ring in self.sources + self.stores:
            ring.close()
            Ring.unlink(ring.name)
        if self.folder is not None:
            shutil.rmtree(self.folder)


def expected(records: list[bytes], schemas: dict[int, TableSchema], settings: DestinationConfig) -> list[list[Got]]:
    """What each partition should hold of one source's records: the routing of docs/protocol.md, record by record."""
    partitions = settings.partitions
    found: list[list[Got]] = [[] for _ in range(partitions)]

    def wants(name: str) -> bool:
        return any(re.fullmatch(p, name) for p in settings.include) and not any(re.fullmatch(p, name) for p in settings.exclude)

    def partition(schema: TableSchema, row: list[Any]) -> int:
        columns: Iterable[int] = schema.primary_key
        if settings.partition_by == "table":
            columns = ()
        elif isinstance(settings.partition_by, list):
            names = [column.name for column in schema.columns]
            columns = [names.index(n) for n in settings.partition_by] if set(settings.partition_by) <= set(names) else ()
        return key_hash(schema, row, columns) % partitions

    def place(part: int, record: Got) -> None:
        if begin is not None and part not in begun:
            begun.add(part)
            found[part].append(begin)
        found[part].append(record)

    begin: Got | None = None
    begun: set[int] = set()
    for record in map(to_got, records):
        kind = record.kind
        if kind == Kind.BEGIN:
            begin, begun = record, set()
        elif kind == Kind.COMMIT:
            for part in begun:
                found[part].append(record)
            begin = None
        elif kind == Kind.SCHEMA or kind == Kind.DDL:
            tables = [schemas[record.table].name] if kind == Kind.SCHEMA else [".".join(t) for t in record.after[3]]
            if not tables or any(map(wants, tables)):
                for part in found:
                    part.append(record)
        elif kind != Kind.HEARTBEAT and wants(schemas[record.table].name):
            schema = schemas[record.table]
            old = partition(schema, record.before or record.after)
            new = partition(schema, record.after) if kind == Kind.UPDATE else old
            if old == new:
                place(old, record)
            else:
                rehashed = key_hash(schema, record.after, schema.primary_key)
                place(old, record._replace(kind=Kind.DELETE, flags=SPLIT, after=None))
                place(new, record._replace(kind=Kind.INSERT, flags=SPLIT, before=None, key_hash=rehashed))
    return [schemas_first(records) for records in found]


def rigs() -> Iterator[Callable[..., Rig]]:
    """The body of the fixture `make_rig`: gives Rig(**settings), and closes at the end what was made."""
    made: list[Rig] = []

    def make(**settings: Any) -> Rig:
        made.append(Rig(**settings))
        return made[-1]

    yield make
    for rig in made:
        rig.close()
