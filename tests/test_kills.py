"""Every kind of process killed at random moments under load: the consumers' rows are SELECT's, and nothing acked comes again."""

from __future__ import annotations

import os
import random
import threading

import pytest

from tests.kills import Killer, Survivor
from tests.running_engine import RunningEngine
from tests.servers.database import Database
from tests.test_end_to_end import make_tables, selected, write

STRIKES = int(os.environ.get("KILLS", "6"))
SEED = int(os.environ.get("KILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
VICTIMS = ["source db", "sink items", "sink halves", "server", "supervisor"]
CHANGES_A_TURN = 3000
PAUSE_S = 0.2


def keep_writing(database: Database, schema: str, worker: int, ending: threading.Event) -> None:
    turn = 0
    while not ending.wait(PAUSE_S):
        write(database, schema, worker + 10 * turn, CHANGES_A_TURN, seed=SEED + worker + turn)
        turn += 1


@pytest.mark.timeout(120 + 10 * STRIKES)
def test_after_any_kills_the_consumers_rows_equal_select_and_nothing_acked_came_again(tmp_path, mariadb):
    """KILLS=200 KILL_SEED=1 make it longer, and the same again."""
    print(f"KILL_SEED={SEED}")
    schema = f"kills_{os.getpid()}"
    make_tables(mariadb, schema)
    sources = {"db": {"url": mariadb.url(), "start": mariadb.position(), "ring": "2MiB"}}
    both = {"include": [rf"{schema}\.(items|others)"], "partitions": 2, "sinks": 2, "store": {"size": "2MiB"}}
    destinations = {"items": {"include": [rf"{schema}\.items"], "store": {"size": "2MiB"}}, "halves": both}
    running = RunningEngine(tmp_path, sources, destinations)
    ending = threading.Event()
    writers = [threading.Thread(target=keep_writing, args=(mariadb, schema, worker, ending)) for worker in range(2)]
    with running, Survivor(running, "items") as items, Survivor(running, "halves") as halves:
        killer = Killer(running, SEED)
        for thread in writers:
            thread.start()
        try:
            killer.strike(VICTIMS, STRIKES)
        finally:
            ending.set()
            for thread in writers:
                thread.join()
        expected = {f"{schema}.{table}": selected(mariadb, f"{schema}.{table}") for table in ("items", "others")}
        halves.wait_until_equal("db", expected)
        items.wait_until_equal("db", {f"{schema}.items": expected[f"{schema}.items"]})
    mariadb.sql(f"DROP DATABASE {schema}")
    print(f"struck {killer.log}; came again: items {items.again}, halves {halves.again} of {halves.replica.count} changes")
    log = running.log_path.read_text()
    assert log.count("is taken over as the killed engine left it") == killer.log.count("supervisor"), log
    assert "is not taken over" not in log
    assert items.replica.count > CHANGES_A_TURN
