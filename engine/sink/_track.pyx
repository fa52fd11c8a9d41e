"""What one store has of one source, and the copying of records from ring to ring.

    source ring   │ begin │ change │ change │ schema │ change │ commit │ ...
                      │        Track.select([0, 1, 4, 5])
    store ring    │ begin │ change │ change │ commit │   copy: neighbours in one memcpy; write_note: how far each source is

Nothing here decides where a record goes. Bytes are those of docs/protocol.md, Record, and of engine/store_note.py.
"""

from engine.counters import SinkCounter
from engine.errors import InternalError
from engine.store_error import put_refused
from engine.store_note import PLACE_BYTES as _PLACE_BYTES

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy
from engine.sink._heads cimport Heads, fragment_numbers, record_prefetch, skip
from engine._ring cimport (
    RING_NOTE_BYTES, Ring, ring_append, ring_claim, ring_has_room, ring_note_write, ring_put_load_acquire, ring_refresh_limit,
    ring_room, ring_t,
)
from engine._record cimport (
    RECORD_BEGIN, RECORD_COMMIT, RECORD_DELETE, RECORD_FILE_AT, RECORD_FLAGS_AT, RECORD_FRAGMENT, RECORD_FRAGMENT_BYTES,
    RECORD_HASH_AT, RECORD_HEAD_BYTES, RECORD_KEY_CHANGED, RECORD_KIND_AT, RECORD_LENGTH_AT, RECORD_SOURCE_AT, RECORD_SPLIT,
    RECORD_TIME_AT, RECORD_UPDATE, record_set_u16, record_set_u32, record_set_u64, record_u64,
)


cdef enum:
    FRAGMENT_FRAME = 21  # 0x93 and three times 0xce u32; 0xc6 u32: what surrounds a chunk
    PREFETCH_RUNS = 8    # where a store takes some of the records only
    ENTRY_BYTES = 28 + PLACE_BYTES

cdef int _ROWS = SinkCounter.ROWS
cdef int _RECORD_BYTES = SinkCounter.RECORD_BYTES
cdef int _COMMIT_TIME_US = SinkCounter.COMMIT_TIME_US
if _PLACE_BYTES != PLACE_BYTES:
    raise InternalError("a place has two sizes", here=PLACE_BYTES, there=_PLACE_BYTES)


@cython.final
cdef class Track:
    """How far one source's records have come in one store; `copy` moves it on. The fields are those of store_note.Progress.

    noted: `done` as the next note says it, while a round is under way. put: sequence of the last record put.
    known: the source's ring is a new one, and the store has what is in it up to this place; None: there is no such place.
    """

    def __init__(self, uint64_t done=0, uint32_t fragments=0, bint open=False, bint inside=False, *, uint64_t ring_id=0,
                 uint32_t parts=0, bytes place=bytes(PLACE_BYTES), bytes known=None):
        self.done = self.noted = self.put = done
        self.fragments, self.open, self.inside, self.ring_id, self.parts = fragments, open, inside, ring_id, parts
        if len(place) != PLACE_BYTES:
            raise InternalError("not a place", bytes=len(place), needed=PLACE_BYTES)
        memcpy(self.at_place, <const uint8_t *>place, PLACE_BYTES)
        self.known = known

    @property
    def place(self):
        return self.at_place[:PLACE_BYTES]

    def select(self, indices not None):
        """The records of a view that the store takes, ascending (int64)."""
        cdef const int64_t[::1] view = indices
        self.take(&view[0] if view.shape[0] else NULL, view.shape[0], indices)

    cdef void take(self, const int64_t *selection, Py_ssize_t selected, object owner) noexcept:
        """The same; the owner keeps them in place."""
        self.selection, self.selected, self.owner = selection, selected, owner
        self.at = 0

    cpdef int move(self, Heads heads, Py_ssize_t a, Py_ssize_t b) except -1:
        """The records [a, b) are in the store, or not for it: the place is of the last of them that ends a change or is none.

        After it come `parts` fragments of an incomplete change.
        """
        cdef uint8_t place[PLACE_BYTES]
        cdef const uint8_t *p
        cdef uint32_t number, count, parts = 0
        cdef Py_ssize_t i
        if not 0 <= a <= b <= heads.count:
            raise InternalError("no such records in this view", start=a, end=b, records=heads.count)
        heads.reader.check()
        for i in range(b - 1, a - 1, -1):
            p = heads.data + heads._offset[i]
            if heads._kind[i] == RECORD_FRAGMENT:
                if fragment_numbers(p, heads.data + heads._offset[i + 1], &number, &count) is NULL:
                    raise InternalError("not a fragment", sequence=heads.start + heads._offset[i])
                if number + 1 < count:
                    parts = parts or number + 1
                    continue
            memcpy(place, p + RECORD_SOURCE_AT, 2)
            memcpy(place + 2, p + RECORD_FILE_AT - 1, PLACE_BYTES - 2)
            if memcmp(place, self.at_place, PLACE_BYTES) > 0:
                memcpy(self.at_place, place, PLACE_BYTES)
            self.parts = parts
            return 0
        self.parts = parts or self.parts
        return 0


