"""The demo's workload, its replica and its config."""

from __future__ import annotations

import itertools
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from demo.replica import Replica
from demo.settings import derive, to_toml
from demo.shop import PRIMARY_KEYS, TABLES, Shopper, Workload, commit, literal, opening_stock
from engine.config import load_config
from engine.schema import Column, TableSchema
from tests.servers.database import Database
from tests.servers.selected import selected

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def statements(number: int, seed: int, count: int) -> list[list[str]]:
    return list(itertools.islice(Shopper(number, seed, lambda: NOON).transactions(), count))


def test_the_same_seed_gives_the_same_transactions() -> None:
    assert statements(1, 1, 200) == statements(1, 1, 200)
    assert statements(1, 1, 200) != statements(1, 2, 200)
    assert opening_stock(3, lambda: NOON) == opening_stock(3, lambda: NOON)


def test_the_shop_inserts_updates_and_deletes() -> None:
    words = {
        text.split()[0] + " " + table for each in statements(1, 1, 300) for text in each for table in TABLES if table in text
    }

    assert {"INSERT orders", "UPDATE orders", "DELETE orders", "INSERT order_items", "DELETE order_items"} <= words


def test_quotes_and_backslashes_stay_text() -> None:
    assert literal("it's \\ here") == "'it''s \\\\ here'"
    assert literal(None) == "NULL"
    assert literal(NOON) == "'2026-01-02 12:00:00.000'"


def test_every_statement_does_what_the_shopper_thinks_it_does(server: Database, unique_schema: str) -> None:
    shopper = Shopper(1, seed=5)
    with server.connect(database=unique_schema) as connection, connection.cursor() as cursor:
        for statement in TABLES.values():
            cursor.execute(statement)
        commit(connection, cursor, opening_stock(5))
        for transaction in itertools.islice(shopper.transactions(), 150):
            commit(connection, cursor, transaction)
        orders = {row["id"]: row for row in selected(connection, unique_schema, "orders")}
        items = selected(connection, unique_schema, "order_items")

    assert shopper.open.keys() <= orders.keys()
    for order, (_, lines) in shopper.open.items():
        assert [(row["quantity"], row["price"]) for row in items if row["order_id"] == order] == [
            (q, f"{p:.2f}") for q, p in lines
        ]


def test_several_connections_shop_at_once_and_stop_when_told(server: Database, unique_schema: str) -> None:
    with server.connect(database=unique_schema) as connection, connection.cursor() as cursor:
        for statement in TABLES.values():
            cursor.execute(statement)
        commit(connection, cursor, opening_stock(1))
    workload = Workload(server.connect, unique_schema, rate=100_000)
    workload.start()
    shoppers: set[int] = set()
    while shoppers != {1, 2, 3}:
        shoppers |= {row[0] for row in server.sql(f"SELECT DISTINCT id DIV 1000000 FROM {unique_schema}.orders")}
    workload.stop()

    before = server.sql(f"SELECT COUNT(*), MAX(changed) FROM {unique_schema}.orders")
    assert server.sql(f"SELECT COUNT(*), MAX(changed) FROM {unique_schema}.orders") == before


def change(op: str, before: Any, after: Any, total: str = "decimal(10,2)") -> SimpleNamespace:
    types = {"total": total}
    columns = tuple(Column(name, types.get(name, "int")) for name in after or before)
    schema = TableSchema("shop", "shop", "orders", columns, (0,))
    return SimpleNamespace(op=op, table="orders", before=before, after=after, position="binlog.000001:4", columns=schema)


def test_rows_untouched_since_an_alter_are_compared_in_the_columns_it_left_alone() -> None:
    replica = Replica(("orders",))
    replica.apply(change("insert", None, {"id": 1, "total": "1.50"}))
    replica.apply(change("insert", None, {"id": 2, "total": "2.5000", "coupon": "x"}, "decimal(12,4)"))
    shown = [{"id": 1, "total": "1.5000", "coupon": "none"}, {"id": 2, "total": "2.5000", "coupon": "x"}]
    assert replica.compare("orders", shown) == []
    assert replica.compare("orders", [shown[0], {**shown[1], "coupon": "y"}]) != []


def test_a_replica_that_follows_the_changes_equals_the_table() -> None:
    replica = Replica(("orders",))
    replica.apply(change("insert", None, {"id": 1, "details": '{"a": 1}'}))
    replica.apply(change("insert", None, {"id": 2, "details": None}))
    replica.apply(change("update", {"id": 2, "details": None}, {"id": 3, "details": "[]"}))
    replica.apply(change("delete", {"id": 1, "details": '{"a": 1}'}, None))

    assert replica.faults == []
    assert replica.compare("orders", [{"id": 3, "details": "[ ]"}]) == []


def test_a_replica_says_what_is_missing_too_many_or_unequal() -> None:
    replica = Replica(("orders",))
    replica.apply(change("insert", None, {"id": 1, "status": "new"}))
    replica.apply(change("insert", None, {"id": 2, "status": "new"}))
    replica.apply(change("delete", {"id": 9}, None))
    replica.apply(change("insert", None, {"id": 2, "status": "new"}))

    assert len(replica.faults) == 2
    assert replica.compare("orders", [{"id": 1, "status": "paid"}, {"id": 3, "status": "new"}]) == [
        "orders (1,): (stream, SELECT) = {'status': ('new', 'paid')}",
        "orders (3,) is missing",
        "orders (2,) should not be there",
    ]


def test_the_demos_config_is_the_shipped_one_with_another_source(tmp_path: Path) -> None:
    source = {"url": "mysql://repl@127.0.0.1:1234", "password_env": "SHOP_PASSWORD", "start": "binlog.000001:4"}
    settings = derive(source, "other", 7777, tmp_path / "data")
    path = tmp_path / "engine.toml"
    path.write_text(to_toml(settings))

    assert tomllib.loads(path.read_text()) == settings
    config = load_config(path)
    assert config.sources["shop"].url == source["url"]
    assert config.server.listen == ["tcp://127.0.0.1:7777"]
    assert config.destinations["orders"].include == [r"other\.(orders|order_items)"]


def test_every_table_of_the_shop_has_its_primary_key_named() -> None:
    assert PRIMARY_KEYS.keys() == TABLES.keys()
