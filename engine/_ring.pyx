"""The ring's classes over shared memory; `_ring.h` draws the bytes, `_ring.pxd` lists what is here.

A `Ring` is one process's mapping; `open_writer` makes it the writer. A `Reader` is a named cursor, and `Reader.open`
makes this process its owner. Writing, advancing and acking need the role; looking doesn't.
"""

import mmap
import os
import time

from engine.errors import InternalError, RingError
from engine.owner import is_alive, refuse_live, take
from engine.record import MIN_RING_BYTES as _MIN_RING_BYTES
from engine.store_error import put_refused

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy
from engine._mapping cimport Mapping, create_file, open_file, unlink_file
from engine._record cimport RECORD_HEAD_BYTES, RECORD_LENGTH_AT, record_u32

cdef extern from "_record.h" nogil:
    const char *BINLOG_ENGINE_PROFILE


PROFILE = BINLOG_ENGINE_PROFILE.decode()  # how this was built: release or debug
FULL = -1  # the answer of try_put and try_claim when there is no room
NOTE_BYTES = RING_NOTE_BYTES
READER_NOTE_BYTES = RING_READER_NOTE_BYTES
READERS = RING_READERS
SPIN_NS = 10_000  # waits look this long before they sleep: about what the sleep and the wake-up cost
cdef int64_t _SPIN_NS = SPIN_NS


cdef int _take(ring_owner_t *owner, role, ring, takeover) except -1:
    """Under the lock of the roles: makes this process the owner."""
    pid, start_time = take(ring_pid_load_relaxed(owner), ring_start_time_load_relaxed(owner), role, ring, takeover)
    ring_owner_store_relaxed(owner, pid, start_time)
    return 0


