"""A short chaos run of `make test`; `make chaos SECONDS=n SEED=s` runs it at length."""

from __future__ import annotations

import os
import random

import pytest

from tests.chaos.run import run

FAULTS = 25


@pytest.mark.timeout(300)
@pytest.mark.mariadb
@pytest.mark.mysql
@pytest.mark.usefixtures("shared_zookeeper")  # the seed says whether it is used
def test_random_faults_lose_nothing_and_double_nothing(tmp_path, mariadb, mysql):
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(1_000_000))
    print(f"CHAOS_SEED={seed}")  # pytest shows it when the test fails
    done = run(tmp_path, seed, faults=FAULTS)
    assert done["transactions"] > 0
