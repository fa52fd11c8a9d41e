"""The examples in Python run as they stand, against the small server."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.client import streams
from tests.client.peer import Peer, Store

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("example", "last_line"),
    [
        ("refresh_cache.py", "2 rows cached, last change 04:14:25.720253"),
        ("search_index.py", "delete shop.orders (1,): 12 words"),
    ],
)
def test_an_example_runs_and_acks(example, last_line):
    changes = [streams.insert(1), streams.insert(2), streams.update(2), streams.insert(3), streams.delete(1)]
    store = Store([[streams.begin(), *changes, streams.commit()]])
    with Peer(store) as peer:
        command = [sys.executable, "-u", str(ROOT / "examples" / "python" / example), peer.url]
        running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        try:
            lines = []
            while not lines or lines[-1].split()[0] not in ("delete", "2"):
                lines.append(running.stdout.readline())
                assert lines[-1], "the example has ended"
            assert lines[-1].strip() == last_line
        finally:
            running.kill()
            running.stdout.close()
            running.wait()
