"""`python -m tests.decoder_fuzz [--events 100000] [--seed N]`: damaged binlogs against the sanitized decoder.

Exit status: 0 every case ended as it must, 1 some did not: they are shown, and kept in build/decoder-fuzz/SEED with what the
sanitizers said. The same seed makes the same cases.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.decoder_fuzz import sanitized
from tests.decoder_fuzz.corpus import units
from tests.decoder_fuzz.mutations import Mutator

FOLDER = sanitized.ROOT / "build" / "decoder-fuzz"
CASES_A_PROCESS = 20_000  # so that its memory says something, and a slow leak shows
MOST_DEATHS = 20
SHOWN_LINES = 25


@dataclass
class Result:
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    most_mb: int = 0


def fuzz(events: int, seed: int, *, progress: bool = False) -> Result:
    """Cases until so many damaged events have gone through the decoder.

    Raises:
        sanitized.Unavailable: no sanitizers here.
    """
    sanitized.build()
    folder = FOLDER / str(seed)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    result = Result()
    first, deaths = 0, 0
    while result.counts["events"] < events and deaths < MOST_DEATHS:
        last = first + min(CASES_A_PROCESS, max(events - result.counts["events"], 1))
        (folder / "at").write_bytes(first.to_bytes(8, "little"))
        (folder / "findings").write_text("")
        done = _worker(folder, seed, first, last)
        result.findings += (folder / "findings").read_text().splitlines()
        result.most_mb = max(result.most_mb, int(done.pop("most_mb", 0)))
        if done.pop("done", False):
            first = last
        else:
            deaths += 1
            died_at = int.from_bytes((folder / "at").read_bytes(), "little")
            result.findings.append(_death(folder, seed, died_at))
            first = died_at + 1
        done.pop("at", None)
        result.counts.update(done)
        if progress:
            print(f"{time.strftime('%H:%M:%S')} {result.counts['events']} events, {len(result.findings)} findings", flush=True)
    return result


def _worker(folder: Path, seed: int, first: int, last: int) -> dict:
    """The last counts that it told."""
    environment = sanitized.environment(watches_python=first // CASES_A_PROCESS % 4 == 0)
    command = sanitized.command("tests.decoder_fuzz.worker", folder, seed, first, last)
    with open(folder / "said", "w") as said:
        done = subprocess.run(
            command, cwd=sanitized.ROOT, env=environment, stdout=subprocess.PIPE, stderr=said, text=True, check=False
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{") and line.endswith("}")]
    return dict(json.loads(lines[-1])) if lines else {}


def _death(folder: Path, seed: int, number: int) -> str:
    """Keeps the case, and says what it died of."""
    case = Mutator(units(), seed).case(number)
    (folder / f"{number}.{'packets' if case.packets else 'binlog'}").write_bytes(case.data)
    said = (folder / "said").read_text(errors="replace").splitlines()
    shutil.copyfile(folder / "said", folder / f"{number}.said")
    at = next((i for i, line in enumerate(said) if "ERROR" in line or "runtime error" in line), max(len(said) - 5, 0))
    told = "\n    ".join(said[at : at + SHOWN_LINES]) or "nothing: killed, or it hung"
    return f"case {number} killed the process; it is kept in {folder}\n    {told}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    result = fuzz(arguments.events, arguments.seed, progress=True)
    for name, count in sorted(result.counts.items()):
        print(f"{count:9d}  {name}")
    for finding in result.findings:
        print(f"FOUND: {finding}")
    print(f"{result.counts['events']} damaged events, {len(result.findings)} findings, at most {result.most_mb} MB")
    return 1 if result.findings or result.counts["events"] < arguments.events else 0


if __name__ == "__main__":
    sys.exit(main())
