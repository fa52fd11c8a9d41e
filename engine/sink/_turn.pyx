"""Where a sink stands in a source ring, and its ordinary turn, natively: what is in view goes to the stores in one call.

    look ─▶ Targets.find, spread_out ─▶ Selector.choose ─▶ copy ─▶ Track.move, write_note, publish ─▶ finish: ack

Each of these is what engine/sink/ calls one by one for all that isn't ordinary; a turn of one row costs microseconds either way.
"""

from engine.counters import SinkCounter
from engine.errors import InternalError
from engine.begin_note import pack_begin, unpack_begin

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from engine.sink._heads cimport Heads
from engine._ring cimport Reader, Ring, ring_get_load_relaxed, ring_has_room, ring_put_load_acquire
from engine.sink._selection cimport Selector, Targets, spread_out
from engine.sink._track cimport Track, copy, write_note
from engine._record cimport RECORD_BEGIN, RECORD_COMMIT, RECORD_DDL, RECORD_HEAD_BYTES, RECORD_HEARTBEAT, RECORD_KEY_CHANGED


VIEW_BYTES = 4 << 20  # of records looked at in one turn
VIEW_RECORDS = 65536
NOT_ORDINARY = -1     # answer of Turn.take

cdef int _RECORDS_FILTERED = SinkCounter.RECORDS_FILTERED
cdef uint64_t _VIEW_BYTES = VIEW_BYTES
cdef uint64_t NEVER = 0xFFFFFFFFFFFFFFFF


cdef class Front:
    """Where a sink stands in a source ring. `heads` shows a view; its records [next, heads.count) are not taken yet.

    begin: record of the transaction that is open there, which the reader's note holds. cuts: sequences that a view must not span.
    boundary_sequence: of the last record taken after which no transaction was open. time_us: highest commit time seen.
    """

    def __init__(self, Reader reader not None):
        self.reader = reader
        self.heads = Heads(reader, VIEW_RECORDS)
        self.sequence = reader.ack
        self.cuts = []
        note = reader.note()
        self.begin = unpack_begin(note) if note else None
        self.noted = bool(note)

    @property
    def boundary(self):
        """Head of the record at boundary_sequence; None: there was none yet."""
        return self.boundary_head[:RECORD_HEAD_BYTES] if self.has_boundary else None

    cpdef bint look(self) except? False:
        """Shows what there is from `sequence` on; whether that is anything."""
        cdef Heads heads = self.heads
        if self.cuts:
            self.cuts = [cut for cut in self.cuts if cut > self.sequence]
        self.next = 0
        heads.scan(self.sequence, self.cuts[0] if self.cuts else NEVER, _VIEW_BYTES)
        if heads.end > ring_get_load_relaxed(self.reader.slot):
            self.reader.advance(heads.end - ring_get_load_relaxed(self.reader.slot))
        self.time_us = max(self.time_us, heads.max_time)
        return heads.count > 0

    cpdef int finish(self, Py_ssize_t end) except -1:
        """The records up to `end` are in the stores: forget them and ack."""
        cdef Heads heads = self.heads
        cdef Py_ssize_t low = 0, high = heads.marks, middle
        cdef int64_t limit = -1, boundary = -1, index
        cdef uint8_t kind
        if not self.next <= end <= heads.count:
            raise InternalError("no such records to finish", start=self.next, end=end, records=heads.count)
        while low < high:  # the first mark that isn't before the end
            middle = (low + high) // 2
            if heads._mark[middle] < end:
                low = middle + 1
            else:
                high = middle
        while low and (limit < 0 or boundary < 0):
            low -= 1
            index = heads._mark[low]
            if index < self.next:
                break
            kind = heads._kind[index]
            if limit < 0 and (kind == RECORD_BEGIN or kind == RECORD_COMMIT):
                limit = index
            if boundary < 0 and (kind == RECORD_COMMIT or kind == RECORD_DDL or kind == RECORD_HEARTBEAT):
                boundary = index
        if limit >= 0:
            self.begin = heads.record(limit) if heads._kind[limit] == RECORD_BEGIN else None
        if boundary >= 0:
            memcpy(self.boundary_head, heads.data + heads._offset[boundary], RECORD_HEAD_BYTES)
            self.boundary_sequence = heads.start + heads._offset[boundary]
            self.has_boundary = True
        self.sequence = heads.start + heads._offset[end]
        self.next = end
        if self.begin is not None or self.noted:
            self.reader.set_note(pack_begin(self.begin) if self.begin is not None else b"", self.sequence)
            self.noted = self.begin is not None
        self.reader.ack_to(self.sequence)
        return 0


