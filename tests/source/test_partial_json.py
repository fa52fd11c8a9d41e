"""Partial updates of JSON (binlog_row_value_options=PARTIAL_JSON) give the whole documents that SELECT shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from engine.errors import BinlogError
from engine.record import Kind
from engine.source.json_diff import apply_differences
from tests.servers.mysql import MySQL
from tests.source.decoding import AFTER, BEFORE, KIND, decode, joined

DOCUMENT = {
    "name": "first", "a": 1, "list": [1, 2, 3, {"deep": [True, None]}], "quoted key": {'with "': "x"}, "é": "ü",
    "number": 1.5, "big": 18446744073709551615, "long": "x" * 1000,
}  # fmt: skip
UPDATES = [
    "JSON_SET(j, '$.name', 'second')",
    "JSON_REPLACE(j, '$.list[3].deep[0]', 7, '$.a', CAST(1.50 AS DECIMAL(5,2)))",
    "JSON_REMOVE(j, '$.list[0]', '$.number')",
    "JSON_SET(j, '$.new', JSON_OBJECT('k', 'v'), '$.\"quoted key\".\"with \\\\\"\"', 'y')",
    "JSON_SET(j, '$.é', NOW(6))",
    "JSON_SET(j, '$.list[100]', CAST('2026-01-02' AS DATE))",
    "JSON_REMOVE(j, '$.long')",
    "JSON_SET(j, '$.long', REPEAT('new ', 30000))",
    "JSON_SET(j, '$.long', 'short', '$.a', 2e0)",
    "JSON_SET(j, '$.name', j->'$.name')",
    "JSON_ARRAY(1, 2)",
    "JSON_SET(j, '$[0]', 'x')",
    "NULL",
]  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"binlog_transaction_compression": "ON"}])
def test_partial_updates_give_the_documents_that_select_shows(make_mysql: Callable[..., MySQL], options: dict[str, Any]) -> None:
    server = make_mysql(binlog_row_value_options="PARTIAL_JSON", **options)
    shown = []
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE s")
        cursor.execute("CREATE TABLE s.t (id INT PRIMARY KEY, other JSON, f FLOAT, j JSON, n JSON, last VARCHAR(20))")
        cursor.execute("INSERT INTO s.t VALUES (1, '[1]', 1.1, %s, NULL, 'a'), (2, '{}', 2.2, %s, '{\"n\": 1}', 'b')",
                       [json.dumps(DOCUMENT)] * 2)  # fmt: skip
        for number, expression in enumerate(UPDATES):
            cursor.execute(
                f"UPDATE s.t SET j = {expression}, other = JSON_SET(other, '$[1]', {number}), id = id + 10, last = '{number}'"
            )
            cursor.execute("SELECT id, other, j, n, last FROM s.t ORDER BY id")
            shown += cursor.fetchall()
    data = b"".join(path.read_bytes()[4 * (i > 0) :] for i, path in enumerate(server.binlog_files()))
    if not options:
        assert 39 in {data[at + 4] for at in event_offsets(data)}
    records = joined(decode(data))
    updates = [record for record in records if record[KIND] == Kind.UPDATE]
    assert len(updates) == len(shown)
    for update, row in zip(updates, shown, strict=True):
        key, other, _, j, n, last = update[AFTER]
        assert (key, n, last) == (row[0], row[3], row[4])
        assert [repr(json.loads(text or "null")) for text in (other, j)] == [
            repr(json.loads(text or "null")) for text in (row[1], row[2])
        ]
        if j and len(j) < 1000:
            assert j == row[2]
        assert update[BEFORE][0] == key - 10


def event_offsets(data: bytes) -> list[int]:
    found, at = [], 4
    while at < len(data):
        found.append(at)
        at += int.from_bytes(data[at + 9 : at + 13], "little")
    return found


def test_a_document_that_the_row_before_lacks_stops_with_a_named_error(make_mysql: Callable[..., MySQL]) -> None:
    server = make_mysql(binlog_row_value_options="PARTIAL_JSON", binlog_row_image="MINIMAL")
    server.sql(
        "CREATE DATABASE s", "CREATE TABLE s.t (id INT PRIMARY KEY, j JSON)",
        "INSERT INTO s.t VALUES (1, JSON_OBJECT('name', REPEAT('x', 20), 'long', REPEAT('y', 1000)))",
        "UPDATE s.t SET j = JSON_SET(j, '$.name', 'x')",
    )  # fmt: skip
    with pytest.raises(BinlogError, match=r"doesn't hold.*binlog_row_image=FULL.*event=PARTIAL_UPDATE_ROWS.*column=j"):
        decode(server.binlog_files()[0].read_bytes())


@pytest.mark.parametrize(
    "differences",
    [
        b"\x07\x03$.a", b"\x02\x03$.z", b"\x02\x05$[10]", b"\x02\x01", b"\x02\x03a.b", b"\x02", b"\x00\x03$.a\xff",
        b"\x01\x05$.a.b\x01\x31", b"\x02\x04$..a", b"\x02\x05$.a.b", b"\x00\x03$.z\x01\x31",
    ],
)  # fmt: skip
def test_differences_that_do_not_fit_the_document_are_an_error(differences: bytes) -> None:
    with pytest.raises((ValueError, LookupError, TypeError)):
        apply_differences(b'{"a": 1}', differences, lambda binary: binary)


def test_new_keys_stand_where_the_server_puts_them() -> None:
    differences = b"\x01\x04$.bb\x01\x31\x01\x03$.c\x01\x32"
    assert (
        apply_differences(b'{"a": 1, "ccc": 2.50}', differences, lambda binary: binary)
        == b'{"a": 1, "c": 2, "bb": 1, "ccc": 2.50}'
    )
