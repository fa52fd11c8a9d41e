"""Where the demo's changes come from."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from demo.origin import CLOSING_ORDER, OWN_DATABASE, DemoError, NamedServer, Recorded
from tests.servers.database import Database


def named(url: str) -> NamedServer:
    return NamedServer(url, 1000, Console(file=io.StringIO()))


def said(origin: NamedServer) -> str:
    assert isinstance(origin.console.file, io.StringIO)
    return origin.console.file.getvalue()


def databases(server: Database) -> set[str]:
    return {row[0] for row in server.sql("SHOW DATABASES")}


def test_on_a_named_server_the_shop_has_a_database_of_its_own_which_is_dropped_at_the_end(server: Database) -> None:
    origin = named(server.url("root"))
    position = server.position()
    source = origin.open()
    origin.begin()
    origin.finish()
    last = origin.rows("orders")[0]
    origin.close()

    assert source["url"] == f"mysql://root@127.0.0.1:{server.port}"
    assert source["start"].split(":")[0] == position.split(":")[0]
    assert int(source["start"].split(":")[1]) > int(position.split(":")[1])
    assert (last["id"], last["note"]) == (CLOSING_ORDER, "the shop closes")
    assert OWN_DATABASE not in databases(server)
    assert f"asked to create the database {OWN_DATABASE}" in said(origin)
    assert "dropped the database" in said(origin)


def test_a_database_of_that_name_which_is_there_already_is_left_alone(server: Database) -> None:
    server.sql(f"CREATE DATABASE {OWN_DATABASE}")
    try:
        origin = named(server.url("root"))
        with pytest.raises(DemoError, match=f"database exists.*DROP DATABASE {OWN_DATABASE}"):
            origin.open()
        origin.close()
        assert OWN_DATABASE in databases(server)
    finally:
        server.sql(f"DROP DATABASE {OWN_DATABASE}")


def test_an_account_that_may_not_create_it_is_told_so_in_one_line(server: Database) -> None:
    with pytest.raises(DemoError, match=r"repl on 127\.0\.0\.1:\d+: Access denied") as raised:
        named(server.url()).open()

    assert "repl-secret" not in str(raised.value)


def test_an_account_that_may_not_see_the_binlog_is_told_so_and_nothing_is_left_behind(server: Database) -> None:
    server.sql(
        "CREATE USER halfway@'127.0.0.1' IDENTIFIED BY 'p@ss:/word'",
        f"GRANT ALL ON {OWN_DATABASE}.* TO halfway@'127.0.0.1'",
    )
    try:
        origin = named(server.url("halfway", "p@ss:/word"))
        with pytest.raises(DemoError, match="Access denied"):
            origin.open()
        origin.close()
        assert OWN_DATABASE not in databases(server)
    finally:
        server.sql("DROP USER halfway@'127.0.0.1'")


def test_a_server_that_is_not_there_is_one_line() -> None:
    with pytest.raises(DemoError, match="Can't connect"):
        named("mysql://root@127.0.0.1:1").open()


@pytest.mark.parametrize("url", ["127.0.0.1", "mysql://127.0.0.1:3306", "http://root@127.0.0.1", ""])
def test_what_is_not_a_servers_url_is_refused(url: str) -> None:
    with pytest.raises(DemoError, match="mysql://user:password@host:3306"):
        named(url)


def test_the_recorded_binlog_is_shipped_with_its_tables() -> None:
    origin = Recorded()
    source: dict[str, Any] = origin.open()

    assert all(Path(name).is_file() for name in source["files"])
    assert len(origin.rows("orders")) > 10
    assert len(origin.rows("order_items")) > 10
