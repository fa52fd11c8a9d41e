"""A short chaos run of a cluster in `make test`; `make chaos-ha FAULTS=n SEED=s` runs it at length."""

import ast
import os
import random
import subprocess
import sys

import pytest

FAULTS = 4
LONGEST_S = 280


@pytest.mark.timeout(300)
@pytest.mark.mariadb
@pytest.mark.mysql
@pytest.mark.zookeeper
def test_random_faults_on_a_cluster_lose_nothing_double_nothing_and_never_have_two_owners(mariadb, mysql, shared_zookeeper):
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(1_000_000))
    print(f"CHAOS_SEED={seed}")  # pytest shows it when the test fails
    ran = subprocess.run(  # by itself, since it may take a network of its own
        ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.ha.run", "--faults", str(FAULTS), "--seed", str(seed)],
        capture_output=True, text=True, timeout=LONGEST_S,
    )  # fmt: skip
    print(ran.stdout)
    assert ran.returncode == 0, ran.stderr
    assert ast.literal_eval(ran.stdout.splitlines()[-1])["transactions"] > 0
