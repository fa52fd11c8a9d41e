"""A stage is a loop with one contract, so a test can step the whole engine in one process; a process is only where it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

IDLE_NS = 100_000_000  # how long an idle stage sleeps at most before it looks for a stop request, unless it says how long
NOW_AND_THEN_NS = 10_000_000  # how far apart things are that needn't be done each turn, such as beats
LONG_IDLE_NS = 250_000_000  # of one whose sleep a signal ends


class Stage(Protocol):
    """source, sink and server.

    `do_work` does a bounded piece of work without waiting and says how much (0: nothing to do). `idle` sleeps until there
    may be work, at most `timeout_ns`. `on_close` releases everything; it is called once, also after an error.

    A stage that goes on trying in spite of an error may have an attribute `trouble`, that error or None: `status` shows it.
    One that knows after `do_work` that there is nothing left sets `resting`, so that it isn't asked again before it sleeps; its
    `idle` comes back at once if something came meanwhile.
    One that may sleep for longer than IDLE_NS has an attribute `idle_ns`: a signal must end its sleep, by itself or because the
    handler calls `wake`.
    """

    role_name: str

    def on_start(self) -> None: ...

    def do_work(self, now_ns: int) -> int: ...

    def idle(self, timeout_ns: int) -> None: ...

    def on_close(self) -> None: ...


def run(stage: Stage, stopping: Callable[[], bool], between: Callable[[int], None] = lambda now_ns: None) -> None:
    """Start the stage, loop until `stopping()`, close it. Whatever it raises goes to the caller after on_close.

    between: called with the time between two turns, from the start on, at most about the stage's longest sleep apart.
    """
    idle_ns: int = getattr(stage, "idle_ns", IDLE_NS)
    rests = hasattr(stage, "resting")
    try:
        stage.on_start()
        while not stopping():
            now_ns = time.monotonic_ns()
            between(now_ns)
            if not stage.do_work(now_ns) or (rests and stage.resting):  # type: ignore[attr-defined]
                stage.idle(idle_ns)
    finally:
        stage.on_close()


def step(*stages: Stage, rounds: int = 1000) -> int:
    """Work all stages in turn, without sleeping, until none finds anything to do; returns the work done.

    Raises:
        TimeoutError: they still find work after `rounds` turns.
    """
    total = 0
    for _ in range(rounds):
        work = sum(stage.do_work(time.monotonic_ns()) for stage in stages)
        if not work:
            return total
        total += work
    raise TimeoutError(f"stages still busy after {rounds} rounds: {', '.join(s.role_name for s in stages)}")
