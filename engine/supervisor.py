"""The supervisor: runs destinations, each with its sinks and the sources it needs; starts the dead again, tidies up.

Which destinations run, and when, a conductor decides. Alone, the engine runs all of them at once; with others in a cluster,
those that it holds the lease of.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import engine
from engine.beats import SUPERVISOR, beat, beat_at, make_beats
from engine.child import Child, end
from engine.config import Config, parse_address
from engine.errors import EngineError
from engine.expiry import Expiry
from engine.instance import Instance
from engine.lock import only_one
from engine.owner import process_start_time
from engine.shared_memory import SharedMemory
from engine.spares import Spares
from engine.watchdog import Watchdog

log = logging.getLogger("engine.supervisor")

TURN_S = 0.1  # at most from one turn to the next
LONG_TURN_S = 0.25  # while everything runs, and nobody else decides what is to run


class Conductor(Protocol):
    """Decides which destinations run. All calls come from the supervisor's own thread."""

    def begin(self, supervisor: Supervisor) -> None:
        """Before the server process starts."""
        ...

    def turn(self, supervisor: Supervisor) -> None:
        """At least every LONG_TURN_S, in a cluster every TURN_S, and after `Supervisor.wake`."""
        ...

    def end(self, supervisor: Supervisor) -> None:
        """Before the stages are ended."""
        ...

    def describe(self) -> dict[str, Any] | None:
        """What `status` shows of it; None: nothing."""
        ...


class AllAtOnce:
    """The conductor of an engine that is alone."""

    def begin(self, supervisor: Supervisor) -> None:
        supervisor.start_destinations(supervisor.config.destinations)

    def turn(self, supervisor: Supervisor) -> None:
        """Nothing ever changes."""

    def end(self, supervisor: Supervisor) -> None:
        """Nobody has to be told."""

    def describe(self) -> dict[str, Any] | None:
        return None


