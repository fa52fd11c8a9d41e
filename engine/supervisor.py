"""The supervisor: makes the shared memory, starts a process per stage, watches them, starts the dead again, tidies up."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import engine
from engine.config import Config, parse_address
from engine.errors import ConfigError, EngineError
from engine.instance import Instance
from engine.meta.open import open_meta
from engine.process import EXIT_REFUSED
from engine.ring import Ring, ring_names

log = logging.getLogger("engine.supervisor")

FIRST_PAUSE_S = 0.1  # before a dead stage is started again; doubles with every quick death
LONGEST_PAUSE_S = 10.0
HEALTHY_AFTER_S = 30.0  # a stage that ran this long starts with the first pause again
QUICK_DEATHS = 10  # in a row, then the supervisor gives up on the stage
STOP_S = 5.0  # for a stage to end by itself


@dataclass
class Child:
    """One stage's process and what is known of it."""

    role: str
    name: str
    number: int = 0
    process: subprocess.Popen[bytes] | None = None
    state: str = "starting"  # starting, running, restarting, failed, stopped
    error: str = ""
    restarts: int = 0
    quick_deaths: int = 0
    since: float = field(default_factory=time.time)
    started: float = 0.0  # monotonic
    restart_at: float = 0.0  # monotonic
    pending: bytes = b""  # of its reports: a line not yet whole
    last_words: str = ""

    @property
    def title(self) -> str:
        return f"{self.role} {self.name}" + (f" #{self.number}" if self.role == "sink" else "")

    def become(self, state: str, error: str = "") -> None:
        self.state, self.error, self.since = state, error, time.time()


