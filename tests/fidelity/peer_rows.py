"""mysql-replication's rows of a server's binlog, and its values in the form that a consumer of the engine gets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

from engine.schema import Column
from tests.servers.database import REPL_PASSWORD, REPL_USER, Database

OPS = {WriteRowsEvent: "insert", UpdateRowsEvent: "update", DeleteRowsEvent: "delete"}

PeerRow = tuple[str, str, dict[str, Any] | None, dict[str, Any] | None]  # op, table, before, after


def peer_rows(server: Database, schema: str, start: str) -> Iterator[PeerRow]:
    """All rows from a position to the end of the binlog."""
    file, _, offset = start.rpartition(":")
    settings = {"host": "127.0.0.1", "port": server.port, "user": REPL_USER, "password": REPL_PASSWORD}
    reader = BinLogStreamReader(
        connection_settings=settings, server_id=4242, log_file=file, log_pos=int(offset), resume_stream=True, blocking=False,
        only_events=list(OPS), only_schemas=[schema],
    )  # fmt: skip
    try:
        for event in reader:
            op = OPS[type(event)]
            for row in event.rows:
                before = row.get("before_values") or (row["values"] if op == "delete" else None)
                after = row.get("after_values") or (row["values"] if op == "insert" else None)
                yield op, event.table, before, after
    finally:
        reader.close()


def same_as_peer(column: Column, ours: Any, peers: Any) -> bool:
    """Whether the two mean the same; the peer's Python objects are shown as the engine's text."""
    try:
        return bool(ours == _shown(column, peers) or _equal(column, ours, peers))
    except (ValueError, TypeError, ArithmeticError):
        return False


def _equal(column: Column, ours: Any, peers: Any) -> bool:
    if column.type == "json":
        if isinstance(peers, bytes | str):
            return bool(json.loads(ours) == _text(peers))
        return bool(json.loads(ours, parse_float=float) == json.loads(json.dumps(_text(peers))))
    if isinstance(peers, set):
        return set(ours.split(",")) - {""} == peers - {""}
    if isinstance(peers, Decimal):
        return Decimal(ours) == peers
    return bool(isinstance(ours, float) and isinstance(peers, float) and f"{ours:.6g}" == f"{peers:.6g}")


def _text(value: Any) -> Any:
    """A JSON document in which the peer leaves bytes."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {_text(name): _text(inner) for name, inner in value.items()}
    return [_text(inner) for inner in value] if isinstance(value, list) else value


def _shown(column: Column, value: Any) -> Any:
    digits = int(column.type[-2]) if column.type.startswith(("datetime(", "timestamp(", "time(")) else 0
    if isinstance(value, datetime):
        value = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return _fraction(value.strftime("%Y-%m-%d %H:%M:%S").rjust(19, "0"), value.microsecond, digits)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        whole = abs(value) // timedelta(microseconds=1)
        seconds, micros = divmod(whole, 1_000_000)
        shown = f"{'-' if value < timedelta() else ''}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        return _fraction(shown, micros, digits)
    if column.type.startswith("bit") and isinstance(value, str):
        return int(value, 2)
    if isinstance(value, list):
        return tuple(value)
    return value


def _fraction(text: str, micros: int, digits: int) -> str:
    return f"{text}.{micros:06}"[: len(text) + 1 + digits] if digits else text
