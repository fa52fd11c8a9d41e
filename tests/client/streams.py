"""Synthetic records for the client's tests: an orders table, and the marks around its changes."""

from __future__ import annotations

from typing import Any

from engine import wire
from engine.client.batch import Batch
from engine.client.change import ChangeReader
from engine.position import Identity
from engine.record import ABSENT, Kind, pack_record, unpack_head
from engine.schema import Column, TableSchema

SOURCES = {1: {"name": "shop", "binlog": "binlog"}}
TIME_US = 1_795_407_265_720_253  # 2026-11-23T04:14:25.720253Z
GTID = "0-1-5"

ORDERS = TableSchema(
    "shop",
    "shop",
    "orders",
    (
        Column("id", "bigint", nullable=False),
        Column("customer", "int", unsigned=True),
        Column("status", "enum", charset="utf8mb4", labels=("new", "paid")),
        Column("total", "decimal(12,2)"),
        Column("weight", "float"),
        Column("photo", "blob"),
        Column("at", "datetime(6)"),
    ),
    (0,),
)
ORDERS_KEY = 7


def row(number: int, status: str | None = "new", **changed: Any) -> list[Any]:
    values = {
        "id": number,
        "customer": 4_000_000_000 + number,
        "status": status,
        "total": f"{number}.50",
        "weight": 1.5,
        "photo": b"\x00\xff",
        "at": "2026-11-23 04:14:25.720253",
    }
    return list((values | changed).values())


def place(start: int = 1234, event: int = 2, ordinal: int = 0) -> Identity:
    return Identity(1, start, event, ordinal)


def schema_record(table: TableSchema = ORDERS, key: int = ORDERS_KEY) -> bytes:
    import msgpack

    body = msgpack.unpackb(table.pack())
    return pack_record(Kind.SCHEMA, source=1, identity=place(event=0), time_us=TIME_US, table=key, after=body)


def change(kind: Kind, before: Any, after: Any, identity: Identity | None = None, source: int = 1) -> bytes:
    return pack_record(
        kind,
        source=source,
        identity=identity or place(),
        time_us=TIME_US,
        table=ORDERS_KEY,
        key_hash=99,
        before=before,
        after=after,
    )


def insert(number: int, **keys: Any) -> bytes:
    return change(Kind.INSERT, None, row(number), place(ordinal=number), **keys)


def update(number: int) -> bytes:
    return change(Kind.UPDATE, row(number), row(number, "paid"), place(ordinal=number))


def delete(number: int) -> bytes:
    return change(Kind.DELETE, row(number), None, place(ordinal=number))


def minimal_update(number: int) -> bytes:
    """As binlog_row_image=MINIMAL has it: the key before, the changed column after."""
    before = [number, *[ABSENT] * 6]
    after = [ABSENT, ABSENT, "paid", *[ABSENT] * 4]
    return change(Kind.UPDATE, before, after, place(ordinal=number))


def begin(gtid: str | None = GTID, source: int = 1) -> bytes:
    return pack_record(Kind.BEGIN, source=source, identity=place(event=1), time_us=TIME_US, after=[gtid, None])


def commit(gtid: str | None = GTID, xid: int | None = 77) -> bytes:
    return pack_record(Kind.COMMIT, source=1, identity=place(event=9), time_us=TIME_US, after=[gtid, xid])


def ddl(sql: str = "alter table orders add x int") -> bytes:
    body = ["shop", sql, "0-1-6", [["shop", "orders"]]]
    return pack_record(Kind.DDL, source=1, identity=place(), time_us=TIME_US, after=body)


def heartbeat() -> bytes:
    return pack_record(Kind.HEARTBEAT, source=1, identity=place(event=0), time_us=TIME_US)


def fragments(record: bytes, count: int) -> list[bytes]:
    """The record in `count` pieces, as docs/protocol.md has it."""
    head = unpack_head(record)
    step = -(-len(record) // count)
    return [
        pack_record(
            Kind.FRAGMENT,
            source=head.source,
            identity=head.identity,
            time_us=head.time_us,
            table=head.table,
            key_hash=head.key_hash,
            before=[index, count, len(record)],
            after=record[index * step : (index + 1) * step],
        )
        for index in range(count)
    ]


def transaction(first: int, rows: int) -> list[bytes]:
    return [begin(), *(insert(number) for number in range(first, first + rows)), commit()]


def batch(*records: bytes, gtid: str | None = "0-1-4") -> Batch:
    """The records as a batch, before whose first one a transaction with this GTID is open."""
    data = b"".join(records)
    reader = ChangeReader({1: ("shop", "binlog")}).at({1: gtid}, {})
    rows = sum(1 for _ in reader.at({}, {}).raw(data))
    return Batch(wire.BatchHead(1, 0, rows, rows, len(data)), memoryview(data), reader, {})
