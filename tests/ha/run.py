"""A chaos run of a cluster: `python -m tests.ha.run [--seconds 300] [--faults 100] [--seed 1]`, what `make chaos-ha` calls."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.ha.faults import Faults
from tests.ha.stand import Stand

LONGEST_PAUSE_S = 2.0  # between two faults


def run(folder: Path, seed: int, *, seconds: float = 0.0, faults: int = 0, say: bool = False) -> dict[str, object]:
    """At least so many faults, for at least so long; then everything must be right. What was done, by name."""
    rng, over = random.Random(seed), threading.Event()
    with Stand(folder, seed) as stand:
        trouble = Faults(stand, seed)
        begun = time.monotonic()
        while trouble.done.total() < faults or time.monotonic() - begun < seconds:
            over.wait(rng.random() * LONGEST_PAUSE_S)
            name = trouble.next()
            if say:
                print(f"{time.monotonic() - begun:7.1f} s  {name}", flush=True)
        stand.settle()
        transactions = sum(writer.transactions for writer in stand.writers)
        return {"seed": seed, "faults": dict(trouble.done), "transactions": transactions, **stand.check()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}: run it again with SEED={seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="binlog-engine-ha-") as folder:
        try:
            done = run(Path(folder), seed, seconds=options.seconds, faults=options.faults, say=True)
        except BaseException:
            for log in Path(folder).rglob("*.log"):
                print(f"---- {log}\n{log.read_text(errors='replace')[-8000:]}", file=sys.stderr)
            raise
    print(done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
