"""Table versions of tables whose TABLE_MAPs differ in nothing but the name."""

from __future__ import annotations

import pytest

from engine.position import Identity
from engine.source.history.history import Moment
from engine.source.tables import MemoryKeys, TableVersion, TableVersions
from tests.servers.database import Database
from tests.source.row_images import Images, events, inserted
from tests.source.test_table_map import COLUMNS

QUERY, QUERY_POST_HEADER_BYTES, MAP_POST_HEADER_BYTES = 2, 13, 8
MOMENT = Moment(1, "binlog", Identity(1, 4, 1, 0))


def made_versions() -> TableVersions:
    return TableVersions("test", lambda name: True, MemoryKeys("test").table_key)


def version_of(tables: TableVersions, images: Images, mariadb: bool) -> TableVersion:
    return tables.version(images.map_body, MAP_POST_HEADER_BYTES, mariadb, MOMENT, lambda what, **facts: pytest.fail(what))


def test_tables_with_the_same_columns_are_read_as_each_alone(server: Database, unique_schema: str) -> None:
    server.sql(
        f"USE `{unique_schema}`", "SET sql_mode = ''", f"CREATE TABLE one (id INT PRIMARY KEY, {COLUMNS})",
        "CREATE TABLE two LIKE one", "CREATE TABLE three LIKE one",
        *(f"INSERT INTO {table} (id, w, ak) VALUES (1, 'ä', 'é'), (2, 'b', 'x')" for table in ("one", "two", "three")),
    )  # fmt: skip
    found = inserted(server, unique_schema)
    together, mariadb = made_versions(), server.name == "mariadb"
    keys, hashes_of_all = set(), set()
    for table in ("one", "two", "three"):
        (images,) = found[table]
        version, alone = (version_of(tables, images, mariadb) for tables in (together, made_versions()))
        assert version.plan is not None
        assert alone.plan is not None
        assert version.name == f"{unique_schema}.{table}"
        assert (version.name, version.packed) == (alone.name, alone.packed)
        assert version.plan.schema == alone.plan.schema
        assert version.packed == version.plan.schema.pack()
        hashes, hashes_alone = [], []
        rows = version.plan.images(images.source, images.present, hashes)
        assert rows == alone.plan.images(images.source, images.present, hashes_alone)
        assert hashes == hashes_alone
        keys.add(version.key)
        hashes_of_all.update(hashes)
    assert len(keys) == 3
    assert len(hashes_of_all) == 6, "the table's name is part of the hash"


def test_what_is_known_of_one_table_does_not_count_for_another_with_the_same_map(mariadb: Database, unique_schema: str) -> None:
    mariadb.sql(
        f"USE `{unique_schema}`",
        "CREATE TABLE unknown (id INT PRIMARY KEY, v BINARY(16))", "INSERT INTO unknown VALUES (1, 'x')",
        "CREATE TABLE known (id INT PRIMARY KEY, v INET6)", "INSERT INTO known VALUES (1, '::1')",
        "CREATE TABLE unknown2 (id INT PRIMARY KEY, v BINARY(16))", "INSERT INTO unknown2 VALUES (1, 'x')",
    )  # fmt: skip
    found, tables = inserted(mariadb, unique_schema), made_versions()
    bodies = [body for path in mariadb.binlog_files() for kind, body in events(path) if kind == QUERY]
    (create,) = (body for body in bodies if unique_schema.encode() in body and b"CREATE TABLE known" in body)
    tables.learn(create, QUERY_POST_HEADER_BYTES, True, MOMENT)
    shown = {}
    for table in ("unknown", "known", "unknown2", "known"):
        version = version_of(tables, found[table][0], True)
        assert version.plan is not None
        shown[table] = version.plan.schema.table, version.plan.schema.columns[1].type
    assert shown == {
        "unknown": ("unknown", "binary(16)"), "known": ("known", "inet6"), "unknown2": ("unknown2", "binary(16)"),
    }  # fmt: skip
