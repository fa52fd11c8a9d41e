"""The servers themselves: what every other test takes for granted."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pymysql
import pytest

from tests.servers import install, process
from tests.servers.database import REPL_PASSWORD, REPL_USER, Database
from tests.servers.missing import Missing
from tests.servers.process import Process, StartError
from tests.servers.selected import differences, same, selected

ROOT = Path(__file__).parents[1]


def test_a_server_logs_rows_with_full_images_and_full_metadata(server: Database) -> None:
    variables = "('log_bin', 'binlog_format', 'binlog_row_image', 'binlog_row_metadata')"
    settings = dict(server.sql(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN {variables}"))

    assert settings == {
        "log_bin": "ON",
        "binlog_format": "ROW",
        "binlog_row_image": "FULL",
        "binlog_row_metadata": "FULL",
    }


def test_the_servers_own_tool_reads_the_binlog_it_wrote(server: Database, unique_schema: str) -> None:
    server.sql(f"CREATE TABLE {unique_schema}.t (id INT PRIMARY KEY)", f"INSERT INTO {unique_schema}.t VALUES (4711)")
    try:
        text = server.binlog_text(*server.binlog_files())
    except Missing as missing:
        pytest.skip(str(missing))

    assert f"### INSERT INTO `{unique_schema}`.`t`" in text
    assert "###   @1=4711" in text


def test_the_replication_account_logs_in_over_tcp_and_may_read_the_binlog(server: Database) -> None:
    account = {"host": "127.0.0.1", "port": server.port, "user": REPL_USER, "password": REPL_PASSWORD}
    with server.connect(**account) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW BINARY LOGS")
        assert cursor.fetchall()
        cursor.execute("SHOW GRANTS")
        assert "REPLICATION SLAVE" in str(cursor.fetchall())


def test_the_replication_account_may_not_write(server: Database, unique_schema: str) -> None:
    account = {"host": "127.0.0.1", "port": server.port, "user": REPL_USER, "password": REPL_PASSWORD}
    with (
        server.connect(**account) as connection,
        connection.cursor() as cursor,
        pytest.raises(pymysql.err.OperationalError, match="denied"),
    ):
        cursor.execute(f"CREATE TABLE {unique_schema}.t (id INT)")


def test_what_was_committed_survives_kill_9_and_a_restart_on_the_same_port(
    make_server: Callable[..., Database],
) -> None:
    server = make_server(innodb_flush_log_at_trx_commit=1, sync_binlog=1)
    server.sql("CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1), (2)")
    port = server.port

    server.kill()
    assert not server.process.running
    server.start()

    assert server.port == port
    assert server.sql("SELECT COUNT(*) FROM d.t") == ((2,),)
    assert [path.name for path in server.binlog_files()] == ["binlog.000001", "binlog.000002"]
    assert server.stop() == 0


def test_options_are_the_servers_own(make_mariadb: Callable[..., Database]) -> None:
    server = make_mariadb(binlog_row_image="MINIMAL", server_id=42)

    assert server.sql("SELECT @@binlog_row_image, @@server_id") == (("MINIMAL", 42),)


def test_a_wrong_option_says_so_instead_of_waiting(make_mariadb: Callable[..., Database]) -> None:
    with pytest.raises(StartError, match=r"no_such_option|no-such-option"):
        make_mariadb(no_such_option=1)


def test_a_server_dies_with_the_process_that_started_it() -> None:
    code = (
        "import sys; from tests.servers.process import Process; orphan = Process('orphan');"
        "orphan.spawn(['sleep', '600'])\n"
        "while open(f'/proc/{orphan.pid}/comm').read() != 'sleep\\n': pass\n"  # until then setpriv has not tied it yet
        "print(orphan.pid, orphan.folder, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().split()
        handle = os.pidfd_open(int(pid))  # readable once that very process has ended
        parent.kill()
    ended, _, _ = select.select([handle], [], [], 10)
    os.close(handle)
    shutil.rmtree(folder)

    assert ended == [handle]


def test_what_a_killed_run_left_behind_is_removed_by_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process, "SCRATCH", tmp_path)
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = tmp_path / f"mysql-{ended.pid}-abcd_123"
    left.mkdir()
    ours = process.scratch_folder("mysql")
    process.remove_left_behind("mysql")

    assert list(tmp_path.iterdir()) == [ours]


def test_ctrl_c_is_not_passed_on_to_a_server() -> None:
    sleeper = Process("sleeper")
    sleeper.spawn(["sleep", "600"])
    try:
        assert os.getpgid(sleeper.pid) != os.getpgid(0)
        assert sleeper.stop() == -signal.SIGTERM
    finally:
        sleeper.close()


@pytest.mark.mariadb
@pytest.mark.mysql
def test_installing_is_quick_when_everything_is_there() -> None:
    try:
        install.mariadb_tool("mariadbd")
        install.mariadb_binlog()
        install.mysql_home()
    except Missing as missing:
        pytest.skip(str(missing))
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "tests.servers.install", "mariadb", "mysql"], cwd=ROOT, capture_output=True)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert time.monotonic() - begin < 2


def test_a_server_that_cannot_be_had_is_one_line_and_status_3(tmp_path: Path) -> None:
    environment = {**os.environ, "MYSQL_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "tests.servers.install", "mysql"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)

    assert done.returncode == install.EXIT_MISSING
    assert done.stderr.startswith(f"mysql can't be had: no MySQL in {tmp_path}")
    assert done.stderr.count("\n") == 1


def test_selected_shows_values_as_a_consumer_gets_them(server: Database, unique_schema: str) -> None:
    server.sql(
        f"CREATE TABLE {unique_schema}.t (id INT PRIMARY KEY, b BIT(9), f FLOAT, d DECIMAL(10,2), y YEAR,"
        " v VARBINARY(9), s VARCHAR(9), ts TIMESTAMP(3) NULL)",
        "SET time_zone = '+02:00'",
        f"INSERT INTO {unique_schema}.t VALUES (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL),"
        " (1, b'100000001', 0.1, -0.5, 2026, x'00ff', '名', '2026-01-01 02:00:00.5')",
    )
    with server.connect() as connection:
        first, second = selected(connection, unique_schema, "t")

    assert first == {
        "id": 1,
        "b": 257,
        "f": 0.10000000149011612,
        "d": "-0.50",
        "y": 2026,
        "v": b"\x00\xff",
        "s": "名",
        "ts": "2026-01-01 00:00:00.500",
    }
    assert second == {**dict.fromkeys(first), "id": 2}


def test_a_float_is_the_same_with_fewer_digits_but_not_with_others() -> None:
    assert same(0.1, 0.10000000149011612)
    assert not same(0.10000001, 0.1)
    assert not same(0.2, 0.10000000149011612)
    assert not same(1, 1.0)
    assert not same(1e308, 1.7976931348623157e308)


def test_json_text_is_the_same_in_whatever_order_and_spacing() -> None:
    assert same('{"a": 1, "b": [2]}', '{"b":[2],"a":1}')
    assert not same('{"a": 1}', '{"a": 2}')
    assert not same("1", 1)
    assert differences({"a": 1, "b": 2}, {"a": 1, "c": 3}) == {"b": (2, "(absent)"), "c": ("(absent)", 3)}
