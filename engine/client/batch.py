"""A batch: what a consumer gets, reads in one of four ways, and acks or rolls back as a whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from engine.client.change import Change, ChangeReader, Item, Record, RowTuple, may_hold_fragments
from engine.client.items import Commit, SourceName
from engine.record import TORN, Kind
from engine.schema import TableSchema
from engine.wire import BatchHead

if TYPE_CHECKING:
    import pyarrow


class Handed:
    """That a batch was handed out: what the session keeps of it, while the batch itself may go when its user lets go."""

    __slots__ = ("number", "partial", "state")

    def __init__(self, number: int, partial: dict[int, Any]) -> None:
        self.number = number
        self.partial = partial  # the changes that had come in part before it
        self.state: Literal["out", "acked", "void"] = "out"  # void: rolled back


class Batch:
    """Changes of one partition, in order. `len(batch)` is their number; it is true even when it holds none.

    Decoding is lazy and may be done again. The bytes stay in memory for as long as the batch, or a change of it, does.
    """

    __slots__ = ("_handed", "_head", "_marks", "_reader", "_reading", "_records", "again", "core", "durable")

    def __init__(self, head: BatchHead, records: memoryview, reader: ChangeReader, marks: dict[str, bool]) -> None:
        self._head = head
        self._records = records
        self._reader = reader  # stands at the batch's first record and never moves: each reading forks it
        self._reading = reader  # a fork, which stands behind the last record once it is at_end
        self._marks = marks  # what `read` gives beside changes
        self._handed: Handed | None = None
        self.durable = False  # the server has said that the ack is kept
        self.again = False  # the server has said that the batch had been acked before
        self.core: Any = None  # for the stream: the session that handed it out

    @property
    def number(self) -> int:
        """The batch's number in this session, from 1."""
        return self._head.batch

    @property
    def partition(self) -> int:
        return self._head.partition

    @property
    def open(self) -> bool:
        """The batch ends inside a transaction, which is larger than the batch limits: the next one goes on with it."""
        return self._head.open

    @property
    def torn(self) -> list[Commit]:
        """The ends of transactions that are void, and of which earlier, `open` batches had a part: take back what was applied of
        them, the changes with the same `source` and `position`. Their server is gone; if another has one, it comes again whole.
        """
        if not self._head.torn:
            return []
        ends = (record for record in self.records() if record[1] == Kind.COMMIT and record[2] & TORN)
        return [Commit(record, SourceName(*self._reader.sources[record[3]])) for record in ends]

    @property
    def raw(self) -> memoryview:
        """The bytes of the records, as they were in the engine's ring: a msgpack stream."""
        return self._records

    def __len__(self) -> int:
        return self._head.rows

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        """Changes; also Ddl, Begin, Commit and History where `connect` was asked for them (ddl=True, transactions=True,
        history=True).

        A change that came in fragments belongs to the batch of its last fragment.
        """
        return self._fork().read(self._records, **self._marks)

    def read(self, *, ddl: bool = True, transactions: bool = True, history: bool = True) -> Iterator[Item]:
        """As iteration, with DDL, transaction marks and history rows or without, whatever `connect` was asked for."""
        return self._fork().read(self._records, ddl=ddl, transactions=transactions, history=history)

    def iter_rows(self) -> Iterator[RowTuple]:
        """(op, table, before, after) of each change, rows as tuples in column order: faster than Change objects.

        A column that the row image doesn't hold is `engine.ABSENT`.
        """
        return self._fork().rows(self._records)

    def rows(self) -> list[RowTuple]:
        """All of `iter_rows` at once, which costs more: a list of new objects is memory that Python has to find."""
        return list(self._fork().rows(self._records, at_once=len(self) + 1))

    def records(self) -> list[Record]:
        """All records with their 13 fields (docs/protocol.md, Record), heartbeats, schemas and fragments too."""
        return list(self._reader.raw(self._records))

    def arrow(self, image: str = "after") -> dict[TableSchema, pyarrow.Table]:
        """One Arrow table per table version; see `engine.client.arrow`.

        Raises:
            EngineError: pyarrow isn't installed.
        """
        from engine.client.arrow import to_tables
        from engine.client.arrow_walk import read_tables

        tables = read_tables(self._fork(), self._records, image)
        return to_tables(self.read(ddl=False, transactions=False, history=False), image) if tables is None else tables

    def changes(self) -> list[Change]:
        """All changes at once, without DDL, marks and history rows."""
        return list(self.read(ddl=False, transactions=False, history=False))  # type: ignore[arg-type]

    def hand_out(self, partial: dict[int, Any]) -> Handed:
        """For the session: tells the batch which changes have come in part in those before it."""
        self._reader.partial = partial
        self._handed = Handed(self.number, partial)
        return self._handed

    @property
    def handed(self) -> Handed:
        """For the session."""
        assert self._handed is not None
        return self._handed

    def _fork(self) -> ChangeReader:
        reader = self._reader.at(self._reader.gtids, self._reader.partial)
        if not self._reading.at_end:
            self._reading = reader
        return reader

    def partial_after(self) -> dict[int, Any]:
        """For the session: changes of which only the first fragments have come, for the partition's next batch to go on with."""
        if not self.open:
            return {}
        if not self._reading.at_end:
            if not may_hold_fragments(self._records):
                return self._reader.partial
            deque(self.read(), maxlen=0)
        return self._reading.partial

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.number} partition={self.partition} changes={len(self)} open={self.open}>"
