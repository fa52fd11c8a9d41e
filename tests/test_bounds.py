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


@pytest.fixture
def own_server(make_server):
    """A server of the test's own: what others left in a shared one's binlog and tables would be measured, too."""
    server = make_server(max_allowed_packet=1 << 30)
    server.sql("CREATE DATABASE bounds CHARACTER SET utf8mb4")
    return server


@pytest.fixture
def running(tmp_path, own_server):
    """An engine whose rings are all of the smallest size, from where the server's binlog ends now."""
    sources = {"db": {"url": own_server.url(), "start": own_server.position(), "ring": SMALL}}
    destinations = {"all": {"include": [r"bounds\..*"], "store": {"kind": "memory", "size": SMALL}}}
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


def test_a_row_of_many_times_the_ring_size_arrives_whole(own_server, running):
    own_server.sql(
        "CREATE TABLE bounds.big (id INT PRIMARY KEY, body LONGBLOB, tail VARCHAR(20))",
        f"INSERT INTO bounds.big VALUES (1, REPEAT(X'00FF41', {BLOB_BYTES // 3}), 'one')",
        "UPDATE bounds.big SET tail = 'two'",
        "INSERT INTO bounds.big VALUES (2, 'small', 'three')",
    )
    expected = own_server.sql("SELECT SHA2(body, 256) FROM bounds.big WHERE id = 1")[0][0]
    with running.connect("all") as stream:
        insert, update, small = changes_of(stream, 3)
    assert hashlib.sha256(insert.after["body"]).hexdigest() == expected
    assert update.before == insert.after
    assert update.after == {**insert.after, "tail": "two"}
    assert small.after == {"id": 2, "body": b"small", "tail": "three"}
    # Only the source ever holds a row as a whole, once: both images of the update.
    check_memory(running, {"source db": PROCESS_BYTES + 2 * BLOB_BYTES})


def test_a_transaction_of_many_times_the_ring_size_arrives_in_order_while_nothing_grows(own_server, running):
    limit = "cte_max_recursion_depth" if own_server.name == "mysql" else "max_recursive_iterations"
    own_server.sql(
        "CREATE TABLE bounds.numbers (n INT PRIMARY KEY, text VARCHAR(100))",
        f"SET SESSION {limit} = {TRANSACTION_ROWS}",
        f"INSERT INTO bounds.numbers WITH RECURSIVE r AS "
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
    check_memory(running, {})


def check_memory(running: RunningEngine, allowed: dict[str, int]) -> None:
    """What each process has ever had in memory, its rings of 1 MiB (each mapped twice) included."""
    most = {stage["title"]: resident_bytes(stage["pid"]) for stage in running.observe()["stages"]}
    print({title: f"{count / 1e6:.1f} MB" for title, count in most.items()})
    for title, count in most.items():
        assert count < allowed.get(title, PROCESS_BYTES) + 4 * (1 << 20), most


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM:"))
