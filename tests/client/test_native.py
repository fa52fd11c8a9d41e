"""The native way against the one on msgpack alone: the same rows and tables, whatever the bytes are."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from engine import wire
from engine.client import change
from engine.client.batch import Batch
from engine.client.change import ChangeReader
from engine.client.items import Change
from engine.errors import EngineError
from engine.record import ABSENT, Kind, pack_record
from engine.schema import Column, TableSchema
from engine.source.files import decode_files
from tests.client import streams
from tests.client.conftest import msgpack_alone

pa = pytest.importorskip("pyarrow")

from engine.client import arrow_walk  # noqa: E402 - needs pyarrow

DATA = Path(__file__).parents[1] / "data"
CASES = sorted([*DATA.glob("*-all-types"), *DATA.glob("*-shop"), *DATA.glob("*-update-delete")])


def items(batch: Batch, **wanted: bool) -> list[tuple[Any, ...]]:
    """Everything that an item has, its rows as dicts too."""
    slots = ("_record", "_of", "gtid", "columns", "sql")
    return [
        (type(item), *(getattr(item, slot, None) for slot in slots), *(try_rows(item) if isinstance(item, Change) else ()))
        for item in batch.read(**wanted)
    ]


def try_rows(change: Change) -> tuple[Any, ...]:
    try:
        return change.op, change.before, change.after
    except (EngineError, TypeError, LookupError, ValueError) as error:  # msgpack takes what is no row
        return (str(error),)


READINGS: dict[str, Callable[[Batch], Any]] = {
    "items": items,
    "changes": lambda batch: items(batch, ddl=False, transactions=False, history=False),
    "rows": Batch.rows,
    "iter_rows": lambda batch: list(batch.iter_rows()),
    "arrow": Batch.arrow,
    "arrow before": lambda batch: batch.arrow("before"),
}

ALL_KINDS = TableSchema(
    "shop",
    "shop",
    "kinds",
    (
        Column("small", "tinyint"),
        Column("large", "bigint", unsigned=True),
        Column("bits", "bit(64)"),
        Column("single", "float"),
        Column("double", "double"),
        Column("name", "varchar(300)", charset="utf8mb4"),
        Column("photo", "blob"),
        Column("vector", "vector(3)"),
        Column("later", "hypercube"),
    ),
    (),
)


def kinds_row(number: int) -> list[Any]:
    """A row whose values take every encoding in turn."""
    grow = 1 << (number % 64)
    return [
        None if number % 7 == 0 else -grow if number % 2 else min(grow, 2**63 - 1),
        grow,
        2**64 - grow,
        number / 4,
        None if number % 5 == 0 else number / 3,
        None if number % 11 == 0 else "añ語🙂x"[: number % 6] * (number % 60),
        bytes(range(number % 256)) * (1 + number % 3),
        None if number % 3 == 0 else Vector(number % 4),
        ABSENT if number % 13 == 0 else "::1",
    ]


class Vector(int):
    """So many float32."""


def pack_row(row: list[Any]) -> bytes:
    """As the engine writes it: FLOAT and VECTOR as float32, which msgpack's packer does only for all or none."""
    single, double = wire.msgpack.Packer(use_single_float=True).pack, wire.msgpack.packb
    parts = [
        b"".join([bytes([0x90 | value]), *(single(0.1 * part) for part in range(value))])
        if isinstance(value, Vector)
        else (single if place == 3 else double)(value)
        for place, value in enumerate(row)
    ]
    return bytes([0x90 | len(row)]) + b"".join(parts)


def kinds_change(number: int) -> bytes:
    kind = (Kind.INSERT, Kind.UPDATE, Kind.DELETE)[number % 3]
    before = b"\xc0" if kind is Kind.INSERT else pack_row(kinds_row(number + 1))
    after = b"\xc0" if kind is Kind.DELETE else pack_row(kinds_row(number))
    head = bytearray(pack_record(kind, source=1, identity=streams.place(ordinal=number), time_us=number, table=9)[:-2])
    head[2:6] = (len(head) + len(before) + len(after)).to_bytes(4, "big")
    return bytes(head) + before + after


def kinds_schema() -> bytes:
    return streams.schema_record(ALL_KINDS, 9)


def comparable(read: Any) -> Any:
    """NaN equals nothing, itself included: by their text all are alike."""
    if isinstance(read, dict):
        assert all(table.validate(full=True) is None for table in read.values())
        return {schema: (str(table.schema), repr(plain(table).to_pydict())) for schema, table in read.items()}
    return repr(read)


