"""Wrong input: one clear line that names the thing and the remedy, a non-zero exit, and nobody else is harmed."""

from __future__ import annotations

import shutil
import socket
import zlib
from pathlib import Path

import pytest

from tests.running_engine import RunningEngine, command
from tests.servers.process import free_port

BINLOG = Path(__file__).parents[1] / "data" / "mariadb-shop" / "binlog.000001"
HEADER_BYTES = 19
ROTATE_OR_STOP = (3, 4)


def one_line_of_error(done, exit_code: int) -> str:
    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("binlog-engine: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def config_file(folder: Path, url: str, **source: object) -> str:
    return str(RunningEngine(folder, {"shop": {"url": url, **source}}, {"orders": {}}).config_path)


def test_a_bad_config_is_named_and_ends_run_and_check_with_2(tmp_path):
    path = tmp_path / "engine.toml"
    path.write_text('[sources.shop]\nurl = "mysql://repl@db"\nrign = "64MiB"\n[destinations.orders]\n')
    for name in ("run", "check"):
        assert "unknown key sources.shop.rign, did you mean 'ring'?" in one_line_of_error(command(name, str(path)), 2)


def test_an_unknown_command_or_option_is_wrong_use():
    assert command("rnu").returncode == 2
    assert command("decode", "--jsn", str(BINLOG)).returncode == 2
    assert command("tail", "orders", "--max", "none").returncode == 2


def test_no_server_is_an_error_of_check_that_names_the_address(tmp_path):
    port = free_port()
    done = command("check", config_file(tmp_path, f"mysql://repl:x@127.0.0.1:{port}"))
    assert done.returncode == 1
    assert "127.0.0.1" in done.stdout
    assert str(port) in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_check_warns_of_an_open_port_and_names_a_missing_token(tmp_path):
    path = tmp_path / "engine.toml"
    path.write_text(
        '[server]\nlisten = ["tcp://0.0.0.0:7411", "tcp://127.0.0.1:7412"]\n'
        '[sources.shop]\nurl = "mysql://repl:x@127.0.0.1:1"\n[destinations.orders]\n'
    )
    printed = command("check", str(path)).stdout
    assert "tcp://0.0.0.0:7411: whoever reaches it may read everything" in printed
    assert "tcp://0.0.0.0:7411: changes and tokens travel in the clear" in printed
    assert "127.0.0.1:7412" not in printed
    path.write_text(path.read_text() + '[tokens.cache]\ntoken_env = "NO_SUCH_VARIABLE_HERE"\n')
    printed = command("check", str(path)).stdout
    assert "export NO_SUCH_VARIABLE_HERE=" in printed
    assert "may read everything" not in printed


def test_a_wrong_password_is_named_by_check_and_ends_the_engine_but_never_shown(tmp_path, server):
    path = config_file(tmp_path, server.url(password="not-the-password"))
    checked = command("check", path)
    assert checked.returncode == 1
    assert "repl" in checked.stdout
    ran = command("run", path)
    assert ran.returncode == 1
    for done in (checked, ran):
        assert "not-the-password" not in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert "password" in done.stdout + done.stderr


def test_a_ready_server_passes_check(tmp_path, server):
    done = command("check", config_file(tmp_path, server.url()))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ready" in done.stdout


@pytest.mark.parametrize(
    ("options", "named", "remedy"),
    [
        ({"log_bin": None, "skip_log_bin": ""}, "log_bin", "log-bin"),
        ({"binlog_format": "STATEMENT"}, "binlog_format", "SET GLOBAL binlog_format"),
    ],
)
def test_a_server_without_a_row_binlog_is_refused_with_the_setting_that_mends_it(tmp_path, make_mariadb, options, named, remedy):
    server = make_mariadb(**options)
    path = config_file(tmp_path, server.url())
    checked = command("check", path)
    assert checked.returncode == 1
    assert named in checked.stdout
    assert remedy.lower().replace("-", "_") in checked.stdout.lower().replace("-", "_")
    ran = command("run", path)
    assert ran.returncode == 1
    assert named in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_missing_grant_is_named_with_the_statement_that_gives_it(tmp_path, server):
    server.sql("CREATE USER IF NOT EXISTS nobody@'127.0.0.1' IDENTIFIED BY 'pw'", "GRANT SELECT ON *.* TO nobody@'127.0.0.1'")
    path = config_file(tmp_path, server.url("nobody", "pw"))
    checked = command("check", path)
    assert checked.returncode == 1
    assert "GRANT REPLICATION SLAVE" in checked.stdout
    ran = command("run", path)
    assert ran.returncode == 1
    assert "GRANT" in ran.stderr


def test_no_engine_at_the_address_is_named_by_tail():
    port = free_port()
    message = one_line_of_error(command("tail", "orders", "--server", f"tcp://127.0.0.1:{port}"), 1)
    assert str(port) in message


@pytest.fixture
def running(tmp_path):
    with RunningEngine(tmp_path / "engine", {"shop": {"files": [str(BINLOG)]}}, {"orders": {}}) as engine:
        yield engine


def test_an_unknown_destination_is_named_with_those_there_are(running):
    message = one_line_of_error(command("tail", "odrers", "--server", running.listen), 1)
    assert "odrers" in message
    assert "orders" in message.replace("odrers", "")


def test_garbage_on_the_socket_harms_nobody_else(running):
    host, port = "127.0.0.1", int(running.listen.rsplit(":", 1)[1])
    with running.connect("orders") as stream:
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100, b"\0\0\0\1\xc1", b"\0\0\0\0", b"\0\0\0\5\x81\xa4type", b"\0"):
            with socket.create_connection((host, port), 5) as hostile:
                hostile.sendall(garbage)
                hostile.shutdown(socket.SHUT_WR)
                hostile.settimeout(15)
                while hostile.recv(4096):
                    pass
        assert stream.get(wait_ms=5000) is not None


