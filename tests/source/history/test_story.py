"""A binlog without metadata, written over many schema changes, is read from its start after all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.client.change import Change, ChangeReader
from engine.errors import SourceError
from engine.source._versions import TableVersion
from engine.source.files import decode_files
from engine.source.history.history import Moment
from engine.source.table_map import parse_table_map
from engine.source.tables import TableVersions
from engine.source.versioning import with_key_of_current_rows
from tests.servers.database import Database
from tests.servers.selected import same
from tests.source.history.story import HIDDEN, ROWS, SCHEMA, Chapter, steps, tell
from tests.source.history.test_statements import DDL

METADATA = {"mariadb": ["NO_LOG", "MINIMAL", "FULL"], "mysql": ["MINIMAL", "FULL"]}


def test_the_story_has_more_than_fifty_statements(server: Database) -> None:
    assert sum(bool(DDL.match(sql)) for _, step in steps(server) for sql in step.split("; ")) > 50


@pytest.mark.parametrize(
    ("name", "metadata"),
    [pytest.param(n, m, marks=getattr(pytest.mark, n)) for n in METADATA for m in METADATA[n]],
)
def test_every_row_is_right_after_every_change(request: pytest.FixtureRequest, name: str, metadata: str) -> None:
    server = request.getfixturevalue(f"make_{name}")(binlog_row_metadata=metadata)
    chapters = tell(server)
    server.sql("FLUSH BINARY LOGS")
    compare(chapters, changes(server.binlog_files()[:-1]))


@pytest.mark.parametrize("name", [pytest.param(name, marks=getattr(pytest.mark, name)) for name in METADATA])
def test_the_history_alone_tells_what_full_metadata_tells(
    request: pytest.FixtureRequest, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Types, signs, character sets, labels and keys: of each map once with its metadata, once without."""
    server = request.getfixturevalue(f"make_{name}")(binlog_row_metadata="FULL")
    tell(server)
    server.sql("FLUSH BINARY LOGS")
    full, seen = TableVersions.version, []

    def both(
        self: TableVersions,
        body: bytes,
        post_header_bytes: int,
        mariadb: bool,
        moment: Callable[[], Moment],
        fail: Callable[..., SourceError],
    ) -> TableVersion:
        version = full(self, body, post_header_bytes, mariadb, moment, fail)
        if version.plan is not None:
            table_map = parse_table_map(body, post_header_bytes, mariadb)
            untold = {"name", "unsigned", "collation", "labels", "geometry", "visible", "dimensions"}
            columns = tuple(replace(column, **dict.fromkeys(untold)) for column in table_map.columns)
            bare = replace(table_map, columns=columns, primary_key=None, fields=frozenset())
            known = self._schema_by_history((bare.schema, bare.table), bare, mariadb, moment())
            seen.append((version.plan.schema, with_key_of_current_rows(known)))
        return version

    monkeypatch.setattr(TableVersions, "version", both)
    changes(server.binlog_files()[:-1])
    assert len(seen) > 50
    for told, known in seen:
        assert known == told


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
            if change.op == "delete" or ends_a_version(change):
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


def ends_a_version(change: Change) -> bool:
    """MariaDB deletes a row of a system-versioned table by giving it an end."""
    return change.op == "update" and dict(change.before or {}).get("row_end") != dict(change.after or {}).get("row_end")


def visible(row: Any) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in row.items() if name not in HIDDEN}


def assert_same(chapter: Chapter, what: str, got: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    def order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(rows, key=lambda row: repr(sorted(row.items())))

    assert len(got) == len(expected), (chapter.sql, what, got, expected)
    for one, other in zip(order(got), order(expected), strict=True):
        assert list(one) == list(other), (chapter.sql, what)
        assert same(one, other), (chapter.sql, what, one, other)
