"""What was executed when an engine began to read a history: in a cluster one such mark for each engine that did.

Engines that come to a server one after the other have executed different things of what it has. Engine X, at a place p of the
server's binlog, has executed

    X's beginning  ∪  all that stands before p

and from that keeps its marks. Once p is behind everything that any of them had executed at its beginning (`Turn.settled`), these
are the same for all of them, whoever kept them. Before that a mark may say too much for another engine's consumers; then only
what is in all beginnings is sure to have been delivered.
"""

from __future__ import annotations

import hashlib
from functools import reduce

from engine.meta import Meta
from engine.position import Identity
from engine.source.gtid_set import Gtids, MariadbGtids, MysqlGtids, pack_gtids, unpack_gtids
from engine.source.server_identity import Turn

_TIME = "time "

Mark = tuple[Identity, str]  # place, what was executed before it


def time_mark(origin_us: int) -> str:
    """What meta keeps at a place instead of a GTID set where there are none: see `Decoder.origin_us`."""
    return f"{_TIME}{origin_us}"


def time_of_mark(text: str) -> int:
    """0: it is a GTID set."""
    return int(text.removeprefix(_TIME)) if text.startswith(_TIME) else 0


def beginning(text: str) -> Identity:
    """Where meta keeps what was executed at a beginning: each for itself."""
    return Identity(0, int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]), 0, 0)


def is_beginning(place: Identity) -> bool:
    return place.file == 0


def sure_mark(meta: Meta, number: int, marks: list[Mark], turn: Turn | None) -> Mark | None:
    """Of a history's marks up to a place, in order: the last, or, where that may say too much, what all beginnings have."""
    if not marks:
        return None
    beginnings = [text for place, text in marks if is_beginning(place)]
    place, text = marks[-1]
    if len(beginnings) > 1 and (turn is None or place[:2] < turn.settled):
        text = _common(beginnings)
        place = beginning(text)
        meta.keep_gtid_set(number, place, text)  # a ring's note may refer to it
    return place, text


def _common(beginnings: list[str]) -> str:
    times = [us for text in beginnings if (us := time_of_mark(text))]
    if times:
        return time_mark(min(times))
    return pack_gtids(reduce(_intersection, map(unpack_gtids, beginnings)))


def _intersection(one: Gtids, other: Gtids) -> Gtids:
    if isinstance(one, MysqlGtids) and isinstance(other, MysqlGtids):
        return one.intersect(other)
    if isinstance(one, MariadbGtids) and isinstance(other, MariadbGtids):
        return one.intersect(other)
    return type(one)()  # one server has one flavour
