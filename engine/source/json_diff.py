"""Differences between two JSON documents, as MySQL's partial updates log them.

    (u8 operation | lenenc path | [lenenc binary JSON])*      0 replaces a value, 1 inserts one, 2 removes one (without JSON)

Layout: MySQL's Json_diff_vector::write_binary (sql-common/json_diff.cc). Documents are text here; numbers keep their digits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

REPLACE, INSERT, REMOVE = range(3)

_LEG = re.compile(r'\.(?:"((?:[^"\\]|\\.)*)"|([^.\["]+))|\[(\d+)\]', re.DOTALL)


class _Number(str):
    """A number's text."""

    __slots__ = ()


def _parse(text: bytes) -> Any:
    return json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_Number)


def _text(value: Any) -> str:
    """As SELECT shows it: `{"a": [1, 2]}`."""
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _path(text: str) -> list[str | int]:
    """`$.a."b c"[3]` → ["a", "b c", 3]."""
    legs: list[str | int] = []
    at = 1
    if text[:1] != "$":
        raise ValueError("a path begins with $")
    while at < len(text):
        leg = _LEG.match(text, at)
        if leg is None:
            raise ValueError("not a path")
        quoted, plain, index = leg.groups()
        legs.append(int(index) if index is not None else plain if plain is not None else json.loads(f'"{quoted}"'))
        at = leg.end()
    return legs


def _insert(holder: Any, leg: str | int, value: Any) -> None:
    if isinstance(holder, list) and isinstance(leg, int):
        holder.insert(leg, value)
    elif isinstance(holder, dict) and isinstance(leg, str):
        items = {**holder, leg: value}
        holder.clear()  # keys stand in the server's order: by length in bytes, then by bytes
        holder.update(sorted(items.items(), key=lambda item: (len(item[0].encode()), item[0].encode())))
    else:
        raise ValueError("the path leads nowhere")


def apply_differences(document: bytes, differences: bytes, text_of: Callable[[bytes], bytes]) -> bytes:
    """The new document's text. text_of: binary JSON → text.

    Raises:
        ValueError, LookupError: these are no differences of that document.
    """
    whole: list[Any] = [_parse(document)]  # so that the document itself has a holder too
    at = 0
    while at < len(differences):
        operation = differences[at]
        path, at = _piece(differences, at + 1)
        legs: list[str | int] = [0, *_path(path.decode())]
        value = None
        if operation != REMOVE:
            binary, at = _piece(differences, at)
            value = _parse(text_of(binary))
        holder: Any = whole
        for leg in legs[:-1]:
            holder = holder[leg]
        if operation == INSERT:
            _insert(holder, legs[-1], value)
        elif operation == REPLACE:
            holder[legs[-1]]  # it is there
            holder[legs[-1]] = value
        elif operation == REMOVE:
            del holder[legs[-1]]
        else:
            raise ValueError("no such operation")
    return _text(whole[0]).encode()


def _piece(data: bytes, at: int) -> tuple[bytes, int]:
    """lenenc length and so many bytes."""
    first = data[at]
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first, 0)
    length = int.from_bytes(data[at + 1 : at + 1 + size], "little") if size else first
    begin = at + 1 + size
    if begin + length > len(data):
        raise ValueError("differences end too early")
    return data[begin : begin + length], begin + length
