"""One server of each kind for all the tests here, which set its globals and put them back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests import conftest as servers

LARGE = {"max_allowed_packet": "256M", "innodb_buffer_pool_size": "128M"}
OPTIONS: dict[str, dict[str, Any]] = {
    "mariadb": {**LARGE, "innodb_log_file_size": "256M"},
    "mariadb_next": {**LARGE, "innodb_log_file_size": "256M"},
    "mysql": {**LARGE, "innodb_redo_log_capacity": "1G", "local_infile": "ON"},
}


def _started(name: str) -> Iterator[Any]:
    server = servers._make(name, OPTIONS[name])
    yield server
    server.close()


@pytest.fixture(scope="session")
def fidelity_mariadb() -> Iterator[Any]:
    yield from _started("mariadb")


@pytest.fixture(scope="session")
def fidelity_mysql() -> Iterator[Any]:
    yield from _started("mysql")


@pytest.fixture(scope="session")
def fidelity_mariadb_next() -> Iterator[Any]:
    yield from _started("mariadb_next")


@pytest.fixture(scope="session")
def written(request: pytest.FixtureRequest) -> Any:
    """A function: the server of this name."""
    return lambda name: request.getfixturevalue(f"fidelity_{name}")
