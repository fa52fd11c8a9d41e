"""Whether two engines ever served one destination at the same time: told from the logs of engines and consumers, by epoch.

A consumer notes when it got each batch, and under which epoch. When the engine sent it, it can't know, but no earlier than when
it was asked for: with `PREFETCH` batches asked for ahead, when the one so many places before it had been got.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

PREFETCH = 2  # engine.connect's own
CLOCK_S = 0.002  # log lines have milliseconds

_LINE = re.compile(
    r"^(\S+Z) \w+ engine\.cluster: lease destination=(\S+) epoch=(\d+) event=(taken|released|lost|given_back)", re.M
)


class Step(NamedTuple):
    """Of a lease, from an engine's log. at: seconds since 1970."""

    at: float
    engine: str
    destination: str
    epoch: int
    event: str


class Served(NamedTuple):
    """A batch was sent between `since` and `got`."""

    since: float
    got: float
    epoch: int


def read_steps(engine: str, log: str) -> list[Step]:
    return [
        Step(datetime.fromisoformat(at).timestamp(), engine, destination, int(epoch), event)
        for at, destination, epoch, event in _LINE.findall(log)
    ]


def read_served(noted: list[tuple[float, int]]) -> list[Served]:
    """Of one consumer, in order."""
    times = [at for at, _ in noted]
    return [Served(times[n - PREFETCH - 1] if n > PREFETCH else 0.0, at, epoch) for n, (at, epoch) in enumerate(noted)]


def overlaps(destination: str, steps: Iterable[Step], served: Iterable[Served]) -> list[str]:
    """What shows that two engines served `destination` at once, or that an epoch was given twice; nothing: it never was so.

    served: the batches of all its consumers.
    """
    faults = []
    taken: dict[int, Step] = {}
    over: dict[int, Step] = {}
    for step in steps:
        if step.destination != destination:
            continue
        if step.event != "taken":
            over[step.epoch] = step
        elif taken.setdefault(step.epoch, step) is not step:
            faults.append(f"{destination}: epoch {step.epoch} was taken by {taken[step.epoch].engine} and by {step.engine}")
    batches: dict[int, list[Served]] = defaultdict(list)
    for batch in served:
        batches[batch.epoch].append(batch)
    ended = 0.0  # the latest moment at which an epoch so far has proof of serving
    ended_by = 0
    for epoch in sorted({*batches, *taken}):
        first = min((batch.got for batch in batches[epoch]), default=float("inf"))
        last = max((batch.since for batch in batches[epoch]), default=0.0)
        began = taken[epoch].at if epoch in taken else None
        if began is None:
            faults.append(f"{destination}: a consumer was served under epoch {epoch}, which no engine has taken")
        elif first < began - CLOCK_S:
            faults.append(f"{destination}: epoch {epoch} served at {first}, before it was taken at {began}")
        if epoch in over and last > over[epoch].at + CLOCK_S:
            faults.append(f"{destination}: epoch {epoch} served after {last}, but was {over[epoch].event} at {over[epoch].at}")
        for at, what in ((first, "served"), (began, "was taken")):
            if at is not None and ended > at + CLOCK_S:
                faults.append(f"{destination}: epoch {epoch} {what} at {at}, and {ended_by} still served after {ended}")
        if last > ended:
            ended, ended_by = last, epoch
    return faults
