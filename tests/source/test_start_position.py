"""Every kind of start on real servers: the first event that a dump from there brings is the right one."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from engine.errors import PositionError, ServerSetupError
from engine.position import Start, parse_start
from engine.source.connection import Connection
from engine.source.dump_command import DumpPosition, check_gtid, encode_gtid_set
from engine.source.event_headers import ANONYMOUS_GTID, GTID, GTID_TAGGED, MARIADB_GTID, read_headers
from engine.source.server_identity import read_file_mark
from engine.source.start_position import executed_before, executed_in_file
from tests.servers.database import Database
from tests.servers.mariadb import MariaDB
from tests.servers.mysql import MySQL
from tests.source.made_binlog import GTID_TEXT, MadeBinlog, packet, rotate_event
from tests.source.packets import Event, config, dumped, gtids, read_events, tagged
from tests.source.test_connection import dump_refusal

STARTS = {GTID, ANONYMOUS_GTID, GTID_TAGGED, MARIADB_GTID}
UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"


def resolved(server: Database, start: str | Start) -> DumpPosition:
    with Connection(config(server), "test") as connection:
        connection.connect()
        return connection.resolve_start(parse_start(start) if isinstance(start, str) else start)


def refused(server: Database, start: str) -> str:
    with pytest.raises(PositionError) as caught:
        resolved(server, start)
    return str(caught.value)


def own_gtid(server: Database, upto: int) -> str:
    """The set of the server's own transactions 1 … upto."""
    return f"0-1-{upto}" if server.name == "mariadb" else f"{server.sql('SELECT @@server_uuid')[0][0]}:1-{upto}"


@pytest.fixture
def filled(make_server: Callable[..., Database]) -> Database:
    """Transactions 1 and 2 make the table, 3 … 8 insert one row each; three files: 1 … 4, 5 and 6, 7 and 8."""
    server = make_server()
    server.sql("CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY)")
    for number in range(3, 9):
        server.sql(f"INSERT INTO d.t VALUES ({number})", *["FLUSH BINARY LOGS"] * (number in (4, 6)))
    return server


def test_latest_is_where_the_binlog_ends(filled: Database) -> None:
    end = ""
    while end != filled.position():  # MariaDB writes BINLOG_CHECKPOINT some time after a FLUSH
        end, position, size = filled.position(), resolved(filled, "latest"), filled.binlog_files()[-1].stat().st_size
    assert f"{position.file}:{position.offset}" == end
    assert position == DumpPosition("binlog.000003", size)
    filled.sql("INSERT INTO d.t VALUES (9)")
    assert gtids(dumped(filled, f"{position.file}:{position.offset}")) == [9]


def test_earliest_is_the_first_byte_of_the_oldest_file(filled: Database) -> None:
    assert resolved(filled, "earliest") == DumpPosition("binlog.000001", 4)
    assert gtids(dumped(filled, "earliest")) == [1, 2, 3, 4, 5, 6, 7, 8]
    filled.purge("binlog.000002")
    assert resolved(filled, "earliest") == DumpPosition("binlog.000002", 4)


def test_a_file_and_offset_between_transactions_is_taken_as_it_is(filled: Database) -> None:
    offsets = [row for row in filled.sql("SHOW BINLOG EVENTS IN 'binlog.000002'") if row[2].lower().startswith("gtid")]
    begins = [row[1] for row in offsets if row[2].lower() != "gtid_list"]
    assert resolved(filled, f"binlog.000002:{begins[1]}") == DumpPosition("binlog.000002", begins[1])
    assert gtids(dumped(filled, f"binlog.000002:{begins[1]}")) == [6, 7, 8]
    assert resolved(filled, "binlog.2:4") == DumpPosition("binlog.000002", 4)


def test_any_offset_inside_a_transaction_goes_back_to_its_begin(filled: Database) -> None:
    begin = end = 4
    for _, offset, kind, *_ in filled.sql("SHOW BINLOG EVENTS IN 'binlog.000002'"):
        if kind in ("Gtid", "Format_desc", "Gtid_list", "Previous_gtids", "Binlog_checkpoint", "Rotate"):
            begin = offset
        assert resolved(filled, f"binlog.000002:{offset}") == DumpPosition("binlog.000002", begin), kind
        end += 1
    assert end > 10


