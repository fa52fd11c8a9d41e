"""`python -m tests.fidelity.report`: runs the matrix on real servers and writes docs/fidelity.md from what came of it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from engine.errors import SourceError
from tests.fidelity.capabilities import CAPABILITIES, supported
from tests.fidelity.column_types import TYPES
from tests.fidelity.conftest import OPTIONS
from tests.fidelity.fuzz import SERVERS
from tests.fidelity.scenario_run import run_scenario
from tests.fidelity.scenarios import MARIADB_CASCADES, SCENARIOS, Scenario
from tests.fidelity.settings import SETTINGS
from tests.fidelity.types_under import Outcome, types_under
from tests.servers.database import Database

PAGE = Path(__file__).parents[2] / "docs" / "fidelity.md"
NOT_THERE = "–"
USUAL = "as docs/operations.md asks for"
CASCADES_IN_MARIADB = "foreign keys with cascades in MariaDB"
NO_TEXT = "str; bin where the bytes are no text of that charset"
VALUES = {"int": "int", "float": "float", "str": "str", "bytes": "bin", "tuple": "array of float32", "bytes or str": NO_TEXT}

HEAD = """# Fidelity

What a consumer gets of each type, setting and kind of change, as the tests found it: what was delivered was put together
to tables again and compared with SELECT. Written by `python -m tests.fidelity.report`, never by hand.

"equal" means: every row, and every value of it, is what SELECT shows, with minima, maxima, NULL and oddities among them
(tests/fidelity/column_types.py). "refused" means: the source stops with an error that names the setting; nothing is skipped.
"""


def scenario_rows() -> dict[str, Scenario]:
    return {**SCENARIOS, CASCADES_IN_MARIADB: MARIADB_CASCADES}


def row_names() -> list[str]:
    """The first cell of every row, in the page's order."""
    return [*SETTINGS, *TYPES, *scenario_rows()]


def rows_of(page: str) -> list[str]:
    """The first cells that a page has."""
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith(("| what ", "|---"))]
    return [line.split(" | ")[0].removeprefix("| ").replace("\\|", "|") for line in rows]


def setting_cell(server: Database, name: str) -> tuple[str, Outcome | None]:
    setting = SETTINGS[name]
    if server.name not in setting.servers:
        return NOT_THERE, None
    try:
        outcome = types_under(server, setting)
    except SourceError as error:
        return f"refused: {error.what}", None
    if "statements" in setting.needs and outcome.statements:
        return "statements, as such", outcome
    if outcome.faults:
        return f"WRONG: {outcome.faults[0][:100]}", outcome
    return "equal; columns that the image leaves out are absent" if setting.sparse else "equal", outcome


def scenario_cell(server: Database, scenario: Scenario, folder: Path) -> str:
    if server.name not in scenario.servers:
        return NOT_THERE
    try:
        faults = run_scenario(server, scenario, folder).faults
    except SourceError as error:
        return f"refused: {error.what}"
    if faults:
        return f"NOT EQUAL: {scenario.fault or scenario.not_logged or faults[0][:100]}"
    return f"equal; but {scenario.not_logged}" if scenario.not_logged and server.name != "mysql" else "equal"


def type_cell(server: str, name: str, usual: Outcome | None) -> str:
    servers, _ = TYPES[name]
    if server not in servers:
        return NOT_THERE
    if "compressed" in name and not supported("compressed columns"):
        return f"refused: {CAPABILITIES['compressed columns']}"
    came = usual.came.get(name) if usual else None
    return f"{VALUES.get(came, came)}, equal" if came else "nothing came"


def table(title: str, versions: list[str], rows: dict[str, list[str]]) -> str:
    lines = [f"## {title}", f"| what | {' | '.join(versions)} |", "|---" * (len(versions) + 1) + "|"]
    lines += [f"| {name.replace('|', chr(92) + '|')} | {' | '.join(cells)} |" for name, cells in rows.items()]
    return "\n".join(lines) + "\n"


def page() -> str:
    """Starts the servers one after the other, so that a report needs the memory of one.

    Raises:
        Missing: one of the servers can't be had.
    """
    settings: dict[str, list[str]] = {name: [] for name in SETTINGS}
    types: dict[str, list[str]] = {name: [] for name in TYPES}
    scenarios: dict[str, list[str]] = {name: [] for name in scenario_rows()}
    versions: list[str] = []
    for kind, make in SERVERS.items():
        with make(**OPTIONS[kind]) as server, tempfile.TemporaryDirectory() as folder:
            version = str(server.sql("SELECT VERSION()")[0][0]).split("-")[0]
            versions.append(f"{'MySQL' if kind == 'mysql' else 'MariaDB'} {'.'.join(version.split('.')[:2])}")
            usual = None
            for name, cells in settings.items():
                cell, outcome = setting_cell(server, name)
                cells.append(cell)
                usual = outcome if name == USUAL else usual
            for name, cells in types.items():
                cells.append(type_cell(kind, name, usual))
            for name, cells in scenarios.items():
                cells.append(scenario_cell(server, scenario_rows()[name], Path(folder)))
            print(f"{versions[-1]} done", file=sys.stderr)
    parts = [
        HEAD,
        table("Settings: all types under each", versions, settings),
        table("Types", versions, types),
        table("Kinds of changes", versions, scenarios),
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
