"""`python -m tests.fidelity.fuzz --seconds 60 [--seed N]`: random rounds on all servers until the time is up.

Each round prints its seed; the same seed makes the same statements. Exit status: 0 all equal, 1 a difference was found.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter

from tests.fidelity.conftest import OPTIONS
from tests.fidelity.random_run import random_settings, run_round, seeds_of
from tests.servers.database import Database
from tests.servers.mariadb import MariaDB
from tests.servers.mariadb_next import MariaDBNext
from tests.servers.missing import Missing
from tests.servers.mysql import MySQL

SCHEMAS_A_ROUND = 20
SERVERS: dict[str, type[Database]] = {"mariadb": MariaDB, "mysql": MySQL, "mariadb_next": MariaDBNext}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000_000))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    rng = random.Random(arguments.seed)
    servers: list[Database] = []
    totals: Counter[str] = Counter()
    failed = 0
    try:
        for name, kind in SERVERS.items():
            try:
                servers.append(kind(**OPTIONS[name]).start())
            except Missing as missing:
                print(f"without {name}: {missing}")
        end = time.monotonic() + arguments.seconds
        while time.monotonic() < end:
            server = rng.choice(servers)
            setting, seeds = rng.choice(random_settings(server.name)), seeds_of(rng, SCHEMAS_A_ROUND)
            result = run_round(server, setting, seeds)
            totals.update(schemas=result.schemas, changes=result.counts["compared"], rounds=1)
            failed += len(result.faults)
            print(
                f"{server.name} [{setting}] seeds {seeds.start}-{seeds.stop - 1}: {result.counts['compared']} changes", flush=True
            )
            for fault in result.faults[:10]:
                print(f"  DIFFERENT: {fault}", flush=True)
            server.sql("PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY")
    finally:
        for server in servers:
            server.close()
    print(f"{totals['rounds']} rounds, {totals['schemas']} schemas, {totals['changes']} changes, {failed} differences")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