def test_an_offset_inside_an_event_is_refused(filled: Database) -> None:
    last = filled.sql("SHOW BINLOG EVENTS IN 'binlog.000001'")[-2][1]
    message = refused(filled, f"binlog.000001:{last + 5}")
    assert "SHOW BINLOG EVENTS" in message or "no event begins" in message


def test_a_missing_file_is_refused_with_the_first_and_the_last(filled: Database) -> None:
    filled.purge("binlog.000002")
    size = filled.binlog_files()[-1].stat().st_size
    for file in ("binlog.000001", "binlog.000009", "other.000002"):
        message = refused(filled, f"{file}:4")
        assert file in message
        assert "first=binlog.000002:4" in message
        assert f"last=binlog.000003:{size}" in message


def test_an_offset_past_the_end_is_refused_with_the_size(filled: Database) -> None:
    size = filled.binlog_files()[0].stat().st_size
    assert f"size={size}" in refused(filled, f"binlog.000001:{size + 1}")
    assert gtids(dumped(filled, f"binlog.000001:{size}")) == [5, 6, 7, 8]


@pytest.mark.parametrize("upto", [1, 4, 5, 7])
def test_a_gtid_start_brings_exactly_what_comes_after_it(filled: Database, upto: int) -> None:
    events = dumped(filled, f"gtid:{own_gtid(filled, upto)}")
    assert gtids(events) == list(range(upto + 1, 9))
    assert next(event.type for event in events if event.type in STARTS | {2, 19}) in STARTS


def test_a_gtid_start_at_the_end_brings_nothing_but_what_is_new(filled: Database) -> None:
    assert gtids(dumped(filled, f"gtid:{own_gtid(filled, 8)}")) == []


def test_an_empty_gtid_set_is_the_begin(filled: Database) -> None:
    assert gtids(dumped(filled, "gtid:")) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_gtid_set_with_holes_brings_the_holes(make_mysql: Callable[..., MySQL]) -> None:
    server = make_mysql()
    server.sql("CREATE DATABASE d", *(f"CREATE TABLE d.t{number} (a INT)" for number in range(2, 10)))
    uuid = server.sql("SELECT @@server_uuid")[0][0]
    assert gtids(dumped(server, f"gtid:{uuid}:1-2:5:8-9")) == [3, 4, 6, 7]
    assert gtids(dumped(server, f"gtid:{uuid.upper()}:1-2, {UUID}:1-5,\n{uuid}:5-9")) == [3, 4]


def test_tagged_gtids_are_known_to_the_dump(make_mysql: Callable[..., MySQL]) -> None:
    server = make_mysql()
    with server.connect() as session, session.cursor() as cursor:
        cursor.execute("CREATE DATABASE d")
        for tag, tables in (("blue", 3), ("a_tag_of_all_the_32_characters_0", 2)):
            cursor.execute(f"SET gtid_next='AUTOMATIC:{tag}'")
            for number in range(tables):
                cursor.execute(f"CREATE TABLE d.{tag[:4]}{number} (a INT)")
        cursor.execute("SET gtid_next='AUTOMATIC'")
        cursor.execute("CREATE TABLE d.plain (a INT)")
    uuid, executed = server.sql("SELECT @@server_uuid, @@GLOBAL.gtid_executed")[0]
    assert executed.replace("\n", "") == f"{uuid}:1-2:a_tag_of_all_the_32_characters_0:1-2:blue:1-3"
    events = dumped(server, f"gtid:{uuid}:1:blue:1-2")
    assert (gtids(events), tagged(events)) == ([2], 3)
    events = dumped(server, f"gtid:{executed}")
    assert (gtids(events), tagged(events)) == ([], 0)
    events = dumped(server, f"gtid:{uuid}:1-2")
    assert (gtids(events), tagged(events)) == ([], 5)
    server.sql("FLUSH BINARY LOGS")
    [previous] = [event.body for event in dumped(server, "binlog.000002:4") if event.type == 35]
    assert encode_gtid_set(executed) == previous  # the server's own encoding of the same set


def test_purged_gtids_are_refused_and_named(filled: Database) -> None:
    filled.purge("binlog.000002")
    assert gtids(dumped(filled, f"gtid:{own_gtid(filled, 4)}")) == [5, 6, 7, 8]
    if filled.name == "mysql":
        assert f"missing={own_gtid(filled, 4).replace('1-4', '3-4')}" in refused(filled, f"gtid:{own_gtid(filled, 2)}")
        return
    for gtid in ("0-1-2", "0-1-99", "0-7-3", "3-1-1"):
        with Connection(config(filled), "test") as connection:
            connection.connect()
            position = connection.resolve_start(parse_start(f"gtid:{gtid}"))
            assert "the server ended the dump" in dump_refusal(PositionError, connection, position)