@cython.final
cdef class Turn:
    """Takes all of a source's view to the stores of a sink, where nothing about it is out of the ordinary.

    number: of the source among `tracks[lane]`. lanes: of each partition. by_hash: the target of tables that are spread over the
    partitions by their key; by_columns: they are by other columns, which is never ordinary.
    """

    def __cinit__(self, Front front not None, Selector selector not None, Targets targets not None, list rings not None,
                  list tracks not None, int number, const uint16_t[::1] lanes not None, uint16_t by_hash, bint by_columns):
        if not len(rings) == len(tracks) == selector.lanes or not lanes.shape[0]:
            raise InternalError("a turn has a ring and tracks for each lane", rings=len(rings), lanes=selector.lanes)
        self.front, self.selector, self.targets, self.rings, self.tracks = front, selector, targets, rings, tracks
        self.number, self.lanes, self.by_hash, self.by_columns = number, lanes, by_hash, by_columns
        self.found = <uint16_t *>malloc(front.heads.capacity * sizeof(uint16_t))
        if self.found is NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.found)

    def take(self):
        """Look, and take all that is there: bytes put and records read; 0: nothing is there.

        NOT_ORDINARY: it has to go the long way, and nothing but the look was done. So it is with tables not met before, schemas,
        ddl and statements, updates that change their partition, stores that lack room or are ahead after a restart.
        """
        cdef Front front = self.front
        cdef Heads heads = front.heads
        cdef Selector selector = self.selector
        cdef Ring ring
        cdef Track track
        cdef Py_ssize_t lane, taken
        cdef uint64_t n_bytes, put = 0
        if not front.look():
            return 0
        if heads.described or self.by_columns:
            return NOT_ORDINARY
        n_bytes = heads.end - heads.start
        for lane in range(selector.lanes):
            ring = self.rings[lane]
            track = (<list>self.tracks[lane])[self.number]
            ring.check_writing()
            if (track.done > heads.start or track.fragments or track.known is not None or ring.max_record < n_bytes
                    or not ring_has_room(&ring.ring, n_bytes)):
                return NOT_ORDINARY
            selector.open[lane] = track.open
        if self.targets.find(heads, 0, heads.count, self.found):
            return NOT_ORDINARY
        if RECORD_KEY_CHANGED & spread_out(heads, 0, heads.count, self.by_hash, &self.lanes[0], self.lanes.shape[0], self.found):
            return NOT_ORDINARY
        selector.choose(heads, 0, heads.count, self.found, NULL, NULL)
        for lane in range(selector.lanes):
            if selector.needs[lane]:
                return NOT_ORDINARY
        for lane in range(selector.lanes):
            ring = self.rings[lane]
            track = (<list>self.tracks[lane])[self.number]
            taken = selector.count[lane]
            ring.ring.header.counters[_RECORDS_FILTERED] += heads.count - taken
            if taken:
                track.take(selector.out[lane], taken, selector.arrays)
                if not copy(ring, heads, track, taken):
                    raise InternalError("a store had room and then had not", store=ring.name, bytes=n_bytes)
                track.put = heads.start + heads._offset[selector.out[lane][taken - 1]]
                put += ring.ring.claim - ring_put_load_acquire(&ring.ring)
            track.done = track.noted = heads.end
            track.move(heads, 0, heads.count)
            if taken:
                write_note(ring, <list>self.tracks[lane])
                ring.publish()
        taken = heads.count
        front.finish(taken)
        return put + taken
