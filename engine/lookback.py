"""Going back: where in a store a consumer starts that asks for an earlier place than its last ack.

What all consumers have acked stays in a store until its room is needed. `places` of the ring are sparse starts of records;
a look at the heads there says between which two the wanted record is, and a scan of that piece finds it. GTIDs are in no order
that would help: for a set all begins that are held are looked at, up to the wanted one, for LONGEST_LOOK_S at most.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import msgpack

from engine.errors import RingError
from engine.meta import SourceHistory
from engine.position import Start, parse_start, split_file_name
from engine.record import HEAD_BYTES, Head, Kind, unpack_head
from engine.retained import STARTS, gtid_at, oldest_held
from engine.ring import Reader, Ring, move_to, places, transaction_marks
from engine.source.gtid_set import Gtids, MariadbGtids, MysqlGtids, unpack_gtids

LONGEST_LOOK_S = 10.0  # for one start; the server serves nobody meanwhile
LOOKS_AT_A_TIME = 1000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Gone(Exception):
    """What was asked for is not held any more. lacking: of a GTID set."""

    def __init__(self, lacking: str | None = None) -> None:
        self.lacking = lacking


def start_at(ring: Ring, reader: Reader, wanted: str, histories: dict[int, SourceHistory], executed: Iterable[str] = ()) -> None:
    """Move a reader of ours, get and ack, to `wanted`: "oldest", "latest", a place as "binlog.000012:4", a time, or "gtid:<set>".

    It then stands before the first transaction that begins there or later, or that is not in the set; after "latest", at the end.
    With several sources a place counts for those whose binlog files have that name. The reader's notes and what meta has of its
    acks are for the caller to forget.

    executed: the newest GTID sets that are known of the sources. What the store doesn't hold of them has to be in a set.

    Raises:
        RingError: the store no longer holds that (reason start_gone, with what it does hold). The reader stays where it is.
        ConfigError: not such a start.
    """
    if wanted == "latest":
        move_to(reader, ring.put)
        return
    before, held = reader.ack, [place for place in places(ring) if place < ring.put]
    if not held:
        move_to(reader, ring.put)
        return
    move_to(reader, held[0])  # from here on nothing is overwritten
    try:
        start = None if wanted == "oldest" else parse_start(wanted)
        if start is not None and start.kind == "gtid":
            found = _find_after(reader.view(), unpack_gtids(start.gtid), executed)
        else:
            found = _find(reader.view(), [place - held[0] for place in held], wanted, histories)
        move_to(reader, held[0] + found)
    except BaseException as error:
        oldest = oldest_held(ring)
        move_to(reader, before)
        if not isinstance(error, _Gone):
            raise
        raise RingError(
            "the store no longer holds this start", start=wanted[:200], reason="start_gone", lacking=error.lacking,
            **(oldest.facts(histories) if oldest else {}),
            remedy='start with "oldest", or with a later place' if error.lacking is None else
            'start with "oldest", or with a set that has what the store does not hold any more',
        ) from None  # fmt: skip


def back_to_whole_change(ring: Ring, reader: Reader) -> None:
    """Before a new session: a reader of ours that stands between the fragments of a change goes back to the first of them.

    Its consumer acked a part of the change, because the store could not hold all of it, and then lost what it had. If the
    first fragments are overwritten already, it stays where it is, and the consumer can't put the change together.
    """
    ack, note = reader.ack, reader.note()
    view = reader.view(1)
    if not view or (head := unpack_head(view)).kind != Kind.FRAGMENT or _fragment(view, 0) == 0:
        return
    before = [place for place in places(ring) if place < ack]
    if not before:
        return
    move_to(reader, before[0])
    view, first, at = reader.view(), None, 0
    for place in reversed(before):
        at = place - before[0]
        if unpack_head(view, at).identity < head.identity or place == before[0]:
            break
    for offset, other in _records(view[: ack - before[0]], at):
        same = (other.kind, other.source, other.identity) == (Kind.FRAGMENT, head.source, head.identity)
        if same and _fragment(view, offset) == 0:
            first = before[0] + offset
    move_to(reader, ack if first is None else first)
    if note is not None:  # the same transactions are open there
        reader.set_note(note, reader.ack)


def _fragment(view: memoryview, at: int) -> int:
    """Index of the fragment that the record there is."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(view[at + HEAD_BYTES : at + HEAD_BYTES + 16])
    return unpacker.unpack()[0]


