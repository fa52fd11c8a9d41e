"""A short chaos run of a cluster in `make test`; `make chaos-ha FAULTS=n SEED=s` runs it at length."""

import os
import random

import pytest

from tests.ha.run import run

FAULTS = 4


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # PyMySQL leaves sockets of killed servers open
@pytest.mark.timeout(300)
@pytest.mark.mariadb
@pytest.mark.mysql
@pytest.mark.zookeeper
def test_random_faults_on_a_cluster_lose_nothing_double_nothing_and_never_have_two_owners(
    tmp_path, mariadb, mysql, shared_zookeeper
):
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(1_000_000))
    print(f"CHAOS_SEED={seed}")  # pytest shows it when the test fails
    done = run(tmp_path, seed, faults=FAULTS)
    assert done["transactions"] > 0
