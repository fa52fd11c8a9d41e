"""`binlog-engine bench`: every measurement runs, checks its answer and prints the fields that others read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.running_engine import command

BINLOG = Path(__file__).parents[1] / "data" / "mysql-shop" / "binlog.000001"
FIELDS = {"rows", "bytes", "seconds", "rows_per_s", "mb_per_s", "profile", "cores", "kernel"}
ROWS = 5_000


def measured(*arguments: str) -> dict:
    done = command("bench", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result) >= FIELDS
    assert result["seconds"] > 0
    return result


def test_ring_counts_what_each_reader_got_and_measures_a_queue_beside():
    result = measured("ring", "--records", "20000", "--readers", "2")
    assert result["rows"] == 20000
    assert result["queue_records_per_s"] > 0


def test_decode_counts_the_changes_of_a_file_and_gives_a_checksum_of_their_content():
    decoded = command("decode", str(BINLOG), "--json").stdout.splitlines()
    changes = sum(json.loads(line)["op"] != "ddl" for line in decoded)
    first, second = measured("decode", str(BINLOG)), measured("decode", str(BINLOG), "--rows", str(changes))
    assert first["rows"] == second["rows"] == changes
    assert first["bytes"] == BINLOG.stat().st_size
    assert first["checksum"] == second["checksum"]


def test_decode_fails_when_the_file_holds_another_number_of_changes():
    done = command("bench", "decode", str(BINLOG), "--rows", "1", "--json")
    assert done.returncode == 1
    assert "wrong answer" in done.stderr
    assert done.stdout == ""


@pytest.fixture
def rows_from(server, unique_schema):
    """A start position with ROWS changes behind it."""
    start = server.position()
    server.sql(
        f"CREATE TABLE {unique_schema}.t (id INT PRIMARY KEY, name VARCHAR(20))",
        f"INSERT INTO {unique_schema}.t WITH RECURSIVE d AS (SELECT 0 AS d UNION ALL SELECT d + 1 FROM d WHERE d < 99) "
        f"SELECT a.d * 100 + b.d, 'x' FROM d a, d b WHERE a.d < {ROWS // 100}",
    )
    return start


def test_drain_reads_the_dump_to_its_end(server, rows_from):
    drained, decoded = (measured(name, server.url(), "--from", rows_from) for name in ("drain", "source"))
    assert drained["bytes"] >= decoded["bytes"] > ROWS * 6


def test_source_decodes_every_row_of_the_dump(server, rows_from):
    assert measured("source", server.url(), "--from", rows_from)["rows"] == ROWS


@pytest.mark.parametrize("kind", ["raw", "tuples", "changes", "arrow"])
def test_stream_delivers_every_row_to_a_consumer_that_acks(server, rows_from, kind):
    if kind == "arrow":
        pytest.importorskip("pyarrow")
    assert measured("stream", server.url(), "--from", rows_from, "--as", kind)["rows"] == ROWS


def test_a_server_that_is_not_there_is_one_clear_line():
    for name in ("drain", "source", "stream"):
        done = command("bench", name, "mysql://root@127.0.0.1:1")
        assert done.returncode == 1
        assert "127.0.0.1" in done.stderr
        assert "Traceback" not in done.stderr
