"""The consumer in JavaScript, which knows the protocol from docs/protocol.md alone, run by Node."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from engine.client.change import ChangeReader
from engine.record import Kind
from tests.client import streams
from tests.client.peer import Peer, Store
from tests.running_engine import RunningEngine

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "node"
INSTALL_S = 100


def installed_example() -> Path:
    """A copy of the example with its dependency. Skips the test where Node, npm or the registry can't be had."""
    found = _install()
    if isinstance(found, str):
        pytest.skip(f"the JavaScript example can't run: {found}")
    return found


@functools.cache
def _install() -> Path | str:
    """Once: the folder, or why there is none."""
    for command in ("node", "npm"):
        if shutil.which(command) is None:
            return f"no {command} on this machine"
    folder = Path(tempfile.mkdtemp(prefix="binlog-engine-node-"))
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    install = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    try:
        done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S)
    except subprocess.TimeoutExpired:
        return f"npm install took more than {INSTALL_S} s"
    if done.returncode:
        return f"npm install failed: {' '.join(done.stderr.split())[:300] or done.returncode}"
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def run_node_consumer(
    url: str, max: int | None = None, *, consumer: str = "default", idle_exit: float | None = None, timeout: float = 60
) -> list[dict[str, Any]]:
    """Runs the example against a server; the changes it printed. Fails with what it said if it didn't end with 0."""
    arguments = [url, "--consumer", consumer]
    if max is not None:
        arguments += ["--max", str(max)]
    if idle_exit is not None:
        arguments += ["--idle-exit", str(idle_exit)]
    done = subprocess.run(
        ["node", "consumer.mjs", *arguments], cwd=installed_example(), capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def expected(*batches: list[bytes]) -> list[dict[str, Any]]:
    reader = ChangeReader({1: ("shop", "binlog")})
    data = streams.schema_record() + b"".join(record for batch in batches for record in batch)
    return [change.to_json() for change in reader.read(data, ddl=False, transactions=False)]


def test_the_example_is_under_100_lines():
    assert len((EXAMPLE / "consumer.mjs").read_text().splitlines()) < 100


def test_it_prints_every_change_as_tail_does_and_acks():
    big = streams.change(Kind.INSERT, None, streams.row(50, photo=bytes(range(256)) * 1000), streams.place(ordinal=50))
    large = [streams.insert(number) for number in range(10, 40)]
    batches = [
        [streams.begin(), streams.insert(1), streams.update(1), streams.delete(1), streams.minimal_update(2), streams.commit()],
        [streams.ddl(), streams.heartbeat()],
        [streams.begin(), *large[:20]],
        [*large[20:], streams.commit()],
        [streams.begin(), *streams.fragments(big, 5)[:3]],
        [*streams.fragments(big, 5)[3:], streams.commit()],
        [
            streams.begin(None),
            streams.insert(2**31),
            streams.change(Kind.INSERT, None, streams.row(3, id=2**63)),
            streams.commit(),
        ],
    ]
    wanted = expected(*batches)
    store = Store(batches)
    with Peer(store) as peer:
        assert run_node_consumer(peer.url, len(wanted), consumer="node") == wanted
    assert store.acked == {"node": [len(batches)]}


def test_it_ends_when_nothing_comes_for_so_long():
    store = Store([streams.transaction(1, 3)])
    with Peer(store) as peer:
        assert run_node_consumer(peer.url, idle_exit=1) == expected(streams.transaction(1, 3))
    assert store.acked == {"default": [1]}


def test_it_fails_when_it_is_refused():
    with Peer(Store([])) as peer, pytest.raises(AssertionError, match="unknown_destination"):
        run_node_consumer(peer.url.replace("/orders", "/nonsense"))


def test_it_reads_a_real_engine_as_the_python_client_does(tmp_path, server, unique_schema):
    start = server.position()
    server.sql(
        f"CREATE TABLE {unique_schema}.t (id BIGINT UNSIGNED PRIMARY KEY, name VARCHAR(20), photo BLOB, price DECIMAL(8,2))",
        f"INSERT INTO {unique_schema}.t VALUES (1, 'Zoë', x'00ff', 1.50), (18446744073709551615, NULL, NULL, -0.5)",
        f"UPDATE {unique_schema}.t SET name = 'Zoé' WHERE id = 1",
        f"DELETE FROM {unique_schema}.t WHERE id > 1",
    )
    source = {"url": server.url(), "start": start}
    destination = {"from": ["shop"], "include": [rf"{unique_schema}\.t"], "consumers": ["default", "node"]}
    with RunningEngine(tmp_path / "engine", {"shop": source}, {"orders": destination}) as running:
        printed = run_node_consumer(f"{running.listen}/orders", 4, consumer="node")
        with running.connect("orders") as stream:
            changes: list[Any] = []
            while len(changes) < 4:
                batch = stream.get(wait_ms=5000)
                assert batch is not None, running.log
                changes += batch
                batch.ack()
        assert printed == [change.to_json() for change in changes]
        assert [change["op"] for change in printed] == ["insert", "insert", "update", "delete"]
        with running.connect("orders", "node") as stream:
            assert stream.get(wait_ms=200) is None
