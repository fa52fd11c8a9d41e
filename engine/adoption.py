"""What a killed engine left in shared memory, and whether the next one may go on with it.

`rings.json` in data_dir says which rings were made whole, for which config. It is written when rings are complete and before
any stage starts, and taken back before they are removed: a ring that it doesn't list is half made or somebody else's. What it
lists is gone on with only if nothing of all that it depends on has changed; otherwise the reason is said, and the rings are
made anew from the acks, which is always right.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import engine
from engine.config import Config
from engine.errors import EngineError, StoreError
from engine.file_store import has_lost_data
from engine.instance import Instance
from engine.meta import Meta
from engine.ring import Ring
from engine.source.note import unpack_note

VERSION = 1
DYING_S = 5.0  # the processes of a killed engine are killed by the kernel; so long may that take

# Settings of a source that change nothing of what its ring holds.
_SOURCE_TUNING = {
    "password_env", "password_file", "start", "server_id", "heartbeat_s", "read_timeout_s", "tls", "tls_ca",
}  # fmt: skip
# Settings of a destination that decide what its stores hold; its consumers are looked at in the rings.
_DESTINATION_CONTENT = {"from_", "include", "exclude", "order", "store", "partitions", "partition_by", "sinks"}


class Obstacle(Exception):
    """Why rings can't be taken over."""


class RingRecord:
    """rings.json: ring name → its id, and what the sources and destinations were when their rings were made."""

    def __init__(self, instance: Instance) -> None:
        self._path = instance.rings_file
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self.rings: dict[str, int] = {}
        self.settings: dict[str, dict[str, Any]] = {}
        self.obstacle = ""  # why nothing that was there counts

    def load(self) -> None:
        """What the predecessor has written; `obstacle` instead, if it ran before the machine's start or in another version."""
        try:
            found = json.loads(self._path.read_text())
            version = found["version"], found["engine"]
            if version != (VERSION, engine.__version__):
                self.obstacle = f"they are of another version of binlog-engine: {found['engine']}, this is {engine.__version__}"
            elif found["boot"] != self._boot:
                self.obstacle = "the machine has been started anew since"
            else:
                self.rings, self.settings = dict(found["rings"]), dict(found["settings"])
        except FileNotFoundError:
            self.obstacle = "rings.json, which says what is whole, is not there"
        except (OSError, ValueError, TypeError, KeyError) as error:
            self.obstacle = f"rings.json can't be read: {error!r}"

    def add(self, rings: dict[str, int], settings: dict[str, dict[str, Any]]) -> None:
        self.rings |= rings
        self.settings |= settings
        self._write()

    def take_back(self, rings: list[str]) -> None:
        if any(name in self.rings for name in rings):
            self.rings = {name: ring_id for name, ring_id in self.rings.items() if name not in rings}
            self._write()

    def remove(self) -> None:
        self.rings, self.settings = {}, {}
        forget_rings(self._path)

    def _write(self) -> None:
        draft = self._path.with_suffix(".new")
        record = {
            "version": VERSION, "engine": engine.__version__, "boot": self._boot, "rings": self.rings, "settings": self.settings,
        }  # fmt: skip
        draft.write_text(json.dumps(record, indent=1))
        draft.replace(self._path)


def forget_rings(path: Path) -> None:
    """After this no engine takes rings over: whoever moves positions in meta wants them to count."""
    path.unlink(missing_ok=True)


def source_settings(config: Config, source: str) -> dict[str, Any]:
    """What a source's ring depends on; without passwords, which may change."""
    settings = config.sources[source].model_dump(mode="json", exclude=_SOURCE_TUNING)
    for key in ("url", "urls"):
        if settings.get(key):
            urls = settings[key] if isinstance(settings[key], list) else [settings[key]]
            settings[key] = [urlsplit(url)._replace(netloc=_without_password(url)).geturl() for url in urls]
    return settings


def _without_password(url: str) -> str:
    user, at, host = urlsplit(url).netloc.rpartition("@")
    return user.partition(":")[0] + at + host


def destination_settings(config: Config, destination: str) -> dict[str, Any]:
    settings = config.destinations[destination].model_dump(mode="json", include=_DESTINATION_CONTENT)
    del settings["store"]["retain"]
    return {**settings, "from_": config.sources_of(destination)}


def check_unchanged(record: RingRecord, key: str, now: dict[str, Any]) -> None:
    """Raises Obstacle: the config says something else than when the rings were made."""
    before = record.settings.get(key)
    if before is None:
        raise Obstacle(record.obstacle or f"{key} is new")
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            raise Obstacle(f"{key}.{name.strip('_')} was {before.get(name)!r}, is {now.get(name)!r}")


def attach_recorded(record: RingRecord, name: str) -> Ring:
    """The ring that was made whole under this name, with nobody at work on it.

    Raises:
        Obstacle: it isn't there, or not sound, or in use.
    """
    if name not in record.rings:
        raise Obstacle(record.obstacle or f"{name} was not made whole")
    try:
        ring = Ring.attach(name)
    except EngineError as error:
        raise Obstacle(str(error)) from None
    try:
        if ring.ring_id != record.rings[name]:
            raise Obstacle(f"{name} is another ring of the same name")
        _check_deserted(ring)
        _check_sequences(ring)
        _check_data(ring)
    except BaseException:
        ring.close()
        raise
    return ring


def _check_deserted(ring: Ring) -> None:
    deadline = time.monotonic() + DYING_S
    while (pid := _at_work(ring)) is not None:
        if time.monotonic() > deadline:
            raise Obstacle(f"{ring.name} is still used by process {pid}")
        time.sleep(0.01)


def _at_work(ring: Ring) -> int | None:
    """Pid of a live process that has the writer's or a reader's role."""
    if ring.writer_alive():
        return ring.writer_pid
    for name in ring.readers():
        reader = ring.reader(name)
        if reader.owner_alive():
            return reader.owner_pid
    return None


def _check_data(ring: Ring) -> None:
    try:
        if ring.data_path and has_lost_data(ring):
            raise Obstacle(f"{ring.data_path} has lost what its disk did not take")
    except StoreError as error:
        raise Obstacle(str(error)) from None


def _check_sequences(ring: Ring) -> None:
    put = ring.put
    for name in ring.readers():
        reader = ring.reader(name)
        if not (reader.ack <= reader.get <= put <= reader.ack + ring.capacity):
            raise Obstacle(f"{ring.name} is damaged: reader={name} ack={reader.ack} get={reader.get} put={put}")


def check_source_known(ring: Ring, source: str, meta: Meta) -> None:
    """Raises Obstacle: the source number of what the ring holds is not what meta has for this source."""
    note = ring.note()
    if note is None:
        if ring.put:
            raise Obstacle(f"{ring.name} holds records, but not where they end")
        return
    try:
        number = unpack_note(note).source
    except EngineError as error:
        raise Obstacle(str(error)) from None
    history = meta.histories().get(number)
    if history is None or history.source != source:
        raise Obstacle(f"{ring.name} holds source number {number}, which meta doesn't know as {source}")


def keep_readers(ring: Ring, wanted: list[str], *, only: bool) -> None:
    """Check that these readers are there; with `only`, drop the others.

    Raises:
        Obstacle: one is missing, so the ring may not hold what it needs.
    """
    there = ring.readers()
    missing = [name for name in wanted if name not in there]
    if missing:
        raise Obstacle(f"{ring.name} has no reader {missing[0]}")
    if only:
        for name in there:
            if name not in wanted:
                with suppress(EngineError):
                    ring.drop_reader(name)
