"""The workloads and what is made of their results; nothing here is timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import document, growth, profile, table
from bench.binlogs import recorded, serving
from bench.workloads import WORKLOADS
from engine.cli.bench.binlog_end import end_of_binlog
from engine.cli.bench.stream import Streaming, streamed
from engine.errors import EngineError


def test_a_recording_is_made_once_and_served_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    needle = WORKLOADS["needle"]
    recording = recorded(needle, "mariadb", 20_000)
    assert (recording.rows, recording.wanted_rows) == (20_000, 1000)
    assert recorded(needle, "mariadb", 20_000) == recording
    how = Streaming(tables={"destination": {"include": [needle.include]}})
    with serving(recording, repeat=2) as server:
        run = streamed(server.url(), "binlog.000001:4", end_of_binlog(server.url()), how)
    assert run.rows == 2000
    assert run.more["checksum"] == f"{2 * int(recording.checksum, 16) % 2**64:016x}"


def test_growth_is_told_by_the_processor_time_of_the_engines_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(growth, "PARTITION_ROUNDS", 2)
    (check,) = growth.partitions(growth.Scale("mariadb", rows=200_000, most=200_000, repeat=1))
    for by_process in check["cpu_ns_by_process"]:
        assert set(by_process) == {"supervisor", "source bench", "sink bench 0", "server"}
        assert all(by_process[title] > 0 for title in set(by_process) - {"supervisor"})
    assert check["limit"] == growth.PARTITIONS_AT_MOST
    assert growth.holds(check) == (check["ratio"] <= growth.PARTITIONS_AT_MOST)


def test_a_function_that_cython_compiled_is_told_by_its_name() -> None:
    for symbol, name in (
        ("__pyx_f_6engine_5_scan_7Scanner__scan", "Scanner._scan"),
        ("__pyx_pw_6engine_6_heads_5Heads_3scan", "Heads.scan"),
        ("__pyx_pw_6engine_8_content_1content", "content"),
        ("decoder_write_rows", "decoder_write_rows"),
    ):
        assert profile.readable(symbol) == name


def test_the_tables_of_the_pages_come_from_the_results(tmp_path: Path) -> None:
    here = {"date": "2026-11-27T00:00:00Z", "cpu": "A", "cores": 2, "kernel": "6"}
    about = {"flavour": "mariadb", "workload": "inserts", "server": "mariadb 10.11"}
    check = {"check": "8 partitions", "ratio": 1.2, "limit": 1.5, "cpu_ns_per_row": [100.0, 120.0], "clock_ratio": 1.0}
    profiled = {"workload": "inserts", "consume": "raw", "process": "server", "ns_per_row": 99.6, "shares": {"kernel": 0.5}}
    results = [
        {"bench": "decode", "rows": 9, "rows_per_s": 12_500_000, "mb_per_s": 800.0, "of_limit": 0.2, **about},
        {"bench": "peers", "results": [{"peer": "mysql-replication", "rows_per_s": 25_000}], **about},
        {"bench": "source", "error": "no such server", **about},
        {"bench": "source", "of_limit": 0.55, "tls": True, **about, "flavour": "mysql"},
        {"bench": "source without TLS", "of_limit": 0.7, "tls": False, **about, "flavour": "mysql"},
        {"bench": "growth", "checks": [{**check, "ratio": 1.6}]},
        {"bench": "profile", "profiles": [profiled]},
    ]
    file, later = tmp_path / "results.json", tmp_path / "growth.json"
    later.write_text(json.dumps({"bench": "growth", "checks": [check], **here}))
    file.write_text(json.dumps({"bench": "table", "results": results, **here}))
    run = document.Run([file, later])
    assert "| decode, rows/s | 8.0 M | 12.5 M |  |" in document.performance(run)
    assert "| decode against mysql-replication | 300 × | 500 |  |" in document.performance(run)
    assert "| source against the raw socket, MB/s | 0.5 |  | 0.70 |" in document.performance(run)
    assert "| … both over TLS, where the server offers it | 0.5 |  | 0.55 |" in document.performance(run)
    assert "| mysql-replication, on the same binlog | 25 k |  |  |" in document.readme(run)
    assert "| 8 partitions | 100 → 120 | 1.20 | 1.50 | 1.00 |" in document.performance(run)
    assert "| bulk inserts, raw | server | 100 | kernel 50% |" in document.performance(run)
    assert "- source, mariadb inserts: no such server" in document.performance(run)
    for page in document.PAGES:
        text = document.replaced(page.read_text(), "the tables")
        assert f"{document.BEGIN}\nthe tables\n{document.END}" in text


def test_an_error_in_one_measurement_is_a_line_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    failed = table.measure("bench", "stream", "mysql://root@127.0.0.1:1", "--as", "tuples", flavour="mariadb", workload="inserts")
    assert failed["bench"] == "stream tuples"
    results = [failed]
    with table.whatever_fails("idle", results, flavour="mysql"):
        raise EngineError("bench: the engine didn't start", log="...")
    table.show(results)
    shown = capsys.readouterr().out
    assert "stream tuples, inserts" in shown
    assert "127.0.0.1" in shown
    assert "FAILED: bench: the engine didn't start" in shown
