"""A whole engine as its users start it: `binlog-engine run CONFIG`, in a folder of its own."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import engine
from engine.config import Config, load_config
from engine.observe import observe
from tests.servers.process import free_port

START_S = 30.0
STOP_S = 15.0
POLL_S = 0.02


class RunningEngine:
    """`with RunningEngine(tmp_path, sources={...}, destinations={...}) as running:`; the tables are the config's."""

    def __init__(
        self, folder: Path, sources: dict[str, Any], destinations: dict[str, Any],
        cluster: dict[str, Any] | None = None, where: tuple[str, ...] = (), **server: Any,
    ) -> None:  # fmt: skip
        """where: what goes before Python's command line, to run it elsewhere under the same pid."""
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._where = where
        self.listen = server.get("listen") or f"tcp://127.0.0.1:{free_port()}"
        self.config_path = folder / "engine.toml"
        server = {"listen": self.listen, "data_dir": str(folder / "data"), **server}
        tables = {"server": server}
        tables |= {f"sources.{name}": table for name, table in sources.items()}
        tables |= {"cluster": cluster} if cluster else {}
        tables |= {f"destinations.{name}": table for name, table in destinations.items()}
        self.config_path.write_text("".join(_toml_table(name, table) for name, table in tables.items()))
        self.log_path = folder / "engine.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, program: tuple[str, ...] = ("-m", "engine", "run")) -> Self:
        """Start it, or start it again; returns when consumers can connect. program: Python's arguments before the config."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._where, sys.executable, *program, str(self.config_path)], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, process_group=0,
            )  # fmt: skip
        self.wait_until(self.listens, START_S)
        return self

    def start_conducted(self) -> Self:
        """Start it with nothing running; `conduct` says which destinations do."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.conducted", str(self.config_path)], stdout=subprocess.PIPE, stderr=log,
                stdin=subprocess.PIPE, process_group=0,
            )  # fmt: skip
        self.wait_until(self.listens, START_S)
        return self

    def conduct(self, *words: str) -> list[str]:
        """`start NAME...` or `stop NAME`; returns the destinations that run then."""
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write((" ".join(words) + "\n").encode())
        self.process.stdin.flush()
        return self.process.stdout.readline().decode().split()

    def listens(self) -> bool:
        with socket.socket() as probe:
            host, _, port = self.listen.rpartition("//")[2].rpartition(":")
            return probe.connect_ex((host, int(port))) == 0

    def stop(self) -> int:
        """SIGTERM, as an init system would; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)

    def kill(self) -> None:
        """SIGKILL to the supervisor; its children die with it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def pids(self) -> list[int]:
        """All its processes that run now, the supervisor first."""
        if self.process is None or self.process.poll() is not None:
            return []
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def connect(self, destination: str, consumer: str = "default", **options: Any) -> Any:
        return engine.connect(self.listen, destination=destination, consumer=consumer, **options)

    @property
    def loaded(self) -> Config:
        return load_config(self.config_path)

    def observe(self) -> dict[str, Any]:
        return observe(self.loaded)

    def stage(self, title: str) -> dict[str, Any]:
        """The stage `source shop`, `sink orders` or `server` as `status` shows it."""
        seen = self.observe()["stages"]
        found = [stage for stage in seen if stage["title"] == title]
        assert found, f"{title} is not among {seen}; the log:\n{self.log}"
        return found[0]

    def wait_until(self, condition: Any, timeout_s: float = 30.0) -> None:
        """Until the condition holds; fails with the engine's log if it ends, or never does."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"the engine ended with {self.process.returncode}:\n{self.log}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout_s} s; the engine's log:\n{self.log}")
            time.sleep(POLL_S)

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")[-8000:]

    def __enter__(self) -> Self:
        try:
            return self if self.process is not None else self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exc: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def command(*arguments: str, timeout_s: float = 60, **options: Any) -> subprocess.CompletedProcess[str]:
    """`binlog-engine ARGUMENTS`, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "engine", *arguments], capture_output=True, text=True, timeout=timeout_s,
        stdin=subprocess.DEVNULL, **options,
    )  # fmt: skip


def _toml_table(name: str, table: dict[str, Any]) -> str:
    return f"[{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in table.items())


def _toml(value: Any) -> str:
    """JSON is TOML for strings, numbers, booleans and lists; an inline table is spelled with `=`."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)