cpdef int write_note(Ring ring, list tracks) except -1:
    """The store's note that goes with the next publish: where the tracks, of all its sources, are. See store_note.Progress."""
    cdef uint8_t note[RING_NOTE_BYTES]
    cdef uint8_t *p = note
    cdef Track track
    ring.check_writing()
    if len(tracks) * ENTRY_BYTES > RING_NOTE_BYTES:
        raise InternalError("too many sources for a store's note", sources=len(tracks), most=RING_NOTE_BYTES // ENTRY_BYTES)
    for track in tracks:
        record_set_u64(p, track.ring_id)
        record_set_u64(p + 8, track.noted)
        record_set_u32(p + 16, track.fragments)
        record_set_u32(p + 20, track.open | track.inside << 1)
        record_set_u32(p + 24, track.fragments or track.parts)
        memcpy(p + 28, track.at_place, PLACE_BYTES)
        p += ENTRY_BYTES
    ring_note_write(ring.ring.header.notes, ring_put_load_acquire(&ring.ring), ring.ring.claim, note, p - note)
    return 0


# ---- copying -------------------------------------------------------------------------------------------------------


cpdef bint copy(Ring ring, Heads heads, Track track, Py_ssize_t until) except? False:
    """Claims the selected records up to `until` in the store, as far as there is room. Returns whether all of them are.

    Neighbours go in one memcpy. A record larger than the store takes goes as fragments. Publishes nothing.
    """
    cdef ring_t *r = &ring.ring
    cdef const int64_t *selection
    cdef const uint8_t *p
    cdef const uint8_t *last = NULL
    cdef Py_ssize_t at = track.at, run
    cdef int64_t first, index
    cdef uint64_t n, length, budget, rows = 0, before = r.claim, max_record = ring.max_record
    if not ring.writing or until > track.selected:
        raise InternalError("copy goes up to what is selected, into a ring of ours", store=ring.name, until=until)
    if at >= until:
        return True
    selection = track.selection
    heads.check(selection[at])
    heads.check(selection[until - 1])
    with nogil:
        while at < until:
            if at + PREFETCH_RUNS < until:  # the records were written by another core, and the next one is not the next in memory
                prefetch_row(heads.data + heads._offset[selection[at + PREFETCH_RUNS]])
            first = selection[at]
            p = heads.data + heads._offset[first]
            length = heads._offset[first + 1] - heads._offset[first]
            if length > max_record:
                if not put_fragments(r, p, length, &track.fragments):
                    break
                last = p
                rows += 1
                at += 1
                continue
            if r.claim + length > r.limit:
                ring_refresh_limit(r)
                if r.claim + length > r.limit:
                    break
            budget = r.limit - r.claim
            n, run = 0, at
            while True:
                index = selection[run]
                length = heads._offset[index + 1] - heads._offset[index]
                if length > max_record or n + length > budget:
                    break
                n += length
                if heads._kind[index] <= RECORD_DELETE:
                    rows += 1
                elif heads._kind[index] == RECORD_BEGIN:
                    track.open = True
                elif heads._kind[index] == RECORD_COMMIT:
                    track.open = track.inside = False  # inside a change only where a torn transaction ends
                elif heads._kind[index] == RECORD_FRAGMENT:
                    track.inside = not is_last_fragment(heads.data + heads._offset[index], heads.data + heads._offset[index + 1])
                    rows += not track.inside
                run += 1
                if run == until or selection[run] != index + 1:
                    break
            if ring_append(r, p, n) < 0:
                break
            last = heads.data + heads._offset[selection[run - 1]]
            at = run
    track.at = at
    r.header.counters[_ROWS] += rows
    r.header.counters[_RECORD_BYTES] += r.claim - before
    if last is not NULL:
        r.header.counters[_COMMIT_TIME_US] = record_u64(last + RECORD_TIME_AT)
    if at < until and r.write_error:
        raise put_refused(ring.data_path, r.write_error)
    return at == until


def copy_half(Ring ring not None, Heads heads not None, Track track not None, int kind, uint64_t key_hash):
    """Claims, instead of the next selected update, its delete (before only) or its insert (after only), flagged SPLIT.

    Returns whether it found room; larger than the store takes, it goes as fragments.
    """
    cdef ring_t *r = &ring.ring
    cdef const uint8_t *p
    cdef const uint8_t *end
    cdef const uint8_t *middle
    cdef uint8_t *half
    cdef uint64_t length, before = r.claim
    cdef int64_t index
    cdef bint done
    if not ring.writing or track.at >= track.selected:
        raise InternalError("no update to split", store=ring.name)
    index = track.selection[track.at]
    heads.check(index)
    p, end = heads.data + heads._offset[index], heads.data + heads._offset[index + 1]
    middle = skip(p + RECORD_HEAD_BYTES, end)
    if middle is NULL or heads._kind[index] != RECORD_UPDATE:
        raise InternalError("not an update that can be split", sequence=heads.start + heads._offset[index])
    length = 1 + (middle - p if kind == RECORD_DELETE else RECORD_HEAD_BYTES + (end - middle))
    half = <uint8_t *>malloc(length)
    if half is NULL:
        raise MemoryError
    memcpy(half, p, RECORD_HEAD_BYTES)
    half[RECORD_KIND_AT] = kind
    record_set_u32(half + RECORD_LENGTH_AT, length)
    record_set_u16(half + RECORD_FLAGS_AT, (heads._flags[index] & ~RECORD_KEY_CHANGED) | RECORD_SPLIT)
    record_set_u64(half + RECORD_HASH_AT, key_hash)
    if kind == RECORD_DELETE:
        memcpy(half + RECORD_HEAD_BYTES, p + RECORD_HEAD_BYTES, middle - p - RECORD_HEAD_BYTES)
        half[length - 1] = 0xC0
    else:
        half[RECORD_HEAD_BYTES] = 0xC0
        memcpy(half + RECORD_HEAD_BYTES + 1, middle, end - middle)
    if length > ring.max_record:
        done = put_fragments(r, half, length, &track.fragments)
    else:
        done = ring_has_room(r, length) and ring_append(r, half, length) == 0
    free(half)
    if not done and r.write_error:
        raise put_refused(ring.data_path, r.write_error)
    r.header.counters[_RECORD_BYTES] += r.claim - before
    if done:
        track.at += 1
        r.header.counters[_ROWS] += 1
        r.header.counters[_COMMIT_TIME_US] = record_u64(p + RECORD_TIME_AT)
    return done


cdef inline void prefetch_row(const uint8_t *p) noexcept nogil:
    """The first 192 bytes of a record; of a longer one the processor sees by itself that the rest follows."""
    cdef int line
    for line in range(3):
        record_prefetch(p + 64 * line)


cdef bint put_fragments(ring_t *ring, const uint8_t *record, uint64_t length, uint32_t *done) noexcept nogil:
    """Claims a record as fragments from number `done` on; false: the store is full, and `done` says how far it went."""
    cdef uint32_t count = <uint32_t>((length + RECORD_FRAGMENT_BYTES - 1) / RECORD_FRAGMENT_BYTES)
    cdef uint64_t chunk, n
    cdef uint8_t *p
    cdef int i
    while done[0] < count:
        chunk = min(<uint64_t>RECORD_FRAGMENT_BYTES, length - <uint64_t>done[0] * RECORD_FRAGMENT_BYTES)
        n = RECORD_HEAD_BYTES + FRAGMENT_FRAME + chunk
        p = ring_room(ring, n)
        if p is NULL:
            return False
        memcpy(p, record, RECORD_HEAD_BYTES)
        p[RECORD_KIND_AT] = RECORD_FRAGMENT
        record_set_u32(p + RECORD_LENGTH_AT, <uint32_t>n)
        p += RECORD_HEAD_BYTES
        p[0] = 0x93
        for i in range(3):
            p[1 + 5 * i] = 0xCE
        record_set_u32(p + 2, done[0])
        record_set_u32(p + 7, count)
        record_set_u32(p + 12, <uint32_t>length)
        p[16] = 0xC6
        record_set_u32(p + 17, <uint32_t>chunk)
        memcpy(p + FRAGMENT_FRAME, record + <uint64_t>done[0] * RECORD_FRAGMENT_BYTES, chunk)
        ring_claim(ring, n)
        done[0] += 1
    done[0] = 0
    return True


cdef bint is_last_fragment(const uint8_t *p, const uint8_t *end) noexcept nogil:
    cdef uint32_t number = 0, count = 0
    return fragment_numbers(p, end, &number, &count) is NULL or number + 1 >= count
