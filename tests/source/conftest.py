"""Fixtures of the source's tests: engines stepped by hand, and a table that they read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.database import Database
from tests.source.stepped_engine import Engine


@pytest.fixture
def make_engine(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    made: list[Engine] = []

    def make(source: dict[str, Any], **options: Any) -> Engine:
        made.append(Engine(tmp_path / f"data{len(made)}", source, **options))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def schema(server: Database) -> Iterator[str]:
    name = "stage_tests"
    server.sql(f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}",
               f"CREATE TABLE {name}.t (id INT PRIMARY KEY, v VARCHAR(100))")  # fmt: skip
    yield name
    server.sql(f"DROP DATABASE {name}")
