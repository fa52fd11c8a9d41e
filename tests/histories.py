"""Records of made-up sources for the tests of what comes after the sources."""

from __future__ import annotations

from engine.position import Identity
from engine.record import Kind, pack_record
from engine.ring import Ring

TABLE = 7


class History:
    """One source's binlog, record by record; identities grow as a real one's do."""

    def __init__(self, source: int = 1, table: int = TABLE) -> None:
        self.source = source
        self.table = table
        self.start = 4
        self.event = 0
        self.row = 0
        self.time_us = 1_000_000
        self.gtid: str | None = None

    def record(self, kind: Kind, *, table: int = 0, before=None, after=None) -> bytes:
        identity = Identity(1, self.start, self.event, self.row)
        return pack_record(
            kind, source=self.source, identity=identity, time_us=self.time_us, table=table, before=before, after=after
        )

    def begin(self, gtid: str | None = "") -> bytes:
        self.start += 1000
        self.time_us += 1
        self.event, self.row = 1, 0
        self.gtid = f"0-{self.source}-{self.start}" if gtid == "" else gtid
        return self.record(Kind.BEGIN, after=[self.gtid, None])

    def change(self, value: object = "x" * 100, table: int | None = None) -> bytes:
        self.event, self.row = 2, self.row + 1
        return self.record(Kind.INSERT, table=self.table if table is None else table, after=[self.row, value])

    def fragments(self, count: int, chunk_bytes: int) -> list[bytes]:
        """A change in pieces (their content is of no interest here)."""
        self.event, self.row = 2, self.row + 1
        total = count * chunk_bytes
        return [
            self.record(Kind.FRAGMENT, table=self.table, before=[index, count, total], after=b"f" * chunk_bytes)
            for index in range(count)
        ]

    def commit(self) -> bytes:
        self.event, self.row = 3, 0
        return self.record(Kind.COMMIT, after=[self.gtid, None])

    def ddl(self, statement: str = "CREATE TABLE t (id INT)") -> bytes:
        self.start += 1000
        self.event, self.row = 1, 0
        return self.record(Kind.DDL, after=["shop", statement, None, [["shop", "t"]]])

    def schema(self) -> bytes:
        self.event, self.row = 2, 0
        return self.record(Kind.SCHEMA, table=self.table, after={})

    def heartbeat(self) -> bytes:
        self.start += 10
        self.event, self.row = 0, 0
        return self.record(Kind.HEARTBEAT)

    def transaction(self, rows: int = 1, value: object = "x" * 100) -> list[bytes]:
        return [self.begin(), *(self.change(value) for _ in range(rows)), self.commit()]


def put(ring: Ring, *records: bytes | list[bytes]) -> None:
    """Into the store, one after the other; the test has to leave room."""
    for one in records:
        for record in one if isinstance(one, list) else [one]:
            assert ring.try_put(record) >= 0, "the test's ring is full"
