"""A whole engine in processes of its own, for as long as it is measured."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from engine.cli.bench.processes import family
from engine.config import Config, parse_address
from engine.errors import EngineError

START_S = 60.0
STOP_S = 15.0
_POLL_S = 0.01


class Transport(StrEnum):
    """How the consumer reaches the engine."""

    TCP = "tcp"
    UNIX = "unix"


def bench_config(url: str, start: str, data_dir: Path, listen: str = "tcp://127.0.0.1:7411", **tables: dict[str, Any]) -> Config:
    """An engine with one source `bench` and one destination `bench` that takes everything.

    tables: `server`, `source` and `destination`, keys to set in each.
    """
    return Config.model_validate(
        {
            "server": {"listen": listen, "data_dir": str(data_dir), **tables.get("server", {})},
            "sources": {"bench": {"url": url, "start": start, **tables.get("source", {})}},
            "destinations": {"bench": {"exclude": [r"mysql\..*"], **tables.get("destination", {})}},
        }
    )


def listen_address(transport: Transport, folder: Path) -> str:
    """An address for the engine to listen on: a free port of this machine, or a socket in the folder."""
    if transport is Transport.UNIX:
        return f"unix://{folder}/engine.sock"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


class HeldSources:
    """Stops the processes of an engine's sources before they connect, until it is left: all others have started by then."""

    def __init__(self) -> None:
        self._pids: set[int] = set()

    def look(self, supervisor: int) -> None:
        """To be called again and again while the engine starts: a source takes longer to load than from one look to the next."""
        for pid, title in family(supervisor):
            if title.startswith("source ") and pid not in self._pids:
                self._pids.add(pid)
                os.kill(pid, signal.SIGSTOP)

    @contextmanager
    def going(self) -> Iterator[None]:
        """From now on they go; a `flow` for `streamed`."""
        self.let_go()
        yield

    def let_go(self) -> None:
        while self._pids:
            with suppress(ProcessLookupError):
                os.kill(self._pids.pop(), signal.SIGCONT)


@contextmanager
def running_engine(config: Config, folder: Path, meanwhile: Callable[[int], None] | None = None) -> Iterator[int]:
    """Started as `binlog-engine run` does it; gives the supervisor's pid once consumers can connect.

    meanwhile: called with that pid every _POLL_S until then.

    Raises:
        EngineError: it didn't start; with the end of its log.
    """
    log = folder / "engine.log"
    code = (
        "import sys; from engine.config import Config; from engine.process import configure_logging;"
        "from engine.supervisor import run_engine; configure_logging();"
        "sys.exit(run_engine(Config.model_validate_json(sys.stdin.read())))"
    )
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=output, stderr=output)
        try:
            assert process.stdin is not None
            process.stdin.write(config.model_dump_json(by_alias=True).encode())
            process.stdin.close()
            _await_listening(config.server.listen[0], process, log, meanwhile)
            yield process.pid
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            process.kill()
            process.wait()


def _await_listening(listen: str, process: subprocess.Popen[bytes], log: Path, meanwhile: Callable[[int], None] | None) -> None:
    kind, host, port = parse_address(listen)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        if meanwhile is not None:
            meanwhile(process.pid)
        with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as probe:
            if not probe.connect_ex(host if kind == "unix" else (host, port)):
                return
        time.sleep(_POLL_S)
    raise EngineError("bench: the engine didn't start", log=log.read_text()[-2000:])
