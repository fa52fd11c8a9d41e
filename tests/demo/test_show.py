"""The demo's drawing."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from demo.show import Screen, line, value


def change(op: str, before: Any = None, after: Any = None, key: Any = None) -> SimpleNamespace:
    key = (7,) if key is None else key
    return SimpleNamespace(op=op, table="orders", before=before, after=after, key=key, position="binlog.000001:1234")


def console() -> Console:
    return Console(file=io.StringIO(), width=100, force_terminal=False)


def text_of(shown: Console) -> str:
    assert isinstance(shown.file, io.StringIO)
    return shown.file.getvalue()


def test_an_insert_shows_its_row_and_where_it_stands() -> None:
    shown = line(change("insert", after={"id": 7, "status": "new", "note": None}), 100)

    assert shown.plain.startswith("+ insert orders      7 ")
    assert "status=new note=NULL" in shown.plain
    assert shown.plain.endswith("  binlog.000001:1234")


def test_an_update_shows_only_what_changed_from_old_to_new() -> None:
    shown = line(change("update", {"id": 7, "status": "new", "total": "1.00"}, {"id": 7, "status": "paid", "total": "1.00"}), 100)

    assert "status new → paid" in shown.plain
    assert "total" not in shown.plain


def test_a_delete_shows_what_was_there() -> None:
    assert "status=new" in line(change("delete", before={"id": 7, "status": "new"}), 100).plain


def test_each_op_has_a_colour_of_its_own() -> None:
    row = {"id": 7}
    changes = [change("insert", after=row), change("update", row, row), change("delete", before=row)]

    assert [line(each, 100).spans[0].style for each in changes] == ["bold green", "bold yellow", "bold red"]


def test_every_line_is_as_wide_as_the_screen_even_with_wide_characters() -> None:
    row = {"id": 7, "note": "名前🐙" * 5, "more": "x" * 200}

    assert line(change("insert", after=row), 80).cell_len == 80
    assert line(change("insert", after={"id": 7}), 80).cell_len == 80


def test_a_key_of_several_columns_is_shown_whole() -> None:
    assert " 7/2 " in line(change("insert", after={}, key=(7, 2)), 100).plain


def test_long_and_binary_values_are_shortened() -> None:
    assert value("x" * 100) == "x" * 27 + "…"
    assert value(b"\0" * 10) == "10 bytes"
    assert value(None) == "NULL"


def test_markup_in_a_value_is_shown_as_it_is() -> None:
    shown = console()
    Screen(shown).change(change("insert", after={"note": "[red]not red[/]"}), 1.0)

    assert "note=[red]not red[/]" in text_of(shown)


def test_a_sample_of_the_changes_is_shown_and_all_are_counted() -> None:
    shown = console()
    screen = Screen(shown, lines_per_second=10)
    screen.tick(100.0)
    for number in range(1000):
        screen.change(change("insert", after={"id": number}), 100.0 + number / 1000)
    screen.tick(101.0)

    lines = text_of(shown).splitlines()
    assert sum("insert" in text for text in lines) == 10
    assert screen.counts == {("orders", "insert"): 1000}
    assert "1,000 changes/s · 1,000 total" in lines[-1]
    assert "990 not shown" in lines[-1]


def test_the_rates_of_a_second_are_of_that_second_alone() -> None:
    shown = console()
    screen = Screen(shown)
    screen.tick(0.0)
    for _ in range(5):
        screen.change(change("delete", before={}), 0.5, lag_ms=2.0)
    screen.tick(1.0)
    screen.tick(1.5)
    screen.change(change("delete", before={}), 1.6, lag_ms=8.0)
    screen.tick(2.0)

    rates = [text for text in text_of(shown).splitlines() if "changes/s" in text]
    assert len(rates) == 2
    assert "5 changes/s · 5 total · lag 2.0 ms" in rates[0]
    assert "1 changes/s · 6 total · lag 8.0 ms" in rates[1]


def test_the_summary_counts_by_table_and_op() -> None:
    shown = console()
    screen = Screen(shown)
    screen.change(change("insert", after={}), 0.0)
    screen.change(change("update", {}, {}), 0.0)
    screen.change(change("update", {}, {}), 0.0)
    shown.print(screen.summary())

    assert [cell.strip() for cell in text_of(shown).splitlines()[-2].strip("│").split("│")] == ["orders", "1", "2", "0"]
