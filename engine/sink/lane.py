"""One store of a sink: how far each source has come in it, and the copying of a round's records into it."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from engine.counters import SinkCounter
from engine.errors import ConfigError
from engine.position import Identity
from engine.record import FRAGMENT_BYTES, HEAD_BYTES, Kind, pack_record, unpack_head
from engine.ring import FULL, Ring, touch
from engine.sink._heads import Heads
from engine.sink._track import Track, copy, copy_half, write_note
from engine.sink.checkpointer import Checkpointer
from engine.sink.intake import Intake
from engine.sink.merge import Piece, Round
from engine.sink.route import Selection
from engine.store_note import MOST_SOURCES, NOWHERE_YET, Progress, place_of, unpack_note

HEARTBEAT_NS = 1_000_000_000  # a store hears of a source's progress at most so often when none of its records go there
RECORDS_FILTERED, RECORD_BYTES = SinkCounter.RECORDS_FILTERED, SinkCounter.RECORD_BYTES
TOUCH_BYTES = 256 << 10  # at once: some 80 µs
FRAGMENT_RECORD_BYTES = HEAD_BYTES + 21 + FRAGMENT_BYTES


@dataclass
class Share:
    """What of one piece of a round goes into this store."""

    selection: Selection
    untils: list[int]  # for each run of the round that belongs to the piece: how many of the selected are in by its end
    skipped: bool  # the store had it before a restart
    run: int = 0


class Lane:
    """One store ring, of which this sink is the writer."""

    def __init__(self, partition: int, ring: Ring) -> None:
        self.partition = partition
        self.ring = ring
        self.checkpointer: Checkpointer | None = None  # of a store in a file
        self.tracks: list[Track] = []
        self.wanted_bytes = 0  # what the record that found no room needs
        self._shares: list[Share] = []
        self._run = 0
        self._told: list[bytes] = []  # per source: identity up to which the store's reader knows it
        self._heartbeat_ns: list[int] = []
        self._touched = ring.put
        self._touch_end = 0 if ring.data_path else ring.put + ring.capacity

    def restart(self, intakes: list[Intake], now_ns: int) -> None:
        """Find out from the store's note how far each source had come.

        Raises:
            ConfigError: more sources than a note holds.
        """
        if len(intakes) > MOST_SOURCES:
            raise ConfigError("too many sources for one destination", sources=len(intakes), most=MOST_SOURCES)
        noted = unpack_note(self.ring.note())
        rings = {progress.ring_id: progress for progress in noted}
        names = {name: intake for intake in intakes for name in intake.numbers}
        sources = {names[p.source]: p for p in sorted(noted, key=lambda p: p.source) if p.source in names}
        for intake in intakes:
            now, known = rings.get(intake.ring.ring_id), None
            if now is None and intake in sources:  # its ring was made anew: only identities count
                now = sources[intake]._replace(done=0, fragments=0, inside=False)
                known = now.place
            now = now or Progress(0, 0)
            fragments = now.fragments if now.done >= intake.sequence else 0  # what came after it was not for this store
            track = Track(
                max(now.done, intake.sequence), fragments, now.open, now.inside, ring_id=intake.ring.ring_id,
                parts=now.parts, place=now.place, known=known,
            )  # fmt: skip
            self.tracks.append(track)
            self._told.append(now.place[2:] if now.place != NOWHERE_YET else b"")
        self._heartbeat_ns = [now_ns] * len(intakes)

    def begin_round(self, now: Round, numbers: list[int], selections: list[Selection]) -> None:
        """Take up what each piece (of source `numbers[i]`) has for this store."""
        self._shares, self._run = [], 0
        for i, (piece, number, selection) in enumerate(zip(now.pieces, numbers, selections, strict=True)):
            track = self.tracks[number]
            skipped = track.done > piece.intake.heads.sequence_of(piece.start)
            if track.known is not None:
                self._leave_out_known(piece, track, track.known, selection)
            indices = selection.indices[:0] if skipped else selection.indices
            track.select(indices)
            ends = [end for which, end in now.runs if which == i]
            untils = np.searchsorted(indices, ends).tolist() if len(ends) > 1 else [len(indices)]
            self._shares.append(Share(selection, untils, skipped))
            if not skipped:
                self.ring.add(RECORDS_FILTERED, piece.end - piece.start - len(indices))

    def _leave_out_known(self, piece: Piece, track: Track, known: bytes, selection: Selection) -> None:
        """The source's ring is a new one, and begins with what the store has already: by identity, which only grows."""
        heads = piece.intake.heads

        def place(index: int) -> bytes:
            return place_of(heads.head(index))

        first = bisect_right(range(piece.start, piece.end), known, key=place) + piece.start
        while track.parts and first < piece.end:
            if int(heads.kind[first]) != Kind.FRAGMENT:
                track.fragments = track.parts  # the change is whole in this ring
                break
            if heads.fragment_place(first)[0] >= track.parts:
                break
            first += 1
        if first < piece.end:
            track.known = None
        left_out = int(np.searchsorted(selection.indices, first))
        kept = selection.indices[left_out:]
        begins = [index for index in selection.indices[:left_out].tolist() if heads.kind[index] == Kind.BEGIN][-1:]
        if begins and not track.open and len(kept) and _start_of(heads, begins[0]) == _start_of(heads, int(kept[0])):
            kept = np.concatenate((begins, kept))  # none of the transaction was for this store up to now
            left_out -= 1
        selection.halves = [half._replace(at=half.at - left_out) for half in selection.halves if half.at >= left_out]
        selection.indices = kept

    def fill(self, now: Round, numbers: list[int]) -> bool:
        """Claim what there is room for; whether all of the round is in."""
        while self._run < len(now.runs):
            which = now.runs[self._run][0]
            share, intake = self._shares[which], now.pieces[which].intake
            if not share.skipped and not self._copy(intake, self.tracks[numbers[which]], share):
                return False
            share.run += 1
            self._run += 1
        return True

    def _copy(self, intake: Intake, track: Track, share: Share) -> bool:
        until, selection = share.untils[share.run], share.selection
        if selection.needs_begin and until:
            if intake.begin is not None:
                if self.ring.try_claim(intake.begin) == FULL:
                    self.wanted_bytes = len(intake.begin)
                    return False
                track.open = True
                self.ring.add(RECORD_BYTES, len(intake.begin))
            selection.needs_begin = False
        heads = intake.heads
        while track.at < until:
            half = selection.halves[0] if selection.halves and selection.halves[0].at < until else None
            done = copy(self.ring, heads, track, half.at if half else until)
            if done and half:
                done = copy_half(self.ring, heads, track, half.kind, half.key_hash)
                if done:
                    del selection.halves[0]
            if not done:
                index = int(selection.indices[track.at])
                length = int(heads.offset[index + 1]) - int(heads.offset[index]) + 1
                self.wanted_bytes = length if length <= self.ring.max_record else FRAGMENT_RECORD_BYTES
                return False
        return True

    def publish(self, now: Round, numbers: list[int]) -> int:
        """Make what is claimed visible, with the note that says what it was. Returns bytes."""
        claimed = self.ring.claim
        if claimed:
            for share, number, piece in zip(self._shares, numbers, now.pieces, strict=True):
                if not share.skipped:
                    track, heads = self.tracks[number], piece.intake.heads
                    at = int(share.selection.indices[track.at]) if track.at < track.selected else piece.end
                    track.noted = heads.sequence_of(at)
                    track.move(heads, piece.start, at)
            write_note(self.ring, self.tracks)
            self.ring.publish()
        return claimed

    def finish_round(self, now: Round, numbers: list[int]) -> None:
        """All stores have the round; call before the intakes forget it."""
        for share, number, piece in zip(self._shares, numbers, now.pieces, strict=True):
            if not share.skipped:
                track, heads = self.tracks[number], piece.intake.heads
                track.done = track.noted = heads.sequence_of(piece.end)
                if not len(share.selection.indices):
                    track.move(heads, piece.start, piece.end)
                else:
                    track.put = heads.sequence_of(int(share.selection.indices[-1]))
        self._shares = []

    def send_heartbeats(self, intakes: list[Intake], now_ns: int) -> int:
        """Between rounds: tell the store how far the sources are whose records went elsewhere. Returns how many it told."""
        told = 0
        for number, intake in enumerate(intakes):
            if intake.boundary is None or now_ns - self._heartbeat_ns[number] < HEARTBEAT_NS:
                continue
            place = intake.boundary[28:52]  # the identity's bytes, comparable as they are
            if self.tracks[number].put >= intake.boundary_sequence:
                self._told[number] = max(self._told[number], place)
            if place <= self._told[number] or any(track.open or track.inside for track in self.tracks):
                continue
            head = unpack_head(intake.boundary)
            identity = Identity(head.file, head.start, head.event, head.row)
            record = pack_record(Kind.HEARTBEAT, source=head.source, identity=identity, time_us=head.time_us)
            if self.ring.try_claim(record) == FULL:
                continue
            write_note(self.ring, self.tracks)
            self.ring.publish()
            self._told[number], self._heartbeat_ns[number] = place, now_ns
            told += 1
        return told

    @property
    def may_touch(self) -> bool:
        """Whether there is memory left that nobody has taken."""
        return max(self._touched, self.ring.put) < self._touch_end

    def touch_ahead(self, most_bytes: int) -> bool:
        """Take some of the memory behind put from the kernel, up to most_bytes from there: a page fault for each new page is
        half of what putting a row costs. False: there is nothing to do."""
        put = self.ring.put
        start, end = max(self._touched, put), min(put + most_bytes, self._touch_end)
        if start >= end or (end - start < TOUCH_BYTES and end < self._touch_end):  # not each time that a row was put
            return False
        self._touched = touch(self.ring, start, min(TOUCH_BYTES, end - start))
        if self._touched == start:  # this kernel can't
            self._touch_end = 0
        return True


def _start_of(heads: Heads, index: int) -> bytes:
    """File and offset of a record's transaction."""
    return place_of(heads.head(index))[:16]
