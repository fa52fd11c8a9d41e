"""The recorded binlogs of tests/data, without a server: what they hold, also when the decoder dies on the way."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import Any

import pytest

from engine.client.items import Change, History, Statement
from engine.record import Kind
from tests.data.make import DATA
from tests.fidelity.reading import read_files
from tests.servers.selected import same, to_json
from tests.source.decoding import KIND, TABLE, Decoding, Record, decode_packets, dump_of, without_schemas
from tests.source.decoding import interrupted as interrupted_in

CASES = (
    "mariadb-compressed", "mariadb-minimal-image", "mariadb-no-log-metadata", "mariadb-old-temporal", "mariadb-versioned",
    "mysql-minimal-image", "mysql-minimal-metadata", "mysql-partial-json", "mysql-tagged-partitions",
)  # fmt: skip
XA_CASES = ("mariadb-xa", "mysql-xa", "mysql-payload")  # need the file twice


def replayed(case: str) -> dict[str, list[dict[str, Any]]]:
    """The rows that the changes leave, by table; a row is found by its key, or else by all that its image holds."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for change in read_files([DATA / case / "binlog.000001"]):
        if not isinstance(change, Change):
            continue
        rows = tables.setdefault(change.columns.name, [])
        old: dict[str, Any] = {}
        if change.before is not None:
            names = [change.columns.columns[i].name for i in change.columns.primary_key] or list(change.before)
            at = next(i for i, row in enumerate(rows) if all(row[name] == change.before[name] for name in names))
            old = rows.pop(at)
        if change.after is not None:
            rows.append({**old, **change.after})
    return tables


@pytest.mark.parametrize("case", [*CASES, *XA_CASES])
def test_its_changes_leave_what_select_showed(case: str) -> None:
    expected = json.loads((DATA / case / "expected.json").read_text())
    got = replayed(case)

    assert got.keys() == expected.keys()
    for table, rows in expected.items():
        left = [to_json(row) for row in got[table]]
        for row in rows:
            at = next(
                (i for i, one in enumerate(left) if one.keys() == row.keys() and all(same(one[n], row[n]) for n in row)), -1
            )
            assert at >= 0, (row, left)
            left.pop(at)
        assert left == []


def records_of(case: str) -> list[Record]:
    decoding = Decoding().open_file()
    try:
        return decoding.run((DATA / case / "binlog.000001").read_bytes()[4:])
    finally:
        decoding.close()


@pytest.mark.parametrize("case", [case for case in CASES if "metadata" not in case])  # where the schema is all in TABLE_MAPs
def test_a_decoder_that_dies_again_and_again_leaves_the_same_records(case: str) -> None:
    whole = without_schemas(records_of(case))
    data = (DATA / case / "binlog.000001").read_bytes()
    for seed in range(5):
        assert without_table_keys(interrupted_in(data, random.Random(seed))) == without_table_keys(whole)


def without_table_keys(records: list[Record]) -> list[Record]:
    return [[*record[:TABLE], *record[TABLE + 1 :]] for record in without_schemas(records)]


@pytest.mark.parametrize("case", CASES)
def test_a_dump_of_it_brings_the_same_records(case: str) -> None:
    records = decode_packets(dump_of(DATA / case / "binlog.000001"))

    assert without_schemas(records) == without_schemas(records_of(case))


def test_changes_logged_as_statements_come_as_such() -> None:
    items = list(read_files([DATA / "mariadb-statements" / "binlog.000001"]))

    assert [item.sql.split()[0] for item in items if isinstance(item, Statement)] == ["INSERT", "UPDATE", "DELETE", "INSERT"]
    assert [item.op for item in items if isinstance(item, Change)] == ["delete"] * 2, "those of its one statement in rows"


def test_the_history_of_a_versioned_table_comes_beside_its_changes_each_with_a_place_of_its_own() -> None:
    items = list(read_files([DATA / "mariadb-versioned" / "binlog.000001"]))
    told = [item for item in items if isinstance(item, Change | History)]
    history = [item for item in told if isinstance(item, History)]

    assert len({item.identity for item in told}) == len(told)
    assert sum(item.after is None for item in history) == 7, "gone by DELETE HISTORY"
    assert all("row_end" in (item.before or item.after or {}) for item in history if item.table != "x")


def test_a_deleted_row_and_its_history_row_have_one_hash_so_they_share_a_partition() -> None:
    records = records_of("mariadb-versioned")
    pairs = [(one, other) for one, other in pairwise(records) if one[KIND] == Kind.DELETE]
    of_history = [(one, other) for one, other in pairs if other[KIND] == Kind.HISTORY]

    assert len(of_history) == 5
    assert all(one[10] == other[10] for one, other in of_history)
