"""One stage in a process of its own: `python -m engine.process ROLE NAME NUMBER`, config as JSON on standard input.

What happens to the stage goes to the supervisor as JSON lines on standard output, logs go to standard error.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import logging
import os
import signal
import sys
import traceback
from typing import Any

from engine.config import Config
from engine.errors import EngineError, InternalError, RingError
from engine.instance import Instance
from engine.stage import Stage, run

EXIT_STOPPED = 0  # asked to
EXIT_BUG = 1  # an exception that nobody meant; the supervisor starts the stage anew
EXIT_RETRY = 75  # an error that may go away by itself
EXIT_REFUSED = 78  # an error that somebody has to mend first

_PR_SET_PDEATHSIG = 1


def configure_logging() -> None:
    """One line an event, in UTC, on standard error."""
    import time

    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends, however it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it ended before the line above
        os._exit(EXIT_STOPPED)


def build_stage(role: str, name: str, number: int, config: Config, instance: Instance) -> Stage:
    """The stage of a role: a source by name, sink `number` of a destination, or the server."""
    module = importlib.import_module(f"engine.{role}.stage")
    arguments: dict[str, tuple[Any, ...]] = {
        "source": (config, name, instance),
        "sink": (config, name, number, instance),
        "server": (config, instance),
    }
    return module.build(*arguments[role])


def _report(**event: object) -> None:
    print(json.dumps(event), flush=True)


def main(argv: list[str]) -> int:
    """Run one stage until SIGTERM; returns the exit code."""
    role, name, number, parent_pid = argv[0], argv[1], int(argv[2]), int(argv[3])
    die_with(parent_pid)
    configure_logging()
    stopping = False

    def stop(signum: int, frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    config = Config.model_validate_json(sys.stdin.buffer.read())
    try:
        stage = build_stage(role, name, number, config, Instance(config.server.data_dir))
        _report(state="running")
        run(stage, lambda: stopping)
    except EngineError as error:
        _report(state="failed", error=str(error), retryable=error.retryable)
        if isinstance(error, (InternalError, RingError)):
            return EXIT_BUG
        return EXIT_RETRY if error.retryable else EXIT_REFUSED
    except Exception as error:
        logging.getLogger(f"engine.{role}").critical("%s", traceback.format_exc())
        _report(state="failed", error=f"bug: {type(error).__name__}: {error}", retryable=True)
        return EXIT_BUG
    return EXIT_STOPPED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