class Supervisor:
    """Runs one engine until it is told to stop."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.instance = Instance(config.server.data_dir)
        self.children = [Child("server", "server")]
        for destination, settings in config.destinations.items():
            self.children += [Child("sink", destination, number) for number in range(settings.sinks)]
        self.children += [Child("source", source) for source in config.sources]
        self._selector = selectors.DefaultSelector()
        self._stopping = False

    def run(self) -> int:
        """Run until SIGTERM or SIGINT (0), or until nothing is left that could work (1)."""
        with self._lock():
            for name in (signal.SIGTERM, signal.SIGINT):
                signal.signal(name, self._stop)
            try:
                self._remove_shared_memory()  # of a predecessor that was killed
                self._make_rings(self._known_consumers())
                for child in self.children:
                    self._start(child)
                return self._watch()
            finally:
                self._end_children()
                self._remove_shared_memory()
                self.instance.state_file.unlink(missing_ok=True)

    def _stop(self, signum: int, frame: object) -> None:
        self._stopping = True

    @contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            self.instance.data_dir.mkdir(parents=True, exist_ok=True)
            lock = self.instance.lock_file.open("a+")
        except OSError as error:
            raise ConfigError(
                "data_dir can't be used",
                data_dir=self.instance.data_dir,
                error=error.strerror,
                remedy="name a directory this account may write to",
            ) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.seek(0)
                raise ConfigError(
                    "another engine runs with this data_dir",
                    data_dir=self.instance.data_dir,
                    pid=lock.read().strip(),
                    remedy="stop it, or give this one a data_dir of its own",
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    # -- shared memory ---------------------------------------------------------------------------------------------

    def _known_consumers(self) -> dict[str, list[str]]:
        """Per destination those of the config, and those that have acked before: all hold the stores back."""
        meta = open_meta(self.config.server.meta, self.instance)
        try:
            return {
                name: list(dict.fromkeys([*settings.consumers, *sorted(place.consumer for place in meta.acked(name))]))
                for name, settings in self.config.destinations.items()
            }
        finally:
            meta.close()

    def _make_rings(self, consumers: dict[str, list[str]]) -> None:
        for source, source_settings in self.config.sources.items():
            ring = Ring.create(self.instance.source_ring(source), source_settings.ring)
            for destination, settings in self.config.destinations.items():
                if source in self.config.sources_of(destination):
                    for sink in range(settings.sinks):
                        ring.add_reader(self.instance.sink_reader(destination, sink))
            ring.close()
        for destination, settings in self.config.destinations.items():
            for partition in range(settings.partitions):
                ring = Ring.create(self.instance.store_ring(destination, partition), settings.store.size)
                for consumer in consumers[destination]:
                    ring.add_reader(consumer)
                ring.close()

    def _remove_shared_memory(self) -> None:
        for name in ring_names(self.instance.prefix):
            Ring.unlink(name)
        memory = self.instance.meta_file("memory")
        for leftover in memory.parent.glob(memory.name + "*"):
            leftover.unlink(missing_ok=True)

    # -- children --------------------------------------------------------------------------------------------------

    def _start(self, child: Child) -> None:
        child.process = subprocess.Popen(
            [sys.executable, "-m", "engine.process", child.role, child.name, str(child.number), str(os.getpid())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            process_group=0,  # Ctrl-C is for the supervisor alone, which stops the stages in order
        )  # fmt: skip
        child.started = time.monotonic()
        assert child.process.stdin is not None
        with suppress(BrokenPipeError):  # it died at once; the watch will see that
            child.process.stdin.write(self.config.model_dump_json(by_alias=True).encode())
            child.process.stdin.close()
        assert child.process.stdout is not None
        os.set_blocking(child.process.stdout.fileno(), False)
        self._selector.register(child.process.stdout, selectors.EVENT_READ, child)
        child.become("starting", child.error)

    def _watch(self) -> int:
        self._write_state()
        while not self._stopping:
            changed = False
            for key, _ in self._selector.select(0.1):
                changed |= self._hear(key.data)
            now = time.monotonic()
            for child in self.children:
                if child.state == "restarting" and now >= child.restart_at:
                    child.restarts += 1
                    self._start(child)
                    changed = True
            if changed:
                self._write_state()
                if (reason := self._hopeless()) is not None:
                    log.error("stopping: %s", reason)
                    return 1
        log.info("stopping: asked to")
        return 0

    def _hear(self, child: Child) -> bool:
        """Read what a child reports; an ended pipe means that it is gone."""
        assert child.process is not None
        assert child.process.stdout is not None
        pipe = child.process.stdout
        data = pipe.read()
        if data is None:
            return False
        *lines, child.pending = (child.pending + data).split(b"\n")
        for line in lines:
            event = json.loads(line)
            if event["state"] == "failed":
                child.last_words = event["error"]  # what becomes of it is decided when it is gone
            else:
                child.become(event["state"])
        if not data:
            self._selector.unregister(pipe)
            pipe.close()
            self._bury(child)
        return True

    def _bury(self, child: Child) -> None:
        assert child.process is not None
        code = child.process.wait()
        child.process, child.pending = None, b""
        reason, child.last_words = child.last_words or _how_it_ended(code), ""
        if code == EXIT_REFUSED:
            child.become("failed", reason)
            log.error("%s: %s", child.title, reason)
            return
        healthy = time.monotonic() - child.started > HEALTHY_AFTER_S
        child.quick_deaths = 1 if healthy else child.quick_deaths + 1
        if child.quick_deaths >= QUICK_DEATHS:
            child.become("failed", f"gave up after {QUICK_DEATHS} quick deaths; the last: {reason}")
            log.error("%s: %s", child.title, child.error)
            return
        pause_s = min(FIRST_PAUSE_S * 2 ** (child.quick_deaths - 1), LONGEST_PAUSE_S)
        child.become("restarting", reason)
        child.restart_at = time.monotonic() + pause_s
        log.warning("%s: %s; starting it again in %.1f s", child.title, reason, pause_s)

    def _hopeless(self) -> str | None:
        """Why running on makes no sense: no server to serve, or no source left that could still work."""
        if self.children[0].state == "failed":
            return "the server can't run"
        if all(child.state == "failed" for child in self.children if child.role == "source"):
            return "no source can run"
        return None

    def _end_children(self) -> None:
        """Sources first, the server last: it still takes the acks of what is under way."""
        for role in ("source", "sink", "server"):
            running = [child.process for child in self.children if child.role == role and child.process]
            for process in running:
                process.terminate()
            deadline = time.monotonic() + STOP_S
            for process in running:
                try:
                    process.wait(max(deadline - time.monotonic(), 0.01))
                except subprocess.TimeoutExpired:
                    log.warning("pid %d did not stop in %.0f s and is killed", process.pid, STOP_S)
                    process.kill()
                    process.wait()
        for address in self.config.server.listen:
            kind, path, _ = parse_address(address)
            if kind == "unix":
                Path(path).unlink(missing_ok=True)

    def _write_state(self) -> None:
        state = {
            "pid": os.getpid(),
            "version": engine.__version__,
            "listen": self.config.server.listen,
            "children": [
                {
                    "role": child.role, "name": child.name, "number": child.number, "state": child.state,
                    "pid": child.process.pid if child.process else None, "restarts": child.restarts,
                    "since": child.since, "error": child.error,
                }
                for child in self.children
            ],
        }  # fmt: skip
        draft = self.instance.state_file.with_suffix(".new")
        draft.write_text(json.dumps(state, indent=1))
        draft.replace(self.instance.state_file)


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def run_engine(config: Config) -> int:
    """Check what can be checked before anything is started, then run; returns the exit code."""
    for source in config.sources.values():
        if source.url:
            source.account()
    try:
        return Supervisor(config).run()
    except OSError as error:
        raise EngineError("the engine can't start", error=error) from error
