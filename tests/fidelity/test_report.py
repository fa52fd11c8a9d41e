"""docs/fidelity.md is what the last generation gave."""

from __future__ import annotations

from tests.fidelity.report import PAGE, row_names, rows_of


def test_the_page_has_a_row_for_each_setting_type_and_kind_of_change() -> None:
    assert rows_of(PAGE.read_text()) == row_names(), "run `python -m tests.fidelity.report`"


def test_the_page_shows_nothing_as_wrong_that_nobody_has_named() -> None:
    assert "WRONG" not in PAGE.read_text()
