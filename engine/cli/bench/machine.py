"""Where a measurement was made: what a reader has to know before comparing it with another."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import engine


def machine() -> dict[str, Any]:
    """Build profile, date, processor, cores, kernel and versions, as fields of a result's JSON."""
    from engine.ring import PROFILE

    return {
        "profile": PROFILE,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {"binlog-engine": engine.__version__, **{name: version(name) for name in ("numpy", "msgpack", "PyMySQL")}},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
