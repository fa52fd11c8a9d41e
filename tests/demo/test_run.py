"""`make run` as a newcomer sees it: the whole engine on a real server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.database import Database
from tests.servers.mariadb import MariaDB

ROOT = Path(__file__).parents[2]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "demo.run", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(*arguments: str) -> str:
    """Its output; it must end with status 0."""
    with start(*arguments) as process:
        output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    return output


@pytest.mark.usefixtures("mariadb")  # if there is one: otherwise the demo installs it
def test_changes_of_a_private_server_arrive_and_the_replica_equals_select() -> None:
    output = run("--seconds", "3")

    assert "+ insert" in output
    assert "→" in output
    assert "changes/s" in output
    assert "orders: replica equals SELECT" in output
    assert "order_items: replica equals SELECT" in output


def test_a_server_that_the_user_names_is_used_and_left_as_it_was(server: Database) -> None:
    before = server.sql("SHOW DATABASES")
    output = run("--seconds", "2", "--rate", "500", "--url", server.url("root"))

    assert "orders: replica equals SELECT" in output
    assert server.sql("SHOW DATABASES") == before


def test_without_a_server_a_recorded_binlog_is_replayed_and_it_says_so() -> None:
    output = run("--replay", "--seconds", "20")

    assert "replaying tests/data/mariadb-shop/binlog.000001" in output
    assert "orders: replica equals SELECT" in output


def test_ctrl_c_ends_it_in_order(mariadb: MariaDB) -> None:
    with start() as process:
        assert process.stdout is not None
        for text in process.stdout:
            if "changes/s" in text:
                break
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)

    assert process.returncode == 0, rest
    assert "orders: replica equals SELECT" in rest
