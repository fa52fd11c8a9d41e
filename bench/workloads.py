"""What is measured: the orders table, made on a real server, so that its binlog is a real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

ORDERS = """
CREATE TABLE {schema}.orders (
    id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    customer_id INT NOT NULL,
    sku         VARCHAR(32) NOT NULL,
    status      ENUM('new', 'paid', 'shipped', 'cancelled') NOT NULL,
    total       DECIMAL(12,2) NOT NULL,
    quantity    SMALLINT NOT NULL,
    created     DATETIME(3) NOT NULL,
    updated     TIMESTAMP(6) NOT NULL,
    note        VARCHAR(120)
) CHARACTER SET utf8mb4
"""

# A row like this takes 68 bytes in the binlog.
_VALUES = """
    {n}, {n} * 7919 % 100000, concat('SKU-', {n} % 1000000), 1 + {n} % 4, ({n} % 1000000) / 100, {n} % 100,
    '2026-01-01' + INTERVAL {n} SECOND + INTERVAL 123000 MICROSECOND,
    '2026-01-01' + INTERVAL {n} SECOND + INTERVAL 456789 MICROSECOND, concat('note ', {n} % 100000)
"""
_ROWS_A_STATEMENT = 50_000

Sql = Callable[..., Any]


def make_orders_table(sql: Sql, schema: str) -> None:
    """An empty schema with the orders table, and a table of numbers that fills it."""
    sql(
        f"CREATE DATABASE {schema}",
        ORDERS.format(schema=schema),
        "SET sql_log_bin = 0",
        f"CREATE TABLE {schema}.numbers (n INT NOT NULL PRIMARY KEY)",
        f"INSERT INTO {schema}.numbers WITH RECURSIVE d AS (SELECT 0 AS d UNION ALL SELECT d + 1 FROM d WHERE d < 99) "
        f"SELECT a.d + 100 * b.d + 10000 * c.d FROM d a, d b, d c WHERE c.d < {_ROWS_A_STATEMENT // 10_000}",
        "SET sql_log_bin = 1",
    )


def insert_orders(sql: Sql, schema: str, rows: int) -> int:
    """Bulk inserts, 50,000 rows a transaction; returns the rows, which is `rows` rounded up."""
    statements = -(-rows // _ROWS_A_STATEMENT)
    for statement in range(statements):
        n = f"(n + 1 + {statement * _ROWS_A_STATEMENT})"
        sql(f"INSERT INTO {schema}.orders SELECT {_VALUES.format(n=n)} FROM {schema}.numbers")
    return statements * _ROWS_A_STATEMENT


def update_orders(sql: Sql, schema: str, rows: int) -> int:
    """One bulk update of the first `rows` orders."""
    sql(f"UPDATE {schema}.orders SET quantity = quantity + 1, status = 'paid' WHERE id <= {rows} AND quantity < 32000")
    return rows


def insert_orders_one_by_one(sql: Sql, schema: str, rows: int) -> int:
    """`rows` transactions of one row each."""
    sql(
        f"DROP PROCEDURE IF EXISTS {schema}.one_by_one",
        f"""
        CREATE PROCEDURE {schema}.one_by_one(IN wanted INT)
        BEGIN
            DECLARE i INT DEFAULT 0;
            WHILE i < wanted DO
                INSERT INTO {schema}.orders VALUES (NULL, i, concat('SKU-', i), 'new', i / 100, 1, now(3), now(6), 'one');
                SET i = i + 1;
            END WHILE;
        END
        """,
        f"CALL {schema}.one_by_one({rows})",
    )
    return rows
