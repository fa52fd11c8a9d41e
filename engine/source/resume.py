"""Where a source goes on: after the last record of its ring, or after what all its consumers have acked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from engine.meta import Meta
from engine.position import ORIGIN, Identity
from engine.source.gtid_set import MariadbGtids, unpack_gtids
from engine.source.note import NotedGtids, ResumePoint, resume_from_acked, unpack_note
from engine.source.server_identity import Turn

if TYPE_CHECKING:
    from engine.config import Config

_TIME = "time "

Held = Callable[[str, int], dict[int, Identity]]  # destination, partition -> how far its store in a file has come
Reached = tuple[int, Identity]  # source number, place in that history: in order as a source goes from server to server


def resume_point(
    meta: Meta, config: Config, source: str, destinations: Iterable[str], held: Held, note: bytes | None
) -> ResumePoint | None:
    """The ring's own last record (`note`); or what all consumers have acked; or where this source was first read from.

    None: it never was read.
    """
    if note is not None:
        return unpack_note(note)
    numbers = _numbers(meta, source)
    reached = least_reached(meta, config, source, destinations, held)
    if reached is None:
        return None
    number, after = reached
    kept = meta.gtid_sets(number)
    if number != numbers[-1]:  # some consumers were further, on another server or under another base name since
        begin, text = max(((at, text) for at, text in kept if at <= after), default=(ORIGIN, ""))
        left = ResumePoint(number, after.file, after.start, after, left=True, origin_us=time_of_mark(text))
        return left if left.origin_us or not text else left._replace(gtids=_noted(begin, text))
    marks = [(at, text) for at, text in kept if at[:2] <= after[:2]]
    if not marks:
        return resume_from_acked(number, after)
    begin, text = marks[-1]
    if origin_us := time_of_mark(text):
        return resume_from_acked(number, after)._replace(origin_us=origin_us)
    point = resume_from_acked(number, after, begin if begin != ORIGIN else None)
    known = begin != ORIGIN or after == meta.first_position(number)
    return point._replace(gtids=_noted(begin, text)) if known else point


def time_mark(origin_us: int) -> str:
    """What meta keeps at a place instead of a GTID set where there are none: see `Decoder.origin_us`."""
    return f"{_TIME}{origin_us}"


def time_of_mark(text: str) -> int:
    """0: it is a GTID set."""
    return int(text.removeprefix(_TIME)) if text.startswith(_TIME) else 0


def least_reached(meta: Meta, config: Config, source: str, destinations: Iterable[str], held: Held) -> Reached | None:
    """What every consumer has acked, otherwise where the source was first read from: what lies before is of no use any more."""
    numbers = _numbers(meta, source)
    first = next(((number, at) for number in numbers if (at := meta.first_position(number)) is not None), None)
    return first and min(_reached(meta, config, destinations, held, numbers, first), default=first)


def _numbers(meta: Meta, source: str) -> list[int]:
    """The source's histories, oldest first, from the last one on that an operator had begin anew."""
    histories = [(n, history) for n, history in sorted(meta.histories().items()) if history.source == source]
    turns = [(n, Turn.unpack(history.identity)) for n, history in histories]
    fresh = max((n for n, turn in turns if turn is not None and turn.fresh), default=0)
    return [n for n, _ in histories if n >= fresh]


def _noted(mark: Identity, text: str) -> NotedGtids:
    return NotedGtids(isinstance(unpack_gtids(text), MariadbGtids), mark, [])


def _reached(
    meta: Meta, config: Config, destinations: Iterable[str], held: Held, numbers: list[int], first: Reached
) -> Iterable[Reached]:
    """How far each consumer is in each partition that this source feeds."""
    newest: dict[tuple[str, str, int], Reached] = {}
    for place, at in meta.acked().items():
        if place.source in numbers:
            key = (place.destination, place.consumer, place.partition)
            newest[key] = max(newest.get(key, (0, ORIGIN)), (place.source, Identity(*at)))
    for name in destinations:
        destination = config.destinations[name]
        if destination.store.kind == "file":
            for partition in range(destination.partitions):
                yield max(((n, at) for n, at in held(name, partition).items() if n in numbers), default=first)
            continue
        consumers = {*destination.consumers, *(consumer for where, consumer, _ in newest if where == name)}
        for consumer in consumers:
            for partition in range(destination.partitions):
                yield newest.get((name, consumer, partition), first)
