"""Fixtures: real servers, shared or of one's own.

A test that asks for a server which this machine can't have is skipped, and counted as such; with
BINLOG_ENGINE_REQUIRE_SERVERS=1, as `make test` sets it, it fails.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.certificates import Authority
from tests.servers.database import Database
from tests.servers.mariadb import MariaDB
from tests.servers.mariadb_next import MariaDBNext
from tests.servers.missing import Missing
from tests.servers.mysql import MySQL
from tests.servers.zookeeper import Ensemble, ZooKeeper

MAKERS = {"mariadb": MariaDB, "mysql": MySQL}
ZOOKEEPERS = {
    "zookeeper": ("shared_zookeeper", "strict_zookeeper", "parting_ensemble", "ensemble")
}  # other fixtures that need this server
EXTRA_MAKERS = {"mariadb_next": MariaDBNext}  # a test that asks for these is skipped where they can't be had, never failed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever uses a server's fixture is marked by it, so that `-m "not mysql"` leaves out what can't be had."""
    for item in items:
        for name in (*MAKERS, *EXTRA_MAKERS, "zookeeper"):
            if {name, f"make_{name}", *ZOOKEEPERS.get(name, ())} & set(getattr(item, "fixturenames", ())):
                item.add_marker(name)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whoever signs a module's certificates."""
    return Authority(tmp_path_factory.mktemp("tls"))


def _make(name: str, options: dict[str, Any]) -> Database:
    """A started server; skips or fails the test where it can't be had."""
    server = None
    try:
        server = {**MAKERS, **EXTRA_MAKERS}[name](**options)
        return server.start()
    except Missing as missing:
        _remove(server)
        if os.environ.get("BINLOG_ENGINE_REQUIRE_SERVERS") == "1" and name in MAKERS:
            pytest.fail(f"no {name}: {missing}", pytrace=False)
        pytest.skip(f"no {name}: {missing}")
    except BaseException:
        _remove(server)
        raise


def _remove(server: Database | None) -> None:
    if server is not None:
        server.close()


def _makers(name: str) -> Iterator[Callable[..., Any]]:
    made: list[Database] = []

    def make(**options: Any) -> Database:
        made.append(_make(name, options))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def make_mariadb() -> Iterator[Callable[..., MariaDB]]:
    """`make_mariadb(binlog_row_image="MINIMAL")`: a started MariaDB of the test's own."""
    yield from _makers("mariadb")


@pytest.fixture
def make_mysql() -> Iterator[Callable[..., MySQL]]:
    """`make_mysql(gtid_mode="OFF")`: a started MySQL of the test's own."""
    yield from _makers("mysql")


@pytest.fixture
def make_mariadb_next() -> Iterator[Callable[..., MariaDBNext]]:
    """`make_mariadb_next(log_bin_compress="ON")`: a started MariaDB 11.8 of the test's own."""
    yield from _makers("mariadb_next")


def _shared(name: str) -> Iterator[Any]:
    server = _make(name, {})
    yield server
    server.close()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """The MariaDB that tests share; make a schema of your own in it, see unique_schema."""
    yield from _shared("mariadb")


@pytest.fixture(scope="session")
def mysql() -> Iterator[MySQL]:
    """The MySQL that tests share; make a schema of your own in it, see unique_schema."""
    yield from _shared("mysql")


@pytest.fixture(scope="session", params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in MAKERS])
def server(request: pytest.FixtureRequest) -> Any:
    """Each of the shared servers in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def make_server(server: Database, request: pytest.FixtureRequest) -> Callable[..., Database]:
    """make_mariadb and make_mysql in turn."""
    maker: Callable[..., Database] = request.getfixturevalue(f"make_{server.name}")
    return maker


@pytest.fixture
def unique_schema(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of an empty database on the shared server that the test uses; dropped at the end."""
    users = [name for name in ("server", *MAKERS) if name in request.fixturenames]
    assert users, "unique_schema goes with server, mariadb or mysql"
    servers: list[Database] = [request.getfixturevalue(name) for name in users]
    name = re.sub(r"\W+", "_", request.node.name)[-40:] + f"_{os.getpid()}"
    for database in servers:
        database.sql(f"DROP DATABASE IF EXISTS `{name}`", f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
    yield name
    for database in servers:
        database.sql(f"DROP DATABASE IF EXISTS `{name}`")


def _make_zookeeper(kind: type[ZooKeeper] | type[Ensemble], **options: int) -> Iterator[Any]:
    try:
        server = kind(**options)
    except Missing as missing:
        if os.environ.get("BINLOG_ENGINE_REQUIRE_SERVERS") == "1":
            pytest.fail(f"no zookeeper: {missing}", pytrace=False)
        pytest.skip(f"no zookeeper: {missing}")
    with server:
        yield server


@pytest.fixture(scope="session")
def shared_zookeeper() -> Iterator[ZooKeeper]:
    """The ZooKeeper that tests share; it is never stopped, and each test has a root of its own in it."""
    yield from _make_zookeeper(ZooKeeper)


@pytest.fixture
def zookeeper() -> Iterator[ZooKeeper]:
    """A ZooKeeper of the test's own, one node."""
    yield from _make_zookeeper(ZooKeeper)


@pytest.fixture
def strict_zookeeper() -> Iterator[ZooKeeper]:
    """One that grants sessions of 1 s to 2 s only."""
    yield from _make_zookeeper(ZooKeeper, tick_ms=500, most_session_ms=2000)


@pytest.fixture
def parting_ensemble() -> Iterator[Ensemble]:
    """Three nodes of the test's own that can be cut off from each other."""
    yield from _make_zookeeper(Ensemble, proxies=True)


@pytest.fixture
def ensemble() -> Iterator[Ensemble]:
    """Three nodes of the test's own."""
    yield from _make_zookeeper(Ensemble)
