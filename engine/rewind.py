"""Moves consumers within what the stores of a running engine hold, without a word to its processes or to the sources."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from engine.errors import RingError
from engine.instance import Instance
from engine.lookback import start_at
from engine.meta import Meta, SourceHistory
from engine.position import Identity
from engine.record import unpack_head
from engine.retained import STARTS
from engine.ring import Reader, Ring, move_to, transaction_marks
from engine.store_note import store_positions

if TYPE_CHECKING:
    from engine.config import Config


def rewind(
    config: Config, instance: Instance, meta: Meta, destination: str, consumers: Iterable[str], start: str, source: str = ""
) -> None:
    """These consumers, none of whom has a session, get what stands from `start` on; see engine.lookback.start_at.

    source: whose place it is, if there are several whose binlog files have one name.

    Their readers are ours while this lasts: a session that begins now is refused. First the rings change, then meta, so that
    a death in between leaves everybody where they were: what meta has as acked is passed over.

    Raises:
        RingError: the stores no longer hold that (reason start_gone, with what they do hold), a consumer has a session, or the
            engine does not run the destination. Nothing was changed.
        ConfigError: not such a start.
    """
    histories = meta.histories()
    ours = {number: one for number, one in histories.items() if one.source in config.sources_of(destination)}
    wanted = {number: one for number, one in ours.items() if source in ("", one.source)}
    executed = [sets[-1][1] for number in ours if (sets := meta.gtid_sets(number))]
    acked: dict[str, dict[tuple[int, int], Identity]] = {}
    with ExitStack() as opened:
        moved: list[tuple[Reader, int, bytes | None]] = []
        taken: list[tuple[str, int, Ring, Reader]] = []
        for partition in range(config.destinations[destination].partitions):
            ring = opened.enter_context(closing(Ring.attach(instance.store_ring(destination, partition))))
            for consumer in consumers:
                reader = ring.reader(consumer)
                _take(reader, destination, consumer)
                opened.callback(reader.release)
                taken.append((consumer, partition, ring, reader))
        try:
            for consumer, partition, ring, reader in taken:
                moved.append((reader, reader.ack, reader.note()))
                start_at(ring, reader, start, wanted, executed)
                at = acked.setdefault(consumer, {})
                at |= {(partition, number): identity for number, identity in _acked_before(ring, reader, ours).items()}
            for consumer, positions in acked.items():
                new = {ours[number].source for _, number in positions}
                for place, identity in meta.acked(destination).items():
                    if place.consumer == consumer and histories[place.source].source not in new:
                        positions[place.partition, place.source] = identity
            meta.replace_acked(destination, acked)
        except BaseException:
            for reader, ack, note in moved:
                move_to(reader, ack)
                if note is not None:
                    reader.set_note(note, ack)
            raise


def _take(reader: Reader, destination: str, consumer: str) -> None:
    try:
        reader.open()
    except RingError as error:
        raise RingError(
            "the consumer has a session", destination=destination, consumer=consumer, error=error.what,
            remedy="end its session first",
        ) from None  # fmt: skip


def _acked_before(ring: Ring, reader: Reader, histories: dict[int, SourceHistory]) -> dict[int, Identity]:
    """Source number → what meta has as acked of it by a consumer that stands where the reader does, for each source once."""
    reached = store_positions(ring)  # looked at before the view, which then has all that it doesn't know of
    waiting = {histories[number].source for number in reached if number in histories}
    found: dict[str, tuple[int, Identity]] = {}
    with reader.view() as view:
        for at in transaction_marks(view, 0):
            head = unpack_head(view, at)
            if head.kind in STARTS and head.source in histories:
                found.setdefault(histories[head.source].source, (head.source, Identity(head.file, head.start, 0, 0)))
                if waiting <= found.keys():
                    break
    for number, identity in sorted(reached.items()):
        if number in histories and histories[number].source not in found:
            found[histories[number].source] = number, identity
    return dict(found.values())
