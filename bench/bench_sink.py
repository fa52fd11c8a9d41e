"""How fast one sink takes records from a source ring into its stores, with memcpy of as many bytes beside it.

    source ring (64 MiB) ─▶ scan ─▶ filter, route ─▶ copy ─▶ 1 or 8 stores     rows of about 130 bytes, 1000 a transaction

One process fills the ring, works the sink and drains the stores; only the sink is measured. Needs one core.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from engine.counters import SinkCounter
from engine.position import Identity
from engine.record import Kind, pack_record
from engine.ring import PROFILE, Ring
from engine.sink.stage import SinkStage
from tests.sink.rig import Rig, make_table, rigs

TRANSACTION_ROWS = 1000
VALUES = ["SKU-123456", "new", "1234.56", 42, "2026-01-01 00:00:00.123"]
TABLE = make_table("shop.orders", "id customer_id sku status total quantity created")


def changes_of(benchmark: Any) -> int:
    """As many as measure something; a few where the bench only shows that it works."""
    return 200_000 if benchmark.enabled else 20_000


def make_stream(changes: int, rows: int) -> bytes:
    """Transactions of inserts whose hashes are spread evenly."""
    hashes = iter(np.random.default_rng(1).integers(0, 2**63, changes).tolist())
    records = []
    for number in range(changes // rows):
        places = (Identity(1, 4 + number, event, 0) for event in range(rows + 2))
        about: dict[str, Any] = {"source": 1, "time_us": 1_000_000 + number}
        records.append(pack_record(Kind.BEGIN, identity=next(places), after=[f"0-1-{number}", None], **about))
        for _ in range(rows):
            key_hash = next(hashes)
            row = [123456, key_hash % 100_000, *VALUES]
            records.append(pack_record(Kind.INSERT, identity=next(places), table=1, key_hash=key_hash, after=row, **about))
        records.append(pack_record(Kind.COMMIT, identity=next(places), after=[f"0-1-{number}", number], **about))
    return b"".join(records)


def measure(benchmark: Any, make_rig: Callable[..., Rig], rows: int, wanted: bool, **settings: Any) -> Rig:
    """Works one sink through the stream, round by round; checks what came out by the counters."""
    if benchmark.enabled and PROFILE != "release":
        pytest.fail(f"a {PROFILE} build is not measured")
    rig = make_rig(source_bytes=64 << 20, store_bytes=64 << 20, include=[".*" if wanted else "other"], **settings)
    rig.schemas = {1: TABLE.pack()}
    changes = changes_of(benchmark)
    stream = make_stream(changes, rows)
    source, sink = rig.sources[0], rig.sink()
    rounds = 0

    def setup() -> None:
        nonlocal rounds
        rounds += 1
        for consumer in rig.consumers:
            consumer.advance(consumer.lag_bytes)
            consumer.ack_to(consumer.get)
        put_bytes(source, stream)

    def work(sink: SinkStage = sink) -> None:
        while sink.do_work(0):
            pass

    benchmark.pedantic(work, setup=setup, rounds=10 if benchmark.enabled else 1)
    assert source.reader("d.0").held_bytes == 0
    assert sum(ring.counters[SinkCounter.ROWS] for ring in rig.stores) == (changes * rounds if wanted else 0)
    benchmark.extra_info.update(profile=PROFILE, changes=changes, bytes=len(stream), cores_needed=1, cores_had=os.cpu_count())
    if benchmark.enabled:
        seconds = benchmark.stats.stats.min
        benchmark.extra_info.update(
            changes_per_s=round(changes / seconds), ns_per_change=round(seconds / changes * 1e9, 1),
            gb_per_s=round(len(stream) / seconds / 1e9, 2),
        )  # fmt: skip
    return rig


def put_bytes(ring: Ring, stream: bytes) -> None:
    """Put a stream of records, in pieces that the ring takes."""
    at = 0
    while at < len(stream):
        length = int.from_bytes(stream[at + 2 : at + 6])
        assert ring.try_claim(stream[at : at + length]) >= 0
        at += length
    ring.publish()


@pytest.fixture
def make_rig() -> Iterator[Callable[..., Rig]]:
    yield from rigs()


@pytest.mark.benchmark(group="sink: one source, everything wanted")
@pytest.mark.parametrize("partitions", [1, 8])
def test_everything_is_wanted(benchmark, make_rig, partitions):
    rig = measure(benchmark, make_rig, TRANSACTION_ROWS, True, partitions=partitions)
    assert all(ring.counters[SinkCounter.ROWS] for ring in rig.stores)


@pytest.mark.benchmark(group="sink: one source, everything wanted")
def test_hash_of_a_chosen_column(benchmark, make_rig):
    measure(benchmark, make_rig, TRANSACTION_ROWS, True, partitions=8, partition_by=["customer_id"])


@pytest.mark.benchmark(group="sink: one source, everything wanted")
@pytest.mark.parametrize("partitions", [1, 8])
def test_transactions_of_one_row(benchmark, make_rig, partitions):
    measure(benchmark, make_rig, 1, True, partitions=partitions)


@pytest.mark.benchmark(group="sink: one source, nothing wanted")
def test_nothing_is_wanted(benchmark, make_rig):
    measure(benchmark, make_rig, TRANSACTION_ROWS, False)


@pytest.mark.benchmark(group="sink: one source, everything wanted")
def test_into_a_store_in_a_file(benchmark, make_rig):
    """Each record's pages are written where the kernel likes; the checkpoints' syncs are not the sink's."""
    measure(benchmark, make_rig, TRANSACTION_ROWS, True, store={"kind": "file"})


@pytest.mark.benchmark(group="sink: one source, everything wanted")
def test_memcpy_beside_it(benchmark):
    """The same bytes from one 64 MiB area to another, 4 MiB at a time."""
    stream = np.frombuffer(make_stream(changes_of(benchmark), TRANSACTION_ROWS), np.uint8)
    target = np.zeros_like(stream)

    def work() -> None:
        for at in range(0, len(stream), 4 << 20):
            target[at : at + (4 << 20)] = stream[at : at + (4 << 20)]

    benchmark.pedantic(work, rounds=10 if benchmark.enabled else 1)
    assert (target == stream).all()
    if benchmark.enabled:
        benchmark.extra_info.update(bytes=len(stream), gb_per_s=round(len(stream) / benchmark.stats.stats.min / 1e9, 2))
