"""All types of a server under one setting: inserted, updated and deleted, replayed, compared, and what they came as."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.fidelity.capabilities import supported
from tests.fidelity.column_types import types_of
from tests.fidelity.generator import quote
from tests.fidelity.model import Model, Recording
from tests.fidelity.reading import read_files
from tests.fidelity.settings import Setting, applied, newest_binlog
from tests.servers.database import Database

TYPES_A_TABLE = 8
SCHEMA = "fidelity_types"


@dataclass
class Outcome:
    """came: type name → what its values came as (`int`, `str`, `bytes`, ...); faults: what was not as SELECT shows it."""

    came: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    changes: int = 0
    statements: int = 0


def readable_types(server: str) -> dict[str, tuple[str, list[str]]]:
    """The types of a server that the engine reads today, with their literals as SQL."""
    compressed = supported("compressed columns")
    return {
        name: (definition, [str(value) for value in values])
        for name, (definition, values) in types_of(server).items()
        if compressed or "compressed" not in name
    }


def write_types(recording: Recording, types: dict[str, tuple[str, list[str]]]) -> None:
    """Tables of several types each: every literal and NULL inserted; updates of other columns, of these, and deletes."""
    names = list(types)
    recording.run(f"DROP DATABASE IF EXISTS {SCHEMA}", f"CREATE DATABASE {SCHEMA} CHARACTER SET utf8mb4", f"USE {SCHEMA}")
    for first in range(0, len(names), TYPES_A_TABLE):
        group = names[first : first + TYPES_A_TABLE]
        table = f"t{first // TYPES_A_TABLE}"
        columns = ", ".join(f"{quote(name)} {types[name][0]} NULL" for name in group)
        recording.run(f"CREATE TABLE {table} (id INT PRIMARY KEY, n INT, {columns}, tail VARCHAR(9))")
        deepest = max(len(types[name][1]) for name in group) + 1
        rows = []
        for i in range(deepest):
            values = [literal(types[name][1], i) for name in group]
            rows.append(f"({i}, 0, {', '.join(values)}, 'end')")
        for at in range(0, len(rows), 20):
            recording.run(f"INSERT IGNORE INTO {table} VALUES {', '.join(rows[at : at + 20])}")
        sets = [", ".join(f"{quote(name)} = {literal(types[name][1], i)}" for name in group) for i in (2, 0)]
        recording.run(
            f"UPDATE {table} SET n = n + 1", f"UPDATE IGNORE {table} SET {sets[0]} WHERE id % 4 = 1",
            f"UPDATE IGNORE {table} SET {sets[1]} WHERE id % 4 = 2",
            f"UPDATE {table} SET {', '.join(f'{quote(name)} = NULL' for name in group)} WHERE id % 5 = 3",
            f"DELETE FROM {table} WHERE id % 5 = 4", f"DELETE FROM {table} WHERE id % 4 = 1 AND id % 3 = 0",
        )  # fmt: skip


def literal(literals: list[str], i: int) -> str:
    """Each once, then NULL, then from the first again."""
    i %= len(literals) + 1
    return "NULL" if i == len(literals) else literals[i]


def types_under(server: Database, setting: Setting) -> Outcome:
    """Raises what the engine raises while it reads."""
    types = readable_types(server.name)
    with applied(server, setting):
        recording = Recording(server)
        try:
            recording.run(*setting.session)
            first = newest_binlog(server)
            write_types(recording, types)
            recording.mark(SCHEMA)
            model = Model(recording.snapshots, sparse=setting.sparse)
            for item in read_files([path for path in server.binlog_files() if path.name >= first.name]):
                model.apply(item)
        finally:
            recording.run(f"DROP DATABASE IF EXISTS {SCHEMA}")
            recording.close()
    if not model.finished:
        model.faults.append("the stream ended before the last mark")
    outcome = Outcome(faults=model.faults, changes=model.ops["compared"], statements=model.ops["statement"])
    for (_, _, column), came in model.delivered.items():
        if column in types:
            outcome.came[column] = " or ".join(sorted(came))
    outcome.faults += [f"{name}: no value came" for name in types if name not in outcome.came]
    return outcome
