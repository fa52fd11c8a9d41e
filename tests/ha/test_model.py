"""The model of the lease (docs/model/lease.pml) holds, and fails without each of its safeguards; `make model` searches further."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECK = Path(__file__).parents[2] / "docs/model/check.sh"


@pytest.mark.skipif(not (shutil.which("spin") and shutil.which("gcc")), reason="spin or gcc is not installed")
def test_the_model_of_the_lease_holds_and_needs_each_of_its_safeguards(tmp_path):
    environment = {**os.environ, "END": "6"}
    done = subprocess.run([CHECK, tmp_path], env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("whole: holds in all ")
    assert done.stdout.count("counterexample found, as it must be") == 3
