"""Ids that TABLE_MAPs give tables: a server that has more tables than it keeps open gives each a new one again and again."""

from __future__ import annotations

import pytest

from engine.record import CHANGES, Kind
from tests.source.decoding import AFTER, KIND, TABLE, Record, decode
from tests.source.made_binlog import MadeBinlog, write_rows

IDS = 4096  # _tables.h forgets them beyond
VERSIONS = 4096  # _binlog.pyx asks for all again beyond


def statement(made: MadeBinlog, number: int, tables: list[tuple[str, int]]) -> None:
    """One transaction: a statement that changes all these tables; its maps come first, as of a multi-table UPDATE."""
    made.gtid(number)
    made.query("BEGIN")
    for table, table_id in tables:
        made.table_map(table, table_id=table_id)
    for i, (_, table_id) in enumerate(tables):
        made.write_rows([(number + i, b"")], table_id)
    made.xid(number)


def rows_by_table(records: list[Record]) -> dict[str, list[int]]:
    names: dict[int, str] = {}
    found: dict[str, list[int]] = {}
    for record in records:
        if record[KIND] == Kind.SCHEMA:
            names[record[TABLE]] = record[AFTER]["table"]
        elif record[KIND] in CHANGES:
            found.setdefault(names[record[TABLE]], []).append(record[AFTER][0])
    return found


def test_a_table_with_a_new_id_for_each_transaction_is_one_table_with_one_schema_record() -> None:
    made = MadeBinlog()
    for number in range(1, 101):
        statement(made, number, [("a", 1000 + 2 * number), ("b", 1001 + 2 * number)])
    records = decode(bytes(made.data))
    assert [record[AFTER]["table"] for record in records if record[KIND] == Kind.SCHEMA] == ["a", "b"]
    assert rows_by_table(records) == {"a": [*range(1, 101)], "b": [*range(2, 102)]}


def test_an_id_that_comes_to_stand_for_another_known_table_means_that_one() -> None:
    made = MadeBinlog()
    for number in range(1, 10):
        statement(made, number, [("ab"[number % 2], 77)])
    assert rows_by_table(decode(bytes(made.data))) == {"a": [2, 4, 6, 8], "b": [1, 3, 5, 7, 9]}


@pytest.mark.timeout(60)
def test_more_ids_than_are_kept_lose_no_row_also_of_a_statement_that_names_two_tables() -> None:
    """Three quarters of what is kept in one transaction, and three times as many in all."""
    made, many = MadeBinlog(), IDS * 3 // 4
    for number in range(1, 5):
        made.gtid(number)
        made.query("BEGIN")
        maps = range(number * many, (number + 1) * many)
        for each in maps:
            made.table_map("ab"[each % 2], table_id=each)
        made.add(30, write_rows([(number, b"")], maps[0]))
        made.add(30, write_rows([(number, b"")], maps[-1]))
        made.xid(number)
    assert rows_by_table(decode(bytes(made.data))) == {"a": [1, 2, 3, 4], "b": [1, 2, 3, 4]}


@pytest.mark.timeout(60)
def test_a_statement_whose_second_table_is_one_too_many_to_be_remembered_keeps_its_first() -> None:
    made = MadeBinlog()
    for number in range(1, VERSIONS):
        statement(made, number, [(f"t{number}", number)])
    statement(made, VERSIONS, [("first", 9000), ("second", 9001), ("third", 9002)])
    statement(made, VERSIONS + 10, [("t1", 1), ("first", 9000)])
    found = rows_by_table(decode(bytes(made.data)))
    assert found["first"] == [VERSIONS, VERSIONS + 11]
    assert found["second"] == [VERSIONS + 1]
    assert found["third"] == [VERSIONS + 2]
    assert found["t1"] == [1, VERSIONS + 10]
    assert len(found) == VERSIONS + 2
