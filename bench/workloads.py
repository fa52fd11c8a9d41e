"""What is measured: tables and statements, run on real servers, so that the binlogs are real ones.

    python -m bench.workloads list
    python -m bench.workloads make NAME... [--rows N] [--server mariadb|mysql|both]

`make` keeps the binlog files (bench/binlogs.py) and prints where they are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SCHEMA = "bench"
ORDERS = """
CREATE TABLE {table} (
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
_ORDER = """
    {n}, {n} * 7919 % 100000, concat('SKU-', {n} % 1000000), 1 + {n} % 4, ({n} % 1000000) / 100, {n} % 100,
    '2026-01-01' + INTERVAL {n} SECOND + INTERVAL 123000 MICROSECOND,
    '2026-01-01' + INTERVAL {n} SECOND + INTERVAL 456789 MICROSECOND, concat('note ', {n} % 100000)
"""
_WIDE = {  # 60 columns beside the key: type → how many, and the value of row n in column number i
    "INT": (20, "{n} % 1000000 + {i}"),
    "BIGINT": (10, "{n} * 1000003 + {i}"),
    "VARCHAR(40)": (10, "concat('value {i} of ', {n} % 100000)"),
    "DECIMAL(14,4)": (10, "({n} % 1000000) / 10000 + {i}"),
    "DATETIME": (5, "'2026-01-01' + INTERVAL {n} SECOND + INTERVAL {i} DAY"),
    "DOUBLE": (5, "{n} / 7 + {i}"),
}
_DOCUMENT = """
    json_object('id', {n}, 'customer', json_object('name', concat('customer ', {n} % 100000), 'vip', {n} % 7 = 0),
    'items', json_array(json_object('sku', concat('SKU-', {n} % 1000), 'price', {n} % 10000 / 100, 'count', {n} % 9),
    json_object('sku', concat('SKU-', {n} % 999), 'price', {n} % 9999 / 100, 'count', {n} % 5)), 'note', null)
"""
_BLOB_BYTES = 16 << 10
_LARGE_BLOB_EVERY, _LARGE_BLOB_BYTES = 100, 1 << 20
_BULK_ROWS = 50_000  # of a statement
_FEW_ROWS = 50  # of a statement where many tables have few each
TABLES = 2_000
_UNWANTED_FOR_A_WANTED = 19

Sql = Callable[..., Any]


@dataclass(frozen=True)
class Workload:
    """What makes a binlog: `prepare` isn't in it, `fill` is; both get (sql, rows), `fill` returns the changes it made.

    include: which of its tables are wanted, and wanted_share: what part of the changes is theirs.
    """

    name: str
    about: str
    rows: int
    prepare: Callable[[Sql, int], None]
    fill: Callable[[Sql, int], int]
    include: str = r"bench\..*"
    wanted_share: float = 1.0


def make_orders_table(sql: Sql, schema: str = SCHEMA, rows: int = 0) -> None:
    """A schema with an empty orders table, and a table of numbers that fills it."""
    _make_schema(sql, schema)
    sql(ORDERS.format(table=f"{schema}.orders"))


def _make_schema(sql: Sql, schema: str) -> None:
    sql(
        f"CREATE DATABASE {schema}",
        "SET sql_log_bin = 0",
        f"CREATE TABLE {schema}.numbers (n INT NOT NULL PRIMARY KEY)",
        f"INSERT INTO {schema}.numbers WITH RECURSIVE d AS (SELECT 0 AS d UNION ALL SELECT d + 1 FROM d WHERE d < 99) "
        f"SELECT a.d + 100 * b.d + 10000 * c.d FROM d a, d b, d c WHERE c.d < {_BULK_ROWS // 10_000}",
        "SET sql_log_bin = 1",
    )


def insert_orders(
    sql: Sql, schema: str, rows: int, table: str = "orders", statement_rows: int = _BULK_ROWS, first: int = 0
) -> int:
    """Bulk inserts, `statement_rows` of them a transaction; returns the rows, which is `rows` rounded up."""
    statements = -(-rows // statement_rows)
    for statement in range(statements):
        n = f"(n + {first + 1 + statement * statement_rows})"
        sql(
            f"INSERT INTO {schema}.{table} SELECT {_ORDER.format(n=n)} FROM {schema}.numbers "
            f"WHERE n < {statement_rows} ORDER BY n"
        )
    return statements * statement_rows


def update_orders(sql: Sql, schema: str, rows: int) -> int:
    """Bulk updates of the first `rows` orders."""
    for first in range(0, rows, _BULK_ROWS):
        last = min(first + _BULK_ROWS, rows)
        sql(f"UPDATE {schema}.orders SET quantity = quantity + 1, note = 'changed' WHERE id > {first} AND id <= {last}")
    return rows


def delete_orders(sql: Sql, schema: str, rows: int) -> int:
    """Bulk deletes of the first `rows` orders."""
    for first in range(0, rows, _BULK_ROWS):
        sql(f"DELETE FROM {schema}.orders WHERE id > {first} AND id <= {min(first + _BULK_ROWS, rows)}")
    return rows


def insert_orders_one_by_one(sql: Sql, schema: str, rows: int) -> int:
    """`rows` transactions of one row each."""
    sql(
        "SET sql_log_bin = 0",
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
        "SET sql_log_bin = 1",
        f"CALL {schema}.one_by_one({rows})",
    )
    return rows


def _orders(sql: Sql, rows: int) -> None:
    make_orders_table(sql)


def _filled_orders(sql: Sql, rows: int) -> None:
    make_orders_table(sql)
    insert_orders(sql, SCHEMA, rows)


def _insert_at_once(sql: Sql, rows: int) -> int:
    """One transaction, whatever its size."""
    statements = -(-rows // _BULK_ROWS)
    sql("BEGIN", *(
        f"INSERT INTO {SCHEMA}.orders SELECT {_ORDER.format(n=f'(n + {1 + number * _BULK_ROWS})')} FROM {SCHEMA}.numbers"
        for number in range(statements)
    ), "COMMIT")  # fmt: skip
    return statements * _BULK_ROWS


def _make_wide(sql: Sql, rows: int) -> None:
    _make_schema(sql, SCHEMA)
    columns = [f"c{number} {kind} NOT NULL" for number, (kind, _) in enumerate(_wide_columns())]
    sql(f"CREATE TABLE {SCHEMA}.wide (id BIGINT NOT NULL PRIMARY KEY, {', '.join(columns)}) CHARACTER SET utf8mb4")


def _wide_columns() -> list[tuple[str, str]]:
    return [(kind, value) for kind, (count, value) in _WIDE.items() for _ in range(count)]


def _fill_wide(sql: Sql, rows: int) -> int:
    values = ", ".join(value.format(n="{n}", i=number) for number, (_, value) in enumerate(_wide_columns()))
    return _fill(sql, "wide", f"{{n}}, {values}", rows, 10_000)


def _fill(sql: Sql, table: str, values: str, rows: int, statement_rows: int) -> int:
    statements = -(-rows // statement_rows)
    for statement in range(statements):
        n = f"(n + {1 + statement * statement_rows})"
        sql(
            f"INSERT INTO {SCHEMA}.{table} SELECT {values.format(n=n)} FROM {SCHEMA}.numbers "
            f"WHERE n < {statement_rows} ORDER BY n"
        )
    return statements * statement_rows


def _make_documents(sql: Sql, rows: int) -> None:
    _make_schema(sql, SCHEMA)
    sql(f"CREATE TABLE {SCHEMA}.documents (id BIGINT NOT NULL PRIMARY KEY, document JSON NOT NULL) CHARACTER SET utf8mb4")


def _make_blobs(sql: Sql, rows: int) -> None:
    _make_schema(sql, SCHEMA)
    sql(f"CREATE TABLE {SCHEMA}.blobs (id BIGINT NOT NULL PRIMARY KEY, data LONGBLOB NOT NULL)")


def _fill_blobs(sql: Sql, rows: int) -> int:
    """16 KiB each, every hundredth 1 MiB."""
    large = f"if({{n}} % {_LARGE_BLOB_EVERY}, {_BLOB_BYTES}, {_LARGE_BLOB_BYTES})"
    return _fill(sql, "blobs", f"{{n}}, repeat(unhex(sha2({{n}}, 256)), {large} / 32)", rows, 500)


def _make_tables(sql: Sql, rows: int) -> None:
    _make_schema(sql, SCHEMA)
    sql(*(ORDERS.format(table=f"{SCHEMA}.t{number}") for number in range(TABLES)))


def _fill_tables(sql: Sql, rows: int) -> int:
    """Round after round, some rows for each table."""
    rounds = -(-rows // (TABLES * _FEW_ROWS))
    for number in range(rounds):
        sql(*(
            f"INSERT INTO {SCHEMA}.t{table} SELECT {_ORDER.format(n=f'(n + {1 + number * _FEW_ROWS})')} FROM {SCHEMA}.numbers "
            f"WHERE n < {_FEW_ROWS} ORDER BY n"
            for table in range(TABLES)
        ))  # fmt: skip
    return rounds * TABLES * _FEW_ROWS


def _make_needle(sql: Sql, rows: int) -> None:
    make_orders_table(sql)
    sql(*(ORDERS.format(table=f"{SCHEMA}.unwanted{number}") for number in range(_UNWANTED_FOR_A_WANTED)))


def _fill_needle(sql: Sql, rows: int) -> int:
    """Of twenty transactions one is the wanted table's."""
    rounds = -(-rows // (1000 * (_UNWANTED_FOR_A_WANTED + 1)))
    for number in range(rounds):
        for table in ("orders", *(f"unwanted{number}" for number in range(_UNWANTED_FOR_A_WANTED))):
            insert_orders(sql, SCHEMA, 1000, table, 1000, first=number * 1000)
    return rounds * 1000 * (_UNWANTED_FOR_A_WANTED + 1)


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("inserts", "orders, bulk inserts", 2_000_000, _orders, lambda sql, rows: insert_orders(sql, SCHEMA, rows)),
        Workload("updates", "orders, bulk updates", 1_000_000, _filled_orders, lambda sql, n: update_orders(sql, SCHEMA, n)),
        Workload("deletes", "orders, bulk deletes", 1_000_000, _filled_orders, lambda sql, n: delete_orders(sql, SCHEMA, n)),
        Workload(
            "single-row", "orders, transactions of one row", 300_000, _orders,
            lambda sql, rows: insert_orders_one_by_one(sql, SCHEMA, rows),
        ),
        Workload("one-transaction", "orders, all inserts in one transaction", 1_000_000, _orders, _insert_at_once),
        Workload("wide", "a table of 61 columns", 200_000, _make_wide, _fill_wide),
        Workload(
            "json", "documents of about 250 bytes", 400_000, _make_documents,
            lambda sql, rows: _fill(sql, "documents", "{n}, " + _DOCUMENT, rows, 10_000),
        ),
        Workload("blobs", "16 KiB each, every hundredth 1 MiB", 10_000, _make_blobs, _fill_blobs),
        Workload("tables", f"{TABLES:,} tables, {_FEW_ROWS} rows a transaction", 1_000_000, _make_tables, _fill_tables),
        Workload(
            "one-table", f"one table, {_FEW_ROWS} rows a transaction", 1_000_000, _orders,
            lambda sql, rows: insert_orders(sql, SCHEMA, rows, statement_rows=_FEW_ROWS),
        ),
        Workload(
            "needle", "one wanted table among twenty", 1_000_000, _make_needle, _fill_needle, r"bench\.orders",
            1 / (_UNWANTED_FOR_A_WANTED + 1),
        ),
    )
}  # fmt: skip


def main() -> int:
    from bench.binlogs import FLAVOURS, recorded

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["list", "make"])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of workloads; all if none is given")
    parser.add_argument("--rows", type=int, help="how many, about; each workload has a number of its own")
    parser.add_argument("--server", choices=[*FLAVOURS, "both"], default="both")
    arguments = parser.parse_intermixed_args()
    if unknown := set(arguments.names) - set(WORKLOADS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(WORKLOADS)}")
    for workload in (WORKLOADS[name] for name in arguments.names or WORKLOADS):
        if arguments.action == "list":
            print(f"{workload.name:16} {workload.rows:>10,} rows  {workload.about}")
            continue
        for server in FLAVOURS if arguments.server == "both" else (arguments.server,):
            recording = recorded(workload, server, arguments.rows)
            print(f"{workload.name}, {server}: {recording.rows:,} changes, {recording.bytes / 1e6:,.1f} MB in {recording.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
