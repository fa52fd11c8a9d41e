"""A source that ends in the middle of an XA transaction's second reading goes on there: each change once."""

from __future__ import annotations

from typing import Any

import pytest

from engine.record import Kind
from tests.servers.database import Database
from tests.source.decoding import EVENT, KIND, ROW, START, identity
from tests.source.stepped_engine import live

SCHEMA = "stage_xa"
ROWS = 900  # of 3 KB: several times the ring; more than 1,000 the servers' recursion doesn't make
COUNT = f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {ROWS}) SELECT n"


@pytest.mark.parametrize("compressed", [False, True])
def test_a_source_that_is_stopped_again_and_again_within_an_xa_transaction_gives_each_change_once(
    make_server: Any, make_engine: Any, compressed: bool
) -> None:
    server: Database = make_server()
    if compressed:
        name = "log_bin_compress" if server.name == "mariadb" else "binlog_transaction_compression"
        server.sql(f"SET GLOBAL {name} = ON")
    server.sql(f"CREATE DATABASE {SCHEMA}", f"CREATE TABLE {SCHEMA}.t (id INT PRIMARY KEY, v VARCHAR(4000))",
               f"CREATE TABLE {SCHEMA}.u LIKE {SCHEMA}.t")  # fmt: skip
    start = server.position()
    with server.connect(database=SCHEMA) as connection, connection.cursor() as cursor:
        for statement in (
            "XA START 'large'", f"INSERT INTO t SELECT n, REPEAT('x', 3000) FROM ({COUNT} FROM s) AS numbers",
            "UPDATE t SET v = 'y' WHERE id % 3 = 0", "DELETE FROM t WHERE id % 5 = 0", "XA END 'large'", "XA PREPARE 'large'",
        ):  # fmt: skip
            cursor.execute(statement)
    server.sql(f"INSERT INTO {SCHEMA}.u VALUES (-1, 'before')", "FLUSH BINARY LOGS", "XA COMMIT 'large'",
               f"INSERT INTO {SCHEMA}.u VALUES (-2, 'after')")  # fmt: skip
    expected = 1 + ROWS + ROWS // 3 + ROWS // 5 + 1
    engine = make_engine(live(server, start=start))
    engine.start()
    stops = 0
    while len(engine.changes()) < expected:
        goal = min(len(engine.changes()) + 150, expected)
        engine.until(lambda goal=goal: len(engine.changes()) >= goal)
        inside = {record[START] for record in engine.records[-1:]} & {record[START] for record in engine.changes()[-1:]}
        stops += bool(inside)
        engine.stop()
        engine.start()

    assert stops > 3
    changes = engine.changes()
    assert len({identity(change) for change in changes}) == len(changes) == expected
    assert [identity(change) for change in changes] == sorted(identity(change) for change in changes)
    group = [change for change in changes if change[START] == changes[1][START]]
    assert len(group) == expected - 2
    kinds = [change[KIND] for change in group]
    assert kinds == sorted(kinds), "inserts, updates, deletes, as they were prepared"
    assert kinds.count(Kind.DELETE) == ROWS // 5
    assert all(change[EVENT] > 0 and change[ROW] >= 0 for change in group)
