"""Two real servers, three destinations, a million changes by several connections at once, and SELECT at the end."""

from __future__ import annotations

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.replica import Replica
from tests.running_engine import RunningEngine
from tests.servers.database import Database

CHANGES = int(os.environ.get("END_TO_END_CHANGES", "1000000"))
CONNECTIONS = 3  # per server
ROWS_A_STATEMENT = 1000
COLUMNS = "id, owner, name, amount, at"

TABLE = """
CREATE TABLE {schema}.{table} (
    id BIGINT UNSIGNED NOT NULL PRIMARY KEY, owner INT NOT NULL, name VARCHAR(40), amount DECIMAL(10,2), at DATETIME(3)
) CHARACTER SET utf8mb4
"""


def make_tables(database: Database, schema: str) -> None:
    tables = [TABLE.format(schema=schema, table=table) for table in ("items", "others", "unwanted")]
    database.sql(f"DROP DATABASE IF EXISTS {schema}", f"CREATE DATABASE {schema}", *tables)


def write(database: Database, schema: str, worker: int, changes: int, seed: int) -> int:
    """Inserts, updates and deletes of one connection, in ranges of its own; returns the changes made."""
    rng = random.Random(seed)
    made = committed = 0
    next_id = first = worker * 100_000_000 + 1
    with database.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")  # no gap locks between neighbours
        while committed < changes:
            table = rng.choice(("items", "items", "others"))
            ids = range(next_id, next_id + ROWS_A_STATEMENT)
            next_id = ids.stop
            cursor.executemany(
                f"INSERT INTO {schema}.{table} ({COLUMNS}) VALUES (%s, %s, %s, %s, %s)",
                [(n, worker, f"né {n}", f"{n % 1000}.{n % 100:02}", "2026-11-23 04:00:00.123") for n in ids],
            )
            made += len(ids)
            for _ in range(2):
                start = rng.randrange(first, next_id)
                made += cursor.execute(
                    f"UPDATE {schema}.{table} SET amount = amount + 1, name = %s WHERE id BETWEEN %s AND %s",
                    (f"changed at {made}", start, start + rng.randrange(ROWS_A_STATEMENT)),
                )
            start = rng.randrange(first, next_id)
            made += cursor.execute(
                f"DELETE FROM {schema}.{table} WHERE id BETWEEN %s AND %s", (start, start + ROWS_A_STATEMENT // 2)
            )
            cursor.execute(f"INSERT INTO {schema}.unwanted (id, owner) VALUES (%s, %s)", (next_id, worker))
            if rng.random() < 0.1:
                connection.rollback()
                made = committed
            else:
                connection.commit()
                committed = made
    return committed


def consume(running: RunningEngine, destination: str, replica: Replica, finished: threading.Event, failed: list[Any]) -> None:
    """Read and ack until everything has been written and nothing comes any more."""
    try:
        with running.connect(destination) as stream:
            while True:
                done = finished.is_set()
                batch = stream.get(wait_ms=3000 if done else 500)
                if batch is None:
                    if done:
                        return
                    continue
                for change in batch:
                    replica.apply(change)
                batch.ack()
    except BaseException as error:
        failed.append(error)
        raise


def selected(database: Database, table: str) -> list[dict[str, Any]]:
    rows = database.sql(f"SELECT id, owner, name, CAST(amount AS CHAR), CAST(at AS CHAR) FROM {table} ORDER BY id")
    return [dict(zip(COLUMNS.split(", "), row, strict=True)) for row in rows]


@pytest.mark.timeout(400)
def test_a_million_changes_of_two_servers_arrive_exactly_once_in_order_and_equal_select(tmp_path, mariadb, mysql):
    servers = {"maria": mariadb, "my": mysql}
    for name, database in servers.items():
        make_tables(database, f"e2e_{name}")
    sources = {name: {"url": database.url(), "start": database.position()} for name, database in servers.items()}
    destinations = {
        "maria_items": {"from": ["maria"], "include": [r"e2e_maria\.(items|others)"]},
        "my_items": {"from": ["my"], "include": [r"e2e_my\..*"], "exclude": [r".*\.unwanted"], "partitions": 2, "sinks": 2},
        "both": {"include": [r"e2e_.*\.items"], "partitions": 4, "order": "commit_time"},
    }
    replicas = {name: Replica() for name in destinations}
    finished, failed = threading.Event(), []
    with RunningEngine(tmp_path, sources, destinations) as running, ThreadPoolExecutor(16) as threads:
        consumers = [threads.submit(consume, running, name, replicas[name], finished, failed) for name in destinations]
        each = CHANGES // (len(servers) * CONNECTIONS)
        writers = [
            threads.submit(write, database, f"e2e_{name}", worker, each, seed=worker)
            for name, database in servers.items()
            for worker in range(CONNECTIONS)
        ]
        try:
            made = sum(writer.result() for writer in writers)
        finally:
            finished.set()
        for consumer in consumers:
            consumer.result()
        assert made >= CHANGES
        assert running.stop() == 0
    assert not failed
    assert min(replica.ops[op] for replica in replicas.values() for op in ("insert", "update", "delete")) > 0
    for name, database in servers.items():
        items, others = (selected(database, f"e2e_{name}.{table}") for table in ("items", "others"))
        assert replicas[f"{name}_items"].rows(name, f"e2e_{name}.items") == items
        assert replicas[f"{name}_items"].rows(name, f"e2e_{name}.others") == others
        assert replicas["both"].rows(name, f"e2e_{name}.items") == items
        assert f"e2e_{name}.unwanted" not in {table for _, table in replicas["both"].tables}
