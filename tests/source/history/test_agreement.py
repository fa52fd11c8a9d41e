"""A definition against a TABLE_MAP: what counts as the same table, and what is left out of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from engine.source._rows import RowPlan

from engine.source.history.agreement import Disagreement, agreed_schema
from engine.source.history.definition import ColumnDefinition, Key, TableDefinition
from engine.source.table_map import MapColumn, TableMap, Type

INT = MapColumn(Type.LONG)
HASH = MapColumn(Type.LONGLONG)


def agreed(columns: list[MapColumn], *known: ColumnDefinition, keys: int = 0, mariadb: bool = True) -> list[dict[str, Any]]:
    unique = tuple(Key(f"u{i}", (("a", 0),)) for i in range(keys))
    schema = agreed_schema("s", TableMap(1, 0, "d", "t", tuple(columns)), TableDefinition(known, unique), mariadb=mariadb)
    return [column.to_map() for column in schema.columns]


def test_the_map_tells_what_it_can_and_the_history_the_rest() -> None:
    columns = [MapColumn(Type.LONGLONG, nullable=False), MapColumn(Type.VARCHAR, length=40), MapColumn(Type.STRING, length=16)]
    known = [
        ColumnDefinition("a", "bigint", unsigned=True, nullable=False),
        ColumnDefinition("b", "varchar", (10,), charset="utf8mb4"),
        ColumnDefinition("c", "uuid", visible=False),
    ]
    assert agreed(columns, *known) == [
        {"name": "a", "type": "bigint", "unsigned": True, "nullable": False},
        {"name": "b", "type": "varchar(10)", "charset": "utf8mb4"},
        {"name": "c", "type": "uuid", "charset": "binary", "visible": False},
    ]


@pytest.mark.parametrize(
    ("told", "known", "fault"),
    [
        (INT, ColumnDefinition("a", "bigint"), "has a int, not a bigint"),
        (INT, ColumnDefinition("a", "int", nullable=False), "may be NULL"),
        (replace(INT, unsigned=True), ColumnDefinition("a", "int"), "is unsigned"),
        (MapColumn(Type.VARCHAR, length=10), ColumnDefinition("a", "varchar", (10,), charset="utf8mb4"), "takes 10 bytes"),
        (MapColumn(Type.NEWDECIMAL, precision=9, scale=2), ColumnDefinition("a", "decimal", (9, 3)), r"is decimal\(9,2\)"),
        (MapColumn(Type.TIME2, fraction=2), ColumnDefinition("a", "time"), "has 2 digits"),
        (MapColumn(Type.BIT, bits=9, length=2), ColumnDefinition("a", "bit", (8,)), r"is bit\(9\)"),
        (MapColumn(Type.ENUM, length=2), ColumnDefinition("a", "enum", labels=("x",)), "take 2 bytes"),
        (MapColumn(Type.BLOB, length=2), ColumnDefinition("a", "longblob"), "not a longblob"),
        (MapColumn(Type.STRING, length=16), ColumnDefinition("a", "inet4"), "not a inet4"),
        (MapColumn(Type.GEOMETRY, length=4), ColumnDefinition("a", "json"), "not a json"),
    ],
)
def test_another_type_is_another_table(told: MapColumn, known: ColumnDefinition, fault: str) -> None:
    with pytest.raises(Disagreement, match=fault):
        agreed([told], known)


def test_another_number_of_columns_is_another_table() -> None:
    for columns in ([], [INT, INT]):
        with pytest.raises(Disagreement, match="columns, not 1"):
            agreed(columns, ColumnDefinition("a", "int"))


def test_mariadb_s_hashes_of_long_keys_are_left_out_as_many_as_there_can_be() -> None:
    known = ColumnDefinition("a", "int")
    assert [column["name"] for column in agreed([INT, HASH, HASH], known, keys=2)] == ["a"]
    for columns, keys, mariadb in (([INT, HASH, HASH], 1, True), ([INT, HASH], 1, False), ([INT, INT], 1, True)):
        with pytest.raises(Disagreement):
            agreed(columns, known, keys=keys, mariadb=mariadb)


def test_rows_are_read_past_hidden_columns() -> None:
    table_map = TableMap(1, 0, "d", "t", (INT, HASH, HASH))
    known = TableDefinition((ColumnDefinition("a", "int"),), (Key("u", (("a", 0),)), Key("v", (("a", 0),))))
    plan = RowPlan(agreed_schema("s", table_map, known, mariadb=True), table_map, 2)
    whole = b"\xf8" + b"\x05\0\0\0" + bytes(16)
    one_null = b"\xfa" + b"\x06\0\0\0" + bytes(8)
    assert plan.images(whole + one_null) == b"\x91\x05\x91\x06"
    assert plan.images(b"\xfe" + b"\x07\0\0\0", present=b"\x01") == b"\x91\x07"
