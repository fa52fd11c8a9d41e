"""A chaos run: `python -m tests.chaos.run [--seconds 300] [--faults 200] [--seed 1]`, what `make chaos` calls."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos.faults import Faults
from tests.chaos.stand import Stand

LONGEST_PAUSE_S = 1.0  # between two faults


def go_wrong(trouble: Any, seed: int, *, seconds: float, faults: int, longest_pause_s: float, say: bool) -> None:
    """At least so many faults, for at least so long, with pauses between them."""
    rng, over = random.Random(seed), threading.Event()
    begun = time.monotonic()
    while trouble.done.total() < faults or time.monotonic() - begun < seconds:
        over.wait(rng.random() * longest_pause_s)
        name = trouble.next()
        if say:
            print(f"{time.monotonic() - begun:7.1f} s  {name}", flush=True)


def run(folder: Path, seed: int, *, seconds: float = 0.0, faults: int = 0, say: bool = False) -> dict[str, object]:
    """Faults; then everything must be right. What was done, by name."""
    with Stand(folder, seed) as stand:
        trouble = Faults(stand, seed)
        go_wrong(trouble, seed, seconds=seconds, faults=faults, longest_pause_s=LONGEST_PAUSE_S, say=say)
        stand.settle()
        transactions = sum(writer.transactions for writer in stand.writers)
        return {
            "seed": seed,
            "meta": stand.meta,
            "faults": dict(trouble.done),
            "transactions": transactions,
            "consumers": stand.check(),
        }


def command_line(run: Callable[..., dict[str, object]], about: str | None, faults: int) -> int:
    """`--seconds`, `--faults`, `--seed` for a run; the logs of its folder are shown when it fails."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--faults", type=int, default=faults)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}: run it again with SEED={seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="binlog-engine-chaos-") as folder:
        try:
            done = run(Path(folder), seed, seconds=options.seconds, faults=options.faults, say=True)
        except BaseException:
            for log in Path(folder).rglob("*.log"):
                print(f"---- {log}\n{log.read_text(errors='replace')[-8000:]}", file=sys.stderr)
            raise
    print(done)
    return 0


if __name__ == "__main__":
    sys.exit(command_line(run, __doc__, 200))
