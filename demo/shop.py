"""A small shop as SQL: its tables, and a stream of transactions that is the same for the same seed."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pymysql

TABLES = {
    "customers": """
        CREATE TABLE customers (
          id INT UNSIGNED NOT NULL PRIMARY KEY,
          name VARCHAR(80) NOT NULL,
          tier ENUM('new','regular','gold') NOT NULL DEFAULT 'new',
          born DATE NULL,
          created DATETIME(3) NOT NULL
        ) CHARACTER SET utf8mb4""",
    "products": """
        CREATE TABLE products (
          id INT UNSIGNED NOT NULL PRIMARY KEY,
          name VARCHAR(80) NOT NULL,
          price DECIMAL(10,2) NOT NULL,
          stock INT NOT NULL,
          labels SET('fragile','heavy','new','sale') NOT NULL DEFAULT ''
        ) CHARACTER SET utf8mb4""",
    "orders": """
        CREATE TABLE orders (
          id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
          customer_id INT UNSIGNED NOT NULL,
          status ENUM('new','paid','packed','shipped') NOT NULL DEFAULT 'new',
          total DECIMAL(12,2) NOT NULL,
          note VARCHAR(200) NULL,
          details JSON NULL,
          placed DATETIME(3) NOT NULL,
          changed DATETIME(3) NOT NULL,
          KEY (customer_id)
        ) CHARACTER SET utf8mb4""",
    "order_items": """
        CREATE TABLE order_items (
          order_id BIGINT UNSIGNED NOT NULL,
          line TINYINT UNSIGNED NOT NULL,
          product_id INT UNSIGNED NOT NULL,
          quantity SMALLINT UNSIGNED NOT NULL,
          price DECIMAL(10,2) NOT NULL,
          PRIMARY KEY (order_id, line)
        ) CHARACTER SET utf8mb4""",
}
PRIMARY_KEYS = {"customers": ("id",), "products": ("id",), "orders": ("id",), "order_items": ("order_id", "line")}

NAMES = [
    "Zoë Ångström",
    "李小龙",
    "Мария Иванова",
    "أمل حداد",
    "Octavia 🐙",
    "Søren Kjær",
    "Nguyễn Thị Hà",
    "佐藤さくら",
    "Björk",
]
GOODS = ["teapot", "café crème", "磁器茶碗", "Schraubenschlüssel", "piñata", "🎧 headphones", "самовар", "rope, 30 m"]
NOTES = [
    "ring twice",
    "c'est un cadeau",
    "お急ぎ便",
    "leave it with “Bob” next door",
    'fragile: 5" glass',
    "50% off \\o/",
]
STATUSES = ["new", "paid", "packed", "shipped"]

ORDERS_PER_SHOPPER = 1_000_000  # order ids of shopper n begin at n times this: no id depends on who commits first
DEADLOCK = 1213


def literal(value: Any) -> str:
    """A value as SQL."""
    if value is None:
        return "NULL"
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, datetime):
        return f"'{value:%Y-%m-%d %H:%M:%S}.{value.microsecond // 1000:03d}'"
    return "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"


def insert(table: str, row: dict[str, Any]) -> str:
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(map(literal, row.values()))})"


def now() -> datetime:
    return datetime.now(UTC)


def opening_stock(seed: int, clock: Callable[[], datetime] = now) -> list[str]:
    """The customers and products that are there when the shop opens."""
    dice = random.Random(seed)
    rows = []
    for number, name in enumerate(NAMES, 1):
        born = None if number % 4 == 0 else f"{dice.randint(1940, 2008)}-{dice.randint(1, 12):02d}-{dice.randint(1, 28):02d}"
        rows.append(insert("customers", {"id": number, "name": name, "born": born, "created": clock()}))
    for number, name in enumerate(GOODS, 1):
        labels = ",".join(label for label in ("fragile", "heavy", "new", "sale") if dice.random() < 0.4)
        price = Decimal(dice.randint(99, 19999)) / 100
        rows.append(insert("products", {"id": number, "name": name, "price": price, "stock": 100_000, "labels": labels}))
    return rows


class Shopper:
    """What one connection does. It touches only orders of its own, so its statements depend on nothing but the seed."""

    def __init__(self, number: int, seed: int, clock: Callable[[], datetime] = now) -> None:
        self.dice = random.Random(f"{seed}/{number}")
        self.clock = clock
        self.next_order = number * ORDERS_PER_SHOPPER + 1
        self.open: dict[int, tuple[int, list[tuple[int, Decimal]]]] = {}  # order → status, (quantity, price) by line

    def transactions(self) -> Iterator[list[str]]:
        """For ever: the statements of one transaction after the other."""
        while True:
            move = self.dice.random()
            if not self.open or move < 0.35:
                yield self._place()
            elif move < 0.75:
                yield self._advance()
            elif move < 0.85:
                yield self._change_quantity()
            elif move < 0.94:
                yield self._cancel()
            else:
                yield self._meet_customer()

    def _place(self) -> list[str]:
        order, self.next_order = self.next_order, self.next_order + 1
        products = sorted(self.dice.sample(range(1, len(GOODS) + 1), self.dice.randint(1, 3)))  # sorted: fewer deadlocks
        lines = [(self.dice.randint(1, 5), Decimal(self.dice.randint(99, 19999)) / 100) for _ in products]
        self.open[order] = (0, lines)
        time_placed = self.clock()
        details = {
            "channel": self.dice.choice(["web", "app", "shop"]),
            "gift": self.dice.random() < 0.2,
            "visits": len(lines),
        }
        row = {
            "id": order,
            "customer_id": self.dice.randint(1, len(NAMES)),
            "status": "new",
            "total": _total(lines),
            "note": self.dice.choice([None, None, *NOTES]),
            "details": json.dumps(details) if self.dice.random() < 0.8 else None,
            "placed": time_placed,
            "changed": time_placed,
        }
        statements = [insert("orders", row)]
        for line, (product, (quantity, price)) in enumerate(zip(products, lines, strict=True), 1):
            item = {"order_id": order, "line": line, "product_id": product, "quantity": quantity, "price": price}
            statements.append(insert("order_items", item))
        for product, (quantity, _) in zip(products, lines, strict=True):
            statements.append(f"UPDATE products SET stock = stock - {quantity} WHERE id = {product}")
        return statements

    def _advance(self) -> list[str]:
        order = self._any_order()
        status, lines = self.open[order]
        self.open[order] = (status + 1, lines)
        if status + 1 == len(STATUSES) - 1:
            del self.open[order]
        values = f"status = {literal(STATUSES[status + 1])}, changed = {literal(self.clock())}"
        return [f"UPDATE orders SET {values} WHERE id = {order}"]

    def _change_quantity(self) -> list[str]:
        order = self._any_order()
        lines = self.open[order][1]
        line = self.dice.randrange(len(lines))
        lines[line] = (lines[line][0] + 1, lines[line][1])
        total = f"total = {_total(lines)}, changed = {literal(self.clock())}"
        return [
            f"UPDATE order_items SET quantity = {lines[line][0]} WHERE order_id = {order} AND line = {line + 1}",
            f"UPDATE orders SET {total} WHERE id = {order}",
        ]

    def _cancel(self) -> list[str]:
        order = self._any_order()
        del self.open[order]
        return [f"DELETE FROM order_items WHERE order_id = {order}", f"DELETE FROM orders WHERE id = {order}"]

    def _meet_customer(self) -> list[str]:
        tier = self.dice.choice(["new", "regular", "gold"])
        return [f"UPDATE customers SET tier = {literal(tier)} WHERE id = {self.dice.randint(1, len(NAMES))}"]

    def _any_order(self) -> int:
        return self.dice.choice(sorted(self.open))


def _total(lines: list[tuple[int, Decimal]]) -> Decimal:
    return sum((quantity * price for quantity, price in lines), Decimal())


class Workload:
    """Several connections that shop at the same time, together `rate` rows a second."""

    def __init__(self, connect: Callable[[], Any], schema: str, rate: float, seed: int = 1, shoppers: int = 3) -> None:
        self.connect, self.schema, self.seed = connect, schema, seed
        self.rate = rate / shoppers
        self.error: Exception | None = None
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._shop, args=[n], daemon=True) for n in range(1, shoppers + 1)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No transaction is open when this returns.

        Raises:
            Exception: what ended a shopper, if one ended early.
        """
        self._ended.set()
        for thread in self._threads:
            thread.join(10)
        if self.error:
            raise self.error

    def _shop(self, number: int) -> None:
        try:
            with self.connect() as connection, connection.cursor() as cursor:
                cursor.execute(f"USE `{self.schema}`")
                due = time.monotonic()
                for statements in Shopper(number, self.seed).transactions():
                    due += commit(connection, cursor, statements) / self.rate
                    if self._ended.wait(max(0.0, due - time.monotonic())):
                        return
        except Exception as error:  # handed to whoever stops us
            self.error = error


def commit(connection: Any, cursor: Any, statements: list[str]) -> int:
    """One transaction, tried again after a deadlock; the number of rows it changed."""
    while True:
        try:
            connection.begin()
            rows: int = sum(cursor.execute(statement) for statement in statements)
            connection.commit()
            return rows
        except pymysql.err.OperationalError as error:
            connection.rollback()
            if error.args[0] != DEADLOCK:
                raise
