"""What the network and the server do to a source, on real servers through a proxy: it connects again and goes on exactly."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pymysql
import pytest

from engine.config import SourceConfig
from engine.counters import SourceCounter
from engine.errors import BinlogError, ServerSetupError
from engine.position import parse_start
from engine.source import connection, retries
from engine.source.connection import Connection
from engine.source.retries import Retries
from tests.servers.database import REPL_PASSWORD, Database
from tests.servers.proxy import Proxy
from tests.source.decoding import AFTER
from tests.source.stepped_engine import Engine, insert, live

ROWS = 3000


@pytest.fixture
def proxy(server: Database) -> Iterator[Proxy]:
    with Proxy(server.port) as made:
        yield made


def through(proxy: Proxy, server: Database, **settings: Any) -> dict[str, Any]:
    return live(server, url=server.url().replace(str(server.port), str(proxy.port)), tls="disabled", **settings)


def fill(server: Database, schema: str, first: int, rows: int, bytes_each: int = 60) -> None:
    """Transactions of 1 to 50 rows."""
    with server.connect(autocommit=False) as session:
        write(session, schema, first, rows, bytes_each)


def write(session: Any, schema: str, first: int, rows: int, bytes_each: int = 60) -> None:
    rng = random.Random(first)
    at = first
    while at < first + rows:
        until = min(at + rng.randrange(1, 50), first + rows)
        values = ",".join(f"({i}, '{'v' * bytes_each}')" for i in range(at, until))
        session.query(f"INSERT INTO {schema}.t VALUES {values}")
        session.commit()
        at = until


def reconnected(engine: Engine, since: int) -> Callable[[], bool]:
    return lambda: engine.counter(SourceCounter.CONNECTS) > since


def test_a_connection_cut_anywhere_in_the_stream_goes_on_exactly(
    server: Database, schema: str, proxy: Proxy, make_engine: Any
) -> None:
    engine = make_engine(through(proxy, server))
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    rng = random.Random(4)
    for turn in range(20):
        proxy.cut(after_bytes=rng.randrange(6000))
        fill(server, schema, 60 * turn, 60)
        engine.until(lambda turn=turn: len(engine.values()) >= 60 * turn + 60)
    assert engine.values() == list(range(1200))
    assert engine.counter(SourceCounter.CONNECTS) > 5


def test_a_half_open_connection_is_given_up_after_the_read_timeout(
    server: Database, schema: str, proxy: Proxy, make_engine: Any
) -> None:
    engine = make_engine(through(proxy, server, read_timeout_s=1.0))
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    insert(server, schema, 1)
    engine.until(lambda: engine.values() == [1])
    proxy.half_open()
    began = time.monotonic()
    insert(server, schema, 2)
    engine.until(lambda: not engine.counter(SourceCounter.CONNECTED))
    assert 0.9 < time.monotonic() - began < 3
    assert engine.stage.trouble.reason == "connection_lost"
    assert "silent" in str(engine.stage.trouble)
    proxy.restore()
    engine.until(lambda: engine.values() == [1, 2])
    engine.until(lambda: engine.stage.trouble is None)


def test_a_stalled_network_that_comes_back_in_time_costs_nothing(
    server: Database, schema: str, proxy: Proxy, make_engine: Any
) -> None:
    engine = make_engine(through(proxy, server, read_timeout_s=5.0))
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    proxy.stall()
    fill(server, schema, 0, 100)
    for _ in range(50):
        engine.step()
    proxy.restore()
    engine.until(lambda: len(engine.values()) == 100)
    assert engine.counter(SourceCounter.CONNECTS) == 1


def test_a_slow_network_delivers_all_in_the_end(server: Database, schema: str, proxy: Proxy, make_engine: Any) -> None:
    start = server.position()
    fill(server, schema, 0, ROWS)
    proxy.throttle(200_000)
    proxy.delay(0.01)
    engine = make_engine(through(proxy, server, start=start, read_timeout_s=10.0))
    engine.start()
    engine.until(lambda: len(engine.values()) >= ROWS)
    assert engine.values() == list(range(ROWS))
    assert engine.counter(SourceCounter.CONNECTS) == 1


def test_bytes_damaged_on_the_wire_are_read_again_and_never_delivered(
    server: Database, schema: str, proxy: Proxy, make_engine: Any
) -> None:
    engine = make_engine(through(proxy, server, read_timeout_s=1.0))  # a damaged length in a reply is waited for
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    rng = random.Random(7)
    for turn in range(10):
        proxy.corrupt(after_bytes=rng.randrange(2000), mask=1 << rng.randrange(8))
        fill(server, schema, 60 * turn, 60)
        engine.until(lambda turn=turn: len(engine.values()) >= 60 * turn + 60)
    assert engine.values() == list(range(600))
    assert {record[AFTER][1] for record in engine.changes()} == {"v" * 60}
    assert engine.counter(SourceCounter.CONNECTS) > 5


def test_a_damaged_length_is_noticed_though_its_bytes_never_come(
    server: Database, schema: str, proxy: Proxy, make_engine: Any
) -> None:
    engine = make_engine(through(proxy, server))
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    insert(server, schema, 1)
    engine.until(lambda: engine.values() == [1])
    connects = engine.counter(SourceCounter.CONNECTS)
    proxy.corrupt(after_bytes=2, mask=0x40)  # the third byte of a packet's length: 4 MiB more
    insert(server, schema, 2)
    engine.until(reconnected(engine, connects))
    proxy.restore()
    engine.until(lambda: engine.values() == [1, 2])


def test_damage_in_the_binlog_itself_is_declared_after_two_more_readings(
    make_server: Callable[..., Database], make_engine: Any
) -> None:
    server = make_server()
    server.sql("CREATE DATABASE stage_bad", "CREATE TABLE stage_bad.t (id INT PRIMARY KEY, v VARCHAR(100))")
    start = server.position()
    insert(server, "stage_bad", 1, 2, 3)
    server.sql("FLUSH BINARY LOGS")
    file = server.binlog_files()[0]
    data = bytearray(file.read_bytes())
    data[data.rindex(b"value 2")] ^= 1  # in the row, not in the statement that MariaDB logs beside it
    file.write_bytes(data)
    engine = make_engine(live(server, start=start))
    engine.start()
    with pytest.raises(BinlogError, match="checksum") as caught:
        engine.until(lambda: len(engine.values()) == 3)
    assert engine.values() == [1]
    assert engine.counter(SourceCounter.CONNECTS) == 1 + retries.REREADS
    assert caught.value.reason == "binlog_damaged"


def test_a_server_stopped_or_killed_under_load_is_followed_from_where_it_was(
    make_server: Callable[..., Database], make_engine: Any
) -> None:
    server = make_server(innodb_flush_log_at_trx_commit=1)  # otherwise a killed server loses what its binlog has
    server.sql("CREATE DATABASE stage_kill", "CREATE TABLE stage_kill.t (id INT PRIMARY KEY, v VARCHAR(100))")
    engine = make_engine(live(server), include=[r"stage_kill\..*"])
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    stop = threading.Event()

    def load(first: int) -> None:
        with server.connect(autocommit=False) as session, suppress(pymysql.err.Error):  # until the server is gone
            while not stop.is_set():
                write(session, "stage_kill", first, 50)
                first += 50

    for turn in range(3):
        stop.clear()
        before = len(engine.values())
        writer = threading.Thread(target=load, args=(turn * 1_000_000,))
        writer.start()
        engine.until(lambda before=before: len(engine.values()) > before + 300)
        if turn == 1 and server.name == "mariadb":  # MySQL takes 11 s for an orderly stop with a reader attached
            stop.set()
            writer.join()
            server.process.child.terminate()
            engine.until(lambda: not server.process.running)
        else:
            server.kill()
        stop.set()
        writer.join()
        engine.until(lambda: not engine.counter(SourceCounter.CONNECTED))
        server.start()
    insert(server, "stage_kill", 99_000_000)
    engine.until(lambda: 99_000_000 in engine.values()[-5:])
    rows = [row[0] for row in server.sql("SELECT id FROM stage_kill.t ORDER BY id")]
    assert engine.values() == rows


def test_a_half_written_binlog_tail_is_recovered_from(make_server: Callable[..., Database], make_engine: Any) -> None:
    server = make_server()
    server.sql("CREATE DATABASE stage_tail", "CREATE TABLE stage_tail.t (id INT PRIMARY KEY, v VARCHAR(100))")
    start = server.position()
    insert(server, "stage_tail", 1, 2)
    engine = make_engine(live(server, start=start))
    engine.start()
    engine.until(lambda: engine.values() == [1, 2])
    file = server.binlog_files()[-1]
    server.kill()
    data = file.read_bytes()
    last = data.index(b"value 2") - 100
    file.write_bytes(data + data[last : last + 130])  # what a crash leaves of a write
    server.start()
    insert(server, "stage_tail", 3)
    engine.until(lambda: len(engine.values()) == 3)
    assert engine.values() == [1, 2, 3]


def test_a_changed_password_is_waited_for_and_a_new_one_is_taken_up(
    server: Database, schema: str, proxy: Proxy, make_engine: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "LONGEST_REFUSED_PAUSE_S", 0.2)
    secret = tmp_path / "password"
    secret.write_text(REPL_PASSWORD)
    url = f"mysql://repl@127.0.0.1:{proxy.port}"
    engine = make_engine(live(server, url=url, password_file=str(secret), tls="preferred"))
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    insert(server, schema, 1)
    engine.until(lambda: engine.values() == [1])
    try:
        server.sql("SET PASSWORD FOR repl@'127.0.0.1' = " + ("PASSWORD('new')" if server.name == "mariadb" else "'new'"))
        proxy.cut()
        insert(server, schema, 2)
        engine.until(lambda: engine.stage.trouble and engine.stage.trouble.reason == "access_denied")
        secret.write_text("new")
        engine.until(lambda: engine.values() == [1, 2])
    finally:
        again = f"PASSWORD('{REPL_PASSWORD}')" if server.name == "mariadb" else f"'{REPL_PASSWORD}'"
        server.sql(f"SET PASSWORD FOR repl@'127.0.0.1' = {again}")


def test_a_password_that_never_was_right_ends_the_source(server: Database, make_engine: Any) -> None:
    engine = make_engine(live(server, url=server.url("repl", "wrong")))
    engine.start()
    with pytest.raises(ServerSetupError) as caught:
        engine.step()
    assert caught.value.reason == "access_denied"


def test_names_that_do_not_resolve_for_a_while_are_tried_again(
    server: Database, schema: str, proxy: Proxy, make_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(through(proxy, server))
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))

    def fails(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", fails)
        proxy.cut()
        engine.until(lambda: engine.stage.trouble and engine.stage.trouble.reason == "dns_failure")
    insert(server, schema, 1)
    engine.until(lambda: engine.values() == [1])


def test_a_reader_that_holds_back_is_not_thrown_out_and_loses_nothing(
    server: Database, schema: str, proxy: Proxy, make_engine: Any
) -> None:
    start = server.position()
    before = server.sql("SELECT @@GLOBAL.net_write_timeout")[0][0]
    server.sql("SET GLOBAL net_write_timeout = 1")
    try:
        fill(server, schema, 0, 60_000, 100)
        engine = make_engine(through(proxy, server, start=start, receive_buffer=64 << 10))  # or the kernel may take all of it
        stage = engine.start()
        until = time.monotonic() + 3
        while time.monotonic() < until:  # nobody takes: the ring is full, then the socket's buffers
            if not stage.do_work(time.monotonic_ns()):
                stage.idle(10_000_000)
        assert engine.counter(SourceCounter.RING_FULL)
        proxy.cut()  # as a server that had lost its patience
        engine.until(lambda: len(engine.values()) >= 60_000 and engine.counter(SourceCounter.CONNECTS) > 1)
        assert engine.values() == list(range(60_000))
        assert engine.counter(SourceCounter.CONNECTS) == 2
    finally:
        server.sql(f"SET GLOBAL net_write_timeout = {before}")


def test_a_replica_that_has_our_server_id_is_seen_and_another_id_is_chosen(
    server: Database, schema: str, proxy: Proxy, make_engine: Any
) -> None:
    engine = make_engine(through(proxy, server))
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    first = connection.server_ids_by_source["shop", os.getpid()]
    twin = Connection(SourceConfig(url=server.url(), server_id=first), "shop")  # the same uuid too, by its name
    with twin:
        twin.connect()
        twin.dump(twin.resolve_start(parse_start("latest")))
        engine.until(lambda: engine.stage.trouble and engine.stage.trouble.reason == "duplicate_server_id")
        insert(server, schema, 1)
        engine.until(lambda: engine.values() == [1])
        assert connection.server_ids_by_source["shop", os.getpid()] != first
        assert twin.wait_readable(0.2), "the twin goes on as well"
        insert(server, schema, 2)
        engine.until(lambda: engine.values() == [1, 2])
    assert proxy.links <= 10, "they don't throw each other out over and over"


def test_pauses_grow_with_jitter_up_to_their_bounds() -> None:
    tries = Retries()
    pauses = [tries.pause_s() for _ in range(20)]
    assert 0.05 <= pauses[0] <= 0.1
    assert all(pause <= retries.LONGEST_PAUSE_S for pause in pauses)
    assert 5 <= pauses[-1] <= 10
    assert len(set(pauses)) == 20
    refused = [tries.pause_s(refused=True) for _ in range(10)]
    assert 30 <= refused[-1] <= 60
    tries.worked()
    assert tries.pause_s() <= 0.1
