import re
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest

from engine import record
from engine.position import ORIGIN, Identity
from engine.record import HEAD_BYTES, Head, Kind, pack_record, pack_schema_record, unpack_head
from engine.schema import Column, TableSchema

IDENTITY = Identity(12, 2**40, 7, 3)
ORDERS_SCHEMA = TableSchema(
    "shop", "shop", "orders",
    (Column("id", "bigint", unsigned=True, nullable=False), Column("état", "enum", charset="utf8mb4", labels=("new", "")),
     Column("hidden", "int", visible=False)),
    (0,),
)  # fmt: skip


def make(**fields):
    return pack_record(Kind.UPDATE, source=2, identity=IDENTITY, time_us=1_700_000_000_123_456, **fields)


def test_a_stock_msgpack_library_reads_a_record_as_an_array_of_13():
    packed = make(table=9, flags=1, key_hash=2**64 - 1, before=[1, "a"], after=[1, None])
    assert msgpack.unpackb(packed) == [
        len(packed), 2, 1, 2, 9, 1_700_000_000_123_456, 12, 2**40, 7, 3, 2**64 - 1, [1, "a"], [1, None],
    ]  # fmt: skip


def test_the_head_is_found_at_fixed_offsets_whatever_the_values():
    for fields in ({}, {"table": 2**32 - 1, "flags": 65535, "key_hash": 5, "after": ["x" * 1000]}):
        packed = make(**fields)
        head = unpack_head(b"junk" + packed, 4)
        assert head == Head(
            len(packed), Kind.UPDATE, fields.get("flags", 0), 2, fields.get("table", 0), 1_700_000_000_123_456, *IDENTITY,
            fields.get("key_hash", 0),
        )  # fmt: skip
        assert head.identity == IDENTITY


def test_the_native_twin_has_the_same_offsets_kinds_and_flags():
    header = Path(record.__file__).with_name("_record.h").read_text()
    at = dict(re.findall(r"RECORD_(\w+)_AT = (\d+)", header))
    packed = make()
    markers = {"LENGTH": 0xCE, "KIND": 0xCC, "FLAGS": 0xCD, "SOURCE": 0xCD, "TABLE": 0xCE, "TIME": 0xCF, "FILE": 0xCE,
               "START": 0xCF, "EVENT": 0xCE, "ROW": 0xCE, "HASH": 0xCF}  # fmt: skip
    assert {name: packed[int(offset) - 1] for name, offset in at.items()} == markers
    kinds = re.search(r"enum \{\s*(RECORD_INSERT = 1.*?)\}", header, re.DOTALL)[1]
    assert [name.strip().removeprefix("RECORD_").split(" ")[0] for name in kinds.split(",") if name.strip()] == [
        kind.name for kind in Kind
    ]
    assert f"RECORD_HEAD_BYTES = {HEAD_BYTES}" in header
    assert f"RECORD_KEY_CHANGED = {record.KEY_CHANGED}, RECORD_SPLIT = {record.SPLIT}" in header


def test_a_table_schema_comes_back_from_its_packed_form_and_equal_ones_pack_equally():
    assert TableSchema.unpack(ORDERS_SCHEMA.pack()) == ORDERS_SCHEMA
    assert TableSchema.unpack(ORDERS_SCHEMA.pack()).pack() == ORDERS_SCHEMA.pack()
    assert ORDERS_SCHEMA.name == "shop.orders"


@pytest.mark.parametrize("table", ["t", "x" * 31, "x" * 32, "ä" * 64, "日" * 64, "😀" * 64])
def test_the_name_of_a_packed_schema_is_read_without_its_columns(table):
    schema = replace(ORDERS_SCHEMA, table=table)
    assert TableSchema.unpack_name(schema.pack()) == f"{schema.schema}.{table}"
    assert TableSchema.unpack(schema.pack()) == schema


def test_a_schema_of_other_fields_in_another_order_is_read_too():
    body = msgpack.unpackb(ORDERS_SCHEMA.pack())
    other = msgpack.packb({**dict(reversed(body.items())), "comment": "of a later version"})
    assert TableSchema.unpack(other) == ORDERS_SCHEMA
    assert TableSchema.unpack_name(other) == ORDERS_SCHEMA.name


def test_a_schema_record_for_sessions_is_a_record_with_the_packed_schema():
    packed = ORDERS_SCHEMA.pack()
    wanted = pack_record(Kind.SCHEMA, source=3, identity=ORIGIN, time_us=0, table=70_000, after=msgpack.unpackb(packed))
    assert pack_schema_record(3, 70_000, packed) == wanted
