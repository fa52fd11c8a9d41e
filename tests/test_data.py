"""The recorded binlogs: complete, small, and what their make.sql makes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.data.make import DATA, cases, expected_tables, run_file
from tests.servers.database import Database
from tests.servers.missing import Missing

KINDS = ("all-types", "shop", "update-delete", "xa", "minimal-image")
OTHERS = {
    "mariadb-compressed", "mariadb-no-log-metadata", "mariadb-old-temporal", "mariadb-statements",
    "mariadb-versioned", "mysql-minimal-metadata", "mysql-partial-json",
    "mysql-payload", "mysql-tagged-partitions",
}  # fmt: skip


def test_there_is_a_case_of_each_kind_from_each_server() -> None:
    assert {case.name for case in cases()} >= OTHERS | {f"{server}-{kind}" for server in ("mariadb", "mysql") for kind in KINDS}


def test_together_they_stay_small() -> None:
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) < 3_000_000


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_case_is_a_binlog_with_what_select_showed(case: Path) -> None:
    assert (case / "binlog.000001").read_bytes()[:4] == b"\xfebin"
    tables = json.loads((case / "expected.json").read_text())
    assert all(isinstance(row, dict) for rows in tables.values() for row in rows)


def test_the_make_sql_of_a_shop_still_makes_what_was_recorded(server: Database) -> None:
    case = DATA / f"{server.name}-shop"
    server.sql("DROP DATABASE IF EXISTS shop")
    run_file(server, case / "make.sql")
    tables = expected_tables(server, ["shop"])
    server.sql("DROP DATABASE shop")

    assert tables == json.loads((case / "expected.json").read_text())


def test_a_shops_binlog_has_a_few_hundred_changes_and_an_alter_in_the_middle(server: Database) -> None:
    try:
        text = server.binlog_text(DATA / f"{server.name}-shop/binlog.000001")
    except Missing as missing:
        pytest.skip(str(missing))
    before, after = (len(re.findall("^### (INSERT|UPDATE|DELETE)", part, re.M)) for part in text.split("ALTER TABLE orders"))

    assert before > 70
    assert after > 70
    assert 160 < before + after < 400
