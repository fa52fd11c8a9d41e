"""One store of a sink: how far each source has come in it, and the copying of a round's records into it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from engine._heads import Track, copy, copy_half
from engine.counters import SinkCounter
from engine.errors import ConfigError
from engine.position import Identity
from engine.record import FRAGMENT_BYTES, HEAD_BYTES, Kind, pack_record, unpack_head
from engine.ring import FULL, NOTE_BYTES, Ring
from engine.sink.intake import Intake
from engine.sink.merge import Round
from engine.sink.route import Selection

# The store's note: for each source ring its id, the source sequence that the store has come to, the fragments it holds of
# the record there, and flags. Another ring id means that the source ring was made anew: nothing of it is in the store.
_ENTRY = struct.Struct("<QQII")
_OPEN, _INSIDE = 1, 2
MOST_SOURCES = NOTE_BYTES // _ENTRY.size

HEARTBEAT_NS = 1_000_000_000  # a store hears of a source's progress at most so often when none of its records go there
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
        self.tracks: list[Track] = []
        self.wanted_bytes = 0  # what the record that found no room needs
        self._shares: list[Share] = []
        self._run = 0
        self._put_sequence: list[int] = []  # per source: of the last record put
        self._told: list[bytes] = []  # per source: identity up to which the store's reader knows it
        self._heartbeat_ns: list[int] = []

    def restart(self, intakes: list[Intake], now_ns: int) -> None:
        """Find out from the store's note how far each source had come.

        Raises:
            ConfigError: more sources than a note holds.
        """
        if len(intakes) > MOST_SOURCES:
            raise ConfigError("too many sources for one destination", sources=len(intakes), most=MOST_SOURCES)
        note = self.ring.note() or b""
        known = {entry[0]: entry[1:] for entry in _ENTRY.iter_unpack(note)}
        for intake in intakes:
            done, fragments, flags = known.get(intake.ring.ring_id, (0, 0, 0))
            if done < intake.sequence:  # what came after it was not for this store
                fragments = 0
            self.tracks.append(Track(max(done, intake.sequence), fragments, bool(flags & _OPEN), bool(flags & _INSIDE)))
        self._put_sequence = [track.done for track in self.tracks]
        self._told = [b""] * len(intakes)
        self._heartbeat_ns = [now_ns] * len(intakes)

    def begin_round(self, now: Round, numbers: list[int], selections: list[Selection]) -> None:
        """Take up what each piece (of source `numbers[i]`) has for this store."""
        self._shares, self._run = [], 0
        for i, (piece, number, selection) in enumerate(zip(now.pieces, numbers, selections, strict=True)):
            track = self.tracks[number]
            skipped = track.done > piece.intake.sequence_of(piece.start)
            indices = selection.indices[:0] if skipped else selection.indices
            track.select(indices)
            ends = np.array([end for which, end in now.runs if which == i])
            untils = np.searchsorted(indices, ends).tolist() if len(ends) > 1 else [len(indices)]
            self._shares.append(Share(selection, untils, skipped))
            if not skipped:
                self.ring.add(SinkCounter.RECORDS_FILTERED, piece.end - piece.start - len(indices))

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
                self.ring.add(SinkCounter.RECORD_BYTES, len(intake.begin))
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

    def publish(self, now: Round, numbers: list[int], intakes: list[Intake]) -> int:
        """Make what is claimed visible, with the note that says what it was. Returns bytes."""
        claimed = self.ring.claim
        if claimed:
            dones = [track.done for track in self.tracks]
            for share, number, piece in zip(self._shares, numbers, now.pieces, strict=True):
                if not share.skipped:
                    heads = piece.intake.heads
                    at = self.tracks[number].next_sequence(heads)
                    dones[number] = piece.intake.sequence_of(piece.end) if at is None else at
            self.ring.set_note(
                b"".join(
                    _ENTRY.pack(intake.ring.ring_id, done, track.fragments, track.open * _OPEN | track.inside * _INSIDE)
                    for intake, done, track in zip(intakes, dones, self.tracks, strict=True)
                )
            )
            self.ring.publish()
        return claimed

    def finish_round(self, now: Round, numbers: list[int]) -> None:
        """All stores have the round; call before the intakes forget it."""
        for share, number, piece in zip(self._shares, numbers, now.pieces, strict=True):
            if not share.skipped:
                self.tracks[number].done = piece.intake.sequence_of(piece.end)
                if len(share.selection.indices):
                    self._put_sequence[number] = piece.intake.sequence_of(int(share.selection.indices[-1]))
        self._shares = []

    def send_heartbeats(self, intakes: list[Intake], now_ns: int) -> int:
        """Between rounds: tell the store how far the sources are whose records went elsewhere. Returns how many it told."""
        told = 0
        for number, intake in enumerate(intakes):
            if intake.boundary is None or now_ns - self._heartbeat_ns[number] < HEARTBEAT_NS:
                continue
            place = intake.boundary[28:52]  # the identity's bytes, comparable as they are
            if self._put_sequence[number] >= intake.boundary_sequence:
                self._told[number] = max(self._told[number], place)
            if place <= self._told[number] or any(track.open or track.inside for track in self.tracks):
                continue
            head = unpack_head(intake.boundary)
            identity = Identity(head.file, head.start, head.event, head.row)
            record = pack_record(Kind.HEARTBEAT, source=head.source, identity=identity, time_us=head.time_us)
            if self.ring.try_put(record) == FULL:
                continue
            self._told[number], self._heartbeat_ns[number] = place, now_ns
            told += 1
        return told
