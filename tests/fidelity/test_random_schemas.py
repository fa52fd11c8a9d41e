"""Random schemas, values and transactions, under each setting, on each server: the stream replayed equals SELECT."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.fidelity.random_run import random_settings, run_round

SEED = 20261123
SCHEMAS = {"mariadb": 8, "mysql": 8, "mariadb_next": 5}  # for each setting
LIVE_SCHEMAS = 12
LEAST_SCHEMAS, LEAST_CHANGES = 200, 20_000

CASES = [
    pytest.param(server, setting, id=f"{server}-{setting}".replace(" ", "_"), marks=getattr(pytest.mark, server))
    for server in SCHEMAS
    for setting in random_settings(server)
]
totals: Counter[str] = Counter()


@pytest.mark.parametrize(("server", "setting"), CASES)
def test_what_a_random_schema_holds_is_what_the_stream_says(written: Any, server: str, setting: str) -> None:
    first = SEED + 1000 * [case.values for case in CASES].index((server, setting))
    result = run_round(written(server), setting, range(first, first + SCHEMAS[server]))
    assert result.faults == [], f"{len(result.faults)} faults; {result}"
    totals.update(schemas=result.schemas, changes=result.counts["compared"])


@pytest.mark.parametrize("server", [pytest.param(server, marks=getattr(pytest.mark, server)) for server in SCHEMAS])
def test_what_a_random_schema_holds_is_what_a_live_source_says(written: Any, server: str, tmp_path: Any) -> None:
    first = SEED + 500_000
    result = run_round(written(server), "as docs/operations.md asks for", range(first, first + LIVE_SCHEMAS), tmp_path)
    assert result.faults == [], f"{len(result.faults)} faults; {result}"
    totals.update(schemas=result.schemas, changes=result.counts["compared"])


def test_there_were_enough_of_them(request: pytest.FixtureRequest) -> None:
    ran = [item for item in request.session.items if item.path == request.path]
    if len(ran) < len(CASES) + len(SCHEMAS) + 1 or request.session.testsfailed:
        pytest.skip("counts only where all of the tests above have run")
    assert totals["schemas"] >= LEAST_SCHEMAS, totals
    assert totals["changes"] >= LEAST_CHANGES, totals