def _find(view: memoryview, held: list[int], wanted: str, histories: dict[int, SourceHistory]) -> int:
    """Offset in the view. held: offsets where records begin, ascending from 0."""
    if wanted == "oldest":
        return next((at for at, head in _marks(view, 0) if head.kind in STARTS), len(view))
    start = parse_start(wanted)
    sources = set(histories)
    if start.kind == "time":
        assert start.time is not None
        time_us = (start.time - EPOCH) // timedelta(microseconds=1)

        def is_before(head: Head) -> bool:
            return head.time_us < time_us

    elif start.kind == "file":
        base, number = split_file_name(start.file)
        sources = {source for source, history in histories.items() if history.binlog == base}

        def is_before(head: Head) -> bool:
            return head.source in sources and head.identity[:2] < (number, start.offset)

    else:
        raise RingError(
            "a store can't be searched for this start", start=wanted, reason="start_unknown",
            remedy='use "oldest", "latest", a place such as "binlog.000012:4", or a time',
        )  # fmt: skip
    low = max((at for at in held if is_before(unpack_head(view, at))), default=0)
    found, last_end, oldest = None, low, None
    for at, head in _marks(view, low):
        if head.source in sources and (is_before(head) or head.kind in STARTS):
            oldest = oldest or head
        if is_before(head):
            found = None
        elif head.kind in STARTS:
            found = at if found is None else found
            if head.source in sources:
                break
        if head.kind in (Kind.COMMIT, Kind.DDL):
            last_end = at + head.length
    if low == 0 and oldest is not None and not is_before(oldest) and not _begins_at(oldest, start):
        raise _Gone
    return last_end if found is None else found


def _find_after(view: memoryview, seen: Gtids, executed: Iterable[str]) -> int:
    """Offset in the view of the first transaction that is not in the set; its end, if all are."""
    first: Gtids = type(seen)()  # of each domain, or uuid and tag, what is held first
    found = len(view)
    for at, head in _marks(view, 0):
        if head.kind not in STARTS:
            continue
        text = gtid_at(view, at, head)
        gtid = unpack_gtids(text) if text is not None else None
        if not isinstance(gtid, type(seen)):
            raise RingError(
                "the store holds a transaction without such a GTID", start=f"gtid:{seen}", gtid=text, reason="start_unknown",
                remedy="start with a place or a time",
            )  # fmt: skip
        first = gtid.union(first) if not _knows(first, gtid) else first  # type: ignore[arg-type]
        if not seen.contains(gtid):  # type: ignore[arg-type]
            found = at
            break
    lacking = _before(first, executed).subtract(seen)  # type: ignore[arg-type]
    if str(lacking):
        raise _Gone(str(lacking)[:200])
    return found


def _knows(first: Gtids, gtid: Gtids) -> bool:
    if isinstance(first, MysqlGtids) and isinstance(gtid, MysqlGtids):
        return gtid.owners.keys() <= first.owners.keys()
    return isinstance(first, MariadbGtids) and isinstance(gtid, MariadbGtids) and gtid.domains.keys() <= first.domains.keys()


def _before(first: Gtids, executed: Iterable[str]) -> Gtids:
    """All that was executed, but of what is held only what came before the first that is held."""
    known = [gtids for text in executed if isinstance(gtids := unpack_gtids(text), type(first))]
    if isinstance(first, MysqlGtids):
        owners = {
            owner: intervals for gtids in known if isinstance(gtids, MysqlGtids) for owner, intervals in gtids.owners.items()
        }
        held = {owner: [(1, low - 1)] if low > 1 else [] for owner, ((low, _), *_) in first.owners.items()}
        return MysqlGtids({**owners, **held})
    domains = {domain: last for gtids in known if isinstance(gtids, MariadbGtids) for domain, last in gtids.domains.items()}
    return MariadbGtids({**domains, **{domain: (server, number - 1) for domain, (server, number) in first.domains.items()}})


def _begins_at(head: Head, start: Start) -> bool:
    """The first record held is exactly what was asked for: nothing is missing before it."""
    return start.kind == "file" and head.identity[:2] == (split_file_name(start.file)[1], start.offset)


def _marks(view: memoryview, at: int) -> Iterator[tuple[int, Head]]:
    """What is not inside a transaction, from there on.

    Raises:
        RingError: it takes too long; all sessions wait for it.
    """
    until_s = time.monotonic() + LONGEST_LOOK_S
    for count, mark in enumerate(transaction_marks(view, at)):
        if count % LOOKS_AT_A_TIME == LOOKS_AT_A_TIME - 1 and time.monotonic() > until_s:
            raise RingError(
                "the store holds too much to be searched for this start", seconds=LONGEST_LOOK_S, reason="start_unknown",
                remedy='start with "oldest", "latest" or another kind of place',
            )  # fmt: skip
        yield mark, unpack_head(view, mark)


def _records(view: memoryview, at: int) -> Iterator[tuple[int, Head]]:
    while at < len(view):
        head = unpack_head(view, at)
        yield at, head
        at += head.length