@cython.final
@cython.no_gc
cdef class Ring:
    """One process's mapping of a ring in shared memory."""

    def __cinit__(self):
        self.name = ""

    def __init__(self):
        raise TypeError("use Ring.create or Ring.attach")

    # ---- made, found, closed

    @staticmethod
    def create(name, capacity, *, directory="/dev/shm", bint prefault=False, data=None):
        """A new ring; without a name it has no file: only this process sees it, and its forks.

        data: path of a file of `capacity` bytes that holds the data; the header alone is in `directory` then.
        """
        cdef Ring ring = Ring.__new__(Ring)
        cdef bytes path = os.fsencode(data or "")
        if capacity < _MIN_RING_BYTES:
            raise RingError("ring too small", name=name, capacity=capacity, least=_MIN_RING_BYTES)
        if len(path) >= RING_DATA_PATH_BYTES:
            raise RingError("path too long for a ring's data", path=data, most=RING_DATA_PATH_BYTES - 1)
        capacity = -(-capacity // mmap.PAGESIZE) * mmap.PAGESIZE
        ring.use(create_file(name, directory, RING_HEADER_BYTES, capacity, prefault, data), capacity)
        ring.name = name or ""
        header = ring.ring.header
        memcpy(header.data_path, <const char *>path, len(path))
        header.version = RING_VERSION
        header.header_bytes = RING_HEADER_BYTES
        header.capacity = capacity
        header.ring_id = ring.ring_id = int.from_bytes(os.urandom(8), "little") | 1
        header.created_ns = ring.created_ns = time.time_ns()
        header.notes[0].at = header.notes[1].at = RING_NEVER
        ring_mark_place(&ring.ring, 0)
        ring_magic_store_release(header)
        return ring

    @staticmethod
    def attach(name, *, directory="/dev/shm"):
        """Maps a ring that exists, after checking that this build understands it."""
        cdef Ring ring = Ring.__new__(Ring)
        cdef ring_header_t head
        cdef Mapping mapping = open_file(name, directory)
        path, size = mapping.path, os.fstat(mapping.fd).st_size
        identity = os.pread(mapping.fd, RING_HEADER_BYTES, 0).ljust(RING_HEADER_BYTES, b"\0")
        memcpy(&head, <const char *>identity, RING_HEADER_BYTES)
        data = os.fsdecode(<bytes>head.data_path)
        if head.magic == 0:
            raise RingError("ring is incomplete", path=path, differs="magic", found=0,
                            remedy="what makes it is still at it, or died: then unlink it")
        for field, found, expected in (
            ("magic", head.magic, RING_MAGIC),
            ("version", head.version, RING_VERSION),
            ("header_bytes", head.header_bytes, RING_HEADER_BYTES),
            ("size", size, RING_HEADER_BYTES + (0 if data else head.capacity)),
            ("capacity", head.capacity, max(_MIN_RING_BYTES, head.capacity // mmap.PAGESIZE * mmap.PAGESIZE)),
        ):
            if found != expected:
                raise RingError("foreign ring", path=path, differs=field, found=found, expected=expected,
                                remedy="unlink it, or run the version that made it")
        mapping.map(RING_HEADER_BYTES, head.capacity, False, data)
        ring.use(mapping, head.capacity)
        ring.name = name
        ring.ring_id = head.ring_id
        ring.created_ns = head.created_ns
        return ring

    @staticmethod
    def unlink(name, *, directory="/dev/shm"):
        """Removes the name; who has it mapped keeps it. Missing is fine."""
        unlink_file(name, directory)

    cdef void use(self, Mapping mapping, uint64_t capacity) noexcept:
        self._mapping = mapping
        self.ring.header = <ring_header_t *>self._mapping.start
        self.ring.data = self._mapping.start + RING_HEADER_BYTES
        self.ring.capacity = self.capacity = capacity
        self.max_record = capacity // 4

    def close(self):
        """Gives up the writer's role and unmaps; while views of it live, the mapping stays for them. Twice is fine."""
        if self.ring.header is NULL:
            return
        if self.writing:
            self.close_writer()
        self.ring.header = NULL
        self.ring.data = NULL
        ring_bell_close(&self.ring)
        self._mapping.close()

    def __dealloc__(self):
        ring_bell_close(&self.ring)

    cdef int check_open(self) except -1:
        if self.ring.header is NULL:
            raise RingError("ring is closed", name=self.name)
        return 0

    cdef int check_writing(self) except -1:
        self.check_open()
        if not self.writing:
            raise RingError("not the writer of this ring", name=self.name, remedy="open_writer() first")
        return 0

    cdef int lock(self) except -1:
        self.check_open()
        return self._mapping.lock()

    # ---- what anyone may look at

    @property
    def put(self):
        """Bytes published since creation."""
        self.check_open()
        return ring_put_load_acquire(&self.ring)

    @property
    def tail(self):
        """Where a new reader joins: the slowest ack the writer has seen."""
        self.check_open()
        return ring_tail_load_acquire(&self.ring)

    @property
    def floor(self):
        """The oldest byte that is not overwritten yet."""
        self.check_open()
        return ring_floor_load_acquire(&self.ring)

    @property
    def data_path(self):
        """The file that holds the data; "": they follow the header."""
        self.check_open()
        return os.fsdecode(<bytes>self.ring.header.data_path)

    @property
    def held_bytes(self):
        """Put and not yet acked by all: what can't be overwritten."""
        self.check_open()
        cdef uint64_t slowest = ring_slowest_ack(&self.ring)
        return ring_put_load_acquire(&self.ring) - slowest

    @property
    def claim(self):
        """Bytes claimed but not yet published by this writer."""
        self.check_open()
        return self.ring.claim - ring_put_load_acquire(&self.ring) if self.writing else 0

    @property
    def counters(self):
        """The 64 numbers of the writer's stage, in place."""
        self.check_open()
        return self._mapping.export(self.ring.header.counters, RING_COUNTERS, 8, False)

    def add(self, int counter_index, uint64_t n):
        """Adds to one counter; only the writer's stage does."""
        self.check_writing()
        if not 0 <= counter_index < RING_COUNTERS:
            raise RingError("no such counter", index=counter_index)
        self.ring.header.counters[counter_index] += n

    @property
    def writer_finished(self):
        """The stream has ended: what is put is all there will be."""
        self.check_open()
        return ring_finished(&self.ring)

    @property
    def writer_pid(self):
        """0: nobody."""
        self.check_open()
        return ring_pid_load_relaxed(&self.ring.header.writer)

    @property
    def writer_heartbeat_ns(self):
        """CLOCK_MONOTONIC of the writer's last beat, 0: never."""
        self.check_open()
        return ring_heartbeat_load_relaxed(&self.ring.header.writer)

    def writer_alive(self):
        """Whether the process that took the writer's role still runs."""
        self.check_open()
        owner = &self.ring.header.writer
        return is_alive(ring_pid_load_relaxed(owner), ring_start_time_load_relaxed(owner))

    def note(self):
        """The writer's note that belongs to the current put, or None."""
        cdef uint8_t[RING_NOTE_BYTES] copy
        self.check_open()
        cdef int64_t n = ring_note_read(self.ring.header.notes, &self.ring.header.put, copy)
        return None if n < 0 else (<char *>copy)[:n]

    # ---- writer

    def open_writer(self, *, takeover=True):
        """Becomes the writer; with takeover also in place of a dead one. A live one in another process is refused."""
        cdef int lock = self.lock()
        try:
            writer = &self.ring.header.writer
            _take(writer, "the writer", self.name, takeover)
            self.ring.claim = self.ring.staged = ring_put_load_acquire(&self.ring)
            if self.data_path:
                self._mapping.open_data(self.data_path, self.capacity, RING_STAGE_BYTES)
                self.ring.fd, self.ring.stage = self._mapping.data_fd, self._mapping.stage
            self.ring.last_place = ring_last_place(&self.ring)
            ring_note_forget_unreached(self.ring.header.notes, self.ring.claim)
            ring_refresh_limit(&self.ring)
            ring_state_store_release(writer, RING_WRITER_LIVE)
            self.writing = True
        finally:
            os.close(lock)

    def close_writer(self, finished=False):
        """Gives up the role; what is claimed but not published is dropped. finished: the stream ends here."""
        self.check_writing()
        header = self.ring.header
        self.ring.claim = self.ring.staged = ring_put_load_acquire(&self.ring)
        ring_note_forget_unreached(header.notes, self.ring.claim)
        ring_owner_store_relaxed(&header.writer, 0, 0)
        ring_state_store_release(&header.writer, RING_WRITER_FINISHED if finished else RING_WRITER_NONE)
        ring_wake(&header.put_signal, &header.put_waiters)
        self.writing = False

    def beat(self, uint64_t now_ns):
        """Heartbeat (CLOCK_MONOTONIC)."""
        self.check_writing()
        ring_heartbeat_store_relaxed(&self.ring.header.writer, now_ns)

    def try_put(self, record):
        """Copies one record and publishes it with all claimed before. Returns put, or FULL."""
        cdef int64_t claim = self.try_claim(record)
        if claim >= 0:
            self.publish()
        return claim

    cpdef int64_t try_claim(self, record) except? -2:
        """Copies one record; readers see it after publish(). Returns the claim after it, or FULL."""
        cdef Py_buffer buffer
        cdef const uint8_t *source
        cdef uint64_t n
        self.check_writing()
        PyObject_GetBuffer(record, &buffer, PyBUF_SIMPLE)
        try:
            source = <const uint8_t *>buffer.buf
            n = buffer.len
            if n > self.max_record:
                raise RingError("record too large for this ring", bytes=n, max_record=self.max_record,
                                remedy="put it as fragments")
            if n < RECORD_HEAD_BYTES or source[0] != 0x9D or record_u32(source + RECORD_LENGTH_AT) != n:
                raise RingError("not one whole record", bytes=n)  # would lose every reader its place
            if not ring_has_room(&self.ring, n):
                return -1  # FULL
            if ring_append(&self.ring, source, n) < 0:
                raise put_refused(self.data_path, self.ring.write_error)
            return self.ring.claim
        finally:
            PyBuffer_Release(&buffer)

    cpdef uint64_t publish(self) except? 0:
        """Makes all that is claimed visible; returns put."""
        self.check_writing()
        if ring_write_out(&self.ring) < 0:
            raise put_refused(self.data_path, self.ring.write_error)
        ring_publish(&self.ring)
        return self.ring.claim

    def set_note(self, data):
        """What the next writer finds when put has reached the claim of now: at once, or with the next publish."""
        cdef bytes note = bytes(data)
        self.check_writing()
        if len(note) > RING_NOTE_BYTES:
            raise RingError("note too long", bytes=len(note), most=RING_NOTE_BYTES)
        ring_note_write(self.ring.header.notes, ring_put_load_acquire(&self.ring), self.ring.claim, <const char *>note,
                        len(note))

    def wait_writable(self, uint64_t n_bytes, int64_t timeout_ns, int64_t spin_ns=_SPIN_NS):
        """Waits until n_bytes can be claimed; publish first. False: time is up, or a signal came."""
        cdef int found
        cdef ring_t ring = self.ring  # a copy: another thread may close this object meanwhile
        self.check_writing()
        if n_bytes > self.ring.capacity:
            raise RingError("more than the ring holds", bytes=n_bytes, capacity=self.ring.capacity)
        self._mapping.pin()
        with nogil:
            found = ring_wait_room(&ring, n_bytes, timeout_ns, spin_ns)
        self._mapping.unpin()
        if found < 0:
            PyErr_CheckSignals()
        return found > 0

    # ---- readers

    def add_reader(self, name, *, bint latest=False):
        """A new reader, at the oldest record still held or, latest, at put."""
        cdef bytes key = _reader_key(name)
        cdef ring_owner_t *owner
        cdef int number, i, lock = self.lock()
        try:
            for i in range(RING_READERS):
                owner = &self.ring.header.readers[i].owner
                if ring_state_load_acquire(owner) == RING_READER_JOINING:  # under the lock: it died in the middle of it
                    ring_state_store_release(owner, RING_READER_FREE)
            if name in self.readers():
                raise RingError("reader exists", ring=self.name, reader=name)
            number = ring_join(&self.ring, key, latest)
            if number < 0:
                raise RingError("no room for another reader", ring=self.name, readers=",".join(self.readers()),
                                remedy="drop one that is no longer needed")
        finally:
            os.close(lock)
        return _reader(self, number, name)

    def reader(self, name):
        """The reader of that name."""
        return _reader(self, _find(self, name), name)

    def readers(self):
        """Names of the readers, in the order of their slots."""
        self.check_open()
        return [
            (<bytes>self.ring.header.readers[i].name).decode()
            for i in range(RING_READERS)
            if ring_state_load_acquire(&self.ring.header.readers[i].owner) == RING_READER_ACTIVE
        ]

    def drop_reader(self, name):
        """Forgets a reader; it no longer holds the writer back. One that a live other process uses is refused."""
        cdef ring_slot_t *slot
        cdef int lock = self.lock()
        try:
            slot = &self.ring.header.readers[_find(self, name)]
            refuse_live(ring_pid_load_relaxed(&slot.owner), ring_start_time_load_relaxed(&slot.owner),
                        f"the owner of reader {name}", self.name)
            ring_leave(&self.ring, slot)
        finally:
            os.close(lock)


cdef bytes _reader_key(name):
    cdef bytes key = name.encode()
    if not 0 < len(key) < RING_NAME_BYTES or b"\0" in key:
        raise RingError("not a name for a reader", name=repr(name), most=f"{RING_NAME_BYTES - 1} bytes")
    return key


cdef int _find(Ring ring, name) except -1:
    """Number of the reader's slot."""
    cdef bytes key = _reader_key(name)
    cdef int i
    ring.check_open()
    for i in range(RING_READERS):
        slot = &ring.ring.header.readers[i]
        if ring_state_load_acquire(&slot.owner) == RING_READER_ACTIVE and <bytes>slot.name == key:
            return i
    raise RingError("no such reader", ring=ring.name, reader=name, readers=",".join(ring.readers()) or "none")


cdef Reader _reader(Ring ring, int number, str name):
    cdef Reader reader = Reader.__new__(Reader)
    reader.ring = ring
    reader.slot = &ring.ring.header.readers[number]
    reader.joined = reader.slot.joined
    reader.name = name
    reader.number = number
    return reader


@cython.final
@cython.no_gc
cdef class Reader:
    """A named cursor: get moves as batches are handed out, ack as they are done with; then they may be overwritten."""

    def __init__(self):
        raise TypeError("use Ring.add_reader or Ring.reader")

    cdef int check(self) except -1:
        self.ring.check_open()
        if self.slot.joined != self.joined or ring_state_load_acquire(&self.slot.owner) != RING_READER_ACTIVE:
            raise RingError("reader was dropped", ring=self.ring.name, reader=self.name)
        return 0

    cdef int check_reading(self) except -1:
        self.check()
        if not self.reading:
            raise RingError("reader is not ours", ring=self.ring.name, reader=self.name, remedy="open() first")
        return 0

    # ---- the role

    def open(self, *, takeover=True):
        """Becomes the owner and starts again from ack: what was handed out but not acked comes once more."""
        cdef int lock = self.ring.lock()
        try:
            self.check()
            _take(&self.slot.owner, f"the owner of reader {self.name}", self.ring.name, takeover)
            ring_get_store_relaxed(self.slot, ring_ack_load_acquire(self.slot))
            ring_reader_note_forget_unreached(self.slot.notes, ring_ack_load_acquire(self.slot))
            self.reading = True
        finally:
            os.close(lock)

    def release(self):
        """Gives up the role; the reader stays and keeps its ack."""
        self.check_reading()
        ring_owner_store_relaxed(&self.slot.owner, 0, 0)
        self.reading = False

    @property
    def owner_pid(self):
        """0: nobody."""
        self.check()
        return ring_pid_load_relaxed(&self.slot.owner)

    @property
    def heartbeat_ns(self):
        """CLOCK_MONOTONIC of the owner's last beat, 0: never."""
        self.check()
        return ring_heartbeat_load_relaxed(&self.slot.owner)

    def owner_alive(self):
        """Whether the process that opened it still runs."""
        self.check()
        return is_alive(ring_pid_load_relaxed(&self.slot.owner), ring_start_time_load_relaxed(&self.slot.owner))

    def beat(self, uint64_t now_ns):
        """Heartbeat (CLOCK_MONOTONIC)."""
        self.check_reading()
        ring_heartbeat_store_relaxed(&self.slot.owner, now_ns)

    # ---- sequences

    @property
    def get(self):
        """Where the next view starts."""
        self.check()
        return ring_get_load_relaxed(self.slot)

    @property
    def ack(self):
        """Everything before it is done with."""
        self.check()
        return ring_ack_load_acquire(self.slot)

    @property
    def lag_bytes(self):
        """Put but not handed out."""
        self.check()
        cdef uint64_t get = ring_get_load_relaxed(self.slot)
        return ring_put_load_acquire(&self.ring.ring) - get

    @property
    def held_bytes(self):
        """Put but not acked: what this reader keeps from being overwritten."""
        self.check()
        cdef uint64_t ack = ring_ack_load_acquire(self.slot)
        return ring_put_load_acquire(&self.ring.ring) - ack

    def view(self, uint64_t max_bytes=0, from_=None):
        """The bytes [from_ or get, put) in place, cut after whole records to max_bytes (0: all) but never below one."""
        self.check()
        cdef ring_t *ring = &self.ring.ring
        cdef uint64_t put = ring_put_load_acquire(ring), start = ring_get_load_relaxed(self.slot)
        if from_ is not None:
            start = from_
            if not ring_ack_load_acquire(self.slot) <= start <= put:
                raise RingError("not held for this reader", reader=self.name, sequence=start,
                                ack=ring_ack_load_acquire(self.slot), put=put)
        cdef uint64_t n = put - start
        cdef uint8_t *data = ring.data + start % ring.capacity
        if max_bytes and n > max_bytes:
            n = _whole_records(data, n, max_bytes)
            if n == 0:
                raise InternalError("ring holds bytes that are no record", ring=self.ring.name, sequence=start)
        return self.ring._mapping.export(data, n, 1, True)

    cpdef advance(self, uint64_t n_bytes):
        """Moves get past what was handed out."""
        self.check_reading()
        cdef uint64_t get = ring_get_load_relaxed(self.slot), put = ring_put_load_acquire(&self.ring.ring)
        if n_bytes > put - get:
            raise RingError("get can't pass put", reader=self.name, get=get, n_bytes=n_bytes, put=put)
        ring_get_store_relaxed(self.slot, get + n_bytes)

    cpdef uint64_t ack_to(self, uint64_t sequence) except? 0:
        """Acks everything before the sequence; one that is acked already changes nothing. Returns ack."""
        self.check_reading()
        cdef uint64_t get = ring_get_load_relaxed(self.slot), ack = ring_ack_load_acquire(self.slot)
        if sequence > get:
            raise RingError("ack can't pass get", reader=self.name, sequence=sequence, get=get)
        if sequence > ack:
            ring_ack(&self.ring.ring, self.slot, sequence)
            ack = sequence
        return ack

    def rollback(self, sequence=None):
        """Moves get back to ack, or to a sequence between ack and get."""
        self.check_reading()
        cdef uint64_t get = ring_get_load_relaxed(self.slot), ack = ring_ack_load_acquire(self.slot)
        cdef uint64_t to = ack if sequence is None else sequence
        if not ack <= to <= get:
            raise RingError("rollback goes between ack and get", reader=self.name, sequence=to, ack=ack, get=get)
        ring_get_store_relaxed(self.slot, to)

    def wait(self, int64_t timeout_ns, int64_t spin_ns=_SPIN_NS):
        """Waits until there is something to get. False: time is up, a signal came, or the writer has finished."""
        cdef int found
        self.check()
        cdef uint64_t get = ring_get_load_relaxed(self.slot)
        cdef ring_t ring = self.ring.ring  # a copy, as in wait_writable
        self.ring._mapping.pin()
        with nogil:
            found = ring_wait_put(&ring, get, timeout_ns, spin_ns)
        self.ring._mapping.unpin()
        if found < 0:
            PyErr_CheckSignals()
        return found > 0

    # ---- beside the sequences

    @property
    def counters(self):
        """The 8 numbers of the reader's stage, in place."""
        self.check()
        return self.ring._mapping.export(self.slot.counters, RING_READER_COUNTERS, 8, False)

    def set_note(self, data, uint64_t at):
        """What the next owner finds when ack has reached `at`; of the notes still waiting only the last is kept."""
        cdef bytes note = bytes(data)
        self.check_reading()
        if len(note) > RING_READER_NOTE_BYTES:
            raise RingError("note too long", bytes=len(note), most=RING_READER_NOTE_BYTES)
        ring_reader_note_write(self.slot.notes, ring_ack_load_acquire(self.slot), at, <const char *>note, len(note))

    def note(self):
        """The note that belongs to the current ack, or None."""
        cdef uint8_t[RING_READER_NOTE_BYTES] copy
        self.check()
        cdef int64_t n = ring_reader_note_read(self.slot.notes, &self.slot.ack, copy)
        return None if n < 0 else (<char *>copy)[:n]


cdef uint64_t _whole_records(const uint8_t *data, uint64_t n, uint64_t max_bytes) noexcept nogil:
    """Bytes of the whole records at the start that fit in max_bytes, or of the first one; 0: not records."""
    cdef uint64_t end = 0, length
    while end < n:
        length = record_u32(data + end + RECORD_LENGTH_AT)
        if length < RECORD_HEAD_BYTES or length > n - end:
            return 0
        if end + length > max_bytes:
            return end if end else length
        end += length
    return end
