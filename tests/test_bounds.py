"""What is larger than the rings passes them: one row, and one transaction, through rings of 1 MiB."""

from __future__ import annotations

import hashlib
import os

import pytest

from tests.running_engine import RunningEngine

SMALL = "1MiB"
BLOB_BYTES = int(os.environ.get("BOUNDS_BLOB_BYTES", "40000000"))  # `make bounds`: 100 MB and 5 million
TRANSACTION_ROWS = int(os.environ.get("BOUNDS_ROWS", "200000"))
PROCESS_BYTES = 60 << 20
SOURCE_BYTES = 66 << 20  # a source that has read DDL has sqlglot in it, and PyMySQL brings cryptography: 20 MB together


@pytest.fixture
def running(tmp_path, server, unique_schema):
    """An engine whose rings are all of the smallest size, from where the server's binlog ends now."""
    sources = {"db": {"url": server.url(), "start": server.position(), "ring": SMALL}}
    destinations = {"all": {"include": [rf"{unique_schema}\..*"], "store": {"kind": "memory", "size": SMALL}}}
    with RunningEngine(tmp_path, sources, destinations) as engine:
        yield engine


def changes_of(stream, count: int):
    """The next `count` changes, each batch acked when it is read."""
    got = []
    while len(got) < count:
        batch = stream.get(wait_ms=30_000)
        assert batch is not None, f"{len(got)} of {count} changes came"
        got += list(batch)
        batch.ack()
    return got


def test_a_row_of_many_times_the_ring_size_arrives_whole(server, unique_schema, running):
    packet = server.sql("SELECT @@global.max_allowed_packet")[0][0]
    server.sql("SET GLOBAL max_allowed_packet = 1073741824")
    try:
        server.sql(
            f"CREATE TABLE {unique_schema}.big (id INT PRIMARY KEY, body LONGBLOB, tail VARCHAR(20))",
            f"INSERT INTO {unique_schema}.big VALUES (1, REPEAT(X'00FF41', {BLOB_BYTES // 3}), 'one')",
            f"UPDATE {unique_schema}.big SET tail = 'two'",
            f"INSERT INTO {unique_schema}.big VALUES (2, 'small', 'three')",
        )
        expected = server.sql(f"SELECT SHA2(body, 256) FROM {unique_schema}.big WHERE id = 1")[0][0]
        with running.connect("all") as stream:
            insert, update, small = changes_of(stream, 3)
    finally:
        server.sql(f"SET GLOBAL max_allowed_packet = {packet}")
    assert hashlib.sha256(insert.after["body"]).hexdigest() == expected
    assert update.before == insert.after
    assert update.after == {**insert.after, "tail": "two"}
    assert small.after == {"id": 2, "body": b"small", "tail": "three"}
    # Only the source ever holds a row as a whole: the event, with both images of the update, and the record made of it.
    check_memory(running, {"source db": PROCESS_BYTES + 5 * BLOB_BYTES})


def test_a_transaction_of_many_times_the_ring_size_arrives_in_order_while_nothing_grows(server, unique_schema, running):
    limit = "cte_max_recursion_depth" if server.name == "mysql" else "max_recursive_iterations"
    server.sql(
        f"CREATE TABLE {unique_schema}.numbers (n INT PRIMARY KEY, text VARCHAR(100))",
        f"SET SESSION {limit} = {TRANSACTION_ROWS}",
        f"INSERT INTO {unique_schema}.numbers WITH RECURSIVE r AS "
        f"(SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < {TRANSACTION_ROWS}) SELECT n, REPEAT('x', 50) FROM r",
    )
    with running.connect("all") as stream:
        came = opened = 0
        while came < TRANSACTION_ROWS:
            batch = stream.get(wait_ms=60_000)
            assert batch is not None, f"{came} of {TRANSACTION_ROWS} rows came"
            numbers = [change.after["n"] for change in batch]
            assert numbers == list(range(came + 1, came + 1 + len(numbers)))
            came += len(numbers)
            opened += batch.open
            batch.ack()
        assert stream.get(wait_ms=0) is None
    assert opened > 1
    check_memory(running, {"source db": SOURCE_BYTES})


def check_memory(running: RunningEngine, allowed: dict[str, int]) -> None:
    """What each process has ever had in memory, its rings of 1 MiB (each mapped twice) included."""
    most = {stage["title"]: resident_bytes(stage["pid"]) for stage in running.observe()["stages"]}
    print({title: f"{count / 1e6:.1f} MB" for title, count in most.items()})
    for title, count in most.items():
        assert count < allowed.get(title, PROCESS_BYTES) + 4 * (1 << 20), most


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM:"))