# Binlog files


def test_a_file_that_is_missing_or_no_binlog_is_named(tmp_path):
    assert "absent.000001" in one_line_of_error(command("decode", str(tmp_path / "absent.000001")), 1)
    wrong = tmp_path / "wrong.000001"
    wrong.write_bytes(b"PK\3\4 this is something else altogether")
    assert "wrong.000001" in one_line_of_error(command("decode", str(wrong)), 1)


def test_a_truncated_binlog_is_named_with_the_offset_where_it_ends(tmp_path):
    cut = tmp_path / "binlog.000001"
    cut.write_bytes(BINLOG.read_bytes()[:-7])
    done = command("decode", str(cut), "--json")
    message = one_line_of_error(done, 1)
    assert "binlog.000001" in message
    assert "offset=" in message


def events(data: bytes) -> list[tuple[int, int, int]]:
    """(offset, type, length) of each event of a binlog file."""
    found, at = [], 4
    while at + HEADER_BYTES <= len(data):
        length = int.from_bytes(data[at + 9 : at + 13], "little")
        found.append((at, data[at + 4], length))
        at += length
    return found


def test_a_checksum_that_does_not_match_is_named_with_file_offset_and_event_type(tmp_path):
    data = bytearray(BINLOG.read_bytes())
    offset, _, length = next(event for event in events(bytes(data)) if event[1] in (23, 30))
    data[offset + length // 2] ^= 0x40
    damaged = tmp_path / "binlog.000001"
    damaged.write_bytes(data)
    message = one_line_of_error(command("decode", str(damaged), "--json"), 1)
    assert "checksum" in message.lower()
    assert f"offset={offset}" in message
    assert "WRITE_ROWS" in message


def test_an_event_type_nobody_knows_stops_with_its_type_unless_it_is_marked_ignorable(tmp_path):
    data = bytearray(BINLOG.read_bytes())
    offset, _, length = next(event for event in events(bytes(data)) if event[1] == 16)
    for flags, exit_code in ((0, 1), (0x80, 0)):
        data[offset + 4] = 251
        data[offset + 17 : offset + 19] = flags.to_bytes(2, "little")
        crc = zlib.crc32(data[offset : offset + length - 4])
        data[offset + length - 4 : offset + length] = crc.to_bytes(4, "little")
        strange = tmp_path / "binlog.000001"
        strange.write_bytes(data)
        done = command("decode", str(strange), "--json")
        if exit_code:
            message = one_line_of_error(done, 1)
            assert "251" in message
            assert f"offset={offset}" in message
        else:
            assert done.returncode == 0, done.stderr


def test_decode_prints_the_json_of_the_design_for_a_file_alone(tmp_path):
    import json

    shutil.copy(BINLOG, tmp_path / "binlog.000001")
    done = command("decode", str(tmp_path / "binlog.000001"), "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    changes = [line for line in lines if line["op"] != "ddl"]
    assert changes
    assert {tuple(line) for line in changes} == {("op", "source", "schema", "table", "before", "after", "ts", "position", "gtid")}
    assert {line["op"] for line in lines} >= {"insert", "update", "delete", "ddl"}
