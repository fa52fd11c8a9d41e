"""`batch.arrow()`: one table per table version."""

import sys

import pytest

from engine.errors import ConfigError, EngineError, ProtocolError
from engine.record import Kind, pack_record
from engine.schema import Column, TableSchema
from tests.client import streams

pa = pytest.importorskip("pyarrow")

from engine.client.arrow import arrow_type  # noqa: E402 - needs pyarrow

pytestmark = pytest.mark.usefixtures("path")


def tables(*records: bytes, image: str = "after") -> dict:
    return streams.batch(streams.schema_record(), *records).arrow(image)


def test_columns_have_the_types_of_the_table_and_the_values_of_the_row():
    table = tables(streams.begin(), streams.insert(1), streams.update(2), streams.delete(3))[streams.ORDERS]
    assert table.column_names[:5] == ["_op", "_ts", "_source", "_position", "_gtid"]
    assert table["_op"].to_pylist() == ["insert", "update", "delete"]
    assert table["_gtid"].to_pylist() == [streams.GTID] * 3
    assert table["id"].to_pylist() == [1, 2, 3]
    assert table["status"].to_pylist() == ["new", "paid", "new"]
    assert table["photo"].to_pylist() == [b"\x00\xff"] * 3
    types = {name: str(table.schema.field(name).type) for name in table.column_names[5:]}
    assert types == {
        "id": "int64",
        "customer": "uint64",
        "status": "string",
        "total": "string",
        "weight": "float",
        "photo": "binary",
        "at": "string",
    }
    assert table["_ts"][0].as_py().isoformat() == "2026-11-23T04:14:25.720253+00:00"


def test_the_image_before_lines_up_with_the_one_after():
    table = tables(streams.insert(1), streams.update(2), streams.delete(3), image="before")[streams.ORDERS]
    assert table["id"].to_pylist() == [None, 2, 3]
    assert table["status"].to_pylist() == [None, "new", "new"]


def test_an_absent_column_is_null():
    table = tables(streams.minimal_update(5))[streams.ORDERS]
    assert table["id"].to_pylist() == [None]
    assert table["status"].to_pylist() == ["paid"]


def test_table_versions_are_apart():
    wider = TableSchema("shop", "shop", "orders", (*streams.ORDERS.columns, Column("x", "int")), (0,))
    later = pack_record(Kind.INSERT, source=1, identity=streams.place(), time_us=1, table=8, after=[*streams.row(2), 4])
    found = tables(streams.insert(1), streams.schema_record(wider, 8), later)
    assert [(schema.name, len(schema.columns), len(table)) for schema, table in found.items()] == [
        ("shop.orders", 7, 1),
        ("shop.orders", 8, 1),
    ]


def test_a_table_that_is_told_twice_has_all_its_rows():
    table = tables(streams.insert(1), streams.schema_record(), streams.insert(2))[streams.ORDERS]
    assert table["id"].to_pylist() == [1, 2]


def test_a_change_that_came_in_fragments_is_a_row_like_any_other():
    change = streams.change(Kind.INSERT, None, streams.row(2, photo=b"x" * 1000), streams.place(ordinal=2))
    table = tables(streams.begin(), streams.insert(1), *streams.fragments(change, 100), streams.insert(3))[streams.ORDERS]
    assert table["id"].to_pylist() == [1, 2, 3]
    assert table["photo"].to_pylist()[1] == b"x" * 1000
    assert table["_gtid"].to_pylist() == [streams.GTID] * 3


def test_a_row_has_the_gtid_of_its_own_transaction():
    first, second, third = (
        streams.change(Kind.INSERT, None, streams.row(number), streams.place(start=number)) for number in (1, 2, 3)
    )
    found = tables(first, streams.commit(), streams.begin("0-1-6"), second, streams.commit(), streams.begin(None), third)
    assert found[streams.ORDERS]["_gtid"].to_pylist() == ["0-1-4", "0-1-6", None]
    assert found[streams.ORDERS]["_position"].to_pylist() == [f"binlog.000001:{start}" for start in (1, 2, 3)]


def test_a_column_whose_type_is_unknown_takes_that_of_its_values():
    unknown = TableSchema("shop", "shop", "hosts", (Column("a", "x"), Column("b", "x"), Column("c", "x")), ())
    rows = [[None, None, None], ["x", b"y", None], [None, b"", None]]
    records = [pack_record(Kind.INSERT, source=1, identity=streams.place(), time_us=1, table=9, after=row) for row in rows]
    table = tables(streams.schema_record(unknown, 9), *records)[unknown]
    assert [str(table.schema.field(name).type) for name in "abc"] == ["string", "binary", "null"]
    assert table.select(["a", "b", "c"]).to_pylist() == [dict(zip("abc", row, strict=True)) for row in rows]


def test_rows_of_another_width_than_the_table_are_an_error():
    with pytest.raises(ProtocolError, match="a row doesn't fit its table key"):
        tables(streams.change(Kind.INSERT, None, streams.row(1)[:-1]))


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        (Column("a", "bit(64)"), "uint64"),
        (Column("a", "year"), "int64"),
        (Column("a", "double"), "double"),
        (Column("a", "vector(3)"), "list<item: float>"),
        (Column("a", "varchar(9)", charset="binary"), "binary"),
        (Column("a", "varchar(9)", charset="latin1"), "string"),
        (Column("a", "json"), "string"),
        (Column("a", "geometry"), "binary"),
        (Column("a", "point"), "binary"),
        (Column("a", "uuid", charset="binary"), "string"),
        (Column("a", "hypercube"), "None"),
    ],
)
def test_every_type_has_its_arrow_type(column, wanted):
    assert str(arrow_type(column)) == wanted


def test_a_value_that_does_not_fit_names_its_column():
    with pytest.raises(EngineError, match=r"table=shop.orders column=id"):
        tables(streams.change(Kind.INSERT, None, streams.row(1, id="text")))


def test_another_image_is_refused():
    with pytest.raises(ConfigError, match="no such row image"):
        tables(image="both")


def test_without_pyarrow_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "engine.client.arrow")
    with pytest.raises(EngineError, match=r"binlog-engine\[arrow\]"):
        import engine.client.arrow  # noqa: F401
