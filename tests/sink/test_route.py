"""Random streams, filters and partitions, against the plain-Python routing of tests/sink/rig.py."""

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import InternalError
from engine.position import Identity
from engine.record import ABSENT, Kind, pack_record
from engine.ring import Ring
from engine.sink._heads import Heads, finish_hash, table_seed
from tests.sink.rig import Origin, Rig, expected, key_hash, make_table

TABLES = {
    1: make_table("shop.orders"),
    2: make_table("shop.items", "shop a b id", (3, 1)),
    3: make_table("audit.log", "at what shop", ()),
    4: make_table("shop.other", "id x", (0,)),
}

rows = st.tuples(st.integers(0, 30), st.integers(0, 5), st.integers(0, 3), st.integers(0, 2))
changes = st.tuples(
    st.sampled_from(["insert", "update", "delete", "large", "kept", "gone"]), st.sampled_from([1, 2, 3, 4]), rows, rows
)
transactions = st.lists(changes, max_size=6)
streams = st.lists(
    st.one_of(transactions, st.sampled_from(["ddl shop.orders", "ddl audit.log", "ddl", "heartbeat"])), max_size=25
)
destinations = st.fixed_dictionaries(
    {
        "include": st.sampled_from([[".*"], [r"shop\..*"], [r"shop\.orders", r"audit\..*"]]),
        "exclude": st.sampled_from([[], [r".*\.other"]]),
        "partitions": st.sampled_from([1, 2, 3, 8]),
        "partition_by": st.sampled_from(["primary_key", "table", ["shop"], ["id"]]),
    }
)


def make_records(origin: Origin, stream: list) -> list[bytes]:
    records = []
    for step in stream:
        if step == "heartbeat":
            records.append(origin.heartbeat())
        elif isinstance(step, str):
            records.append(origin.ddl(*step.split()[1:]))
        else:
            records.append(origin.begin())
            for op, key, old, new in step:
                if key not in origin.schemas:
                    records.append(origin.table(key, TABLES[key]))
                width = len(TABLES[key].columns)
                before, after = list(old[:width]), list(new[:width])
                if op == "large":  # in one of its columns that is in no key
                    records.append(origin.insert(key, [*before, "x" * 300_000]))
                elif op in ("kept", "gone"):  # versions of a row, of the past
                    records.append(origin.history(key, **{"after" if op == "kept" else "before": before}))
                elif op == "update":
                    records.append(origin.update(key, before, after))
                else:
                    records.append(origin.insert(key, before) if op == "insert" else origin.delete(key, before))
            records.append(origin.commit())
    return records


def feed(rig: Rig, records: list[bytes], sizes: list[int], *stages) -> None:
    """Put the records in pieces of these sizes, working in between."""
    at = 0
    while at < len(records):
        size = sizes[at % len(sizes)]
        for record in records[at : at + size]:
            rig.put(record)
            if rig.sources[0].capacity - rig.sources[0].reader("d.0").held_bytes < 1 << 20:
                rig.run(*stages)
        rig.run(*stages)
        at += size


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    stream=streams, destination=destinations, sinks=st.integers(1, 3), sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4)
)
def test_every_partition_gets_what_the_plain_routing_says(stream, destination, sinks, sizes):
    rig, origin = Rig(sinks=min(sinks, destination["partitions"]), source_bytes=4 << 20, **destination), Origin()
    try:
        records = make_records(origin, stream)
        feed(rig, records, sizes, *(rig.sink(number) for number in range(rig.settings.sinks)))
        assert [rig.got(p) for p in range(rig.settings.partitions)] == expected(records, origin.schemas, rig.settings)
    finally:
        rig.close()


PLACE = Identity(1, 4, 1, 0)
VALUES = [
    None, True, False, 0, 1, 127, 128, 255, 256, 65535, 65536, 2**32, 2**64 - 1, -1, -32, -33, -129, -32769, -(2**33),
    1.5, "", "x" * 31, "x" * 32, "x" * 300, "x" * 70_000, b"", b"y" * 300, b"y" * 70_000, [1.5] * 3, [1.5] * 16, {"a": 1},
    list(range(70_000)), {str(i): i for i in range(20)}, msgpack.ExtType(5, b"1"), msgpack.ExtType(5, b"1" * 16),
    msgpack.ExtType(5, b"1" * 9), msgpack.ExtType(5, b"1" * 300), msgpack.ExtType(5, b"1" * 70_000),
]  # fmt: skip


@pytest.fixture
def one_record():
    """heads over a ring that holds one record"""
    rings = []

    def make(record: bytes) -> Heads:
        ring = Ring.create(None, 4 << 20)
        rings.append(ring)
        ring.open_writer()
        reader = ring.add_reader("r")
        reader.open()
        ring.try_put(record)
        heads = Heads(reader)
        assert heads.scan(0, 2**64 - 1, 1) == 1
        return heads

    yield make
    for ring in rings:
        ring.close()


def hash_of(heads: Heads, columns: list[int], new: bool = False) -> tuple[int, int]:
    out = np.zeros(1, np.uint64)
    table = TABLES[1]
    seed, number = np.array([table_seed(table.schema, table.table)], np.uint64), np.array([len(columns)], np.int32)
    failed = heads.hash_rows(
        np.zeros(1, np.int64), new, seed, np.zeros(1, np.int32), number, np.array([*columns, 0], np.int32), out
    )
    return failed, int(out[0])


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_the_native_hash_walks_over_every_kind_of_msgpack_value(one_record, value):
    row = [value, 7, value, "end"]
    heads = one_record(pack_record(Kind.INSERT, source=1, identity=PLACE, time_us=0, after=row))
    for columns in ([0, 1, 3], [3, 0], [1]):
        assert hash_of(heads, columns) == (-1, key_hash(TABLES[1], row, columns))


def test_a_table_without_a_key_has_one_hash(one_record):
    heads = one_record(pack_record(Kind.DELETE, source=1, identity=PLACE, time_us=0, before=[1]))
    assert hash_of(heads, []) == (-1, key_hash(TABLES[1], [1], []))
    assert finish_hash(table_seed("shop", "orders")) == key_hash(TABLES[1], [1], [])


def test_an_absent_column_is_named_unless_the_other_image_has_it(one_record):
    update = pack_record(Kind.UPDATE, source=1, identity=PLACE, time_us=0, before=[1, ABSENT, 3], after=[ABSENT, ABSENT, 4])
    heads = one_record(update)
    assert hash_of(heads, [0, 2], new=True) == (-1, key_hash(TABLES[1], [1, None, 4], [0, 2]))
    assert hash_of(heads, [0, 1])[0] == 0
    assert hash_of(heads, [1], new=True)[0] == 0
    assert hash_of(heads, [3])[0] == 0


def test_a_record_that_is_cut_off_is_refused_not_overrun(one_record):
    whole = pack_record(Kind.INSERT, source=1, identity=PLACE, time_us=0, after=["abc", "def"])
    for length in range(63, len(whole)):
        cut = bytearray(whole[:length])
        cut[2:6] = length.to_bytes(4)
        with pytest.raises(InternalError):
            hash_of(one_record(bytes(cut)), [0, 1])
