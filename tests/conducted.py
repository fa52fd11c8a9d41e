"""`python -m tests.conducted CONFIG`: an engine whose destinations are started and stopped by lines on standard input.

`start orders stock` starts destinations, `stop orders` stops one; each is answered on standard output by the names that run.
"""

from __future__ import annotations

import queue
import sys
import threading

from engine.config import load_config
from engine.process import configure_logging
from engine.supervisor import Supervisor


class Told:
    """A conductor that does what it is told."""

    def __init__(self) -> None:
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def begin(self, supervisor: Supervisor) -> None:
        threading.Thread(target=self._listen, args=(supervisor,), daemon=True).start()

    def _listen(self, supervisor: Supervisor) -> None:
        for line in sys.stdin:
            self.lines.put(line)
            supervisor.wake()

    def turn(self, supervisor: Supervisor) -> None:
        while not self.lines.empty():
            verb, *names = self.lines.get().split()
            if verb == "start":
                supervisor.start_destinations(names)
            else:
                supervisor.stop_destination(*names)
            print(" ".join(supervisor.running), flush=True)

    def end(self, supervisor: Supervisor) -> None:
        pass

    def describe(self) -> None:
        pass


if __name__ == "__main__":
    configure_logging()
    sys.exit(Supervisor(load_config(sys.argv[1]), Told()).run())
