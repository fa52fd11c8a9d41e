"""`binlog-engine bench`: every measurement runs, checks its answer and prints the fields that others read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.cli.bench.result import Limit, Result
from engine.ring import PROFILE
from tests.running_engine import command
from tests.servers import install
from tests.servers.missing import Missing

pytestmark = pytest.mark.skipif(PROFILE != "release", reason="only a release build is recorded")

BINLOG = Path(__file__).parents[1] / "data" / "mysql-shop" / "binlog.000001"
FIELDS = {"rows", "bytes", "seconds", "rows_per_s", "mb_per_s"}
MACHINE = {"profile", "date", "cpu", "cores", "kernel", "python", "versions"}
ROWS = 5_000


def measured(*arguments: str, fields: set[str] = FIELDS) -> dict:
    done = command("bench", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result) >= fields | MACHINE
    return result


def test_ring_counts_what_each_reader_got_and_measures_a_queue_beside():
    result = measured("ring", "--records", "20000", "--readers", "2", "--readers", "1")
    assert result["rows"] == 20000
    assert list(result["records_per_s_by_readers"]) == ["2", "1"]
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
    return make_rows(server, unique_schema)


def make_rows(server, schema):
    start = server.position()
    server.sql(
        f"CREATE TABLE {schema}.t (id INT PRIMARY KEY, name VARCHAR(20))",
        f"INSERT INTO {schema}.t WITH RECURSIVE d AS (SELECT 0 AS d UNION ALL SELECT d + 1 FROM d WHERE d < 99) "
        f"SELECT a.d * 100 + b.d, 'x' FROM d a, d b WHERE a.d < {ROWS // 100}",
    )
    return start


def test_drain_reads_the_dump_to_its_end(server, rows_from):
    drained, decoded = (measured(name, server.url(), "--from", rows_from) for name in ("drain", "source"))
    assert drained["bytes"] >= decoded["bytes"] > ROWS * 6


@pytest.mark.parametrize("tls", ["preferred", "disabled"])
def test_source_decodes_every_row_of_the_dump(server, rows_from, tls):
    result = measured("source", server.url(), "--from", rows_from, "--rows", str(ROWS), "--tls", tls)
    assert result["rows"] == ROWS
    assert result["tls"] == (server.name == "mysql" and tls == "preferred")


def test_of_runs_in_pairs_with_their_limit_the_pair_in_the_middle_counts():
    samples = [1.0, 2.0, 0.5]
    assert Result("it", 1, 1_000_000, samples, limit=Limit("the limit", 4.0, [1.0, 1.0, 8.0])).of_limit == 0.5
    assert Result("it", 1, 1_000_000, samples, limit=Limit("the limit", 4.0)).of_limit == 0.25


@pytest.mark.parametrize("kind", ["raw", "tuples", "changes", "arrow"])
def test_stream_delivers_every_row_to_a_consumer_that_acks(server, rows_from, kind):
    if kind == "arrow":
        pytest.importorskip("pyarrow")
    result = measured("stream", server.url(), "--from", rows_from, "--as", kind)
    assert result["rows"] == ROWS
    assert set(result["peak_mb"]) == {"supervisor", "source bench", "sink bench 0", "server"}


def test_what_the_changes_say_has_one_checksum_in_the_file_the_ring_and_the_consumer(server, rows_from, unique_schema):
    of_source = measured("source", server.url(), "--from", rows_from, "--no-limit")["checksum"]
    server.sql("FLUSH BINARY LOGS")
    first = int(rows_from.split(":")[0].rpartition(".")[2])
    files = [str(path) for path in server.binlog_files() if first <= int(path.suffix[1:])][:-1]
    everything = measured("decode", *files, "--include", rf"{unique_schema}\..*")
    streamed = measured(
        "stream", server.url(), "--from", f"{Path(files[0]).name}:4", "--include", rf"{unique_schema}\..*",
        "--partitions", "3", "--sinks", "2",
        "--transport", "unix", "--no-limit", "--rows", str(everything["rows"]), "--checksum", everything["checksum"],
    )  # fmt: skip
    assert streamed["checksum"] == everything["checksum"]
    assert streamed["rows"] >= ROWS
    wrong = command("bench", "source", server.url(), "--from", rows_from, "--checksum", f"{int(of_source, 16) ^ 1:016x}")
    assert wrong.returncode == 1
    assert "wrong answer: checksum of the changes" in wrong.stderr


def test_latency_is_measured_from_each_commit_to_the_consumer(mariadb):
    pytest.importorskip("hdrh")
    options = ["--rate", "200", "--rate", "400", "--seconds", "0.5", "--connections", "2"]
    result = measured("latency", mariadb.url("root"), *options, fields={"cases"})
    assert [case["transactions"] for case in result["cases"]] == [100, 200]
    for case in result["cases"]:
        due, sent, confirmed = case["from_due_us"], case["from_sent_us"], case["from_confirmed_us"]
        assert 0 < sent["p50"] <= sent["p99"] <= sent["max"]
        assert confirmed["p50"] < sent["p50"] <= due["p50"]
    assert mariadb.sql("SHOW DATABASES LIKE 'binlog_engine_bench'") == ()


def test_peers_read_the_same_binlog_and_their_rows_are_counted(make_server):
    server = make_server()  # of its own: what other tests have in their binlogs a peer may not be able to read
    server.sql("CREATE DATABASE peers")
    rows_from = make_rows(server, "peers")
    try:
        tool = install.mysql_home() / "bin/mysqlbinlog" if server.name == "mysql" else install.mariadb_binlog()
    except Missing as missing:
        pytest.skip(str(missing))
    arguments = ("--from", rows_from, "--rows", str(ROWS), "--tool", str(tool))
    result = measured("peers", server.url(), *arguments, fields={"results"})
    peers = [one["peer"] for one in result["results"]]
    assert peers == ["binlog-engine, raw", "binlog-engine, changes", Path(tool).name, "mysql-replication"]
    assert all(one["rows"] == ROWS for one in result["results"])


def test_idle_shows_what_each_process_takes(mariadb):
    result = measured("idle", mariadb.url("root"), "--seconds", "1", fields={"cpu_percent", "peak_mb", "cpu_percent_in_all"})
    assert set(result["cpu_percent"]) == set(result["peak_mb"]) == {"supervisor", "source bench", "sink bench 0", "server"}


def test_a_server_that_is_not_there_is_one_clear_line():
    for name in ("drain", "source", "stream"):
        done = command("bench", name, "mysql://root@127.0.0.1:1")
        assert done.returncode == 1
        assert "127.0.0.1" in done.stderr
        assert "Traceback" not in done.stderr
