"""Tables whose names don't mean what they say at first sight: renames that are gone from the binlog."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import ServerSetupError
from tests.servers.database import Database
from tests.source.history.test_live import SCHEMA, bare, rows, run, started
from tests.source.stepped_engine import live

__all__ = ["bare"]


def test_a_table_whose_rename_was_purged_is_known_by_its_new_name(bare: Database, make_engine: Any) -> None:
    run(bare, "CREATE TABLE old (id INT PRIMARY KEY, u INT UNSIGNED)", "RENAME TABLE old TO new", "FLUSH BINARY LOGS")
    bare.purge(bare.binlog_files()[-1].name)
    run(bare, "INSERT INTO new VALUES (1, 4294967295)")
    engine = started(make_engine(live(bare, start="earliest")))
    engine.until(lambda: len(engine.changes()) == 1)
    assert rows(engine) == [{"id": 1, "u": 4294967295}]


def test_rows_under_a_name_that_the_server_no_longer_has_are_not_guessed_at(bare: Database, make_engine: Any) -> None:
    """Its CREATE TABLE is purged; a rename comes later; another table of the same shape has the name by now."""
    run(bare, "CREATE TABLE t (id INT PRIMARY KEY, u INT UNSIGNED)", "FLUSH BINARY LOGS")
    bare.purge(bare.binlog_files()[-1].name)
    run(bare, "INSERT INTO t VALUES (1, 4294967295)", "RENAME TABLE t TO moved", "INSERT INTO moved VALUES (2, 4294967294)")
    engine = make_engine(live(bare, start="earliest"))
    engine.start()
    with pytest.raises(ServerSetupError, match=rf"the server has no such table now.*table={SCHEMA}\.t\b.*binlog-engine schema"):
        engine.until(lambda: False)
