"""A recorded sequence of writes and syncs of a file store, cut off at every offset: what a returned sync covered is there."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.file_store import verify
from engine.journal import Checkpoint, Journal, SystemDisk
from engine.ring import move_to, places, view
from tests.stored import Stored, take


@dataclass
class Moment:
    """Around one checkpoint: the files as they were durable before it, and what was under way. `done`: once it had returned."""

    journal: bytes
    data: bytes
    new_data: bytes
    writes: list[tuple[int, bytes]]
    before: tuple[int, dict[str, int]]  # put, acks: as of the last sync that had returned
    done: tuple[int, dict[str, int]]


def run(stored: Stored, pick: random.Random, checkpoints: int) -> list[Moment]:
    """Puts, acks, checkpoints, and readers that go back, at random, several times around the ring."""
    moments = []
    with stored.opened() as ring:
        for name in ("cache", "audit"):
            ring.add_reader(name).open()
        readers = {name: ring.reader(name) for name in ring.readers()}
        for reader in readers.values():
            reader.open()

        def go_back() -> None:
            if pick.random() < 0.2:
                move_to(pick.choice([*readers.values()]), pick.choice([place for place in places(ring) if place <= ring.put]))

        kept = (0, {})
        data = stored.files.data.read_bytes()
        while len(moments) < checkpoints:
            for _ in range(pick.randrange(1, 12)):
                if not stored.put(ring, pick.randrange(100, 60_000)):
                    break
                ring.set_note(str(ring.put).encode())
            for reader in readers.values():
                reader.set_note(b"note", take(reader, pick.randrange(10)))
            go_back()
            journal = stored.files.journal.read_bytes()
            stored.disk.changes.clear()
            stored.disk.meanwhile = go_back
            done = (ring.put, {name: reader.ack for name, reader in readers.items()})
            stored.checkpoints.write()
            synced, *writes, last = stored.disk.changes
            assert not synced.journal
            assert last.journal
            assert last.data is None
            assert all(ring.floor <= reader.ack for reader in readers.values())
            moments.append(Moment(journal, data, synced.image, [(w.offset, w.data) for w in writes], kept, done))
            kept, data = done, synced.image
        assert ring.put > 3 * ring.capacity
    return moments


class Cut:
    """The files as a power cut may leave them, opened again."""

    def __init__(self, stored: Stored) -> None:
        self.stored = stored
        self.journal_fd = os.open(stored.files.journal, os.O_RDWR)
        self.data_fd = os.open(stored.files.data, os.O_RDWR)

    def close(self) -> None:
        os.close(self.journal_fd)
        os.close(self.data_fd)

    def leave(self, journal: bytes, data: bytes | None = None) -> Checkpoint:
        os.pwrite(self.journal_fd, journal, 0)
        if data is not None:
            os.pwrite(self.data_fd, data, 0)
        return verify(Journal.open(self.journal_fd, "journal", SystemDisk()), self.stored.files)

    def check(self, found: Checkpoint, data: bytes, *allowed: tuple[int, dict[str, int]]) -> None:
        """One of the allowed states, whole."""
        state = found.state
        assert (state.put, {r.name: r.ack for r in state.readers}) in allowed
        capacity = self.stored.capacity
        held = (data + data)[found.floor % capacity :][: state.put - found.floor]
        assert held == self.stored.stream[found.floor : state.put]
        assert all(found.floor <= reader.ack <= state.put for reader in state.readers)
        assert state.note == str(state.put).encode()


def after(journal: bytes, writes: list[tuple[int, bytes]]) -> bytes:
    changed = bytearray(journal)
    for offset, data in writes:
        changed[offset : offset + len(data)] = data
    return bytes(changed)


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path)


def test_a_journal_cut_off_or_torn_at_every_offset_gives_one_of_two_whole_checkpoints(stored: Stored) -> None:
    moments = run(stored, random.Random(1), 40)
    cut, states = Cut(stored), 0
    for moment in moments[32:]:
        pieces = [(at + i, data[i : i + 1]) for at, data in moment.writes for i in range(len(data))]
        cut.leave(moment.journal, moment.new_data)
        for offset in range(len(pieces) + 1):
            for written in (pieces[:offset], pieces[offset:]):  # cut off there; or the later ones came first
                found = cut.leave(after(moment.journal, written))
                cut.check(found, moment.new_data, moment.before, moment.done)
                states += 1
        found = cut.leave(after(moment.journal, moment.writes))
        cut.check(found, moment.new_data, moment.done)
    cut.close()
    assert states > 2000


def test_data_torn_between_two_syncs_do_not_touch_what_the_first_covered(stored: Stored) -> None:
    pick = random.Random(2)
    cut = None
    for moment in (moments := run(stored, pick, 40))[1:]:
        cut = cut or Cut(stored)
        n = len(moment.data)
        for offset in [*range(0, n + 1, 65536), *(pick.randrange(n) for _ in range(8))]:
            for mixed in (
                moment.new_data[:offset] + moment.data[offset:],
                moment.data[:offset] + moment.new_data[offset:],
                b"".join(pick.choice((moment.data, moment.new_data))[at : at + 4096] for at in range(0, n, 4096)),
            ):
                cut.check(cut.leave(moment.journal, mixed), mixed, moment.before)
    assert cut
    cut.close()
    assert len(moments) == 40


def test_what_is_put_after_the_last_sync_is_gone_and_nothing_else(stored: Stored) -> None:
    with stored.opened() as ring:
        reader = ring.add_reader("cache")
        reader.open()
        stored.put(ring, 1000)
        stored.put(ring, 2000)
        take(reader, 1)
        stored.checkpoints.write()
        stored.put(ring, 3000)
        take(reader)
    stored.lose_memory()
    with stored.opened() as ring:
        assert ring.put == 3000
        assert ring.reader("cache").ack == 1000
        assert bytes(view(ring, 0, 3000)) == stored.stream[:3000]
