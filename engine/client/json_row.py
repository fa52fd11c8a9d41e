"""A row as `--json` prints it."""

from __future__ import annotations

import struct
from base64 import b64encode
from typing import Any

_FLOAT32 = struct.Struct("f")


def json_row(row: dict[str, Any] | None, floats: frozenset[str]) -> dict[str, Any] | None:
    """Bytes as {"base64": ...}; what the columns in `floats` hold, by the shortest digits of a float32."""
    if row is None:
        return None
    shown = {name: {"base64": b64encode(value).decode()} if type(value) is bytes else value for name, value in row.items()}
    for name in floats & shown.keys():
        value = shown[name]
        if type(value) is float:
            shown[name] = _shortest_float32(value)
        elif type(value) is tuple:
            shown[name] = [_shortest_float32(part) for part in value]
    return shown


def _shortest_float32(value: float) -> float:
    """1.100000023841858, which a FLOAT column of 1.1 holds, → 1.1: the shortest that is the same float32."""
    packed = _FLOAT32.pack(value)
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        try:
            if _FLOAT32.pack(short) == packed:
                return short
        except OverflowError:  # rounded up beyond the largest float32
            continue
    return value