def test_several_domains_of_mariadb_go_each_from_their_own_place(make_mariadb: Callable[..., MariaDB]) -> None:
    server = make_mariadb(gtid_domain_id=7, server_id=42, gtid_strict_mode="ON")
    server.sql("CREATE DATABASE d", "CREATE TABLE d.a (a INT)", "SET gtid_domain_id=9", "CREATE TABLE d.b (a INT)")
    server.sql("SET gtid_domain_id=9", "CREATE TABLE d.c (a INT)")
    assert server.sql("SELECT @@gtid_binlog_pos") == (("7-42-2,9-42-2",),)
    assert gtids(dumped(server, "gtid:7-42-1,9-42-1")) == [2, 2]
    assert gtids(dumped(server, "gtid:7-42-2,9-42-1")) == [2]
    assert gtids(dumped(server, "gtid:7-42-2")) == [1, 2]


def test_a_gtid_start_needs_gtids(make_mysql: Callable[..., MySQL]) -> None:
    server = make_mysql(gtid_mode="OFF", enforce_gtid_consistency="OFF")
    with pytest.raises(ServerSetupError, match="gtid_mode=ON"):
        resolved(server, f"gtid:{UUID}:1-5")
    server.sql("CREATE DATABASE d")
    assert dumped(server, "earliest")[-2].type == ANONYMOUS_GTID


@pytest.mark.parametrize(
    ("flavour", "text"),
    [
        ("mysql", "0-1-5"),
        ("mysql", UUID),
        ("mysql", f"{UUID}:"),
        ("mysql", f"{UUID}:tag"),
        ("mysql", f"{UUID}:1-5:3"),
        ("mysql", f"{UUID}:x-y"),
        ("mysql", f"{UUID}:{'t' * 33}:1"),
        ("mysql", "nonsense"),
        ("mariadb", f"{UUID}:1-5"),
        ("mariadb", "0-1"),
        ("mariadb", "0-1-5;DROP TABLE x"),
    ],
)
def test_what_is_no_gtid_set_is_refused_with_an_example(flavour: str, text: str) -> None:
    with pytest.raises(PositionError, match="write gtid:"):
        check_gtid(flavour, text)


def test_a_gtid_set_without_tags_has_the_bytes_of_old_servers() -> None:
    sid = bytes.fromhex(UUID.replace("-", ""))
    assert encode_gtid_set("") == bytes(8)
    assert encode_gtid_set(f"{UUID}:1-5:7") == struct.pack("<Q", 1) + sid + struct.pack("<5Q", 2, 1, 6, 7, 8)


def at(second: int) -> Start:
    return Start("time", time=datetime.fromtimestamp(second, UTC))


@pytest.fixture
def timed(make_server: Callable[..., Database]) -> Database:
    """An empty table, made by transactions 1 and 2."""
    server = make_server()
    server.sql("CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY)")
    return server


def test_a_time_finds_the_first_transaction_of_that_second_or_later(timed: Database) -> None:
    begun = int(timed.sql("SELECT UNIX_TIMESTAMP()")[0][0])
    for number in range(12):
        timed.sql(f"SET timestamp={begun + 100 + 10 * number}", f"INSERT INTO d.t VALUES ({number})")
    for wanted, number in ((100, 0), (101, 1), (105, 1), (110, 1), (155, 6), (210, 11)):
        position = resolved(timed, at(begun + wanted))
        events = dumped(timed, f"{position.file}:{position.offset}")
        assert gtids(events) == list(range(number + 3, 15)), wanted
    assert resolved(timed, at(begun + 211)) == resolved(timed, "latest")
    assert resolved(timed, at(begun + 99999)) == resolved(timed, "latest")


