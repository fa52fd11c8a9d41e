"""Table versions: of tables whose TABLE_MAPs differ in nothing but the name, and when they are durable."""

from __future__ import annotations

import struct
from typing import Any, NoReturn

import pytest

from engine.errors import BinlogError, MetaError, SourceError
from engine.position import Identity
from engine.record import Kind
from engine.source._binlog import Decoder
from engine.source._versions import TableVersion
from engine.source.history.history import Moment
from engine.source.tables import MemoryKeys, TableVersions
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
    def fail(what: str, **facts: Any) -> NoReturn:
        pytest.fail(what)

    return tables.version(images.map_body, MAP_POST_HEADER_BYTES, mariadb, lambda: MOMENT, fail)


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


NAMES = {
    "of one byte": b"x", "of 31 bytes": b"x" * 31, "of 32": b"x" * 32, "of 250": b"x" * 250, "empty": b"",
    "in Greek": "τ".encode() * 64, "in emoji": "🐟".encode() * 62, "no UTF-8": b"\xff" * 250, "cut": "aé".encode()[:-1],
}  # fmt: skip


def named(schema: bytes, table: bytes, column: bytes = b"v") -> bytes:
    """A TABLE_MAP of a table with these names, whatever their bytes are."""
    head, behind = table_map("t", "s").split(b"\x01s\0\x01t\0")
    names = b"".join(bytes([len(name)]) + name + b"\0" for name in (schema, table))
    columns = b"\x02id" + bytes([len(column)]) + column
    return head + names + behind.replace(b"\x05\x02id\x01v", bytes([len(columns)]) + columns)


def refused(what: str, **facts: Any) -> SourceError:
    return BinlogError(what, **facts)


def version_of_map(tables: TableVersions, body: bytes, mariadb: bool = False) -> TableVersion:
    return tables.version(body, MAP_POST_HEADER_BYTES, mariadb, lambda: MOMENT, refused)


@pytest.mark.parametrize("mariadb", [False, True])
@pytest.mark.parametrize("schema", NAMES)
@pytest.mark.parametrize("table", NAMES)
def test_a_name_of_any_bytes_is_packed_and_hashed_as_that_of_the_first_such_table(schema: str, table: str, mariadb: bool) -> None:
    body, row = named(NAMES[schema], NAMES[table]), b"\0" + struct.pack("<iI", 7, 0)
    together = made_versions()
    version_of_map(together, named(b"another", b"one"), mariadb)
    version, alone = (version_of_map(tables, body, mariadb) for tables in (together, made_versions()))
    assert version.plan is not None
    assert alone.plan is not None
    assert version.name == alone.name == f"{NAMES[schema].decode('utf-8', 'replace')}.{NAMES[table].decode('utf-8', 'replace')}"
    assert version.packed == alone.packed == version.plan.schema.pack() == alone.plan.schema.pack()
    hashes, hashes_alone = [], []
    assert version.plan.images(row, None, hashes) == alone.plan.images(row, None, hashes_alone)
    assert hashes == hashes_alone


@pytest.mark.parametrize("seen", [False, True], ids=["first", "seen"])
def test_a_map_that_is_cut_anywhere_or_whose_names_lead_behind_it_is_refused(seen: bool) -> None:
    tables, body = made_versions(), named(b"shop", b"orders")
    if seen:
        version_of_map(tables, body)
    early = [body[:length] for length in range(body.index(b"orders") + 7 + 6)]  # up to its optional fields
    long = [body[:at] + bytes([length]) + body[at + 1 :] for at in (8, 14) for length in (40, 250, 251, 252, 255)]
    for damaged in [*early, *long]:
        with pytest.raises(BinlogError):
            version_of_map(tables, damaged)


def test_tables_of_more_shapes_than_are_kept_and_of_both_servers_each_have_their_own_columns() -> None:
    tables = made_versions()
    for _ in range(2):
        for number in range(1100):
            for mariadb in (False, True):
                version = version_of_map(tables, named(b"shop", b"t%d" % (number % 3), b"c%d" % number), mariadb)
                assert version.plan is not None
                assert [column.name for column in version.plan.schema.columns] == ["id", f"c{number}"]
                assert version.name == f"shop.t{number % 3}"


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
