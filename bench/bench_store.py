"""A consumer's cursor over a filled store: the scan that finds batches, and get and ack around it. One core."""

from __future__ import annotations

import pytest

from engine._scan import Scanner
from engine.ring import PROFILE, Ring
from engine.store import Cursor
from tests.histories import History

MIB = 1 << 20


@pytest.fixture(params=[1000, 1], ids=["1000 rows a transaction", "1 row a transaction"])
def store(request):
    """(ring, rows, records): 64 MiB of 200-byte records."""
    ring = Ring.create(None, 64 * MIB)
    ring.open_writer()
    ring.add_reader("cache")
    records = History().transaction(request.param, "x" * 133)
    rows = count = 0
    while ring.put + sum(map(len, records)) <= ring.capacity:
        for record in records:
            ring.try_claim(record)
        ring.publish()
        rows += request.param
        count += len(records)
    yield ring, rows, count
    ring.close()


def note(benchmark, records):
    benchmark.group = "get from a store"
    benchmark.extra_info.update(profile=PROFILE, records=records)
    if benchmark.stats:
        assert PROFILE == "release"
        benchmark.extra_info["ns_per_record"] = round(benchmark.stats.stats.min / records * 1e9, 2)


def test_scan(benchmark, store):
    ring, rows, records = store
    with ring.reader("cache").view() as view:
        scanner = Scanner({})

        def scan_all():
            found = at = 0
            while at < len(view):
                assert scanner.scan(view[at:], {}, 10_000, 4 * MIB)
                found += scanner.rows
                at += scanner.end
            return found

        assert benchmark(scan_all) == rows
    note(benchmark, records)


def test_get_and_ack(benchmark, store):
    ring, rows, records = store
    reader = ring.reader("cache")

    def drain():
        cursor = Cursor(reader, ring.capacity, {})
        found = 0
        while batch := cursor.next_batch(10_000, 4 * MIB):
            found += batch.rows
            cursor.ack(batch.number)
        cursor.take_unsettled()  # and never settled: the next round finds the store full again
        cursor.close()
        return found

    assert benchmark(drain) == rows
    note(benchmark, records)