def test_a_time_bisects_over_the_files_and_reads_one(timed: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files begin a second apart, each with one transaction; few of them are looked at."""
    seconds = []
    for number in range(6):
        timed.sql("DO SLEEP(1.1)", "FLUSH BINARY LOGS")
        seconds.append(int(timed.sql("SELECT UNIX_TIMESTAMP()")[0][0]))
        timed.sql(f"SET timestamp={seconds[-1]}", f"INSERT INTO d.t VALUES ({number})")
    looked: list[Connection] = []
    beside = Connection.beside

    def counted(connection: Connection) -> Connection:
        looked.append(connection)
        return beside(connection)

    monkeypatch.setattr(Connection, "beside", counted)
    for number, second in enumerate(seconds):
        looked.clear()
        position = resolved(timed, at(second))
        assert len(looked) <= 5  # the first file, three in the bisection, and the one that is read
        assert gtids(dumped(timed, f"{position.file}:{position.offset}")) == list(range(number + 3, 9))
    assert resolved(timed, at(seconds[-1] + 3600)) == resolved(timed, "latest")


def test_a_time_before_the_binlog_is_refused_with_the_oldest(timed: Database) -> None:
    now = timed.sql("SELECT UTC_TIMESTAMP()")[0][0].replace(tzinfo=UTC)
    early = (now - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    message = refused(timed, early)
    assert f"wanted={early}" in message
    assert "oldest=" in message
    assert "first=binlog.000001:4" in message


def test_the_search_disturbs_no_running_dump(filled: Database) -> None:
    with Connection(config(filled, server_id=99), "test") as running:
        running.connect()
        running.dump(running.resolve_start(parse_start("latest")))
        with Connection(config(filled, server_id=99), "test") as other:
            other.connect()
            other.resolve_start(at(int(filled.sql("SELECT UNIX_TIMESTAMP()")[0][0]) + 5))
        filled.sql("INSERT INTO d.t VALUES (9)")
        events: list[Event] = []
        while not gtids(events):  # MariaDB may write a BINLOG_CHECKPOINT before it
            events += read_events(running, 1)
        assert gtids(events) == [9]


def test_large_rows_before_a_place_never_lie_in_memory(make_server: Callable[..., Database]) -> None:
    """What was executed before it is read from the file's begin, where it isn't the binlog's end."""
    server = make_server(max_allowed_packet=1 << 30)
    server.sql("CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY, b LONGBLOB)")
    server.sql("INSERT INTO d.t VALUES (1, REPEAT('x', 40000000))", "UPDATE d.t SET a = 2")
    place = resolved(server, "latest")
    server.sql("INSERT INTO d.t VALUES (3, 'y')")
    with Connection(config(server), "test") as connection:
        connection.connect()
        tracemalloc.start()
        try:
            assert connection.resolve_start(Start("file", file=place.file, offset=place.offset)) == place
            executed = executed_before(connection, place)
            read_file_mark(connection, place.file)
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()
    assert str(executed) == own_gtid(server, 4)


class Sent:
    """A dump's stream that is there already."""

    def __init__(self, data: bytes) -> None:
        self._rest = memoryview(data)

    def recv_into(self, buffer: memoryview) -> int:
        got = min(len(buffer), len(self._rest))
        buffer[:got] = self._rest[:got]
        self._rest = self._rest[got:]
        return got

    def wait_readable(self, timeout_s: float) -> bool:
        return bool(self._rest)


def beyond_4_gib() -> tuple[list[int], list[bytes]]:
    """Four transactions of one file, the second one at 3, the last two beyond 4 GiB: where they begin, and the events.

    What lies between isn't there: events carry 32 bits of their position, and those are as if it were.
    """
    made = MadeBinlog()
    made.add(35, struct.pack("<Q", 0))
    for number, gap in enumerate((0, 3 << 30, (1 << 30) + 500, 0), 1):
        made.first_offset += gap
        made.transaction([(number, b"a" * 50)], number)
    assert made.starts[1] < 1 << 32 < made.starts[2]
    return made.starts, made.events


def test_what_was_executed_before_a_place_beyond_4_gib_leaves_out_what_comes_after_it() -> None:
    starts, events = beyond_4_gib()
    next_file = [rotate_event("binlog.000002", 4, True), *MadeBinlog().events]
    data = b"".join(packet(b"\0" + event) for event in [rotate_event("binlog.000001", 4, True), *events, *next_file])
    data += packet(b"\xfe\0\0\2\0")
    assert [event.start for event in read_headers(Sent(data), 1) if event.type == GTID] == starts
    before = [str(executed_in_file(Sent(data), 1, start)) for start in [*starts, starts[-1] + 100]]
    assert before == ["", *(f"{GTID_TEXT}:{numbers}" for numbers in ("1", "1-2", "1-3", "1-4"))]
