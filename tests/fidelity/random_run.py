"""Random schemas on one server under one setting, replayed and compared: one round of the tests and of `make fuzz`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.client.change import Item
from tests.fidelity.generator import Generator
from tests.fidelity.model import Model, Recording
from tests.fidelity.reading import read_files, read_live
from tests.fidelity.settings import SETTINGS, applied, newest_binlog, settings_of
from tests.servers.database import Database

CHANGES_A_SCHEMA = 110


@dataclass
class Round:
    """What came of it. faults: empty where the stream was true."""

    schemas: int = 0
    made: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.schemas} schemas, {self.made} rows changed, {dict(self.counts)}"


def random_settings(server: str) -> list[str]:
    """Settings that rows are delivered under today."""
    return [name for name in settings_of(server) if SETTINGS[name].supported and "statements" not in SETTINGS[name].needs]


def run_round(server: Database, setting: str, seeds: range, live_folder: Path | None = None) -> Round:
    """One schema for each seed. live_folder: read by a source stage over the network instead of from the files."""
    result = Round()
    with applied(server, SETTINGS[setting]):
        recording = Recording(server)
        start, first = server.position(), newest_binlog(server)
        schemas = []
        try:
            for seed in seeds:
                recording.run(*SETTINGS[setting].session)
                schemas.append(f"random_{seed}")
                generator = Generator(recording, server.name, schemas[-1], seed)
                generator.run(CHANGES_A_SCHEMA)
                result.schemas += 1
                result.made += generator.changes
            model = Model(recording.snapshots, sparse=SETTINGS[setting].sparse)
            files = [path for path in server.binlog_files() if path.name >= first.name]
            items: Iterator[Item] = read_files(files) if live_folder is None else read_live(server, start, live_folder)
            for item in items:
                model.apply(item)
                if live_folder is not None and model.finished:
                    break
            if not model.finished:
                model.faults.append(f"the stream ended at mark {model.marks[-1:]}, before the last one")
        finally:
            recording.run("ROLLBACK", *(f"DROP DATABASE IF EXISTS {name}" for name in schemas))
            recording.close()
    result.counts += model.ops
    result.faults += model.faults
    return result


def seeds_of(rng: random.Random, count: int) -> range:
    first = rng.randrange(1_000_000_000)
    return range(first, first + count)
