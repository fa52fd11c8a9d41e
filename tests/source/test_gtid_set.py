"""GTID sets of both flavours, against what real servers make of the same sets."""

from __future__ import annotations

import random

import pytest

from engine.errors import PositionError
from engine.source.gtid_set import MariadbGtids, MysqlGtids, pack_gtids, unpack_gtids
from tests.servers.database import Database

UUIDS = [f"{n:08x}-71ca-11e1-9e33-c80aa9429562" for n in (1, 0xABCDEF, 0x3E11FA47)]


def random_set(rng: random.Random, tags: tuple[str, ...] = ("", "", "blue", "_x1")) -> str:
    parts = []
    for _ in range(rng.randrange(4)):
        intervals = []
        for _ in range(rng.randrange(1, 4)):
            low = rng.randrange(1, 30)
            intervals.append(f"{low}-{low + rng.randrange(8)}" if rng.random() < 0.7 else str(low))
        tag = rng.choice(tags)
        parts.append(":".join([rng.choice(UUIDS), *([tag] if tag else []), *intervals]))
    return ",".join(parts)


def test_mysql_s_sets_agree_with_the_server_on_200_random_pairs(mysql: Database) -> None:
    rng = random.Random(1)
    with mysql.connect() as session, session.cursor() as cursor:
        for _ in range(200):
            one, two = random_set(rng), random_set(rng)
            cursor.execute("SELECT GTID_SUBTRACT(%s, ''), GTID_SUBTRACT(%s, %s), GTID_SUBSET(%s, %s)", (one, one, two, one, two))
            printed, subtracted, subset = cursor.fetchone()
            mine, other = MysqlGtids.parse(one), MysqlGtids.parse(two)
            assert str(mine) == printed.replace("\n", ""), one
            assert str(mine.subtract(other)) == subtracted.replace("\n", ""), (one, two)
            assert other.contains(mine) == bool(subset), (one, two)
            assert mine.union(other).contains(mine)
            assert mine.union(other) == MysqlGtids.parse(f"{one},{two}")


def test_mysql_s_previous_gtids_are_read_with_and_without_tags(make_mysql, tmp_path) -> None:
    server = make_mysql()
    server.sql("CREATE DATABASE d", "FLUSH BINARY LOGS")
    for statement in ("CREATE TABLE d.t (a INT)", "INSERT INTO d.t VALUES (1)"):
        assert str(MysqlGtids.decode(previous_gtids(server))) == executed_before_last_file(server)
        server.sql("SET gtid_next='AUTOMATIC:blue'", statement, "SET gtid_next='AUTOMATIC'", "FLUSH BINARY LOGS")
    assert "blue" in executed_before_last_file(server)
    assert str(MysqlGtids.decode(previous_gtids(server))) == executed_before_last_file(server)


def executed_before_last_file(server: Database) -> str:
    return str(server.sql("SELECT @@GLOBAL.gtid_executed")[0][0]).replace("\n", "")


def previous_gtids(server: Database) -> bytes:
    data = server.binlog_files()[-1].read_bytes()[4:]
    size = int.from_bytes(data[9:13], "little")
    data = data[size:]
    assert data[4] == 35
    return data[19 : int.from_bytes(data[9:13], "little") - 4]


def test_mariadb_s_list_and_position_agree_with_the_server(make_mariadb) -> None:
    server = make_mariadb()
    server.sql("CREATE DATABASE d", "CREATE TABLE d.t (a INT)")
    rng = random.Random(2)
    for _ in range(30):
        domain, server_id = rng.randrange(4), rng.randrange(1, 4)
        server.sql(f"SET gtid_domain_id={domain}, server_id={server_id}", "INSERT INTO d.t VALUES (1)")
    server.sql("FLUSH BINARY LOGS")
    data = server.binlog_files()[-1].read_bytes()[4:]
    data = data[int.from_bytes(data[9:13], "little") :]
    assert data[4] == 163
    position = str(server.sql("SELECT @@gtid_binlog_pos")[0][0])
    listed = MariadbGtids.decode(data[19:])
    assert listed == MariadbGtids.parse(position)
    assert sorted(str(listed).split(",")) == sorted(position.split(","))


def test_mariadb_s_positions_are_compared_by_domain() -> None:
    here, there = MariadbGtids.parse("0-1-100,1-2-50"), MariadbGtids.parse("0-3-99,1-2-50,2-1-1")
    assert str(here.union(there)) == "0-1-100,1-2-50,2-1-1"
    assert str(here.subtract(there)) == "0-1-100"
    assert not there.contains(here)
    assert here.union(there).contains(there)


def test_what_is_no_set_is_refused() -> None:
    for text in ("0-1", "x", f"{UUIDS[0]}", f"{UUIDS[0]}:0", f"{UUIDS[0]}:blue", "0-1-2;", f"{UUIDS[0]}:9999999999999999999999"):
        with pytest.raises(PositionError):
            (MysqlGtids if ":" in text or "x" in text or text == UUIDS[0] else MariadbGtids).parse(text)


def test_a_packed_set_says_its_flavour() -> None:
    for gtids in (MysqlGtids(), MariadbGtids(), MariadbGtids.parse("0-1-2"), MysqlGtids.parse(f"{UUIDS[0]}:1")):
        assert unpack_gtids(pack_gtids(gtids)) == gtids