def plain(table: Any) -> Any:
    """With times as numbers: Python has none beyond the year 9999."""
    return table.set_column(1, "_ts", table["_ts"].cast(pa.int64()))


def outcome(batch: Batch, reading: Callable[[Batch], Any]) -> Any:
    try:
        return comparable(reading(batch))
    except EngineError as error:
        return type(error)


def recorded(case: Path) -> Batch:
    """A whole binlog file as one batch."""
    data, known = b"", {}
    for records, sources in decode_files([case / "binlog.000001"]):
        data += bytes(records)
        known = dict(sources)
    reader = ChangeReader(known)
    return Batch(wire.BatchHead(1, 0, 0, 0, len(data)), memoryview(data), reader, {})


def test_the_extensions_are_there_to_be_compared() -> None:
    assert change._tuples is not None
    assert arrow_walk._columns is not None


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_recorded_binlog_reads_the_same(case: Path, reading: Callable[[Batch], Any]) -> None:
    batch = recorded(case)
    native = comparable(reading(batch))
    with msgpack_alone():
        assert native == comparable(reading(batch))


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
def test_every_encoding_of_every_kind_of_column_reads_the_same(reading: Callable[[Batch], Any]) -> None:
    batch = streams.batch(kinds_schema(), streams.begin(), *map(kinds_change, range(1000)), streams.commit())
    native = comparable(reading(batch))
    with msgpack_alone():
        assert native == comparable(reading(batch))


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
def test_rows_that_are_alike_but_for_one_mark_keep_it(reading: Callable[[Batch], Any]) -> None:
    rng, data = random.Random(9), [kinds_schema(), streams.schema_record()]
    gtids = [None, "", "0-1-7", "x" * 45, "语" * 20, f"{'u' * 36}:{'t' * 32}:{2**63}", "y" * 5000]
    for number in range(250):
        source, start, gtid, time_us = (
            rng.choice((1, 2)),
            10 ** rng.choice((3, 12)) + number,
            rng.choice(gtids),
            rng.choice((7, 2**40)),
        )
        about = {"source": source, "time_us": time_us}
        data.append(pack_record(Kind.BEGIN, identity=streams.place(start, 1), after=[gtid, None], **about))
        kinds = rng.sample(range(3), rng.choice((1, 1, 1, 3)))
        for row in range(rng.choice((0, 1, 2, 3, 30, 200))):
            kind, identity = rng.choice(kinds), streams.place(start, 2, row)
            before, after = (None, streams.row(row), streams.row(row))[kind], (streams.row(row), streams.row(row), None)[kind]
            op = (Kind.INSERT, Kind.UPDATE, Kind.DELETE)[kind]
            data.append(pack_record(op, identity=identity, table=streams.ORDERS_KEY, before=before, after=after, **about))
        if rng.random() < 0.9:
            data.append(pack_record(Kind.COMMIT, identity=streams.place(start, 9), after=[gtid, None], **about))
    packed = b"".join(data)
    reader = ChangeReader({1: ("shop", "binlog"), 2: ("a rather long name of a source", "another-binlog")}).at({2: "0-9-9"}, {})
    batch = Batch(wire.BatchHead(1, 0, 0, 0, len(packed)), memoryview(packed), reader, {})
    native = comparable(reading(batch))
    with msgpack_alone():
        assert native == comparable(reading(batch))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_native_way_does_not_leave_recorded_rows_to_msgpack(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = recorded(case)
    for image in ("after", "before"):
        assert arrow_walk.read_tables(batch._fork(), batch.raw, image) is not None
    left = []
    by_msgpack = ChangeReader._rows_by_msgpack
    monkeypatch.setattr(ChangeReader, "_rows_by_msgpack", lambda self, data: left.extend(by_msgpack(self, data)) or iter(()))
    assert batch.rows()
    assert left == []


def test_many_tables_that_take_turns_keep_their_rows() -> None:
    tables = [
        TableSchema("shop", "shop", f"t{number}", (Column("id", "int"), Column("name", "varchar(9)", charset="utf8mb4")), ())
        for number in range(300)
    ]
    schemas = [streams.schema_record(table, 100 + number) for number, table in enumerate(tables)]
    changes = [
        pack_record(Kind.INSERT, source=1, identity=streams.place(), time_us=1, table=100 + n % 300, after=[n, f"n{n}"])
        for n in range(3000)
    ]
    found = streams.batch(*schemas, *changes).arrow()
    assert list(found) == tables
    assert all(found[table]["id"].to_pylist() == list(range(n, 3000, 300)) for n, table in enumerate(tables))
    assert found[tables[7]]["name"].to_pylist() == [f"n{n}" for n in range(7, 3000, 300)]


def test_a_value_that_comes_again_is_the_same_object() -> None:
    _, _, before, after = streams.batch(streams.schema_record(), streams.update(1)).rows()[0]
    assert before[3] is after[3]
    assert (before[2], after[2]) == ("new", "paid")


def test_tuples_outlive_the_batch_and_what_the_garbage_collector_does() -> None:
    import gc

    batch = streams.batch(streams.schema_record(), *(streams.insert(number) for number in range(500)))
    rows = batch.rows()
    del batch
    gc.collect()
    assert [after[0] for _, _, _, after in rows] == list(range(500))
    assert not any(map(gc.is_tracked, rows))


def mutations(data: bytes, seed: int) -> bytes:
    """The bytes with a few of them changed, cut out, doubled or cut off, mostly where values are."""
    chance = random.Random(seed)
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(changed))
        match chance.randrange(6):
            case 0 | 1:
                changed[at] = chance.choice((0xC0, 0xC1, 0xC6, 0xC7, 0xC9, 0xCA, 0xCF, 0xD3, 0xDB, 0xDD, 0xDF, 0xFF, 0x9F, 0xBF))
            case 2 | 3:
                changed[at] = chance.randrange(256)
            case 4:
                del changed[at : at + chance.randrange(1, 9)]
            case _:
                changed[at:at] = changed[at : at + chance.randrange(1, 9)]
        if chance.randrange(8) == 0:
            del changed[chance.randrange(1, len(changed)) :]
        if not changed:
            return b""
    return bytes(changed)


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
def test_wrong_bytes_read_the_same_or_are_an_error(reading: Callable[[Batch], Any]) -> None:
    known = ChangeReader({1: ("shop", "binlog")})
    known.learn(kinds_schema() + streams.schema_record())
    right = b"".join(
        [
            streams.begin(),
            *map(kinds_change, range(1, 9)),
            *streams.fragments(streams.insert(4), 3),
            streams.update(5),
            streams.heartbeat(),
            streams.commit(),
        ]
    )
    errors = 0
    for seed in range(4000):
        data = mutations(right, seed)
        batch = Batch(wire.BatchHead(1, 0, 9, 9, len(data)), memoryview(data), known.at({}, {}), {})
        native = outcome(batch, reading)
        with msgpack_alone():
            alone = outcome(batch, reading)
        errors += isinstance(native, type)
        # What the native way doesn't look at (text in the image that isn't asked for) it can't find fault with.
        assert native == alone or isinstance(alone, type), f"seed {seed}"
    assert 1000 < errors < 3999


