"""What a ring holds behind the acks: places to go back to, and what of a ring is kept in a checkpoint."""

from typing import NamedTuple

from engine.errors import RingError

from libc.stdint cimport uint8_t, uint64_t
from engine._ring cimport (
    RING_NEVER, RING_PLACES, RING_READER_ACTIVE, RING_READERS, Reader, Ring, ring_ack_load_acquire, ring_floor_load_acquire,
    ring_floor_lower, ring_floor_raise, ring_mark_place, ring_note_write, ring_place_reader, ring_put_load_acquire,
    ring_reader_note_write, ring_slot_t, ring_slowest_ack, ring_slowest_ack_after_fence, ring_state_load_acquire, ring_t,
    ring_tail_load_acquire, ring_tail_raise, ring_wake,
)
from engine._record cimport (
    RECORD_BEGIN, RECORD_COMMIT, RECORD_DDL, RECORD_HEAD_BYTES, RECORD_HEARTBEAT, RECORD_KIND_AT, RECORD_LENGTH_AT, record_u32,
)


class ReaderState(NamedTuple):
    """One reader: its ack, and the note that belongs to it."""

    name: str
    ack: int
    note: bytes | None


class RingState(NamedTuple):
    """A ring at one moment. places: where records begin, from floor on, ascending; slowest: the least ack."""

    put: int
    note: bytes | None
    tail: int
    slowest: int
    places: list[int]
    readers: list[ReaderState]


def places(Ring ring not None):
    """Sequences where records begin and that are not overwritten, ascending, at most about capacity/128 bytes apart.

    They may be by the time they are used: `move_to` looks again.
    """
    ring.check_open()
    header = ring.ring.header
    cdef uint64_t floor = ring_floor_load_acquire(&ring.ring), count = header.place_count
    cdef uint64_t i, first = count - RING_PLACES if count > RING_PLACES else 0
    return sorted({header.places[i % RING_PLACES] for i in range(first, count) if header.places[i % RING_PLACES] >= floor})


def move_to(Reader reader not None, uint64_t sequence):
    """Moves get and ack of a reader of ours, back or forward, to where a record begins; its notes are forgotten.

    Raises:
        RingError: the sequence is overwritten already, or not there yet; the reader stays where it is.
    """
    reader.check_reading()
    cdef ring_t *ring = &reader.ring.ring
    cdef ring_slot_t *slot = reader.slot
    cdef uint64_t ack = ring_ack_load_acquire(slot), put = ring_put_load_acquire(ring)
    cdef uint64_t floor = ring_floor_load_acquire(ring)
    if floor <= sequence <= put and ring_place_reader(ring, slot, sequence) != sequence:
        ring_place_reader(ring, slot, ack)  # overwritten just now; its ack, which held the writer back, is not
        floor = ring_floor_load_acquire(ring)
    if not floor <= sequence <= put:
        raise RingError("not held any more", reader=reader.name, sequence=sequence, floor=floor, put=put,
                        reason="start_gone", remedy="start at the oldest record held, or later")
    slot.notes[0].at = slot.notes[1].at = RING_NEVER
    ring_wake(&ring.header.ack_signal, &ring.header.ack_waiters)


def transaction_marks(const uint8_t[::1] records not None, uint64_t at):
    """Offsets of the begin, commit, DDL and heartbeat records from the record at `at` on, one by one."""
    cdef uint64_t end = records.shape[0]
    while at + RECORD_HEAD_BYTES <= end:
        if records[at + RECORD_KIND_AT] in (RECORD_BEGIN, RECORD_COMMIT, RECORD_DDL, RECORD_HEARTBEAT):
            yield at
        at += record_u32(&records[at + RECORD_LENGTH_AT])


def state_of(Ring ring not None):
    """What has to be kept so that `restore` makes this ring again. Only the writer's process asks, between two publishes."""
    cdef int i
    cdef ring_slot_t *slot
    ring.check_writing()
    readers = []
    for i in range(RING_READERS):
        slot = &ring.ring.header.readers[i]
        if ring_state_load_acquire(&slot.owner) == RING_READER_ACTIVE:
            reader = ring.reader((<bytes>slot.name).decode())
            while True:
                ack, note = reader.ack, reader.note()
                if reader.ack == ack:  # otherwise the note may be another ack's
                    break
            readers.append(ReaderState(reader.name, ack, note))
    slowest = min([reader.ack for reader in readers], default=ring_tail_load_acquire(&ring.ring))
    return RingState(ring.put, ring.note(), ring_tail_load_acquire(&ring.ring), slowest, places(ring), readers)


def restore(Ring ring not None, uint64_t ring_id, uint64_t floor, state):
    """Makes a ring that nobody else has attached yet the one whose state this was."""
    cdef bytes note
    cdef Reader reader
    cdef uint64_t ack
    ring.check_open()
    header = ring.ring.header
    header.ring_id = ring.ring_id = ring_id
    header.put, header.floor = state.put, floor
    header.tail = max(state.tail, state.slowest)  # never below floor, since new readers join there
    header.place_count = 0
    for place in state.places:
        ring_mark_place(&ring.ring, place)
    if not state.places:
        ring_mark_place(&ring.ring, state.put)
    if state.note is not None:
        note = state.note
        ring_note_write(header.notes, state.put, state.put, <const char *>note, len(note))
    for name, at, kept in state.readers:
        reader = ring.add_reader(name)
        ack = at
        ring_place_reader(&ring.ring, reader.slot, ack)
        if kept is not None:
            note = kept
            ring_reader_note_write(reader.slot.notes, ack, ack, <const char *>note, len(note))


def raise_floor(Ring ring not None, uint64_t floor):
    """What is before it may be overwritten: a checkpoint that doesn't need it is on the disk.

    Not, though, if a reader has gone back behind it meanwhile: it is lowered again, and the next checkpoint says so. Whoever
    sees it in between looks at the readers after it, and sees that one (the fences pair with ring_place_reader's).
    """
    ring.check_open()
    header = ring.ring.header
    cdef uint64_t before = ring_floor_load_acquire(&ring.ring)
    ring_tail_raise(header, ring_slowest_ack(&ring.ring))
    ring_floor_raise(header, floor)
    if ring_slowest_ack_after_fence(&ring.ring) < floor:
        ring_floor_lower(header, before)
    ring_wake(&header.ack_signal, &header.ack_waiters)


def view(Ring ring not None, uint64_t start, uint64_t end):
    """The bytes [start, end) in place; floor <= start <= end <= put."""
    ring.check_open()
    if not ring_floor_load_acquire(&ring.ring) <= start <= end <= ring_put_load_acquire(&ring.ring):
        raise RingError("not in this ring", ring=ring.name, start=start, end=end, floor=ring.floor, put=ring.put)
    return ring._mapping.export(ring.ring.data + start % ring.capacity, end - start, 1, True)


def sync_failed(Ring ring not None, failed=None):
    """Not 0: the file system has failed to write this ring's data back, and nobody has written them anew; sets it."""
    ring.check_open()
    if failed is not None:
        ring.ring.header.sync_failed = failed
    return ring.ring.header.sync_failed
