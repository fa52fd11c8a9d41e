"""What a store still holds: the oldest transaction that a consumer can go back to, seen from outside while the writer goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import msgpack

from engine.errors import RingError
from engine.meta import SourceHistory
from engine.position import join_file_name
from engine.record import HEAD_BYTES, Head, Kind, unpack_head
from engine.ring import Ring, places, transaction_marks, view

STARTS = (Kind.BEGIN, Kind.DDL)  # records at which a consumer may start: nothing of a transaction is before them
LOOK_BYTES = 1 << 16
MOST_LOOKS = 64  # where a transaction is larger than the space between places


class Oldest(NamedTuple):
    """gtid: None where its server gives none."""

    head: Head
    gtid: str | None

    def facts(self, histories: dict[int, SourceHistory]) -> dict[str, str | None]:
        """oldest: its place; oldest_time; oldest_gtid."""
        history = histories.get(self.head.source)
        place = f"{join_file_name(history.binlog, self.head.file)}:{self.head.start}" if history else None
        time = datetime.fromtimestamp(self.head.time_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {"oldest": place, "oldest_time": time, "oldest_gtid": self.gtid}


def oldest_held(ring: Ring) -> Oldest | None:
    """The first transaction or DDL statement after the oldest place that is held; None: there is none.

    Nobody keeps it from being overwritten: by the time it is asked for it may be gone.
    """
    for place in places(ring)[:MOST_LOOKS]:
        try:
            with view(ring, place, min(place + LOOK_BYTES, ring.put)) as here:
                copy = memoryview(bytes(here))
        except RingError:  # overwritten just now, or nothing has been put after it
            continue
        if ring.floor > place:  # while it was copied
            continue
        for at in transaction_marks(copy, 0):
            head = unpack_head(copy, at)
            if head.kind in STARTS and at + head.length <= len(copy):
                return Oldest(head, gtid_at(copy, at, head))
    return None


def gtid_at(view: memoryview, at: int, head: Head) -> str | None:
    """Of a BEGIN or DDL record."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(view[at + HEAD_BYTES : at + head.length])
    unpacker.skip()
    return unpacker.unpack()[0 if head.kind == Kind.BEGIN else 2]
