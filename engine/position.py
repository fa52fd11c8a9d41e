"""Places in a source's history: where a change stands (Identity) and where to start reading (Start)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from engine.errors import ConfigError


class Identity(NamedTuple):
    """Where one record stands in its source; grows within a source, so plain comparison is order.

    file: number of the binlog file; start: offset of its transaction's first event; event: ordinal of the event in the
    transaction, from 1 (0: the place before the transaction, as in heartbeats); row: ordinal of the row in the event.
    """

    file: int
    start: int
    event: int
    row: int


ORIGIN = Identity(0, 0, 0, 0)


def split_file_name(name: str) -> tuple[str, int]:
    """`binlog.000012` → ("binlog", 12); the number may have more than six digits.

    Raises:
        ConfigError: the name doesn't end in a dot and digits.
    """
    base, dot, digits = name.rpartition(".")
    if not dot or not base or not digits.isascii() or not digits.isdigit():
        raise ConfigError("not a binlog file name", name=name, remedy="names look like binlog.000012")
    return base, int(digits)


def join_file_name(base: str, number: int) -> str:
    """("binlog", 12) → `binlog.000012`."""
    return f"{base}.{number:06d}"


@dataclass(frozen=True)
class Start:
    """Where a source begins when meta knows nothing: kind is latest, earliest, file, gtid or time."""

    kind: str
    file: str = ""
    offset: int = 4
    gtid: str = ""
    time: datetime | None = None


def parse_start(text: str) -> Start:
    """`latest`, `earliest`, `binlog.000012:4`, `gtid:<set>` or an ISO 8601 time with its zone.

    Raises:
        ConfigError: none of these.
    """
    text = text.strip()
    if text in ("latest", "earliest"):
        return Start(text)
    if text.startswith("gtid:"):
        return Start("gtid", gtid=text[5:].strip())
    if match := re.fullmatch(r"([^:\s]+\.\d+):(\d+)", text):
        split_file_name(match[1])
        return Start("file", file=match[1], offset=max(int(match[2]), 4))
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            "start is not a position",
            start=text,
            remedy='use "latest", "earliest", "binlog.000012:4", "gtid:<set>" or a time such as "2026-11-23T04:00:00Z"',
        ) from None
    return Start("time", time=time if time.tzinfo else time.replace(tzinfo=UTC))
