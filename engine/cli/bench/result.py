"""What a measurement prints: one line for people, or one JSON object."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import dataclass, field
from typing import Any

from engine.errors import EngineError


@dataclass
class Result:
    """rows: changes; bytes: binlog bytes, unless `what` says otherwise; seconds: wall clock."""

    what: str
    rows: int
    bytes: int
    seconds: float
    more: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The fields of the issue's JSON, what was checked, and where it ran."""
        from engine.ring import PROFILE

        seconds = max(self.seconds, 1e-9)
        return {
            "bench": self.what,
            "rows": self.rows,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 6),
            "rows_per_s": round(self.rows / seconds),
            "mb_per_s": round(self.bytes / seconds / 1e6, 1),
            **self.more,
            "profile": PROFILE,
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
        }

    def show(self, as_json: bool) -> None:
        """Print it; a debug build is said so on standard error, since its numbers mean nothing."""
        fields = self.to_json()
        if fields["profile"] != "release":
            print("warning: this is a debug build, its numbers mean nothing", file=sys.stderr)
        if as_json:
            print(json.dumps(fields))
            return
        more = "".join(f"  {name}={value}" for name, value in self.more.items())
        print(
            f"{self.what:14} {fields['rows_per_s']:>12,} rows/s {fields['mb_per_s']:>9,.1f} MB/s  "
            f"({self.rows:,} rows, {self.bytes / 1e6:,.1f} MB, {self.seconds:.3f} s){more}"
        )


def check_equal(what: str, got: object, expected: object) -> None:
    """A measurement of a wrong answer is no measurement.

    Raises:
        EngineError: they differ.
    """
    if got != expected:
        raise EngineError(f"bench: wrong answer: {what}", got=got, expected=expected, remedy="please report this")
