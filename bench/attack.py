"""What a good consumer keeps of its rate while its port is attacked.

    python -m bench.attack [--seconds S] [--rounds N] [--connections N]

    feeder ──ring──▶ server ══ loopback ══▶ consumer (counts and acks)
                       ▲
                       └═════ attackers: thousands of silent connections, random and mutated frames, slow readers and writers,
                              askers who read nothing, half-open TLS, all over and over (tests/server/attackers.py)

Each runs in a process of its own. The attackers have the lowest priority (nice 19): on one machine, what they compute must not
be taken for what they make the server do. Rounds alternate: without, with.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import engine
from engine.cli.bench.machine import machine
from engine.cli.bench.result import refuse_debug_build
from engine.config import Config
from engine.instance import Instance
from engine.meta.open import open_meta
from engine.process import build_stage
from engine.ring import FULL, Ring
from engine.schema import Column, TableSchema
from engine.stage import run
from tests.certificates import Authority
from tests.histories import History, put

SPAWN = multiprocessing.get_context("spawn")
STORE_BYTES = 32 << 20
ROWS = 1000  # of a transaction, of about 200 bytes each
SCHEMA = TableSchema("shop", "shop", "orders", (Column("id", "bigint"), Column("note", "text")), (0,))
START_AT = 34  # of the transaction's offset in a record, see engine.record
LEAST_KEPT = 0.8
SETTLE_S = 3.0  # for all attackers to come


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=2000, help="silent ones, beside the busy attackers")
    parser.add_argument("--nice", type=int, default=19, help="of the attackers")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    refuse_debug_build()
    rates: dict[bool, list[float]] = {False: [], True: []}
    cpu: dict[bool, list[float]] = {False: [], True: []}
    ended: dict[str, int] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        fed_server(Path(folder)) as (server_pid, plain, secure),
        engine.connect(f"tcp://127.0.0.1:{plain}/orders") as stream,
    ):
        for number in range(arguments.rounds):
            for attacked in (False, True):
                with attackers(plain, secure, number, arguments, ended) if attacked else nullcontext():
                    consume(stream, SETTLE_S)
                    before = _cpu_s(server_pid)
                    rates[attacked].append(consume(stream, arguments.seconds))
                    cpu[attacked].append(round((_cpu_s(server_pid) - before) / arguments.seconds, 2))
    alone, under = (statistics.median(rates[attacked]) for attacked in (False, True))
    result = {
        "bench": "attack", "rows_per_s": round(under), "rows_per_s_alone": round(alone), "kept": round(under / alone, 3),
        "samples": {"alone": [*map(round, rates[False])], "attacked": [*map(round, rates[True])]},
        "server_cores": {"alone": cpu[False], "attacked": cpu[True]},
        "connections": arguments.connections, "nice": arguments.nice, "ended": ended, **machine(),
    }  # fmt: skip
    if arguments.json:
        print(json.dumps(result))
    else:
        print(f"alone        {alone:>12,.0f} rows/s   the server takes {statistics.median(cpu[False]):.2f} cores")
        print(f"attacked     {under:>12,.0f} rows/s   the server takes {statistics.median(cpu[True]):.2f} cores")
        print(f"kept         {under / alone:>12.0%}          at least {LEAST_KEPT:.0%} is the goal")
        print(f"attackers that came to their end: {ended}")
    return 0 if under >= LEAST_KEPT * alone else 1


def consume(stream: engine.Stream, seconds: float) -> float:
    """Rows a second, acked; each batch whole."""
    begun = time.monotonic()
    rows = 0
    while (now := time.monotonic()) - begun < seconds:
        batch = next(stream)
        rows += len(batch)
        assert len(batch) % ROWS == 0, "a transaction was torn"
        batch.ack()
    return rows / (now - begun)


@contextmanager
def attackers(plain: int, secure: int, seed: int, arguments: argparse.Namespace, ended: dict[str, int]) -> Iterator[None]:
    numbers = [str(number) for number in (plain, secure, seed, arguments.connections)]
    process = subprocess.Popen(
        ["nice", "-n", str(arguments.nice), sys.executable, "-m", "tests.server.attackers", *numbers],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield
        for kind, count in json.loads(process.communicate(timeout=60)[0]).items():
            ended[kind] = ended.get(kind, 0) + count
    finally:
        process.kill()
        process.wait()


@contextmanager
def fed_server(folder: Path) -> Iterator[tuple[int, int, int]]:
    """A server whose store never runs dry; its pid and its ports, plain and TLS."""
    mine = Authority(folder).sign("engine")
    config = Config.model_validate(
        {
            "server": {
                "listen": ["tcp://127.0.0.1:0", "tls://127.0.0.1:0"], "tls_cert": mine.cert, "tls_key": mine.key,
                "data_dir": folder, "max_sessions": 4000, "max_sessions_per_address": 4000,
            },
            "sources": {"shop": {"url": "mysql://u@127.0.0.1"}},
            "destinations": {
                "orders": {"store": {"size": STORE_BYTES}}, "decoy": {"store": {"size": "1MiB"}},
            },
        }
    )  # fmt: skip
    instance = Instance(folder)
    meta = open_meta("file", instance)
    meta.source_number("shop", "binlog")
    table = meta.table_key(SCHEMA.pack())
    meta.close()
    rings = []
    for name, size in (("orders", STORE_BYTES), ("decoy", 1 << 20)):
        rings.append(Ring.create(instance.store_ring(name, 0), size))
        rings[-1].add_reader("default")
    rings[1].open_writer()
    put(rings[1], History(1, table).transaction(8, "z" * 100_000))
    ports, stop = SPAWN.Queue(), SPAWN.Event()
    processes = [
        SPAWN.Process(target=_serve, args=(config.model_dump_json(by_alias=True), str(folder), ports, stop)),
        SPAWN.Process(target=_feed, args=(rings[0].name, table, stop)),
    ]
    try:
        for process in processes:
            process.start()
        pid = processes[0].pid
        assert pid is not None
        yield pid, *ports.get(timeout=30)
    finally:
        stop.set()
        for process in processes:
            process.join(20)
            process.kill()
        for ring in rings:
            Ring.unlink(ring.name)
            ring.close()


def _serve(config_json: str, folder: str, ports: Any, stop: Any) -> None:
    stage: Any = build_stage("server", "", 0, Config.model_validate_json(config_json), Instance(Path(folder)))

    def look(now_ns: int) -> None:
        nonlocal told
        if not told:
            ports.put([sock.getsockname()[1] for sock in stage.listeners])
            told = True

    told = False
    run(stage, stop.is_set, look)


def _feed(ring_name: str, table: int, stop: Any) -> None:
    """The same transaction of ROWS rows without end, each time at the next offset of the binlog."""
    ring = Ring.attach(ring_name)
    ring.open_writer()
    records = History(1, table).transaction(ROWS, "x" * 130)
    transaction = np.frombuffer(bytearray(b"".join(records)), np.uint8)
    starts = np.cumsum([0, *map(len, records)])
    views = [transaction.data[start:end] for start, end in pairwise(starts.tolist())]
    offsets = starts[:-1, None] + np.arange(START_AT, START_AT + 8)
    offset = 1000
    while not stop.is_set():
        offset += 1000
        transaction[offsets] = np.frombuffer(offset.to_bytes(8), np.uint8)
        for record in views:
            while ring.try_claim(record) == FULL:
                ring.publish()
                ring.wait_writable(len(record), 50_000_000)
                if stop.is_set():
                    return
        ring.publish()


def _cpu_s(pid: int) -> float:
    return sum(
        int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()
    ) / 1e9  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
