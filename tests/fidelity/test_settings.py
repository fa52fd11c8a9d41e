"""The matrix: every type under every setting, and what servers do to rows beyond plain statements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import SourceError
from tests.fidelity.scenario_run import run_scenario
from tests.fidelity.scenarios import MARIADB_CASCADES, SCENARIOS, scenarios_of
from tests.fidelity.settings import SETTINGS, settings_of
from tests.fidelity.types_under import readable_types, types_under

SERVERS = ("mariadb", "mysql", "mariadb_next")


def cases(names_of: Any) -> list[Any]:
    return [
        pytest.param(server, name, id=f"{server}-{name}".replace(" ", "_"), marks=getattr(pytest.mark, server))
        for server in SERVERS
        for name in names_of(server)
    ]


@pytest.mark.parametrize(("server", "name"), cases(settings_of))
def test_every_type_under_a_setting_equals_what_select_shows(written: Any, server: str, name: str) -> None:
    setting = SETTINGS[name]
    if not setting.supported:
        with pytest.raises(SourceError, match=setting.refusal):
            types_under(written(server), setting)
        return
    outcome = types_under(written(server), setting)
    if "statements" in setting.needs:
        assert outcome.statements > 0, "each comes as such, since its rows can't be known"
        return
    assert outcome.faults == []
    assert set(outcome.came) == set(readable_types(server))


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("server", "name"), cases(scenarios_of))
def test_a_scenario_leaves_what_select_shows(
    written: Any, server: str, name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    scenario = SCENARIOS[name]
    if scenario.fault:
        request.applymarker(pytest.mark.xfail(reason=scenario.fault, raises=AssertionError))
    if not scenario.supported:
        with pytest.raises(SourceError, match=scenario.refusal):
            run_scenario(written(server), scenario, tmp_path)
        return
    assert run_scenario(written(server), scenario, tmp_path).faults == []


@pytest.mark.parametrize("server", [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("mariadb", "mariadb_next")])
def test_a_cascade_in_mariadb_is_not_in_its_binlog_so_only_the_parents_rows_come(
    written: Any, server: str, tmp_path: Path
) -> None:
    model = run_scenario(written(server), MARIADB_CASCADES, tmp_path)
    assert [fault.partition(":")[0] for fault in model.faults] == ["fidelity_scenario.child"]
