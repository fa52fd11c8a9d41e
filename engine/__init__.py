"""binlog-engine: the changes of MySQL and MariaDB, decoded natively, filtered, routed and served to consumers.

    MySQL ─▶ source ──put──▶ ring ──get──▶ sink ──put──▶ store ──get──▶ server ──frames──▶ client
             native decode   (one per      filter        (one per       sessions,
                ▲             source)      route          partition)    batches
                │                          transform         │
                └──────── resumes from ──── meta ◀─────────── ack ◀──────────────────────── ack

One word for one thing, everywhere:

    source       one MySQL or MariaDB server, or a set of binlog files
    event        what the binlog holds
    change       one row inserted, updated or deleted
    record       what the ring holds: a change, a begin, commit, DDL, schema or heartbeat
    ring         shared memory with the sequences put ≥ get ≥ ack
    sink         filters, routes and transforms
    destination  a named stream that consumers subscribe to
    partition    an ordered part of a destination
    store        the ring that holds a partition
    consumer     a named reader of a destination, with a get and an ack of its own
    batch        what a consumer gets, acks or rolls back
    position     a place in a source's history: binlog file and offset, GTID set
    meta         where acked positions are kept
    lease        who may run a destination
    stage        a loop (source, sink, server); a process is only where it runs

This is the consumer's side of it:

    import engine

    with engine.connect("tcp://127.0.0.1:7411/orders", consumer="cache") as stream:
        for batch in stream:
            for change in batch:
                print(change.op, change.table, change.key, change.after)
            batch.ack()

Names are imported when they are first used: a consumer needs msgpack and nothing else, neither the extensions nor NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine import aio
    from engine.client.change import Begin, Change, ChangeReader, Commit, Ddl, History, Statement
    from engine.client.sync import Batch, Stream, connect
    from engine.errors import (
        BinlogError,
        ConfigError,
        ConnectionLost,
        Disconnected,
        EngineError,
        InternalError,
        MetaError,
        PeerError,
        PositionError,
        ProtocolError,
        Refused,
        RingError,
        ServerSetupError,
        SourceError,
    )
    from engine.position import Identity
    from engine.record import ABSENT
    from engine.schema import Column, TableSchema

__all__ = [
    "ABSENT",
    "Batch",
    "Begin",
    "BinlogError",
    "Change",
    "ChangeReader",
    "Column",
    "Commit",
    "ConfigError",
    "ConnectionLost",
    "Ddl",
    "Disconnected",
    "EngineError",
    "History",
    "Identity",
    "InternalError",
    "MetaError",
    "PeerError",
    "PositionError",
    "ProtocolError",
    "Refused",
    "RingError",
    "ServerSetupError",
    "SourceError",
    "Statement",
    "Stream",
    "TableSchema",
    "aio",
    "connect",
]

__version__ = "0.1.0"

_HOMES = {
    "engine.client.change": ("Begin", "Change", "ChangeReader", "Commit", "Ddl", "History", "Statement"),
    "engine.client.sync": ("Batch", "Stream", "connect"),
    "engine.position": ("Identity",),
    "engine.record": ("ABSENT",),
    "engine.schema": ("Column", "TableSchema"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    if name == "aio":
        return importlib.import_module("engine.aio")
    value = getattr(importlib.import_module(_HOME_OF.get(name, "engine.errors")), name)
    globals()[name] = value  # the next look-up finds it here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
