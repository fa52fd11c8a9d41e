"""The binlog decoder: bytes of a server or a file in, records in a ring out; without the GIL, without an object per event.

    recv / writable + filled ─▶ input ─▶ next_event ─▶ apply ─▶ output ─▶ ring
                                              │           │
                                              └─ handle ◀─┘   Python, for what is rare: new TABLE_MAP, statements, ROTATE

`run` goes on until input ends, the ring is full or Python is needed, and goes on from exactly there when called again:
whatever returns FULL has changed nothing that it would do again.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.buffer cimport PyBUF_READ, PyBUF_WRITE
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.errno cimport EAGAIN, ENOMEM
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from engine._ring cimport Ring
from engine.source._rows cimport RowPlan, row_bound, row_error_text, row_image

import os

from engine.errors import BinlogError, ConnectionLost, InternalError
from engine.position import Identity, join_file_name
from engine.source import crc, events, note

cpdef enum Progress:  # how far advance came
    NEED_INPUT = 0   # everything that is there has been read
    RING_FULL = 1    # call again when the readers have acked
    MORE_TO_DO = 2   # the budget is used up
    ENDED = 3        # the server ended the dump (0xFE packet)

cdef enum:
    OK = -1
    PYTHON = 4
    ERROR_PACKET = 5
    PAYLOAD = 6
    FAULT = 7

cdef enum:
    FAULT_PACKET = 1, FAULT_SIZE, FAULT_CHECKSUM, FAULT_NOT_DESCRIBED, FAULT_DESCRIPTION, FAULT_POSITION, FAULT_SHORT
    FAULT_TABLE_UNKNOWN, FAULT_COLUMNS, FAULT_ROW, FAULT_ROW_EMPTY, FAULT_MEMORY, FAULT_XA, FAULT_INNER

cdef uint64_t DUMMY_TABLE = 0xffffff  # MySQL: a ROWS event without rows that only ends a statement
cdef size_t VERSIONS_KEPT = 4096      # table versions remembered by their TABLE_MAP; beyond, all are asked for again


cdef class _Table:
    """Owns a table_t and keeps its plan alive."""

    cdef table_t table
    cdef RowPlan plan

    def __cinit__(self):
        memset(&self.table, 0, sizeof(self.table))

    def __dealloc__(self):
        free(self.table.schema)
        free(self.table.map)
        free(self.table.name)


cdef uint8_t *_copy(bytes data) except NULL:
    cdef uint8_t *copy = <uint8_t *>malloc(len(data) + 1)
    if copy == NULL:
        raise MemoryError
    memcpy(copy, <const uint8_t *>data, len(data))
    copy[len(data)] = 0
    return copy


cdef class Decoder:
    """Reads one source's binlog and writes its records into a ring.

    ring: opened for writing, held for the decoder's lifetime. tables: a tables.TableVersions. source: its name, for
    messages. packets: True for a server's dump, False for the bytes of binlog files. number_of: base name of the
    binlog files -> source number.
    """

    def __cinit__(self, Ring ring not None, tables, *, str source, bint packets, number_of):
        self.ring = ring
        self.tables = tables
        self.number_of = number_of
        self.source = source
        self.base = ""
        self.versions = {}
        self.current = &self.input
        self.input.packets = packets
        self.out.ring = &ring.ring
        self.slot_count = 64
        self.slots = <table_slot_t *>calloc(self.slot_count, sizeof(table_slot_t))
        if self.slots == NULL or not input_reserve(&self.input, 1):
            raise MemoryError
        if crc.WIDE:
            self.crc_wide = <crc32_wide_t><uintptr_t>crc.ADDRESS
        else:
            self.crc = <crc32_t><uintptr_t>crc.ADDRESS

    def __dealloc__(self):
        input_free(&self.input)
        input_free(&self.inner)
        free(self.out.scratch)
        free(self.slots)

    # ---- where to read -------------------------------------------------------------------------------------------

    def open(self, str base, uint32_t file, uint64_t offset, *, bint checksum=False):
        """A new stream of bytes begins: at `offset` of this file (base "": the first ROTATE will tell).

        checksum: a ROTATE that comes before the first FORMAT_DESCRIPTION ends in a CRC32. What waits for room in the
        ring is kept, everything else that was half read is forgotten.
        """
        input_clear(&self.input)
        input_clear(&self.inner)
        self.payload = None
        self.current = &self.input
        self.have_event = self.described = False
        self.rows.active = False
        self.transaction.open = 0
        self.checksum = checksum
        self.started = False
        self.forget_tables()
        if base:
            self._enter(base, file, offset)

    def seek(self, uint64_t offset):
        """In a file: the next byte that comes in is that of `offset`, where an event begins."""
        input_clear(&self.input)
        self.next_offset = offset

    def resume(self, point):
        """Leave out what is delivered already: what a note.ResumePoint says, whose file and offset `open` got."""
        cdef source_note_t *last = &self.out.last
        self.resume_place.file, self.resume_place.start, self.resume_place.event, self.resume_place.row = point.after
        self.resuming = True
        self.resume_begun = point.begun
        self.resume_fragments = point.fragments
        self.number = point.source
        if self.out.pending == 0:
            last.version, last.source, last.time_us = NOTE_VERSION, point.source, 0
            last.file, last.start, last.event, last.row = point.after
            last.begun, last.closed, last.fragments = point.begun, not point.begun, point.fragments
            last.next_file, last.next_offset = point.file, point.offset

    def resume_point(self):
        """Where to dump from to go on without a gap, as a note.ResumePoint; None before a position is known."""
        cdef source_note_t last = self.out.pending_last if self.out.pending and self.out.pending_counts else self.out.last
        cdef uint64_t offset = self.transaction.start if self.transaction.open else self.next_offset
        cdef place_t place = place_t(last.file, last.start, last.event, last.row)
        cdef bint begun = self.transaction.open and self.transaction.begun
        if not self.base:
            return None
        if self.resuming and place_compare(self.resume_place, place) >= 0:
            place = self.resume_place
            begun = self.resume_begun
        after = Identity(place.file, place.start, place.event, place.row)
        return note.ResumePoint(self.number, self.file, offset, after, self.resume_fragments, bool(begun))

    def _enter(self, str base, uint32_t file, uint64_t offset):
        if base != self.base:
            number = self.number_of(base)
            if self.number and self.number != number:
                self.resuming = False  # another history: its places say nothing about this one
            self.base = base
            self.number = number
        self.file = file
        self.offset = self.next_offset = offset
        output_set(&self.out, COUNTER_FILE, file)
        output_set(&self.out, COUNTER_OFFSET, offset)

    @property
    def file_number(self):
        """Number of the binlog file now read."""
        return self.file

    @property
    def position(self):
        """(base name, file number, offset of the next event)."""
        return self.base, self.file, self.next_offset

    @property
    def first_start(self):
        """Identity of the place before the first transaction since `open`; None: there was none yet."""
        return Identity(self.first_file, self.first_offset, 0, 0) if self.started else None

    @property
    def records(self):
        """Records written by this decoder."""
        return self.out.total + self.out.records

    @property
    def in_transaction(self):
        """A begin record is in the ring whose commit is not."""
        return bool(self.transaction.open and self.transaction.begun)

    @property
    def commit_time_us(self):
        """Commit time of the last transaction read, µs since 1970; 0: none yet."""
        return self.last_time_us

    @property
    def unread_bytes(self):
        """Bytes of an event that has not come in wholly."""
        return self.input.end - self.input.begin

    # ---- bytes in ------------------------------------------------------------------------------------------------

    def recv(self, int fd):
        """Read once from a socket (never waits) or a file. Bytes read; 0: the end; -1: nothing there now.

        Raises:
            ConnectionLost: the read failed.
        """
        cdef int64_t n
        with nogil:
            n = input_read(&self.input, fd)
        if n == -EAGAIN:
            return -1
        if n == -ENOMEM:
            raise self._error("an event is larger than memory", remedy="give the engine more memory")
        if n < 0:
            raise ConnectionLost("reading failed", source=self.source, error=os.strerror(-n))
        return n

    def writable(self):
        """A memoryview to put bytes into, for those who read them themselves (TLS); then call `filled`."""
        if not input_reserve(&self.input, INPUT_READ_BYTES):
            raise self._error("an event is larger than memory", remedy="give the engine more memory")
        return PyMemoryView_FromMemory(<char *>self.input.bytes + self.input.end, self.input.capacity - self.input.end, PyBUF_WRITE)

    def filled(self, size_t n):
        """The first n bytes of `writable` hold input."""
        if n > self.input.capacity - self.input.end:
            raise InternalError("more bytes filled than were writable", bytes=n)
        self.input.end += n

    def advance(self, uint64_t budget_bytes):
        """Read events, about `budget_bytes` of them at most. NEED_INPUT, RING_FULL, MORE_TO_DO or ENDED.

        Raises:
            BinlogError: bytes that are damaged or not understood; ServerSetupError: the server doesn't log rows;
            SourceError: the server sent an error packet.
        """
        cdef int code
        while True:
            with nogil:
                code = self.run(budget_bytes)
            if code == FAULT:
                raise self._fault()
            if code == ERROR_PACKET:
                raise events.error_packet(self._view(), source=self.source, **self._where())
            if code == PAYLOAD:
                self._inflate()
            elif code == PYTHON:
                self.handle()
            else:
                return code

    # ---- records from Python -------------------------------------------------------------------------------------

    def heartbeat(self, uint64_t time_us):
        """Say how far the source has come. False: not now (a transaction is open in the ring, or the ring is full)."""
        cdef uint64_t start = self.transaction.start if self.transaction.open else self.next_offset
        cdef place_t place = place_t(self.file, start, 0, 0)
        cdef uint8_t *to
        if self.in_transaction or self.out.pending or not self.base or self.resume_fragments:
            return False
        if self.resuming and place_compare(place, self.resume_place) <= 0:
            return False
        to = output_room(&self.out, SMALL_RECORD_BYTES)
        if to == NULL:
            return False
        self.head(to, RECORD_HEARTBEAT, 0, 0)
        record_set_u64(to + RECORD_TIME_AT, time_us)
        record_set_u64(to + RECORD_START_AT, start)
        record_set_u32(to + RECORD_FILE_AT, self.file)
        to[RECORD_HEAD_BYTES] = to[RECORD_HEAD_BYTES + 1] = 0xc0
        record_set_u32(to + RECORD_LENGTH_AT, RECORD_HEAD_BYTES + 2)
        self.mark(&self.out.last, 0, 0, True)
        self.out.last.file = self.out.last.next_file = self.file
        self.out.last.start = self.out.last.next_offset = start
        self.out.last.time_us = time_us
        output_claim(&self.out, RECORD_HEAD_BYTES + 2)
        output_publish(&self.out)
        return True

    def _put_ddl(self, bytes packed):
        """The statement's ddl record: it stands alone unless BEGIN came before it, as in CREATE TABLE ... SELECT."""
        cdef source_note_t after = self.out.last
        cdef uint32_t event = self.transaction.event
        cdef size_t n = RECORD_HEAD_BYTES + 1 + len(packed)
        cdef uint8_t *to
        if self.delivered(event, 0):
            return
        to = output_scratch(&self.out, n)
        if to == NULL:
            raise MemoryError
        self.head(to, RECORD_DDL, event, 0)
        record_set_u32(to + RECORD_LENGTH_AT, <uint32_t>n)
        to[RECORD_HEAD_BYTES] = 0xc0
        memcpy(to + RECORD_HEAD_BYTES + 1, <const uint8_t *>packed, len(packed))
        self.mark(&after, event, 0, not self.transaction.grouped)
        output_pend(&self.out, n, &after, self.resume_fragments, 0)
        self.resume_fragments = 0
        output_count(&self.out, COUNTER_DDL, 1)

    # ---- events that Python handles ------------------------------------------------------------------------------

    cdef object handle(self):
        cdef int type = self.type
        if type == EVENT_TABLE_MAP:
            self._learn_table(self.body())
            return  # apply looks again
        if type == EVENT_QUERY:
            self._statement(self.body())
        elif type == EVENT_ROTATE:
            if self.input.packets:
                base, file, offset = events.parse_rotate(self.body(), self._error)
                self._enter(base, file, offset)
        elif type == EVENT_GTID_TAGGED:
            self._tagged_gtid(self.body())
        elif type == EVENT_TRANSACTION_PAYLOAD:
            self._open_payload(self.body())
            return  # its own events come first
        else:
            raise events.not_understood(type, self._error)
        self.finish_event()

    def _learn_table(self, bytes body):
        cdef int id_bytes = 4 if self.post_header[EVENT_TABLE_MAP - 1] == 6 else 6
        cdef const uint8_t *raw = <const uint8_t *>body
        cdef _Table entry = self.versions.get(body[id_bytes:])
        if entry is None:
            version = self.tables.version(body, self.post_header[EVENT_TABLE_MAP - 1], self._error)
            entry = _Table()
            entry.table.name = <char *>_copy(version.name.encode())
            entry.table.map = _copy(body[id_bytes:])
            entry.table.map_bytes = len(body) - id_bytes
            entry.plan = version.plan
            if entry.plan is not None:
                entry.table.plan = entry.plan.plan
                entry.table.columns = len(entry.plan.schema.columns)
                entry.table.key = version.key
                entry.table.schema = _copy(version.packed)
                entry.table.schema_bytes = len(version.packed)
            if len(self.versions) >= VERSIONS_KEPT:
                self.forget_tables()
                self.versions.clear()
            self.versions[body[id_bytes:]] = entry
        self.bind_table(le32(raw) if id_bytes == 4 else le48(raw), &entry.table)

    def _statement(self, bytes body):
        packed = events.ddl_of_statement(
            body, self.post_header[EVENT_QUERY - 1], self._gtid(), self._error, bool(self.transaction.grouped))
        if packed is not None:
            self._put_ddl(packed)
            self.transaction.begin_event = self.transaction.event
            self.transaction.begin_row = 1
        if not self.transaction.grouped:
            output_count(&self.out, COUNTER_TRANSACTIONS, 1)
            self.last_time_us = self.transaction.time_us
            output_set(&self.out, COUNTER_COMMIT_TIME_US, self.last_time_us)
            self.transaction.open = 0

    def _gtid(self):
        cdef uint8_t text[GTID_TEXT_BYTES]
        n = transaction_gtid(&self.transaction, text)
        return text[:n].decode() if n else None

    def _tagged_gtid(self, bytes body):
        tagged = events.parse_tagged_gtid(body, self._error)
        text = tagged.text.encode()[:GTID_TEXT_BYTES]
        self.open_transaction(tagged.commit_time_us or le32(self.event()) * <uint64_t>1000000)
        self.transaction.gtid_kind = GTID_TEXT
        self.transaction.text_bytes = len(text)
        memcpy(self.transaction.text, <const uint8_t *>text, len(text))

    def _open_payload(self, bytes body):
        self.payload = events.open_payload(body, self._error)
        input_clear(&self.inner)
        self.have_event = False
        self.current = &self.inner

    def _inflate(self):
        """More bytes of the open TRANSACTION_PAYLOAD; at its end the events outside go on."""
        try:
            piece = self.payload.read(INPUT_READ_BYTES)
        except Exception as error:
            raise self._error(f"the compressed transaction can't be unpacked: {error}") from None
        if piece:
            if not input_reserve(&self.inner, len(piece)):
                raise self._error("an event is larger than memory", remedy="give the engine more memory")
            memcpy(self.inner.bytes + self.inner.end, <const uint8_t *>piece, len(piece))
            self.inner.end += len(piece)
            return
        if self.inner.end != self.inner.begin:
            raise self._error("the compressed transaction ends inside an event")
        self.payload = None
        self.current = &self.input
        self.finish_event()

    # ---- errors --------------------------------------------------------------------------------------------------

    cdef bytes body(self):
        return PyBytes_FromStringAndSize(<const char *>self.event() + EVENT_HEADER_BYTES, self.body_bytes)

    def _view(self):
        return PyMemoryView_FromMemory(<char *>self.event(), self.current.event_bytes, PyBUF_READ).tobytes()

    def _where(self):
        return {"file": join_file_name(self.base, self.file) if self.base else None, "offset": self.next_offset}

    def _error(self, str what, *, remedy="", kind=BinlogError, **facts):
        """An error about the event now read, with source, file, offset and event type."""
        where = self._where()
        if self.have_event:
            where.update(offset=self.offset, event=events.type_name(self.type))
        return kind(what, remedy=remedy, source=self.source, **where, **facts)

    def _fault(self):
        facts = {}
        if self.fault in (FAULT_COLUMNS, FAULT_ROW, FAULT_ROW_EMPTY) and self.rows.table != NULL:
            facts["table"] = self.rows.table.name.decode()
        if self.fault == FAULT_ROW:
            facts["row"] = self.rows.row
            name = (<bytes>self.rows.table.name).decode()
            for entry in self.versions.values():
                if &(<_Table>entry).table == self.rows.table and 0 <= self.fault_column < self.rows.table.columns:
                    facts["column"] = (<_Table>entry).plan.schema.columns[self.fault_column].name
            return self._error(f"a row of {name} can't be decoded: {row_error_text(self.fault_detail)}", **facts)
        what, remedy = events.FAULTS[self.fault]
        if self.fault_detail:
            facts["found"] = self.fault_detail
        return self._error(what, remedy=remedy, **facts)

    cdef int failed(self, int fault, int64_t detail) noexcept nogil:
        self.fault = fault
        self.fault_detail = detail
        return FAULT

    # ---- one event in --------------------------------------------------------------------------------------------

    cdef const uint8_t *event(self) noexcept nogil:
        return self.current.bytes + self.current.event_at

    cdef int run(self, uint64_t budget) noexcept nogil:
        cdef uint64_t spent = 0
        cdef int code
        while True:
            if not output_flush(&self.out):
                code = RING_FULL
                break
            if not self.have_event:
                if spent >= budget:
                    code = MORE_TO_DO
                    break
                code = self.next_event()
                if code != OK:
                    break
                spent += self.current.event_bytes
            code = self.apply()
            if code != OK:
                break
            self.finish_event()
        if code == RING_FULL:
            output_count(&self.out, COUNTER_RING_FULL, 1)
        output_set(&self.out, COUNTER_OFFSET, self.next_offset)
        output_publish(&self.out)
        return code

    cdef int next_event(self) noexcept nogil:
        cdef int found = input_next(self.current), code
        cdef const uint8_t *event
        cdef size_t size
        if found != INPUT_EVENT:
            if found == INPUT_MORE:
                return NEED_INPUT if self.current == &self.input else PAYLOAD
            if found == INPUT_ERROR_PACKET:
                return ERROR_PACKET
            if found == INPUT_END_PACKET:
                input_consume(self.current)
                return ENDED
            return self.failed(FAULT_PACKET if found == INPUT_BAD_PACKET else FAULT_SIZE, 0)
        event = self.event()
        size = self.current.event_bytes
        self.type = event[4]
        self.flags = le16(event + 17)
        self.body_bytes = size - EVENT_HEADER_BYTES
        if self.current == &self.input:
            if self.type == EVENT_FORMAT_DESCRIPTION:
                code = self.describe(event, size)
                if code != OK:
                    return code
            elif not self.described and self.type != EVENT_ROTATE and self.type != EVENT_HEARTBEAT and self.type != EVENT_HEARTBEAT_V2:
                return self.failed(FAULT_NOT_DESCRIBED, self.type)
            if self.checksum:
                if size < EVENT_HEADER_BYTES + 4:
                    return self.failed(FAULT_SHORT, size)
                if not self.intact(event, size):
                    return self.failed(FAULT_CHECKSUM, 0)
                self.body_bytes -= 4
            code = self.locate(event, size)
            if code != OK:
                return code
        self.have_event = True
        self.count_event(event)
        return OK

    cdef int describe(self, const uint8_t *event, size_t size) noexcept nogil:
        # u16 binlog version | 50 bytes server version | u32 created | u8 header bytes | a post-header length per type |
        # u8 checksum algorithm | CRC32; the last two since MySQL 5.6.1 and MariaDB 5.3
        cdef size_t fixed = EVENT_HEADER_BYTES + 57, lengths
        cdef const uint8_t *version = event + EVENT_HEADER_BYTES + 2
        cdef uint32_t part = 0, number = 0, i = 0, parts = 0
        if size < fixed + 5 + EVENT_DELETE_ROWS_V1 or le16(event + EVENT_HEADER_BYTES) != 4 or event[fixed - 1] != EVENT_HEADER_BYTES:
            return self.failed(FAULT_DESCRIPTION, 0)
        while i < 50 and parts < 3:  # "10.11.6-MariaDB" -> 101106
            if 48 <= version[i] <= 57:
                part = part * 10 + version[i] - 48
            else:
                number = number * 100 + part % 100
                part = 0
                parts += 1
                if version[i] != 46:
                    break
            i += 1
        while parts < 3:
            number *= 100
            parts += 1
        lengths = size - fixed
        self.checksum = False
        if number >= 50601 or (number >= 50300 and size > fixed + 160):
            lengths -= 5
            if event[size - 5] > 1:
                return self.failed(FAULT_DESCRIPTION, event[size - 5])
            self.checksum = event[size - 5] == 1
        memset(self.post_header, 0, sizeof(self.post_header))
        memcpy(self.post_header, event + fixed, lengths if lengths < 255 else 255)
        self.described = True
        self.transaction.open = 0  # a file that ends inside a transaction: the server died, and rolls it back
        self.forget_tables()
        return OK

    cdef bint intact(self, const uint8_t *event, size_t size) noexcept nogil:
        cdef uint32_t found = 0
        cdef uint8_t header[EVENT_HEADER_BYTES]
        cdef size_t done = 0
        if self.type == EVENT_FORMAT_DESCRIPTION:  # its checksum is that of a file that has been closed
            memcpy(header, event, EVENT_HEADER_BYTES)
            header[17] &= <uint8_t>~EVENT_FLAG_BINLOG_IN_USE
            done = EVENT_HEADER_BYTES
            found = self.crc(0, header, done) if self.crc != NULL else <uint32_t>self.crc_wide(0, header, done)
        if self.crc != NULL:
            found = self.crc(found, event + done, size - 4 - done)
        else:
            found = <uint32_t>self.crc_wide(found, event + done, size - 4 - done)
        return found == le32(event + size - 4)

    cdef int locate(self, const uint8_t *event, size_t size) noexcept nogil:
        # The header has the low 32 bits of the event's end; 0 for events that a dump makes up, and for those inside
        # transactions since MariaDB 11.4. A server may leave events out, so positions may jump, but only ahead.
        cdef uint32_t end = le32(event + 13), ahead = end - <uint32_t>self.next_offset
        cdef int type = self.type
        self.offset = self.next_offset
        if not self.input.packets:
            self.next_offset += size
        elif type == EVENT_HEARTBEAT or type == EVENT_HEARTBEAT_V2:
            if not self.transaction.open and type == EVENT_HEARTBEAT and end and <int32_t>ahead > 0:
                self.next_offset += ahead
        elif not (self.flags & EVENT_FLAG_ARTIFICIAL or (end == 0 and (type == EVENT_ROTATE or type == EVENT_FORMAT_DESCRIPTION))):
            if end == 0:
                ahead = <uint32_t>size
            elif ahead < size or <int32_t>ahead < 0:
                return self.failed(FAULT_POSITION, end)
            self.next_offset += ahead
            self.offset = self.next_offset - size
        return OK

    cdef void count_event(self, const uint8_t *event) noexcept nogil:
        cdef int type = self.type
        output_count(&self.out, COUNTER_EVENTS, 1)
        if self.current == &self.input:
            output_count(&self.out, COUNTER_BINLOG_BYTES, self.current.event_bytes)
        if (type == EVENT_QUERY or type == EVENT_XID or EVENT_INTVAR == type or type == EVENT_RAND or type == EVENT_USER_VAR
                or EVENT_TABLE_MAP <= type <= EVENT_DELETE_ROWS_V1 or EVENT_ROWS_QUERY <= type <= EVENT_DELETE_ROWS
                or type == EVENT_TRANSACTION_PAYLOAD):
            # ANNOTATE_ROWS is left out of the ordinals: a server sends it on request only
            if self.transaction.open:
                self.transaction.event += 1
            else:
                self.open_transaction(le32(event) * <uint64_t>1000000)

    cdef void finish_event(self) noexcept nogil:
        self.have_event = False
        input_consume(self.current)
        output_shrink(&self.out)

    # ---- what it means -------------------------------------------------------------------------------------------

    cdef int apply(self) noexcept nogil:
        cdef int type = self.type
        if self.rows.active:
            return self.write_rows()
        if EVENT_WRITE_ROWS_V1 <= type <= EVENT_DELETE_ROWS_V1 or EVENT_WRITE_ROWS <= type <= EVENT_DELETE_ROWS:
            return self.start_rows()
        if type == EVENT_TABLE_MAP:
            return self.table_map()
        if type == EVENT_XID:
            return self.commit(self.event() + EVENT_HEADER_BYTES) if self.body_bytes >= 8 else self.failed(FAULT_SHORT, self.body_bytes)
        if type == EVENT_GTID or type == EVENT_ANONYMOUS_GTID:
            return self.gtid()
        if type == EVENT_MARIADB_GTID:
            return self.mariadb_gtid()
        if type == EVENT_QUERY:
            return self.query()
        if (type == EVENT_FORMAT_DESCRIPTION or type == EVENT_ROWS_QUERY or type == EVENT_ANNOTATE_ROWS or type == EVENT_HEARTBEAT
                or type == EVENT_HEARTBEAT_V2 or type == EVENT_BINLOG_CHECKPOINT or type == EVENT_GTID_LIST
                or type == EVENT_PREVIOUS_GTIDS or type == EVENT_STOP or type == EVENT_IGNORABLE
                or type == EVENT_TRANSACTION_CONTEXT or type == EVENT_VIEW_CHANGE
                or type == EVENT_INTVAR or type == EVENT_RAND or type == EVENT_USER_VAR):
            return OK  # they carry no change: the statement after an INTVAR is judged itself
        if type == EVENT_ROTATE and le32(self.event()):
            self.forget_tables()  # table ids may begin anew; a ROTATE without a time only repeats where the dump is
        if self.flags & EVENT_FLAG_IGNORABLE and type != EVENT_ROTATE:
            return OK
        return PYTHON

    cdef int gtid(self) noexcept nogil:
        # u8 flags | uuid | u64 number | u8 2 | u64 last committed | u64 sequence number | u56 commit time on this server, in µs
        cdef const uint8_t *body = self.event() + EVENT_HEADER_BYTES
        cdef uint64_t time_us = 0
        if self.body_bytes < 25:
            return self.failed(FAULT_SHORT, self.body_bytes)
        if self.body_bytes >= 49 and body[25] == 2:
            time_us = le55(body + 42)  # bit 55: the commit time on the first server follows
        self.open_transaction(time_us if time_us else le32(self.event()) * <uint64_t>1000000)
        if self.type == EVENT_GTID:
            self.transaction.gtid_kind = GTID_MYSQL
            memcpy(self.transaction.uuid, body + 1, 16)
            self.transaction.number = le64(body + 17)
        return OK

    cdef int mariadb_gtid(self) noexcept nogil:
        # u64 number | u32 domain | u8 flags | ...; the server id is the header's
        cdef const uint8_t *body = self.event() + EVENT_HEADER_BYTES
        if self.body_bytes < 13:
            return self.failed(FAULT_SHORT, self.body_bytes)
        if body[12] & (MARIADB_GTID_PREPARED_XA | MARIADB_GTID_COMPLETED_XA):
            return self.failed(FAULT_XA, 0)
        self.open_transaction(le32(self.event()) * <uint64_t>1000000)
        self.transaction.grouped = not body[12] & MARIADB_GTID_STANDALONE
        self.transaction.gtid_kind = GTID_MARIADB
        self.transaction.number = le64(body)
        self.transaction.domain = le32(body + 8)
        self.transaction.server = le32(self.event() + 5)
        return OK

    cdef int query(self) noexcept nogil:
        # u32 thread | u32 seconds | u8 schema bytes | u16 error | u16 status bytes | status | schema | 0 | statement
        cdef const uint8_t *body = self.event() + EVENT_HEADER_BYTES
        cdef size_t skip = self.post_header[EVENT_QUERY - 1], n
        cdef const uint8_t *statement
        if skip < 13 or self.body_bytes < skip:
            return self.failed(FAULT_SHORT, self.body_bytes)
        skip += le16(body + 11) + <size_t>body[8] + 1
        if self.body_bytes < skip:
            return self.failed(FAULT_SHORT, self.body_bytes)
        statement = body + skip
        n = self.body_bytes - skip
        if n == 5 and memcmp(statement, b"BEGIN", 5) == 0:
            self.transaction.grouped = 1
            return OK
        if (n == 6 and memcmp(statement, b"COMMIT", 6) == 0) or (n == 8 and memcmp(statement, b"ROLLBACK", 8) == 0):
            return self.commit(NULL)  # rows of a ROLLBACK that is logged belong to tables without transactions: they stay
        return PYTHON

    cdef int table_map(self) noexcept nogil:
        cdef const uint8_t *body = self.event() + EVENT_HEADER_BYTES
        cdef size_t id_bytes = 4 if self.post_header[EVENT_TABLE_MAP - 1] == 6 else 6
        cdef table_t *table
        if self.body_bytes < id_bytes + 2:
            return self.failed(FAULT_SHORT, self.body_bytes)
        table = self.find_table(le32(body) if id_bytes == 4 else le48(body))
        if (table == NULL or table.map_bytes != self.body_bytes - id_bytes
                or memcmp(table.map, body + id_bytes, table.map_bytes) != 0):
            return PYTHON
        table.map_event = self.transaction.event
        return OK

    cdef int start_rows(self) noexcept nogil:
        # u48 table | u16 flags | v2: u16 bytes of extra data, these two included | lenenc columns | bitmap of the columns
        # in the (first) image | update: bitmap of the second image | rows: bitmap of NULLs, values
        cdef const uint8_t *event = self.event()
        cdef const uint8_t *body = event + EVENT_HEADER_BYTES
        cdef const uint8_t *end = body + self.body_bytes
        cdef const uint8_t *at
        cdef int type = self.type
        cdef size_t skip = self.post_header[type - 1], bitmap
        cdef uint64_t id, columns
        cdef rows_t *rows = &self.rows
        rows.table = NULL
        if self.body_bytes < 10:
            return self.failed(FAULT_SHORT, self.body_bytes)
        id = le32(body) if skip == 6 else le48(body)
        at = body + (6 if skip == 6 else 8)
        if type >= EVENT_WRITE_ROWS and skip >= 10:
            if le16(at) < 2 or end - at < le16(at):
                return self.failed(FAULT_SHORT, self.body_bytes)
            at += le16(at)
        rows.table = self.find_table(id)
        if rows.table == NULL:
            return OK if id == DUMMY_TABLE else self.failed(FAULT_TABLE_UNKNOWN, <int64_t>id)
        if rows.table.plan == NULL:
            output_count(&self.out, COUNTER_ROWS_UNWANTED, 1)
            return OK
        if not lenenc(&at, end, &columns):
            return self.failed(FAULT_SHORT, self.body_bytes)
        if columns != rows.table.columns:
            return self.failed(FAULT_COLUMNS, <int64_t>columns)
        bitmap = (columns + 7) // 8
        if type >= EVENT_WRITE_ROWS:
            type -= EVENT_WRITE_ROWS - EVENT_WRITE_ROWS_V1
        rows.kind = RECORD_INSERT if type == EVENT_WRITE_ROWS_V1 else RECORD_UPDATE if type == EVENT_UPDATE_ROWS_V1 else RECORD_DELETE
        if <size_t>(end - at) < (2 * bitmap if rows.kind == RECORD_UPDATE else bitmap):
            return self.failed(FAULT_SHORT, self.body_bytes)
        rows.first_present = at - event
        at += bitmap
        rows.second_present = at - event
        if rows.kind == RECORD_UPDATE:
            at += bitmap
        rows.at = at - event
        rows.end = end - event
        rows.row = 0
        rows.bound = row_bound(rows.table.plan, end - at)
        self.head(rows.head, rows.kind, self.transaction.event, 0)
        record_set_u32(rows.head + RECORD_TABLE_AT, rows.table.key)
        rows.active = True
        return self.write_rows()

    cdef int write_rows(self) noexcept nogil:
        cdef rows_t *rows = &self.rows
        cdef output_t *out = &self.out
        cdef const uint8_t *event = self.event()
        cdef const uint8_t *src = event + rows.at
        cdef const uint8_t *end = event + rows.end
        cdef uint64_t most = RECORD_HEAD_BYTES + 1 + rows.bound * (2 if rows.kind == RECORD_UPDATE else 1)
        cdef uint64_t hash, other_hash
        cdef uint32_t number = self.transaction.event
        cdef uint8_t *to
        cdef uint8_t *p
        cdef int64_t used
        cdef bint deliver, direct
        cdef source_note_t after
        cdef int code
        while src < end:
            deliver = not self.delivered(number, rows.row)
            self.transaction.wanted = 1
            if deliver:
                if not self.transaction.begun:
                    code = self.begin()
                    if code != OK:
                        return code
                if not rows.table.schema_written:
                    rows.table.schema_written = True
                    if not self.resume_fragments and not self.write_schema(rows.table):
                        return RING_FULL if self.out.pending else self.failed(FAULT_MEMORY, rows.table.schema_bytes)
            to = output_room(out, most)
            direct = to != NULL and deliver and self.resume_fragments == 0
            if not direct:
                to = output_scratch(out, most)
                if to == NULL:
                    return self.failed(FAULT_MEMORY, most)
            memcpy(to, rows.head, RECORD_HEAD_BYTES)
            p = to + RECORD_HEAD_BYTES
            if rows.kind == RECORD_INSERT:
                p[0] = 0xc0
                p += 1
            used = row_image(rows.table.plan, event + rows.first_present, src, end, p, &p, &hash, &self.fault_column)
            if used > 0 and rows.kind == RECORD_UPDATE:
                src += used
                used = row_image(rows.table.plan, event + rows.second_present, src, end, p, &p, &other_hash, &self.fault_column)
                if hash != other_hash and other_hash != 0:  # 0: the second image leaves the key out, so it stays
                    to[RECORD_FLAGS_AT + 1] = RECORD_KEY_CHANGED
                if used == 0:
                    used = src - event - rows.at  # nothing but absent columns
                    src -= used
            elif rows.kind == RECORD_DELETE:
                p[0] = 0xc0
                p += 1
            if used <= 0:
                return self.failed(FAULT_ROW if used < 0 else FAULT_ROW_EMPTY, used)
            src += used
            record_set_u32(to + RECORD_LENGTH_AT, <uint32_t>(p - to))
            record_set_u32(to + RECORD_ROW_AT, rows.row)
            record_set_u64(to + RECORD_HASH_AT, hash)
            rows.at = src - event
            if direct:
                self.mark(&out.last, number, rows.row, False)
                out.rows += 1
                rows.row += 1
                output_claim(out, p - to)
            elif deliver:
                self.mark(&after, number, rows.row, False)
                rows.row += 1
                output_pend(out, p - to, &after, self.resume_fragments, 1)
                self.resume_fragments = 0
                if not output_flush(out):
                    return RING_FULL
            else:
                rows.row += 1
        rows.active = False
        return OK

    cdef int commit(self, const uint8_t *xid) noexcept nogil:
        cdef uint8_t *to
        cdef uint8_t *p
        cdef int code
        if self.transaction.wanted and not self.delivered(self.transaction.event, 0):
            if not self.transaction.begun:
                code = self.begin()
                if code != OK:
                    return code
            to = output_room(&self.out, SMALL_RECORD_BYTES)
            if to == NULL:
                return RING_FULL
            self.head(to, RECORD_COMMIT, self.transaction.event, 0)
            p = to + RECORD_HEAD_BYTES
            p[0] = 0xc0
            p[1] = 0x92
            p = transaction_put_gtid(&self.transaction, p + 2)
            if xid == NULL:
                p[0] = 0xc0
                p += 1
            else:
                p[0] = 0xcf
                record_set_u64(p + 1, le64(xid))
                p += 9
            record_set_u32(to + RECORD_LENGTH_AT, <uint32_t>(p - to))
            self.mark(&self.out.last, self.transaction.event, 0, True)
            output_claim(&self.out, p - to)
        output_count(&self.out, COUNTER_TRANSACTIONS, 1)
        self.last_time_us = self.transaction.time_us
        output_set(&self.out, COUNTER_COMMIT_TIME_US, self.last_time_us)
        self.transaction.open = 0
        return OK

    # ---- records out ---------------------------------------------------------------------------------------------

    cdef bint delivered(self, uint32_t event, uint32_t row) noexcept nogil:
        if not self.resuming:
            return False
        if place_compare(place_t(self.transaction.file, self.transaction.start, event, row), self.resume_place) <= 0:
            return True
        self.resuming = False
        return False

    cdef void open_transaction(self, uint64_t time_us) noexcept nogil:
        transaction_open(&self.transaction, self.file, self.offset, time_us)
        if not self.started:
            self.started = True
            self.first_file = self.file
            self.first_offset = self.offset
        if self.resuming and self.resume_begun and self.file == self.resume_place.file and self.offset == self.resume_place.start:
            self.transaction.begun = self.transaction.wanted = 1

    cdef void mark(self, source_note_t *note, uint32_t event, uint32_t row, bint closed) noexcept nogil:
        note.version = NOTE_VERSION
        note.source = self.number
        note.begun = not closed and self.transaction.begun
        note.closed = closed
        note.file = self.transaction.file
        note.start = self.transaction.start
        note.event = event
        note.row = row
        note.fragments = 0
        note.next_file = self.file
        note.next_offset = self.next_offset
        note.time_us = self.transaction.time_us

    cdef void head(self, uint8_t *to, int kind, uint32_t event, uint32_t row) noexcept nogil:
        record_head_init(to)
        to[RECORD_KIND_AT] = kind
        record_set_u16(to + RECORD_SOURCE_AT, self.number)
        record_set_u64(to + RECORD_TIME_AT, self.transaction.time_us)
        record_set_u32(to + RECORD_FILE_AT, self.transaction.file)
        record_set_u64(to + RECORD_START_AT, self.transaction.start)
        record_set_u32(to + RECORD_EVENT_AT, event)
        record_set_u32(to + RECORD_ROW_AT, row)

    cdef int begin(self) noexcept nogil:
        cdef uint32_t event = self.transaction.begin_event, row = self.transaction.begin_row
        cdef uint8_t *to = output_room(&self.out, SMALL_RECORD_BYTES)
        cdef uint8_t *p
        if to == NULL:
            return RING_FULL
        self.head(to, RECORD_BEGIN, event, row)
        p = to + RECORD_HEAD_BYTES
        p[0] = 0xc0
        p[1] = 0x92
        p = transaction_put_gtid(&self.transaction, p + 2)
        p[0] = 0xc0
        p += 1
        record_set_u32(to + RECORD_LENGTH_AT, <uint32_t>(p - to))
        self.transaction.begun = 1
        if place_compare(place_t(self.transaction.file, self.transaction.start, event, row), self.resume_place) < 0:
            event, row = self.resume_place.event, self.resume_place.row  # written again: what follows it was delivered
        self.mark(&self.out.last, event, row, False)
        output_claim(&self.out, p - to)
        return OK

    cdef bint write_schema(self, table_t *table) noexcept nogil:
        """False: not (wholly) out yet; it waits, or there was no memory for it."""
        cdef size_t n = RECORD_HEAD_BYTES + 1 + table.schema_bytes
        cdef uint8_t *to = output_scratch(&self.out, n)
        if to == NULL:
            return False
        self.head(to, RECORD_SCHEMA, table.map_event, 0)
        record_set_u32(to + RECORD_LENGTH_AT, <uint32_t>n)
        record_set_u32(to + RECORD_TABLE_AT, table.key)
        to[RECORD_HEAD_BYTES] = 0xc0
        memcpy(to + RECORD_HEAD_BYTES + 1, table.schema, table.schema_bytes)
        output_pend(&self.out, n, NULL, 0, 0)
        return output_flush(&self.out)

    # ---- tables by id --------------------------------------------------------------------------------------------

    cdef table_t *find_table(self, uint64_t id) noexcept nogil:
        cdef size_t i = id & (self.slot_count - 1)
        while self.slots[i].table != NULL:
            if self.slots[i].id == id:
                return self.slots[i].table
            i = (i + 1) & (self.slot_count - 1)
        return NULL

    cdef int bind_table(self, uint64_t id, table_t *table) except -1:
        cdef table_slot_t *old = self.slots
        cdef size_t count = self.slot_count, i
        if 2 * self.slots_used >= count:
            self.slots = <table_slot_t *>calloc(2 * count, sizeof(table_slot_t))
            if self.slots == NULL:
                self.slots = old
                raise MemoryError
            self.slot_count = 2 * count
            self.slots_used = 0
            for i in range(count):
                if old[i].table != NULL:
                    self.bind_table(old[i].id, old[i].table)
            free(old)
        i = id & (self.slot_count - 1)
        while self.slots[i].table != NULL and self.slots[i].id != id:
            i = (i + 1) & (self.slot_count - 1)
        self.slots_used += self.slots[i].table == NULL
        self.slots[i] = table_slot_t(id, table)
        return 0

    cdef void forget_tables(self) noexcept nogil:
        if self.slots_used:
            memset(self.slots, 0, self.slot_count * sizeof(table_slot_t))
            self.slots_used = 0
