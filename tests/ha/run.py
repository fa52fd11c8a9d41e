"""A chaos run of a cluster: `python -m tests.ha.run [--seconds 300] [--faults 100] [--seed 1]`, what `make chaos-ha` calls.

Where network namespaces may be made (by root, on most machines) each engine has one of its own; otherwise all are on this machine
behind proxies. The first line says which.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.chaos.run import command_line, go_wrong
from tests.ha.faults import Faults
from tests.ha.machines import are_separate, begin_again_in_a_namespace, namespaces_refused
from tests.ha.stand import Stand

LONGEST_PAUSE_S = 2.0  # between two faults


def run(folder: Path, seed: int, *, seconds: float = 0.0, faults: int = 0, say: bool = False) -> dict[str, object]:
    """Faults; then everything must be right. What was done, by name."""
    with Stand(folder, seed) as stand:
        trouble = Faults(stand, seed)
        go_wrong(trouble, seed, seconds=seconds, faults=faults, longest_pause_s=LONGEST_PAUSE_S, say=say)
        stand.settle()
        failovers = sum(pair.failovers for pair in stand.databases.values())
        about = {"faults": dict(trouble.done), "failovers": failovers, "transactions": stand.transactions}
        return {"seed": seed, **about, **stand.check()}


if __name__ == "__main__":
    if are_separate():
        print("each engine in a network namespace of its own", flush=True)
    elif refused := namespaces_refused():
        print(f"all engines on this machine, behind proxies, since it makes no network namespaces: {refused}", flush=True)
    else:
        begin_again_in_a_namespace(["-m", "tests.ha.run", *sys.argv[1:]])
    sys.exit(command_line(run, __doc__, 100))
