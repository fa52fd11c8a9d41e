"""`batch.arrow()`: one table per table version."""

import sys

import pytest

from engine.client.change import ChangeReader
from engine.errors import ConfigError, EngineError
from engine.record import Kind
from engine.schema import Column, TableSchema
from tests.client import streams

pa = pytest.importorskip("pyarrow")

from engine.client.arrow import arrow_type, to_tables  # noqa: E402 - needs pyarrow


def changes(*records: bytes) -> list:
    data = streams.schema_record() + b"".join(records)
    return list(ChangeReader({1: ("shop", "binlog")}).read(data, transactions=False))


def test_columns_have_the_types_of_the_table_and_the_values_of_the_row():
    table = to_tables(changes(streams.begin(), streams.insert(1), streams.update(2), streams.delete(3)))[streams.ORDERS]
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
    given = changes(streams.insert(1), streams.update(2), streams.delete(3))
    table = to_tables(given, "before")[streams.ORDERS]
    assert table["id"].to_pylist() == [None, 2, 3]
    assert table["status"].to_pylist() == [None, "new", "new"]


def test_an_absent_column_is_null():
    table = to_tables(changes(streams.minimal_update(5)))[streams.ORDERS]
    assert table["id"].to_pylist() == [None]
    assert table["status"].to_pylist() == ["paid"]


def test_table_versions_are_apart():
    wider = TableSchema("shop", "shop", "orders", (*streams.ORDERS.columns, Column("x", "int")), (0,))
    from engine.record import pack_record

    later = pack_record(Kind.INSERT, source=1, identity=streams.place(), time_us=1, table=8, after=[*streams.row(2), 4])
    tables = to_tables(changes(streams.insert(1), streams.schema_record(wider, 8), later))
    assert {schema.name: len(schema.columns) for schema in tables} == {"shop.orders": 8}
    assert [len(table) for table in tables.values()] == [1, 1]


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
        (Column("a", "uuid"), "None"),
    ],
)
def test_every_type_has_its_arrow_type(column, wanted):
    assert str(arrow_type(column)) == wanted


def test_a_value_that_does_not_fit_names_its_column():
    with pytest.raises(EngineError, match=r"table=shop.orders column=id"):
        to_tables(changes(streams.change(Kind.INSERT, None, streams.row(1, id="text"))))


def test_another_image_is_refused():
    with pytest.raises(ConfigError, match="no such row image"):
        to_tables([], "both")


def test_without_pyarrow_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "engine.client.arrow")
    with pytest.raises(EngineError, match=r"binlog-engine\[arrow\]"):
        import engine.client.arrow  # noqa: F401
