"""Row images that don't hold all columns (binlog_row_image MINIMAL, NOBLOB): what is absent, and the key's hash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from engine.record import ABSENT, CHANGES, KEY_CHANGED, Kind
from tests.servers.database import Database
from tests.source.decoding import AFTER, BEFORE, KIND, Record, decode

FLAGS, KEY_HASH = 2, 10
STATEMENTS = [
    "CREATE DATABASE s",
    "CREATE TABLE s.t (a INT, v VARCHAR(10), b VARCHAR(10), w TEXT, PRIMARY KEY (b, a))",
    "INSERT INTO s.t VALUES (1, 'v', 'b', 'w')",
    "UPDATE s.t SET v = 'v2'",
    "UPDATE s.t SET a = 2",
    "UPDATE s.t SET b = 'c', w = NULL",
    "UPDATE s.t SET a = 3, b = 'd', v = 'v3'",
    "DELETE FROM s.t",
]


def changes(server: Database) -> list[Record]:
    server.sql(*STATEMENTS)
    return [record for record in decode(server.binlog_files()[0].read_bytes()) if record[KIND] in CHANGES]


def shown(row: list[Any] | None) -> str:
    return "-" if row is None else " ".join("_" if value == ABSENT else str(value) for value in row)


def test_minimal_images_hold_the_key_before_and_what_changed_after(make_server: Callable[..., Database]) -> None:
    records = changes(make_server(binlog_row_image="MINIMAL"))
    assert [(shown(r[BEFORE]), shown(r[AFTER])) for r in records] == [
        ("-", "1 v b w"),
        ("1 _ b _", "_ v2 _ _"),
        ("1 _ b _", "2 _ _ _"),
        ("2 _ b _", "_ _ c None"),
        ("2 _ c _", "3 v3 d _"),
        ("3 _ d _", "-"),
    ]


@pytest.mark.parametrize("image", ["MINIMAL", "NOBLOB"])
def test_hashes_and_key_changes_are_those_of_full_images(make_server: Callable[..., Database], image: str) -> None:
    sparse, full = changes(make_server(binlog_row_image=image)), changes(make_server(binlog_row_image="FULL"))
    assert [r[KEY_HASH] for r in sparse] == [r[KEY_HASH] for r in full]
    assert [r[FLAGS] for r in sparse] == [r[FLAGS] for r in full] == [0, 0, *[KEY_CHANGED] * 3, 0]
    assert 0 not in [r[KEY_HASH] for r in sparse]


def test_noblob_images_leave_out_texts_that_did_not_change(make_server: Callable[..., Database]) -> None:
    records = changes(make_server(binlog_row_image="NOBLOB"))
    second = next(r for r in records if r[KIND] == Kind.UPDATE)
    assert (shown(second[BEFORE]), shown(second[AFTER])) == ("1 v b _", "1 v2 b _")
    assert msgpack.packb(ABSENT) == b"\xc7\x00\x01"
