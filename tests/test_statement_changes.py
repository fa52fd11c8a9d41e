"""A change that the server logs as a statement, because a session chose so, reaches consumers as such; it is never swallowed."""

from __future__ import annotations

import json

import engine
from engine.client.change import Change
from tests.running_engine import RunningEngine, command


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
        done = command("tail", "one", "--server", running.listen, "--json", "--idle-exit", "2")
        assert done.returncode == 0, done.stderr
        seen = [json.loads(line) for line in done.stdout.splitlines()]
        seen = [event for event in seen if event["op"] != "ddl"]
        assert [event["op"] for event in seen] == ["insert", "statement", "insert"]
        assert seen[1]["sql"] == f"INSERT INTO {unique_schema}.t VALUES (2, 'statement')"
        with running.connect("two", ddl=True) as stream:
            by_partition: dict[int, list[str]] = {0: [], 1: []}
            while (batch := stream.get(wait_ms=1000)) is not None:
                by_partition[batch.partition] += [event.op for event in batch if event.op != "ddl"]
                batch.ack()
        assert [ops.count("statement") for ops in by_partition.values()] == [1, 1]
        assert sum(ops.count("insert") for ops in by_partition.values()) == 2
        assert running.observe()["sources"]["db"]["statements"] == 1
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
        changes = []
        while (batch := stream.get(wait_ms=1000)) is not None:
            changes += list(batch)
            batch.ack()
        assert all(isinstance(change, Change) for change in changes)
        assert [change.key for change in changes] == [(2,)]
        assert "VALUES (1)" in caplog.text