def test_tables_that_somebody_keeps_stay_as_they_are_while_others_come_and_go() -> None:
    rng = random.Random(8)
    known = ChangeReader({1: ("shop", "binlog")})
    known.learn(kinds_schema() + streams.schema_record())
    kept: list[tuple[Any, Any]] = []
    for number in range(60):
        first, rows = number * 1000, rng.choice([1, 30, 900])
        changes = [*map(kinds_change, range(first, first + rows // 3)), *map(streams.insert, range(first, first + rows))]
        data = b"".join([streams.begin(), *rng.sample(changes, len(changes)), streams.commit()])
        batch = Batch(wire.BatchHead(1, 0, rows, rows, len(data)), memoryview(data), known.at({}, {}), {})
        tables = list(batch.arrow().values())
        with msgpack_alone():
            kept += zip(tables, batch.arrow().values(), strict=True)
        del batch, tables
        while kept and rng.random() < 0.7:
            del kept[rng.randrange(len(kept))]
        assert all(plain(table).equals(plain(right)) for table, right in kept[-4:])
    assert all(table.validate(full=True) is None and plain(table).equals(plain(right)) for table, right in kept)


@pytest.mark.parametrize("way", [nullcontext, msgpack_alone])
def test_fragments_are_found_without_reading_the_records_around_them(way: Callable[[], AbstractContextManager[None]]) -> None:
    whole = [streams.begin(), *map(kinds_change, range(1, 9)), streams.update(5)]
    with way():
        assert not change.may_hold_fragments(memoryview(b"".join([*whole, streams.commit()])))
        assert not change.may_hold_fragments(memoryview(b""))
        for piece in streams.fragments(streams.insert(4), 3):
            assert change.may_hold_fragments(memoryview(b"".join([*whole, piece])))
            assert change.may_hold_fragments(memoryview(b"".join([piece, *whole])))
