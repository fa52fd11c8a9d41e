"""A binlog without metadata, written over many schema changes, is read from its start after all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.client.change import Change, ChangeReader
from engine.source.files import decode_files
from tests.servers.database import Database
from tests.servers.selected import same
from tests.source.history.story import HIDDEN, ROWS, SCHEMA, Chapter, steps, tell


def test_the_story_has_more_than_fifty_statements(server: Database) -> None:
    assert sum(len(sql.split("; ")) for _, sql in steps(server)) > 50


@pytest.mark.parametrize("metadata", ["NO_LOG", "MINIMAL", "FULL"])
def test_every_row_is_right_after_every_change(make_server: Callable[..., Database], metadata: str) -> None:
    server = make_server(binlog_row_metadata=metadata)
    chapters = tell(server)
    server.sql("FLUSH BINARY LOGS")
    compare(chapters, changes(server.binlog_files()[:-1]))


def changes(files: list[Path]) -> list[Change]:
    reader = ChangeReader({})
    found = []
    for records, sources in decode_files(files, wants=lambda name: name.startswith(f"{SCHEMA}.")):
        reader.sources = sources
        found += [change for change in reader.read(records) if isinstance(change, Change)]
    return found


def compare(chapters: list[Chapter], found: list[Change]) -> None:
    """Rows of CREATE ... SELECT come before the chapter's own; its deletes and inserts are the last ones."""
    rest = iter(found)
    for chapter in chapters:
        deleted: list[dict[str, Any]] = []
        inserted: list[dict[str, Any]] = []
        while len(deleted) < len(chapter.before) or len(inserted) < ROWS:
            change = next(rest)
            if change.op == "delete":
                deleted.append(visible(change.before))
                inserted.clear()
            elif change.op == "insert":
                inserted.append(visible(change.after))
                if len(deleted) < len(chapter.before):
                    inserted.clear()
            assert (change.schema, change.table) == (SCHEMA, chapter.table), (chapter.sql, change)
        assert_same(chapter, "deleted", deleted, chapter.before)
        assert_same(chapter, "inserted", inserted, chapter.after)
    assert [change for change in rest if change.op != "update"] == []


def visible(row: Any) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in HIDDEN}


def assert_same(chapter: Chapter, what: str, got: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    def order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(rows, key=lambda row: repr(sorted(row.items())))

    assert len(got) == len(expected), (chapter.sql, what, got, expected)
    for one, other in zip(order(got), order(expected), strict=True):
        assert list(one) == list(other), (chapter.sql, what)
        assert same(one, other), (chapter.sql, what, one, other)
