"""A change that the server logs as a statement, because a session chose so, reaches consumers as such; it is never swallowed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import engine
from engine.client.change import Change
from engine.client.items import Item
from tests.running_engine import RunningEngine, command

MOST_S = 60.0


def received(stream: Any, enough: Callable[[list[tuple[int, Item]]], bool]) -> list[tuple[int, Item]]:
    """What comes and its partition, acked, until it is enough."""
    found: list[tuple[int, Item]] = []
    deadline = time.monotonic() + MOST_S
    while not enough(found):
        assert time.monotonic() < deadline, f"only {found} came within {MOST_S} s"
        if (batch := stream.get(wait_ms=1000)) is not None:
            found += [(batch.partition, event) for event in batch]
            batch.ack()
    return found


def test_a_statement_arrives_in_its_place_in_every_partition_and_is_counted(tmp_path, server, unique_schema):
    start = server.position()
    server.sql(
        f"CREATE TABLE {unique_schema}.t (id INT PRIMARY KEY, v VARCHAR(20))",
        f"INSERT INTO {unique_schema}.t VALUES (1, 'row')",
        "SET SESSION binlog_format = 'STATEMENT'",
        f"INSERT INTO {unique_schema}.t VALUES (2, 'statement')",
        "SET SESSION binlog_format = 'ROW'",
        f"INSERT INTO {unique_schema}.t VALUES (3, 'row again')",
    )
    destinations = {"one": {}, "two": {"partitions": 2, "consumers": ["default", "other"]}}
    with RunningEngine(tmp_path, {"db": {"url": server.url(), "start": start}}, destinations) as running:
        done = command("tail", "one", "--server", running.listen, "--json", "--max", "2")
        assert done.returncode == 0, done.stderr
        seen = [json.loads(line) for line in done.stdout.splitlines()]
        seen = [event for event in seen if event["op"] != "ddl"]
        assert [event["op"] for event in seen] == ["insert", "statement", "insert"]
        assert seen[1]["sql"] == f"INSERT INTO {unique_schema}.t VALUES (2, 'statement')"
        with running.connect("two", ddl=True) as stream:
            found = received(stream, lambda found: sum(event.op != "ddl" for _, event in found) >= 4)
        assert sorted(partition for partition, event in found if event.op == "statement") == [0, 1]
        assert sum(event.op == "insert" for _, event in found) == 2
        running.wait_until(lambda: running.observe()["sources"]["db"]["statements"] == 1)
        assert "binlog_format" in running.log


def test_a_consumer_of_rows_only_is_not_given_statements_but_its_log_warns_of_them(tmp_path, server, unique_schema, caplog):
    start = server.position()
    server.sql(
        f"CREATE TABLE {unique_schema}.t (id INT PRIMARY KEY)",
        "SET SESSION binlog_format = 'STATEMENT'",
        f"INSERT INTO {unique_schema}.t VALUES (1)",
        "SET SESSION binlog_format = 'ROW'",
        f"INSERT INTO {unique_schema}.t VALUES (2)",
    )
    with (
        RunningEngine(tmp_path, {"db": {"url": server.url(), "start": start}}, {"all": {}}) as running,
        engine.connect(running.listen, destination="all") as stream,
    ):
        changes = [change for _, change in received(stream, bool)]
        assert all(isinstance(change, Change) for change in changes)
        assert [change.key for change in changes] == [(2,)]
        assert "VALUES (1)" in caplog.text


def test_a_server_in_statement_format_gives_all_its_changes_as_statements_load_data_too(tmp_path, make_server):
    server = make_server(binlog_format="STATEMENT", local_infile="ON")
    lines = tmp_path / "lines.csv"
    lines.write_text("".join(f"{n},row {n}\n" for n in range(100)))
    start = server.position()
    with server.connect(local_infile=True) as connection, connection.cursor() as cursor:
        for statement in (
            "CREATE DATABASE s", "CREATE TABLE s.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(20))",
            f"LOAD DATA LOCAL INFILE '{lines}' INTO TABLE s.t FIELDS TERMINATED BY ',' (id, v)",
            "SET @name = 'named'", "INSERT INTO s.t (v) VALUES (@name)", "UPDATE s.t SET v = 'x'", "DELETE FROM s.t",
        ):  # fmt: skip
            cursor.execute(statement)
    source = {"url": server.url(), "start": start, "statements": "deliver"}
    with RunningEngine(tmp_path, {"db": source}, {"all": {}}) as running:
        done = command("tail", "all", "--server", running.listen, "--json", "--idle-exit", "2")
        assert running.observe()["sources"]["db"]["statements"] == 4
    events = [json.loads(line) for line in done.stdout.splitlines()]

    assert {event["op"] for event in events} == {"ddl", "statement"}
    assert [event["sql"].split()[0] for event in events if event["op"] == "statement"] == ["LOAD", "INSERT", "UPDATE", "DELETE"]