class Supervisor:
    """Runs one engine until it is told to stop. running: names of the destinations that run."""

    def __init__(self, config: Config, conductor: Conductor | None = None) -> None:
        self.config = config
        self.instance = Instance(config.server.data_dir)
        self.running: list[str] = []
        stages = [("server", "server", 0)]
        stages += [("sink", name, sink) for name, settings in config.destinations.items() for sink in range(settings.sinks)]
        stages += [("source", name, 0) for name in config.sources]
        self._places = {stage: place for place, stage in enumerate(stages, SUPERVISOR + 1)}  # of heartbeats
        self.server = self._child("server", "server")
        self.sinks: dict[str, list[Child]] = {}  # destination → its sinks
        self.sources: dict[str, Child] = {}
        self._conductor = conductor or AllAtOnce()
        self._memory = SharedMemory(config, self.instance)
        self._expiry = Expiry(config, self.instance)
        self._spares = Spares()
        self._spares_wanted: dict[str, int] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake_fd, selectors.EVENT_READ)
        self._stopping = False
        self._changed = False  # since the state file was written
        self._described: dict[str, Any] | None = None  # what the conductor said of itself last

    @property
    def children(self) -> list[Child]:
        return [self.server, *(child for sinks in self.sinks.values() for child in sinks), *self.sources.values()]

    def _child(self, role: str, name: str, number: int = 0) -> Child:
        return Child(role, name, number, place=self._places[role, name, number])

    def run(self) -> int:
        """Run until SIGTERM or SIGINT (0), or until nothing is left that could work (1)."""
        with only_one(self.instance, "stop it, or give this one a data_dir of its own"), closing(self._expiry):
            for name in (signal.SIGTERM, signal.SIGINT):
                signal.signal(name, self._stop)
            try:
                self._memory.open()
                make_beats(self.instance, len(self._places) + 1)
                beat_at(self.instance, SUPERVISOR)
                self._conductor.begin(self)
                self._count_spares()
                self._memory.forget_leftovers(self.running, self.sources)
                self._start(self.server)
                return self._watch()
            finally:
                self._conductor.end(self)
                self._spares.end()
                self._end_all()
                self._memory.remove_all()
                self.instance.state_file.unlink(missing_ok=True)
                self.instance.spare_state_file.unlink(missing_ok=True)

    def wake(self) -> None:
        """Have the conductor's turn come at once; any thread may call it."""
        os.eventfd_write(self._wake_fd, 1)

    def _stop(self, signum: int, frame: object) -> None:
        self._stopping = True
        self.wake()

    # -- destinations ----------------------------------------------------------------------------------------------

    def start_destinations(self, names: Iterable[str]) -> None:
        """Start these, with the sources they need. Those that run already are left alone.

        A source that runs has to go back to where the new ones are. So what shares one with them, also through others, has its
        sources and sinks started anew; its stores stay, and its consumers notice a pause at most.

        Raises:
            RingError: no room in shared memory. What ran before may be stopped then.
        """
        new = [name for name in names if name not in self.running]
        if not new:
            return
        begun = self._joined_by_sources(new)
        kept = [name for name in begun if name in self.running]
        self._halt(kept)
        self._memory.provide(begun, kept)
        sources = self._sources_of(begun)
        self.running += new
        self._count_spares()
        for name in begun:
            if name not in kept:
                self.server.tell(do="activate", destination=name)
            if name not in self.sinks:
                self.sinks[name] = [self._child("sink", name, sink) for sink in range(self.config.destinations[name].sinks)]
            for child in self.sinks[name]:
                self._start(child)
        for source in sources:
            if source not in self.sources:
                self.sources[source] = self._child("source", source)
            self._start(self.sources[source])

    def stop_destination(self, name: str, address: str | None = None) -> None:
        """Stop it, and the sources that nobody else needs. address: of the engine that serves it from now on, if known.

        Its consumers go on from their acks, here or elsewhere. One that doesn't run is left alone.
        """
        if name not in self.running:
            return
        self.running.remove(name)
        self._count_spares()
        sources = self.config.sources_of(name)
        unneeded = [source for source in sources if source not in self._sources_of(self.running)]
        self.server.tell(do="deactivate", destination=name, address=address)
        self._end([self.sources[source] for source in unneeded])
        self._end(self.sinks.pop(name))
        for source in sources:
            if source in unneeded:
                del self.sources[source]
                self._memory.remove_source(source)
            else:
                self._memory.leave_source(source, name)
        self._memory.remove_stores(name)

    def _joined_by_sources(self, names: list[str]) -> list[str]:
        """These, and those running that share a source with them, with one that shares one, and so on."""
        joined = list(names)
        for name in joined:
            mine = set(self.config.sources_of(name))
            joined += [other for other in self.running if other not in joined and mine & set(self.config.sources_of(other))]
        return joined

    def _sources_of(self, destinations: Iterable[str]) -> list[str]:
        needed = {source for name in destinations for source in self.config.sources_of(name)}
        return [source for source in self.config.sources if source in needed]

    def _halt(self, names: list[str]) -> None:
        """End their sinks and sources for a moment."""
        sources = self._sources_of(names)
        self._end([self.sources[source] for source in sources])
        self._end([child for name in names for child in self.sinks[name]])
        for source in sources:
            self._memory.remove_source(source)

    # -- children --------------------------------------------------------------------------------------------------

    def _count_spares(self) -> None:
        """In a cluster: as many as the start of any one destination more takes, with those that begin anew for it."""
        cluster, destinations = self.config.cluster, self.config.destinations
        if cluster is not None and cluster.spares:
            starts = [self._joined_by_sources([name]) for name in destinations if name not in self.running]
            self._spares_wanted = {
                "source": max((len(self._sources_of(begun)) for begun in starts), default=0),
                "sink": max((sum(destinations[name].sinks for name in begun) for begun in starts), default=0),
            }

    def _start(self, child: Child) -> None:
        if child.start(self._config_for(child), self.running, self._spares.take(child.role)):
            self._selector.register(child.reports, selectors.EVENT_READ, child)
        self._changed = True

    def _config_for(self, child: Child) -> str:
        """All of it for the server, which tells who asks for a destination that isn't here; otherwise what runs here."""
        config = self.config
        if child is not self.server:
            here = {name: config.destinations[name] for name in config.destinations if name in self.running}
            config = config.model_copy(update={"destinations": here})
        return config.model_dump_json(by_alias=True)

    def _watch(self) -> int:
        self._changed = True
        watchdog = Watchdog(self.instance, self.config.server.stall_kill_s)
        while not self._stopping:
            beat()
            for key, _ in self._selector.select(self._turn_s()):
                if key.data is None:
                    os.eventfd_read(self._wake_fd)
                else:
                    self._hear(key.data)
            for child in self.children:
                if child.due():
                    child.restarts += 1
                    self._start(child)
            if all(child.state != "starting" for child in self.children):
                self._spares.keep(self._spares_wanted)
            self._changed |= watchdog.look(self.children)
            self._expiry.look(self.running)
            self._conductor.turn(self)
            if (seen := self._conductor.describe()) != self._described:
                self._described, self._changed = seen, True
            if self._changed:
                self._changed = False
                self._write_state()
                if (reason := self._hopeless()) is not None:
                    log.error("stopping: %s", reason)
                    return 1
        log.info("stopping: asked to")
        return 0

    def _turn_s(self) -> float:
        alone = self.config.cluster is None
        return LONG_TURN_S if alone and all(child.state == "running" for child in self.children) else TURN_S

    def _hear(self, child: Child) -> None:
        """Read what a child reports; an ended pipe means that it is gone."""
        heard, gone = child.hear()
        self._changed |= heard
        if gone:
            self._selector.unregister(child.reports)
            child.bury()

    def _end(self, children: list[Child]) -> None:
        for child in children:
            if child.process:
                self._selector.unregister(child.reports)
        end(children)
        self._changed = True

    def _hopeless(self) -> str | None:
        """Why running on makes no sense: no server to serve, or no source left that could still work."""
        if self.server.state == "failed":
            return "the server can't run"
        if self.sources and all(child.state == "failed" for child in self.sources.values()):
            return "no source can run"
        return None

    def _end_all(self) -> None:
        """Sources first, the server last: it still takes the acks of what is under way."""
        self._end(list(self.sources.values()))
        self._end([child for sinks in self.sinks.values() for child in sinks])
        self._end([self.server])
        for address in self.config.server.listen:
            kind, path, _ = parse_address(address)
            if kind == "unix":
                Path(path).unlink(missing_ok=True)

    def _write_state(self) -> None:
        state = {
            "pid": os.getpid(),
            "start_time": process_start_time(os.getpid()),
            "version": engine.__version__,
            "listen": self.config.server.listen,
            "destinations": self.running,
            "cluster": self._described,
            "children": [child.to_json() for child in self.children],
        }
        spare = self.instance.spare_state_file
        try:
            _write_whole(self.instance.state_file, state)
            spare.unlink(missing_ok=True)
        except OSError as error:  # a full disk is no reason to stop those who don't write to it
            log.error("the state file can't be written, it is %s for now: %s", spare, error)
            try:
                _write_whole(spare, state)
            except OSError as worse:
                log.error("`status` is behind: %s", worse)


def _write_whole(path: Path, state: dict[str, Any]) -> None:
    """Who reads it finds the old one or this one."""
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(state, indent=1))
    draft.replace(path)


def run_engine(config: Config) -> int:
    """Check what can be checked before anything is started, then run; returns the exit code."""
    for source in config.sources.values():
        if source.url or source.urls:
            source.account()
    conductor: Conductor | None = None
    if config.cluster is not None:
        from engine.ha.conductor import ClusterConductor

        conductor = ClusterConductor(config)
    try:
        return Supervisor(config, conductor).run()
    except OSError as error:
        raise EngineError("the engine can't start", error=error) from error
