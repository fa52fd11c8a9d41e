"""`bench sweep` and `bench compare`: a person sees what a setting does, and what has changed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from engine.cli.bench.sweep import FACTORS
from engine.config import Config
from engine.ring import PROFILE
from tests.running_engine import command

pytestmark = pytest.mark.skipif(PROFILE != "release", reason="only a release build is recorded")


@pytest.fixture
def rows_from(mariadb, unique_schema):
    """A start position with a hundred changes behind it."""
    start = mariadb.position()
    rows = ", ".join(f"({number})" for number in range(100))
    mariadb.sql(f"CREATE TABLE {unique_schema}.t (id INT PRIMARY KEY)", f"INSERT INTO {unique_schema}.t VALUES {rows}")
    return start


def test_a_sweep_measures_each_value_and_writes_a_page_that_needs_nothing_else(mariadb, rows_from, tmp_path):
    page, results = tmp_path / "sweep.html", tmp_path / "sweep.json"
    done = command(
        "bench", "sweep", mariadb.url("root"), "--from", rows_from, "--factor", "transport", "--repeat", "1",
        "--out", str(page), "--json", str(results),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(results.read_text())["results"]
    assert [(result["factor"], result["value"], result["rows"]) for result in found] == [
        ("transport", "tcp", 100),
        ("transport", "unix", 100),
    ]
    text = page.read_text()
    assert text.count("<svg") == 1
    assert text.count("<circle") == 2
    assert "measured once" in text
    assert not re.search(r"https?://|<script|<link|src=", text)


def test_an_unknown_setting_is_refused_with_those_there_are(tmp_path):
    done = command("bench", "sweep", "mysql://root@127.0.0.1:1", "--factor", "colour", "--out", str(tmp_path / "x.html"))
    assert done.returncode == 2
    assert "source ring" in done.stderr
    assert not (tmp_path / "x.html").exists()


def test_the_usual_values_of_a_sweep_are_the_defaults_of_the_config():
    base = {"sources": {"bench": {"url": "mysql://u@h"}}, "destinations": {"bench": {}}}
    usual = Config.model_validate(base)
    for factor in FACTORS.values():
        tables = factor.tables(factor.usual)
        fixed = {"destination": dict(factor.fixed)} if factor.fixed else {}
        changed = Config.model_validate(
            {
                "server": tables.get("server", {}),
                "sources": {"bench": {**base["sources"]["bench"], **tables.get("source", {})}},
                "destinations": {"bench": {**tables.get("destination", {}), **fixed.get("destination", {})}},
            }
        )
        same = Config.model_validate({**base, "destinations": {"bench": fixed.get("destination", {})}}) if fixed else usual
        assert changed == same, factor.name
        assert factor.usual in factor.values


def results(path: Path, **seconds: list[float]) -> str:
    path.write_text(json.dumps({"results": [{"bench": name, "samples_s": samples} for name, samples in seconds.items()]}))
    return str(path)


def test_a_difference_within_the_noise_is_called_the_same(tmp_path):
    a = results(tmp_path / "a.json", source=[1.0, 1.1, 0.9], drain=[1.0, 1.0], gone=[1.0])
    b = results(tmp_path / "b.json", source=[1.05, 1.0, 1.1], drain=[0.5, 0.5], new=[1.0])
    done = command("bench", "compare", a, b, "--json")
    assert done.returncode == 0, done.stderr
    compared = json.loads(done.stdout)
    verdicts = {change["name"]: (change["verdict"], change["change"]) for change in compared["changes"]}
    assert verdicts == {"source": ("same", -0.0476), "drain": ("faster", 1.0)}
    assert (compared["only_a"], compared["only_b"]) == (["gone"], ["new"])


def test_files_without_a_common_measurement_are_refused(tmp_path):
    a, b = results(tmp_path / "a.json", source=[1.0]), results(tmp_path / "b.json", drain=[1.0])
    done = command("bench", "compare", a, b)
    assert done.returncode == 2
    assert "nothing to compare" in done.stderr
