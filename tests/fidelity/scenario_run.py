"""One scenario on one server, replayed and compared."""

from __future__ import annotations

from pathlib import Path

from tests.fidelity.model import Model, Recording
from tests.fidelity.reading import read_files
from tests.fidelity.scenarios import SCHEMA, Scenario
from tests.fidelity.settings import newest_binlog
from tests.servers.database import Database

LINES = "1,one\n2,é\n3,\\N\n" + "".join(f"{n},row {n}\n" for n in range(10, 2000))


def run_scenario(server: Database, scenario: Scenario, folder: Path) -> Model:
    """Raises what the engine raises while it reads."""
    loaded = folder / "load.csv"
    loaded.write_text(LINES)
    server.sql("FLUSH BINARY LOGS")
    first = newest_binlog(server)
    recording = Recording(server)
    try:
        recording.run(f"DROP DATABASE IF EXISTS {SCHEMA}", f"CREATE DATABASE {SCHEMA} CHARACTER SET utf8mb4", f"USE {SCHEMA}")
        for statement in scenario.statements:
            if statement.startswith("!"):
                recording.ddl(SCHEMA, statement[1:])
            else:
                recording.run(statement.replace("{file}", str(loaded)))
        recording.mark(SCHEMA)
        model = Model(recording.snapshots)
        for item in read_files([path for path in server.binlog_files() if path.name >= first.name]):
            model.apply(item)
    finally:
        recording.run("SET SESSION sql_mode = ''", f"DROP DATABASE IF EXISTS {SCHEMA}")
        recording.close()
        server.sql("FLUSH BINARY LOGS")
    if not model.finished:
        model.faults.append("the stream ended before the last mark")
    return model
