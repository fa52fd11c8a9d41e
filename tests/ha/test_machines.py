"""Machines for the engines of a chaos run: reached, cut off, reached again; and nothing of them is left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ha.conftest import eventually
from tests.ha.machines import namespaces_refused

ECHO = "import socket; s = socket.create_server(('10.99.3.12', 7411)); [s.accept()[0].sendall(b'here') for _ in range(3)]"
RUN = f"""
import os, socket, subprocess, sys
from tests.ha.machines import Machine, lay_networks
from tests.ha.conftest import eventually

def answers():
    try:
        with socket.create_connection(("10.99.3.12", 7411), 1) as peer:
            return peer.recv(9) == b"here"
    except OSError:
        return False

lay_networks()
machines = [Machine("a", 11), Machine("b", 12)]
engine = subprocess.Popen([*machines[1].program, sys.executable, "-c", {ECHO!r}])
eventually(answers)
machines[1].consumers.half_open()
assert not answers()
machines[1].consumers.restore()
eventually(answers)
holders = ["self", *(machine._holder.pid for machine in machines)]
print(engine.pid, *(os.readlink(f"/proc/{{one}}/ns/net") for one in holders))
sys.stdout.flush()
sys.stdin.read()
"""


def namespaces() -> set[str]:
    """Of all processes."""
    found = set()
    for one in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(os.readlink(one))
        except OSError:
            continue
    return found


def test_a_machine_is_reached_and_cut_off_and_when_the_run_is_killed_nothing_of_its_networks_is_left():
    if refused := namespaces_refused():
        pytest.skip(f"no network namespaces here: {refused}")
    ours = os.readlink("/proc/self/ns/net")
    run = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", sys.executable, "-c", RUN],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "BINLOG_ENGINE_TEST_NETWORK": "private"},
    )  # fmt: skip
    with run:
        engine, *theirs = run.stdout.readline().split()
        assert len({ours, *theirs}) == 4, "the run, two machines and we"
        run.kill()
    eventually(lambda: not Path("/proc", engine).exists())
    eventually(lambda: not namespaces() & set(theirs))
