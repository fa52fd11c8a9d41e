"""`make run`: a shop on a real database, the engine on it, and its changes as they arrive, until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pymysql.err import MySQLError
from rich.console import Console

import engine
from demo.origin import CLOSING_ORDER, DemoError, NamedServer, Origin, PrivateMariaDB, Recorded
from demo.replica import Replica
from demo.settings import derive, to_toml
from demo.show import Screen
from engine.errors import EngineError
from tests.servers.missing import Missing
from tests.servers.process import Process, StartError, free_port

COMMAND = str(Path(sys.executable).parent / "binlog-engine")
TABLES = ("orders", "order_items")
GET_WAIT_MS = 50
READY_TIMEOUT_S = 30
CATCH_UP_TIMEOUT_S = 20
STOP_TIMEOUT_S = 10
RECORDED_IDLE_S = 1.5  # a recorded binlog has an end: nothing came for so long


def main() -> int:
    arguments = _arguments()
    console = Console(highlight=False)
    ended = _ended_by_signal()
    origin: Origin | None = None
    try:
        origin = _origin(arguments, console)
        return _run(origin, arguments.seconds, console, ended)
    except (DemoError, Missing, StartError, EngineError, MySQLError) as error:
        console.print(f"demo: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:  # the second Ctrl-C: no summary
        return 130
    finally:
        if origin is not None:
            origin.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument("--seconds", type=float, help="end after so long (default: at Ctrl-C)")
    parser.add_argument("--url", help="a server of yours, mysql://user:password@host:3306 (default: a private MariaDB)")
    parser.add_argument("--rate", type=float, default=200, help="rows a second that the shop changes (default: 200)")
    parser.add_argument("--replay", action="store_true", help="no server: replay a recorded binlog")
    return parser.parse_args()


def _ended_by_signal() -> threading.Event:
    """Set by Ctrl-C and SIGTERM. No exception: a half-read frame would spoil the stream, which we want to finish."""
    ended = threading.Event()

    def end(number: int, frame: object) -> None:
        signal.signal(number, signal.default_int_handler)  # the second time at once
        ended.set()

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    return ended


def _origin(arguments: argparse.Namespace, console: Console) -> Origin:
    if arguments.url:
        return NamedServer(arguments.url, arguments.rate, console)
    if not arguments.replay:
        try:
            console.print("starting a private MariaDB in a temp dir")
            return PrivateMariaDB(arguments.rate)
        except Missing as missing:
            console.print(f"no server can be had here: {missing}", style="yellow", markup=False)
    console.print("replaying tests/data/mariadb-shop/binlog.000001, a binlog that a real MariaDB wrote", style="yellow")
    return Recorded()


def _run(origin: Origin, seconds: float | None, console: Console, ended: threading.Event) -> int:
    source = origin.open()
    # TERM: should we be killed, the engine still stops in order and leaves no shared memory.
    child = Process("binlog-engine", death_signal="TERM")
    try:
        port = free_port()
        config = child.folder / "engine.toml"
        config.write_text(to_toml(derive(source, origin.schema, port, child.folder / "data")))
        if isinstance(origin, NamedServer):
            _check(config, origin)
        child.spawn([COMMAND, "run", str(config)], origin.environment)
        child.wait_until(lambda: _listens(port), READY_TIMEOUT_S)
        console.print(f"binlog-engine runs, tcp://127.0.0.1:{port}/orders; its config is conf/engine.toml adapted: {config}\n")
        watch = Watch(Screen(console), ended)
        with engine.connect(f"tcp://127.0.0.1:{port}/orders", consumer="default", prefetch=0) as stream:
            origin.begin()
            if origin.live:
                watch.until(stream, lambda: False, seconds)
                origin.finish()
                arrived = watch.until(stream, lambda: watch.closed, CATCH_UP_TIMEOUT_S, even_if_ended=True)
            else:
                arrived = watch.until(stream, lambda: watch.idle_s() > RECORDED_IDLE_S, seconds)
        status = _stop(child)
        console.print(watch.screen.summary())
        if not arrived:
            raise DemoError(f"the last changes did not arrive; the engine says:\n{child.log_tail()}")
        if status != 0:
            raise DemoError(f"binlog-engine ended with status {status}:\n{child.log_tail()}")
        return _compare(watch.replica, origin, console)
    except EngineError as error:
        raise DemoError(f"{error}\nthe engine says:\n{child.log_tail()}") from None
    finally:
        with contextlib.suppress(DemoError):
            _stop(child)
        child.close()


def _check(config: Path, origin: Origin) -> None:
    """A server that isn't ours may lack something; `check` says what, and how to mend it."""
    environment = {**os.environ, **origin.environment}
    done = subprocess.run([COMMAND, "check", str(config)], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise DemoError(f"the server isn't set up for replication:\n{done.stdout}{done.stderr}".rstrip())


def _stop(child: Process) -> int | None:
    try:
        return child.stop(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise DemoError(f"binlog-engine didn't stop in {STOP_TIMEOUT_S} s:\n{child.log_tail()}") from None


class Watch:
    """Gets batches, shows them, applies them to the replica and acks."""

    def __init__(self, screen: Screen, ended: threading.Event) -> None:
        self.screen, self.ended = screen, ended
        self.replica = Replica(TABLES)
        self.closed = False
        self._last_change_s = time.monotonic()

    def idle_s(self) -> float:
        return time.monotonic() - self._last_change_s

    def until(self, stream: Any, done: Any, seconds: float | None, even_if_ended: bool = False) -> bool:
        """Watch until `done()`, for at most `seconds` or until Ctrl-C; whether it was done."""
        deadline = time.monotonic() + seconds if seconds is not None else float("inf")
        while not done():
            now_s = time.monotonic()
            if now_s >= deadline or (self.ended.is_set() and not even_if_ended):
                return False
            batch = stream.get(wait_ms=GET_WAIT_MS)
            if batch is not None:
                for change in batch:
                    self._take(change)
                batch.ack()
            self.screen.tick(time.monotonic())
        return True

    def _take(self, change: Any) -> None:
        self._last_change_s = time.monotonic()
        self.screen.change(change, self._last_change_s, _lag_ms(change))
        self.replica.apply(change)
        if change.table == "orders" and change.op == "insert" and change.after["id"] == CLOSING_ORDER:
            self.closed = True


def _lag_ms(change: Any) -> float | None:
    """From the shop's clock, which is read just before the statement, to here; an order's `changed` carries it."""
    if change.table != "orders" or change.after is None:
        return None
    changed = datetime.fromisoformat(change.after["changed"]).replace(tzinfo=UTC)
    lag_ms = (datetime.now(UTC) - changed).total_seconds() * 1000
    return lag_ms if lag_ms < 60_000 else None  # older: not of this run


def _compare(replica: Replica, origin: Origin, console: Console) -> int:
    faults = list(replica.faults)
    for table in TABLES:
        rows = origin.rows(table)
        unequal = replica.compare(table, rows)
        if not unequal:
            console.print(f"{table}: replica equals SELECT: {len(rows):,} rows", style="bold green")
        faults += unequal
    for fault in faults[:10]:
        console.print(fault, style="red", markup=False)
    return 1 if faults else 0


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    sys.exit(main())
