"""Login, TLS, registration and dump against real servers, the stream's first bytes, and what each failure says."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest

from engine.errors import ConnectionLost, PositionError, ServerSetupError, SourceError
from engine.position import parse_start
from engine.source.connection import Connection
from engine.source.dump_command import NON_BLOCK, DumpPosition, dump_gtid_packet
from engine.source.event_headers import FORMAT_DESCRIPTION, ROTATE
from engine.source.server_check import check_server
from engine.source.server_errors import dump_error, login_error
from tests.servers.database import Database
from tests.servers.mariadb import MariaDB
from tests.servers.mysql import MySQL
from tests.source.packets import config, dumped, gtids, read_events, read_packet


@pytest.fixture
def connection(server: Database) -> Iterator[Connection]:
    with Connection(config(server), "test") as connection:
        connection.connect()
        yield connection


def refusal(kind: type[SourceError], call: Callable[..., Any], *arguments: Any) -> str:
    """The message of the error that the call ends with: one line."""
    with pytest.raises(SourceError) as caught:
        call(*arguments)
    assert type(caught.value) is kind, caught.value
    assert caught.value.retryable == (kind is ConnectionLost)
    message = str(caught.value)
    assert "\n" not in message
    return message


def dump_refusal(kind: type[SourceError], connection: Connection, position: DumpPosition) -> str:
    """The message made of the error packet that a dump from `position` ends with."""
    connection.dump(position, to_end=True)
    while (packet := read_packet(connection))[0] == 0:
        pass
    assert packet[0] == 0xFF, packet
    error = dump_error(int.from_bytes(packet[1:3], "little"), packet[9:].decode(), source="test")
    assert type(error) is kind, error
    return str(error)


def test_connect_tells_what_the_server_is(server: Database, connection: Connection) -> None:
    facts = connection.known_facts
    assert facts.flavour == server.name
    assert facts.version_text == server.sql("SELECT VERSION()")[0][0] or facts.version_text.startswith("10.11")
    assert facts.version >= (8, 0, 0)
    assert (facts.server_id, facts.log_bin, facts.binlog_base) == (1, True, "binlog")
    assert (facts.binlog_format, facts.row_image, facts.row_metadata, facts.checksum) == ("ROW", "FULL", "FULL", "CRC32")
    assert facts.account == "'repl'@'127.0.0.1'"
    assert facts.server_uuid


def test_the_stream_begins_with_the_first_byte_of_the_first_packet(server: Database, unique_schema: str) -> None:
    server.sql(f"CREATE TABLE {unique_schema}.t (a INT PRIMARY KEY)", f"INSERT INTO {unique_schema}.t VALUES (1), (2)")
    text = server.binlog_files()[0].read_bytes()
    with Connection(config(server), "test") as connection:
        connection.connect()
        connection.dump(DumpPosition(server.binlog_files()[0].name, 4), to_end=True, annotations=True)
        first = read_packet(connection)
        assert (first[0], first[5]) == (0, ROTATE)
        second = read_packet(connection)
        assert (second[0], second[5]) == (0, FORMAT_DESCRIPTION)
        third = read_packet(connection)
        assert third[1:] == text[len(second) + 3 : len(second) + len(third) + 2]
        # and the rest of the file, byte for byte
        streamed, at = b"", len(second) + len(third) + 2
        while len(streamed) < len(text) - at:
            packet = read_packet(connection)
            streamed += packet[1:]
        assert streamed == text[at:]


def test_a_dump_waits_for_what_comes_and_beats_meanwhile(server: Database, unique_schema: str) -> None:
    server.sql(f"CREATE TABLE {unique_schema}.t (a INT PRIMARY KEY)")
    with Connection(config(server, heartbeat_s=0.2), "test") as connection:
        connection.connect()
        connection.dump(connection.resolve_start(parse_start("latest")))
        assert [event.type for event in read_events(connection, 2)] == [ROTATE, FORMAT_DESCRIPTION]
        began = time.monotonic()
        while read_packet(connection)[5] not in (27, 41):
            pass
        assert time.monotonic() - began < 5
        server.sql(f"INSERT INTO {unique_schema}.t VALUES (1)")
        assert len(gtids(read_events(connection, 1))) == 1


def test_recv_into_says_zero_when_there_is_nothing_and_lost_at_the_end(server: Database) -> None:
    with Connection(config(server, heartbeat_s=60), "test") as connection:
        connection.connect()
        connection.dump(connection.resolve_start(parse_start("latest")))
        read_events(connection, 2)
        assert connection.recv_into(memoryview(bytearray(100))) == 0
        own = [row[0] for row in server.sql("SHOW PROCESSLIST") if row[4] == "Binlog Dump"]
        for process in own:
            server.sql(f"KILL {process}")
        assert connection.wait_readable(10)

        def read_on() -> None:
            while True:
                connection.wait_readable(10)
                connection.recv_into(memoryview(bytearray(1 << 16)))

        assert "the connection was lost" in refusal(ConnectionLost, read_on)


def test_a_connection_is_used_again_after_close(server: Database, connection: Connection) -> None:
    connection.dump(connection.resolve_start(parse_start("latest")))
    connection.close()
    connection.close()
    connection.connect()
    connection.dump(connection.resolve_start(parse_start("latest")))
    assert read_events(connection, 1)[0].type == ROTATE


def test_the_server_waits_as_long_as_it_can_for_a_reader_that_holds_back(connection: Connection) -> None:
    connection._set_up(connection.known_facts, DumpPosition("", 4))
    assert connection.query("SELECT @@SESSION.net_write_timeout") == ((31_536_000,),)


def test_show_replicas_lists_us_by_a_number_that_nobody_has(server: Database, connection: Connection) -> None:
    connection.dump(connection.resolve_start(parse_start("latest")))
    read_events(connection, 1)
    rows = server.sql("SHOW REPLICAS" if server.name == "mysql" else "SHOW SLAVE HOSTS")
    ours = [row for row in rows if "binlog-engine test" in row[1]]
    assert ours
    assert all(int(row[0]) >= 1 << 31 for row in ours)


def test_tls_is_taken_where_it_is_offered(mysql: MySQL) -> None:
    with Connection(config(mysql, tls="preferred"), "test") as connection:
        connection.connect()
        assert connection.tls
        assert connection.query("SHOW STATUS LIKE 'Ssl_cipher'")[0][1]
        connection.dump(DumpPosition(mysql.binlog_files()[0].name, 4), to_end=True)
        assert [event.type for event in read_events(connection)][:2] == [ROTATE, FORMAT_DESCRIPTION]


def test_tls_carries_a_large_stream_without_losing_a_byte(make_mysql: Callable[..., MySQL]) -> None:
    server = make_mysql()
    server.sql(
        "CREATE DATABASE d",
        "CREATE TABLE d.t (a INT PRIMARY KEY, b LONGBLOB)",
        "INSERT INTO d.t VALUES (1, REPEAT('x', 3000000)), (2, REPEAT('y', 5000000))",
    )
    [file] = server.binlog_files()
    with Connection(config(server, tls="required"), "test") as connection:
        connection.connect()
        connection.dump(DumpPosition(file.name, 4), to_end=True)
        sizes = sum(event.size for event in read_events(connection)[1:])
    assert sizes + 4 == file.stat().st_size


def test_preferred_tls_does_without_where_there_is_none(mariadb: MariaDB) -> None:
    with Connection(config(mariadb, tls="preferred"), "test") as connection:
        connection.connect()
        assert not connection.tls


def test_required_tls_is_refused_by_a_server_without(mariadb: MariaDB) -> None:
    message = refusal(ServerSetupError, Connection(config(mariadb, tls="required"), "test").connect)
    assert "offers no TLS" in message
    assert 'tls = "preferred"' in message


def test_tls_ca_verifies_the_server(mysql: MySQL, tmp_path: Path) -> None:
    with Connection(config(mysql, tls="required", tls_ca=mysql.data_dir / "ca.pem"), "test") as connection:
        connection.connect()
        assert connection.tls
    foreign = tmp_path / "foreign.pem"
    foreign.write_text(ssl.DER_cert_to_PEM_cert(ssl.create_default_context().get_ca_certs(binary_form=True)[0]))
    message = refusal(ServerSetupError, Connection(config(mysql, tls="required", tls_ca=foreign), "test").connect)
    assert "certificate is not trusted" in message
    assert "tls_ca" in message
    missing = Connection(config(mysql, tls="required", tls_ca=tmp_path / "none.pem"), "test")
    assert "tls_ca can't be read" in refusal(ServerSetupError, missing.connect)


def test_an_account_that_requires_tls_says_so(mysql: MySQL) -> None:
    mysql.sql(
        "CREATE USER IF NOT EXISTS tlsonly@'127.0.0.1' IDENTIFIED BY 'p' REQUIRE SSL",
        "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO tlsonly@'127.0.0.1'",
    )
    url = mysql.url("tlsonly", "p")
    assert "password" in refusal(ServerSetupError, Connection(config(mysql, url=url), "test").connect)
    with Connection(config(mysql, url=url, tls="preferred"), "test") as connection:
        connection.connect()


def test_a_server_that_requires_tls_names_the_setting(make_mysql: Callable[..., MySQL]) -> None:
    server = make_mysql(require_secure_transport="ON")
    message = refusal(ServerSetupError, Connection(config(server), "test").connect)
    assert 'tls = "required"' in message


def test_caching_sha2_password_logs_in_without_tls_by_rsa(mysql: MySQL) -> None:
    mysql.sql("FLUSH PRIVILEGES")  # empties the server's cache, so that the fast path is not taken
    with Connection(config(mysql), "test") as connection:
        connection.connect()
        assert not connection.tls


def test_a_password_is_sent_in_utf8(server: Database) -> None:
    server.sql(
        "CREATE USER IF NOT EXISTS pä@'127.0.0.1' IDENTIFIED BY 'gehëim→'",
        "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO pä@'127.0.0.1'",
    )
    with Connection(config(server, url=server.url("pä", "gehëim→")), "test") as connection:
        assert connection.connect().account == "'pä'@'127.0.0.1'"


def test_a_unix_socket_serves_as_well(server: Database) -> None:
    server.sql(
        "CREATE USER IF NOT EXISTS loc@localhost IDENTIFIED BY 'p'",
        "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO loc@localhost",
    )
    url = f"mysql://loc:p@localhost?socket={server.socket}"
    with Connection(config(server, url=url, tls="preferred"), "test") as connection:
        connection.connect()
        connection.dump(connection.resolve_start(parse_start("latest")))
        assert read_events(connection, 1)[0].type == ROTATE


def test_a_wrong_password_is_named(server: Database) -> None:
    message = refusal(ServerSetupError, Connection(config(server, url=server.url("repl", "wrong")), "test").connect)
    assert "Access denied" in message
    assert "code=1045" in message
    assert "password_env" in message
    assert "wrong" not in message


def test_no_server_is_a_lost_connection() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        url = f"mysql://u@127.0.0.1:{taken.getsockname()[1]}"
        message = refusal(ConnectionLost, Connection(config(None, url=url), "test").connect)
    assert "refused" in message
    assert "host and port" in message


def test_an_unknown_host_is_a_lost_connection() -> None:
    message = refusal(ConnectionLost, Connection(config(None, url="mysql://u@no-such-host.invalid"), "test").connect)
    assert "no-such-host.invalid:3306" in message


def test_a_peer_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mysql://u@127.0.0.1:{silent.getsockname()[1]}"
        message = refusal(ConnectionLost, Connection(config(None, url=url, read_timeout_s=0.2), "test").connect)
    assert "no connection to the server" in message


def test_a_peer_that_hangs_up_or_talks_garbage_gives_one_line() -> None:
    def serve(listener: socket.socket, answers: list[bytes]) -> None:
        for answer in answers:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(answer)

    answers = [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x05\0\0\0\x0aabcd", b"\xff" * 64, b"\0\0\0\0", b"\1\0\0\0\x0a"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener, answers))
        thread.start()
        url = f"mysql://u@127.0.0.1:{listener.getsockname()[1]}"
        for _ in answers:
            with pytest.raises(SourceError) as caught:
                Connection(config(None, url=url, read_timeout_s=1), "test").connect()
            assert "\n" not in str(caught.value)
        thread.join()


def test_a_full_server_is_a_lost_connection(make_mariadb: Callable[..., MariaDB]) -> None:
    server = make_mariadb(max_connections=10)
    held = [Connection(config(server), f"test{number}") for number in range(10)]
    message = ""
    for connection in held:
        try:
            connection.login()
        except ConnectionLost as lost:
            message = str(lost)
            break
    else:
        message = refusal(ConnectionLost, Connection(config(server), "test").connect)
    for connection in held:
        connection.close()
    assert "max_connections" in message


@pytest.mark.parametrize(
    "error",
    [
        pymysql.err.OperationalError(2059, "Authentication plugin 'parsec' not configured"),
        RuntimeError("'pynacl' package is required for ed25519_password auth method"),
        RuntimeError("'cryptography' package is required for sha256_password or caching_sha2_password auth methods"),
    ],
)
def test_an_unknown_authentication_plugin_is_named(error: Exception) -> None:
    """The texts are PyMySQL's; Debian's server-core package has none of these plugins to log in by."""
    explained = login_error(error, host="h", port=3306, user="u")
    assert type(explained) is ServerSetupError
    assert "ALTER USER" in explained.remedy
    assert "plugin" in explained.what or "PyNaCl" in explained.what


def test_a_locked_account_says_how_to_unlock_it(mysql: MySQL) -> None:
    mysql.sql("CREATE USER IF NOT EXISTS locked@'127.0.0.1' IDENTIFIED BY 'p' ACCOUNT LOCK")
    message = refusal(ServerSetupError, Connection(config(mysql, url=mysql.url("locked", "p")), "test").connect)
    assert "ACCOUNT UNLOCK" in message


def test_a_binlog_that_is_off_is_refused(make_server: Callable[..., Database]) -> None:
    server = make_server(log_bin=None, skip_log_bin="1")
    message = refusal(ServerSetupError, Connection(config(server), "test").connect)
    assert "log_bin is OFF" in message
    assert "my.cnf" in message


def test_a_server_that_logs_statements_is_read_if_the_config_wants_them(server: Database) -> None:
    server.sql("SET GLOBAL binlog_format='STATEMENT'")
    try:
        with Connection(config(server, statements="deliver"), "test") as connection:
            connection.connect()
        (finding,) = [one for one in check_server(config(server, statements="deliver"), "test") if one.what == "binlog_format"]
    finally:
        server.sql("SET GLOBAL binlog_format='ROW'")
    assert finding.level == "warning"
    assert "delivered, as statements" in finding.found


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        ("binlog_format", "STATEMENT", "binlog_format=.?ROW"),
    ],
)
def test_a_setting_that_we_cannot_do_with_is_refused(
    server: Database, connection: Connection, setting: str, value: str, remedy: str
) -> None:
    before = server.sql(f"SELECT @@GLOBAL.{setting}")[0][0]
    server.sql(f"SET GLOBAL {setting}='{value}'")
    try:
        message = refusal(ServerSetupError, connection.connect)
    finally:
        server.sql(f"SET GLOBAL {setting}='{before}'")
    assert f"{setting} is {value}" in message
    verb = "SET PERSIST" if server.name == "mysql" else "SET GLOBAL"
    assert re.search(f"{verb} {remedy}", message)
    connection.connect()


def test_missing_grants_are_named_with_the_statement_that_gives_them(server: Database) -> None:
    server.sql("CREATE USER IF NOT EXISTS bare@'127.0.0.1' IDENTIFIED BY 'p'")
    with Connection(config(server, url=server.url("bare", "p")), "test") as connection:
        connection.connect()
        needed = {"mysql": "REPLICATION CLIENT", "mariadb": "BINLOG MONITOR"}[server.name]
        message = refusal(ServerSetupError, connection.resolve_start, parse_start("latest"))
        assert f"GRANT {needed} ON *.* TO 'bare'@'127.0.0.1';" in message
        message = refusal(ServerSetupError, connection.dump, DumpPosition("binlog.000001", 4))
        assert "GRANT REPLICATION SLAVE ON *.* TO 'bare'@'127.0.0.1';" in message


def test_a_stream_without_checksums_is_read_as_it_is(make_server: Callable[..., Database]) -> None:
    server = make_server(binlog_checksum="NONE")
    server.sql("CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)")
    [file] = server.binlog_files()
    events = dumped(server, "earliest")
    assert sum(event.size for event in events) < file.stat().st_size
    assert len(gtids(events)) == 3


def test_checksums_that_were_turned_on_later_are_asked_for(make_server: Callable[..., Database]) -> None:
    server = make_server(binlog_checksum="NONE")
    server.sql("CREATE DATABASE d", "SET GLOBAL binlog_checksum='CRC32'", "CREATE TABLE d.t (a INT PRIMARY KEY)")
    second = server.binlog_files()[1].name
    assert len(gtids(dumped(server, f"{second}:4"))) == 1


def test_a_purged_file_is_told_apart_in_the_stream(server: Database, connection: Connection) -> None:
    message = dump_refusal(PositionError, connection, DumpPosition("binlog.999999", 4))
    assert "code=1236" in message
    assert "purged" in message


def test_an_offset_past_the_end_is_told_apart_in_the_stream(server: Database, connection: Connection) -> None:
    file = server.binlog_files()[-1].name
    assert "position" in dump_refusal(PositionError, connection, DumpPosition(file, 4_000_000_000))


def test_an_offset_inside_an_event_is_an_error_of_the_stream(server: Database, connection: Connection) -> None:
    connection.dump(DumpPosition(server.binlog_files()[0].name, 101), to_end=True)
    while (packet := read_packet(connection))[0] == 0:
        pass
    error = dump_error(int.from_bytes(packet[1:3], "little"), packet[9:].decode())
    assert not error.retryable
    assert error.remedy


def test_a_second_replica_with_our_number_is_recognised(mariadb: MariaDB) -> None:
    with Connection(config(mariadb, server_id=77), "one") as one, Connection(config(mariadb, server_id=77), "two") as two:
        for connection in (one, two):
            connection.connect()
            connection.dump(connection.resolve_start(parse_start("latest")))
        assert_thrown_out(one)


def test_a_second_replica_with_our_uuid_is_recognised(mysql: MySQL) -> None:
    with Connection(config(mysql), "one") as one, Connection(config(mysql), "one") as two:
        for connection in (one, two):
            connection.connect()
            connection.dump(connection.resolve_start(parse_start("latest")))
        assert_thrown_out(one)


def assert_thrown_out(connection: Connection) -> None:
    while (packet := read_packet(connection))[0] == 0:
        pass
    error = dump_error(int.from_bytes(packet[1:3], "little"), packet[9:].decode())
    assert type(error) is ServerSetupError
    assert "server_id" in error.remedy


def test_our_server_id_must_not_be_the_servers_own(server: Database) -> None:
    with Connection(config(server, server_id=1), "test") as connection:
        connection.connect()
        message = refusal(ServerSetupError, connection.dump, connection.resolve_start(parse_start("latest")))
    assert "server_id is the server's own" in message


def test_offsets_above_4_gib_are_asked_for_with_64_bits(server: Database, connection: Connection) -> None:
    """A real file of that size is not made: the server's answer tells that it understood the offset."""
    position = DumpPosition(server.binlog_files()[-1].name, (1 << 32) + 4)  # 4 if it were cut to 32 bits
    if server.name == "mariadb":
        message = refusal(PositionError, connection.dump, position)
        assert "start from gtid:" in message
    else:
        assert "position > file size" in dump_refusal(PositionError, connection, position)


def test_mysql_begins_at_file_and_offset_through_the_64_bit_command(mysql: MySQL, unique_schema: str) -> None:
    start = parse_start(mysql.position())
    mysql.sql(f"CREATE TABLE {unique_schema}.t (a INT PRIMARY KEY)", f"INSERT INTO {unique_schema}.t VALUES (1)")
    expected = gtids(dumped(mysql, f"{start.file}:{start.offset}"))
    with Connection(config(mysql), "test") as connection:
        connection.connect()
        connection._dump_command = lambda facts, position, server_id, flags: dump_gtid_packet(  # type: ignore[method-assign]
            server_id, None, NON_BLOCK, position.file, position.offset
        )
        connection.dump(DumpPosition(start.file, start.offset), to_end=True)
        assert gtids(read_events(connection)) == expected
    assert len(expected) == 2


def test_shutdown_and_other_passing_faults_are_retryable() -> None:
    for code in (1040, 1053, 1317, 1927, 2013, 4031):
        assert dump_error(code, "whatever").retryable
    assert not dump_error(1236, "whatever").retryable
