"""What `check` finds on real servers: each fault by name, with the SQL that mends it, which the tests then run."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Any

import pytest

from engine.source import server_check
from engine.source.server_check import Finding, check_server
from engine.source.server_facts import version_numbers
from tests.servers.database import Database
from tests.servers.mariadb import MariaDB
from tests.servers.mysql import MySQL
from tests.source.packets import config


def faults(server: Database, **settings: Any) -> list[Finding]:
    findings = check_server(config(server, **settings), "test")
    assert findings
    for finding in findings:
        assert (finding.level == "ok") == (finding.remedy == ""), finding
        assert "\n" not in finding.found
    return [finding for finding in findings if finding.level != "ok"]


def test_a_server_that_is_set_up_has_no_faults(server: Database) -> None:
    findings = check_server(config(server), "test")
    assert [finding for finding in findings if finding.level != "ok"] == []
    seen = {finding.what for finding in findings}
    assert {"reachable", "login", "version", "TLS", "log_bin", "server_id", "binlog_format"} <= seen
    assert {"binlog_row_image", "binlog_row_metadata", "binlog_checksum", "binlog retention", "start"} <= seen
    assert "grant REPLICATION SLAVE" in seen


@pytest.mark.parametrize(
    ("setting", "value", "level"),
    [
        ("binlog_format", "STATEMENT", "error"),
        ("binlog_format", "MIXED", "warning"),
        ("binlog_row_image", "MINIMAL", "warning"),
        ("binlog_row_metadata", "MINIMAL", "warning"),
        ("binlog_checksum", "NONE", "warning"),
        ("server_id", "0", "error"),
    ],
)
def test_the_sql_of_a_fault_mends_it(make_server: Callable[..., Database], setting: str, value: str, level: str) -> None:
    server = make_server()
    if (server.name, setting) == ("mariadb", "server_id"):
        setting, value, level = "binlog_row_metadata", "NO_LOG", "warning"  # MariaDB takes no server_id of 0
    server.sql(f"SET GLOBAL {setting}={value}" if value.isdigit() else f"SET GLOBAL {setting}='{value}'")
    fault = next(fault for fault in faults(server) if fault.what == setting)
    assert fault.level == level
    assert value in fault.found
    server.sql(fault.remedy.split(";")[0])
    assert faults(server) == []


def test_compression_and_partial_json_are_no_faults(make_server: Callable[..., Database]) -> None:
    server = make_server()
    if server.name == "mariadb":
        server.sql("SET GLOBAL log_bin_compress=ON")
    else:
        server.sql("SET GLOBAL binlog_transaction_compression=ON", "SET GLOBAL binlog_row_value_options='PARTIAL_JSON'")
    assert faults(server) == []


def test_missing_grants_are_mended_by_their_sql(server: Database) -> None:
    server.sql("DROP USER IF EXISTS `b'are`@'127.0.0.1'", "CREATE USER `b'are`@'127.0.0.1' IDENTIFIED BY 'p'")
    url = server.url("b'are", "p")
    grants = [fault for fault in faults(server, url=url) if fault.what.startswith("grant")]
    assert len(grants) == 2
    for fault in grants:
        server.sql(fault.remedy)
    assert faults(server, url=url) == []


def test_a_binlog_that_is_off_is_the_only_fault(make_server: Callable[..., Database]) -> None:
    [fault] = faults(make_server(log_bin=None, skip_log_bin="1"))
    assert (fault.level, fault.what) == ("error", "log_bin")
    assert "my.cnf" in fault.remedy


def test_a_short_retention_is_a_warning(make_server: Callable[..., Database]) -> None:
    server = make_server(binlog_expire_logs_seconds=3600)
    [fault] = faults(server)
    assert (fault.level, fault.what) == ("warning", "binlog retention")
    assert fault.found.startswith("1.0 hours")
    server.sql(fault.remedy.split(";")[0])
    assert faults(server) == []


def test_a_replica_that_does_not_log_what_it_replicates_is_an_error(make_server: Callable[..., Database]) -> None:
    name = "log_slave_updates"
    server = make_server(log_slave_updates="OFF", server_id=2)
    assert faults(server) == []
    if server.name == "mariadb":
        server.sql("SET GLOBAL gtid_slave_pos='5-5-5'")
    else:
        server.sql("CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=1")
        name = "log_replica_updates"
    [fault] = faults(server)
    assert (fault.level, fault.what) == ("error", f"{name} on a replica")
    assert f"{name}=ON" in fault.remedy


def test_a_wrong_password_and_no_server_end_the_check(server: Database) -> None:
    findings = check_server(config(server, url=server.url("repl", "wrong")), "test")
    assert [(finding.level, finding.what) for finding in findings] == [("ok", "reachable"), ("error", "login")]
    assert "password" in findings[1].remedy
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"mysql://u@127.0.0.1:{taken.getsockname()[1]}"
        [finding] = check_server(config(None, url=url), "test")
    assert (finding.level, finding.what) == ("error", "reachable")
    assert "refused" in finding.found


def test_tls_is_shown_as_it_is(mysql: MySQL, mariadb: MariaDB) -> None:
    def shown(server: Database, **settings: Any) -> str:
        return next(finding.found for finding in check_server(config(server, **settings), "test") if finding.what == "TLS")

    assert shown(mysql, tls="preferred") == "on, certificate not verified: no tls_ca"
    assert shown(mysql, tls="required", tls_ca=mysql.data_dir / "ca.pem") == "on, certificate verified"
    assert shown(mysql, tls="disabled") == "off"
    assert shown(mariadb, tls="preferred") == "off: the server offers none"


def test_a_start_that_is_not_to_be_had_is_an_error(server: Database) -> None:
    gtid = "0-1-1" if server.name == "mariadb" else f"{server.sql('SELECT @@server_uuid')[0][0]}:1"
    starts = ["earliest", server.position(), f"gtid:{gtid}"]
    if server.sql("SELECT @@gtid_binlog_pos" if server.name == "mariadb" else "SELECT @@gtid_executed") == (("",),):
        starts.pop()
    for start in starts:
        found = [finding for finding in check_server(config(server, start), "test") if finding.what == "start"]
        assert [finding.level for finding in found] == ["ok"], found
    wrong = ["binlog.999999:4", "2001-01-01T00:00:00Z", "gtid:nonsense", "gtid:0-1-999999"]
    for start in wrong if server.name == "mariadb" else wrong[:3]:
        [fault] = faults(server, start=start)
        assert (fault.level, fault.what) == ("error", "start")


def test_our_server_id_is_compared_with_those_that_are_taken(server: Database) -> None:
    assert faults(server, server_id=4000) == []
    [*_, fault] = faults(server, server_id=1)
    assert (fault.level, fault.what) == ("error", "our server_id")


def test_a_server_that_goes_away_in_the_middle_is_a_finding(server: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(connection: Any, facts: Any) -> Any:
        server.sql(f"KILL {connection.query('SELECT CONNECTION_ID()')[0][0]}")
        return connection.query("SELECT 1")

    monkeypatch.setattr(server_check, "_grants", die)
    [finding] = check_server(config(server), "test")
    assert (finding.level, finding.what) == ("error", "check")
    assert "the connection was lost" in finding.found


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("10.11.19-MariaDB-0+deb12u1-log", (10, 11, 19)),
        ("5.5.5-10.4.8-MariaDB", (10, 4, 8)),
        ("9.7.4-2", (9, 7, 4)),
        ("8.0.36-0ubuntu0.22.04.1", (8, 0, 36)),
        ("12.3-MariaDB", (12, 3, 0)),
        ("unheard of", (0, 0, 0)),
    ],
)
def test_version_numbers_are_read_from_the_servers_text(text: str, numbers: tuple[int, int, int]) -> None:
    assert version_numbers(text) == numbers
    assert re.search(r"\d", text) or numbers == (0, 0, 0)
