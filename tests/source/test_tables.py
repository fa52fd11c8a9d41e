"""Table versions: of tables whose TABLE_MAPs differ in nothing but the name, and when they are durable."""

from __future__ import annotations

import pytest

from engine.errors import MetaError
from engine.position import Identity
from engine.record import Kind
from engine.source._binlog import Decoder
from engine.source.history.history import Moment
from engine.source.tables import MemoryKeys, TableVersion, TableVersions
from tests.servers.database import Database
from tests.source.decoding import KIND, TABLE, Decoding
from tests.source.made_binlog import MadeBinlog, table_map
from tests.source.row_images import Images, events, inserted
from tests.source.test_table_map import COLUMNS

QUERY, QUERY_POST_HEADER_BYTES, MAP_POST_HEADER_BYTES = 2, 13, 8
MOMENT = Moment(1, "binlog", Identity(1, 4, 1, 0))


def made_versions() -> TableVersions:
    return TableVersions("test", lambda name: True, MemoryKeys("test"))


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


class Synced:
    """Table keys that aren't durable before `sync`, and what of them a reader of the ring can see then."""

    def __init__(self) -> None:
        self._keys = MemoryKeys("test")
        self.durable: set[int] = set()
        self._given: set[int] = set()
        self.syncs = 0

    def table_key(self, packed_schema: bytes, *, later: bool = False) -> int:
        assert later
        key = self._keys.table_key(packed_schema)
        self._given.add(key)
        return key

    def sync(self) -> None:
        self.syncs += 1
        self.durable |= self._given


@pytest.mark.parametrize("ring_bytes", [1 << 20, 16 << 20])
def test_no_record_of_a_new_table_can_be_seen_before_its_key_is_synced_and_many_share_a_sync(ring_bytes: int) -> None:
    made = MadeBinlog()
    for number in range(200):
        made.add(19, table_map(f"t{number % 100}", table_id=number))
        made.write_rows([(row, b"v" * 900) for row in range(20)], number)
        made.xid()
    decoding, keys = Decoding(ring_bytes=ring_bytes), Synced()
    tables = TableVersions("file", lambda name: True, keys)
    decoding.decoder = Decoder(decoding.ring, tables, source="file", packets=False, number_of=decoding.keys.source_number)
    decoding.open_file()
    sync = keys.sync

    def look_then_sync() -> None:
        decoding.drain()
        assert {record[TABLE] for record in decoding.records} - {0} <= keys.durable
        sync()

    keys.sync = look_then_sync  # type: ignore[method-assign]
    decoding.run(bytes(made.data[4:]))
    assert sum(record[KIND] == Kind.INSERT for record in decoding.records) == 4000
    assert {record[TABLE] for record in decoding.records} - {0} == keys.durable == set(range(1, 101))
    assert keys.syncs <= 20


def test_what_could_not_be_synced_is_not_seen_and_comes_again() -> None:
    made = MadeBinlog()
    made.transaction([(1, b"a")])
    decoding, keys = Decoding(), Synced()

    def fail() -> None:
        raise MetaError("the disk is full")

    sync, keys.sync = keys.sync, fail  # type: ignore[method-assign]
    tables = TableVersions("file", lambda name: True, keys)
    decoding.decoder = Decoder(decoding.ring, tables, source="file", packets=False, number_of=decoding.keys.source_number)
    decoding.open_file().feed(made.data[4:])
    for _ in range(2):
        with pytest.raises(MetaError, match="full"):
            decoding.decoder.advance(1 << 20)
        assert decoding.drain() == 0
    keys.sync = sync  # type: ignore[method-assign]
    decoding.decoder.advance(1 << 20)
    decoding.drain()
    assert [record[KIND] for record in decoding.records] == [Kind.BEGIN, Kind.SCHEMA, Kind.INSERT, Kind.COMMIT]
