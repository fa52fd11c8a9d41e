"""Where a source goes on: after the last record of its ring, or after what all its consumers have acked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from engine.meta import Meta
from engine.position import ORIGIN, Identity
from engine.source.beginnings import is_beginning, sure_mark, time_of_mark
from engine.source.gtid_set import MariadbGtids, unpack_gtids
from engine.source.note import NotedGtids, ResumePoint, resume_from_acked, unpack_note
from engine.source.server_identity import Turn

if TYPE_CHECKING:
    from engine.config import Config

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
    turn = Turn.unpack(meta.histories()[number].identity)
    mark = sure_mark(meta, number, [(at, text) for at, text in meta.gtid_sets(number) if at[:2] <= after[:2]], turn)
    origin_us = time_of_mark(mark[1]) if mark else 0
    gtids = _noted(*mark) if mark and not origin_us else None
    if number != numbers[-1]:  # some consumers were further, on another server or under another base name since
        return ResumePoint(number, after.file, after.start, after, left=True, gtids=gtids, origin_us=origin_us)
    if mark is None or origin_us:
        return resume_from_acked(number, after)._replace(origin_us=origin_us)
    begin = mark[0]
    if not is_beginning(begin):
        return resume_from_acked(number, after, begin)._replace(gtids=gtids)
    beginnings = sum(is_beginning(at) for at, _ in meta.gtid_sets(number))
    known = beginnings == 1 and after == meta.first_position(number)
    return resume_from_acked(number, after)._replace(gtids=gtids, estimated=not known)


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
