"""The binlog decoder: bytes of a server or a file in, records in a ring out; without the GIL, without an object per event.

    recv / writable + filled ─▶ input ─▶ next_event ─▶ apply ─▶ output ─▶ ring      (_decoder.h and what it names)
                                              │           │
                                              └─ handle ◀─┘   Python, for what is rare: new TABLE_MAP, statements, ROTATE

`advance` goes on until input ends, the ring is full or the budget is used up, and goes on from exactly there when called again.
"""

cimport cython
from cpython.buffer cimport PyBUF_WRITE
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.errno cimport EAGAIN, ENOMEM
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from engine._ring cimport Ring
from engine.source._inflate cimport inflate
from engine.source._rows cimport row_bound, row_error_text, row_image, row_image_partial, row_spend

import os

from engine.errors import BinlogError, ConnectionLost, InternalError
from engine.position import Identity, join_file_name
from engine.source import crc, events, gtid, statements, xa
from engine.source.history.history import Moment
from engine.source.note import ResumePoint

NEED_INPUT = DECODER_INPUT   # everything that is there has been read
RING_FULL = DECODER_FULL     # call again when the readers have acked
MORE_TO_DO = DECODER_BUDGET  # the budget is used up
ENDED = DECODER_ENDED        # the server ended the dump

cdef Py_ssize_t VERSIONS_KEPT = 4096  # table versions remembered by their TABLE_MAP; beyond, all are asked for again
cdef str MEMORY = "give the engine more memory"
cdef object new_tuple = tuple.__new__  # a named one, of all its fields: half the time, and there may be one for each table


@cython.final
cdef class Decoder:
    """Reads one source's binlog and writes its records into a ring.

    ring: opened for writing; held for the decoder's lifetime. tables: a tables.TableVersions. source: its name, for messages.
    packets: bytes are a server's dump, not binlog files. number_of: base name of the binlog files -> source number.
    """

    def __cinit__(self, Ring ring not None, Versions tables not None, *, str source, bint packets, number_of):
        memset(&self.d, 0, sizeof(self.d))
        self.ring, self.tables, self.number_of, self.source = ring, tables, number_of, source
        self.base, self.versions, self.statement_log = "", [], statements.StatementLog(source)
        self.d.current = &self.d.input
        self.d.input.packets = packets
        self.d.out.ring = &ring.ring
        self.d.row_image = <row_image_t>row_image
        self.d.row_bound = <row_bound_t>row_bound
        self.d.row_image_partial = <row_image_partial_t>row_image_partial
        self.d.row_spend = <row_spend_t>row_spend
        self.d.inflate = inflate
        if crc.WIDE:
            self.d.crc_wide = <crc32_wide_t><uintptr_t>crc.ADDRESS
        else:
            self.d.crc = <crc32_t><uintptr_t>crc.ADDRESS
        if not input_reserve(&self.d.input, 1) or not tables_grow(&self.d.tables):
            raise MemoryError

    def __dealloc__(self):
        input_free(&self.d.input)
        input_free(&self.d.inner)
        output_free(&self.d.out)
        pages_resize(self.d.unpacked, self.d.unpacked_bytes, 0)
        free(self.d.tables.slots)

    # ---- where to read -------------------------------------------------------------------------------------------

    def open(self, str base, uint32_t file, uint64_t offset, *, bint checksum=False):
        """A new stream of bytes begins: at `offset` of this file (base "": the first ROTATE will tell).

        checksum: a ROTATE that comes before the first FORMAT_DESCRIPTION ends in a CRC32. What waits for room in the ring is
        kept, everything else that was half read is forgotten.
        """
        input_clear(&self.d.input)
        input_clear(&self.d.inner)
        self.payload = None
        self.d.current = &self.d.input
        decoder_forget_unpacked(&self.d)
        self.statement_put = self.commit_due = self.replayed = False
        self.d.replaying = False
        if self.d.transaction.open:
            self.d.out.gtids.open = False  # it comes again
        self.d.have_event = self.d.described = self.d.rows.active = self.d.transaction.open = self.d.started = 0
        self.d.checksum = checksum
        tables_forget_ids(&self.d.tables)
        if base:
            self.enter(base, file, offset)

    def seek(self, uint64_t offset):
        """In a file: the next byte that comes in is that of `offset`, where an event begins."""
        input_clear(&self.d.input)
        self.d.next_offset = offset

    def resume(self, point):
        """Leave out what is delivered already: what a note.ResumePoint says, whose file and offset `open` got."""
        cdef source_note_t *last = &self.d.out.last
        self.d.resume.file, self.d.resume.start, self.d.resume.event, self.d.resume.row = point.after
        self.d.resuming = True
        self.d.resume_begun = point.begun
        self.d.resume_fragments = point.fragments
        self.d.number = point.source
        self.know_origin(point.origin_us)
        if self.d.out.pending == 0:
            last.version, last.source, last.time_us = NOTE_VERSION, point.source, 0
            last.file, last.start, last.event, last.row = point.after
            last.begun, last.closed, last.fragments = point.begun, not point.begun, point.fragments
            last.next_file, last.next_offset = point.file, point.offset
            last.origin_us = self.d.origin_us

    def resume_point(self):
        """Where to dump from to go on without a gap, as a note.ResumePoint; None before a position is known."""
        cdef decoder_t *d = &self.d
        cdef source_note_t last = d.out.pending_last if d.out.pending and d.out.pending_counts else d.out.last
        cdef place_t place = place_t(last.file, last.start, last.event, last.row)
        cdef bint begun = d.transaction.open and d.transaction.begun
        if not self.base:
            return None
        if last.source != d.number:  # of the history before: nothing of this one has been written
            place = place_t(0, 0, 0, 0)
        if d.resuming and place_compare(d.resume, place) >= 0:
            place = d.resume
            begun = d.resume_begun
        return ResumePoint(
            d.number, d.file, d.transaction.start if d.transaction.open else d.next_offset,
            Identity(place.file, place.start, place.event, place.row), d.resume_fragments, bool(begun))

    def settle(self):
        """What waits goes into the ring, and what is over counts as executed. False: the ring is full, call again."""
        if not output_flush(&self.d.out):
            return False
        if not self.d.transaction.open and not gtids_count(&self.d.out.gtids):
            self._take_gtids()
        return True

    def leave(self):
        """The next bytes are another server's: its history has its own number. What is torn ends as such. False: as above."""
        if not self.settle() or decoder_tear(&self.d, NOTE_LEFT) != DECODER_OK:
            return False
        self.d.resuming = self.d.out.gtids.open = False
        self.base = ""
        self.d.number = 0
        return True

    cdef int enter(self, str base, uint32_t file, uint64_t offset) except -1:
        self.ring.check_writing()
        if base != self.base:
            number = self.number_of(base)
            if self.d.number and self.d.number != number:
                self.d.resuming = False  # another history: its places say nothing about this one
            self.base = base
            self.d.number = number
        self.d.file = file
        self.d.offset = self.d.next_offset = offset
        output_set(&self.d.out, COUNTER_FILE, file)
        output_set(&self.d.out, COUNTER_OFFSET, offset)
        return 0

    @property
    def position(self):
        """(base name, file number, offset of the next event)."""
        return self.base, self.d.file, self.d.next_offset

    @property
    def number(self):
        """The source number; 0 before it is known."""
        return self.d.number

    @property
    def first_start(self):
        """Identity of the place before the first transaction since `open`; None: there was none yet."""
        return Identity(self.d.first_file, self.d.first_offset, 0, 0) if self.d.started else None

    @property
    def records(self):
        """Records written by this decoder."""
        return self.d.out.total + self.d.out.records

    @property
    def commit_time_us(self):
        """Commit time of the last transaction read, µs since 1970; 0: none yet."""
        return self.d.last_time_us

    @property
    def unread_bytes(self):
        """Bytes of an event that has not come in wholly."""
        return self.d.input.end - self.d.input.begin

    @property
    def unread_event(self):
        """That event's type, as its header claims; None where not even that has come in."""
        cdef int type = input_claimed_type(&self.d.input)
        return None if type < 0 else events.type_name(type)

    # ---- what was executed (see ledger.py) -----------------------------------------------------------------------

    def know_gtids(self, mark, bint mariadb, entries):
        """Executed is the set that meta keeps for the place `mark` (None: the empty set), and `entries` (None: nobody knows)."""
        cdef gtid_note_t *note = &self.d.out.gtids.note
        memset(note, 0, sizeof(note[0]))
        note.known, note.mariadb, note.marked, note.count = entries is not None, mariadb, mark is not None, len(entries or ())
        if mark is not None:
            note.mark_file, note.mark_start = mark.file, mark.start
        for i, (owner, tag, low, high) in enumerate(entries or ()):
            memcpy(note.entries[i].id, <const uint8_t *><bytes>owner, 16)
            note.entries[i].tag_bytes = len(tag)
            memcpy(note.entries[i].tag, <const uint8_t *><bytes>tag, len(tag))
            note.entries[i].low, note.entries[i].high = low, high

    def gtid_entries(self):
        """(owner, tag, low, high) of what was executed since the mark; None: not known."""
        cdef gtids_t *g = &self.d.out.gtids
        if not self.d.transaction.open and not self.d.out.pending:
            gtids_count(g)
        if not g.note.known:
            return None
        return [(g.note.entries[i].id[:16], g.note.entries[i].tag[:g.note.entries[i].tag_bytes], g.note.entries[i].low,
                 g.note.entries[i].high) for i in range(g.note.count)]

    @property
    def boundary(self):
        """Identity of the place before which `gtid_entries` were executed: the open transaction's begin, or the next event."""
        if self.d.transaction.open:
            return Identity(self.d.transaction.file, self.d.transaction.start, 0, 0)
        return Identity(self.d.file, self.d.next_offset, 0, 0)

    @property
    def origin_us(self):
        """When the latest transaction that is over was made, as replicas' binlogs have it too, µs since 1970; 0: not known."""
        return self.d.origin_us

    def know_origin(self, uint64_t origin_us):
        """From elsewhere: transactions up to then are over."""
        self.d.origin_us = max(self.d.origin_us, origin_us)

    def flag_again(self, uint64_t until_us):
        """Records of transactions whose `origin_us` is up to this one say that they may have come before; 0: none do."""
        self.d.again_until_us = until_us

    # ---- bytes in, records out -----------------------------------------------------------------------------------

    def recv(self, int fd, bint wait=False):
        """Read once from a socket or a file. Bytes read; 0: the end; -1: nothing there now, nor (wait) within SO_RCVTIMEO.

        Raises:
            ConnectionLost: the read failed.
        """
        cdef int64_t n
        with nogil:
            n = input_read(&self.d.input, fd, wait)
        if n == -EAGAIN:
            return -1
        if n == -ENOMEM:
            raise self._error("an event is larger than memory", remedy=MEMORY)
        if n < 0:
            raise ConnectionLost("reading failed", source=self.source, error=os.strerror(-n))
        return n

    def writable(self):
        """A memoryview to put bytes into, for those who read them themselves (TLS); then call `filled`."""
        cdef input_t *to = &self.d.input
        if not input_reserve(to, INPUT_READ_BYTES):
            raise self._error("an event is larger than memory", remedy=MEMORY)
        return PyMemoryView_FromMemory(<char *>to.bytes + to.end, to.capacity - to.end, PyBUF_WRITE)

    def filled(self, size_t n):
        """The first n bytes of `writable` hold input."""
        if n > self.d.input.capacity - self.d.input.end:
            raise InternalError("more bytes filled than were writable", bytes=n)
        self.d.input.end += n

    def advance(self, uint64_t budget_bytes, bint hold=False):
        """Read events, about `budget_bytes` of them at most. NEED_INPUT, RING_FULL, MORE_TO_DO or ENDED.

        hold: what refers to new tables isn't seen before `release`, which has to follow within milliseconds.

        Raises:
            BinlogError: bytes that are damaged or not understood; ServerSetupError: the server doesn't log rows;
            SourceError: the server sent an error packet.
        """
        cdef int code
        self.ring.check_writing()
        try:
            while True:
                with nogil:
                    code = decoder_run(&self.d, budget_bytes)
                if code == DECODER_FAULT:
                    raise self._fault()
                if code == DECODER_ERROR_PACKET:
                    packet = PyBytes_FromStringAndSize(<const char *>decoder_event(&self.d), self.d.current.event_bytes)
                    raise events.error_packet(packet, source=self.source, **self.where())
                if code == DECODER_PAYLOAD:
                    self._inflate()
                elif code == DECODER_PYTHON:
                    if not self._handle():
                        return RING_FULL
                else:
                    return code
        finally:
            if not hold:
                self.release()

    def release(self):
        """What refers to new tables goes out: meta has them when this returns."""
        if self.tables.unsynced:
            self.tables.sync()
        if self.d.out.held:
            output_release(&self.d.out)
            decoder_tell_offset(&self.d)

    def heartbeat(self, uint64_t time_us):
        """Say how far the source has come. False: not now (a transaction is open in the ring, or the ring is full)."""
        self.ring.check_writing()
        return bool(self.base and decoder_heartbeat(&self.d, time_us))

    # ---- events that Python handles ------------------------------------------------------------------------------

    def _handle(self):
        """False: the ring is full; to be called again."""
        cdef int type = self.d.type
        if self.replayed:
            if decoder_commit(&self.d, NULL) != DECODER_OK:
                return False
            self.replayed = self.d.replaying = False
            decoder_finish_event(&self.d)
            return True
        if type == EVENT_TABLE_MAP:
            self._learn_table()
            return True  # apply looks again
        if type == EVENT_TRANSACTION_PAYLOAD:
            self.payload = events.open_payload(self.body(), self._error)
            input_clear(&self.d.inner)
            self.d.have_event = False
            self.d.current = &self.d.inner
            return True  # its own events come first
        if type == EVENT_QUERY or type == EVENT_EXECUTE_LOAD_QUERY:
            if not self._statement(self.body()):
                return False
            if not self.d.have_event:
                return True  # XA COMMIT: what was prepared comes first
        elif type == EVENT_XA_PREPARE:
            if self._xa_prepare(self.body()):
                return True
        elif type == EVENT_ROTATE:
            if self.d.input.packets:
                base, file, offset = events.parse_rotate(self.body(), self._error)
                self.enter(base, file, offset)
        elif type == EVENT_GTID_TAGGED:
            self._tagged_gtid(self.body())
        elif type == EVENT_FORMAT_DESCRIPTION or type == EVENT_PREVIOUS_GTIDS or type == EVENT_GTID_LIST:
            if self.ledger is not None:
                self.ledger.file_head(type, decoder_event(&self.d)[:EVENT_HEADER_BYTES], self.body(), self.d.file)
        elif type == EVENT_GTID or type == EVENT_ANONYMOUS_GTID or type == EVENT_MARIADB_GTID:
            self._take_gtids()
            return True
        else:
            raise events.not_understood(type, self._error)
        decoder_finish_event(&self.d)
        return True

    cdef int _learn_table(self) except -1:
        cdef int post_header = self.d.post_header[EVENT_TABLE_MAP - 1]
        cdef TableVersion version = self.tables.version(self.body(), post_header, bool(self.d.mariadb), self._moment, self._error)
        self.d.out.held |= self.tables.unsynced
        if len(self.versions) >= VERSIONS_KEPT and not self.d.tables.in_transaction:
            self._keep([])
        self.versions.append(version)
        tables_add(&self.d.tables, &version.table)
        return 0

    def _statement(self, bytes body):
        """QUERY and EXECUTE_LOAD_QUERY. False: the ring is full; to be called again."""
        cdef uint8_t text[GTID_TEXT_BYTES]
        cdef uint32_t event = self.d.transaction.event
        cdef uint8_t post_header = self.d.post_header[self.d.type - 1]
        cdef int kind
        cdef bytes packed
        if self.statement_put:
            return self._commit_statement()
        name = text[:transaction_gtid(&self.d.transaction, text)].decode() or None
        kind, packed = statements.record_of_statement(body, post_header, name, self._error)
        if kind == statements.XA:
            self._xa_ending(packed.decode())
            return True
        if kind == RECORD_STATEMENT:
            return True if self.d.transaction.prepared and not self.d.replaying else self._put_statement(packed)
        if kind == RECORD_DDL:
            self._forget(self.tables.learn(body, post_header, bool(self.d.mariadb), self._moment()))
            self.d.out.held |= self.tables.unsynced
            if not decoder_delivered(&self.d, event, 0):
                output_count(&self.d.out, COUNTER_DDL, 1)
                self._put_packed(RECORD_DDL, packed)
        if self.d.transaction.grouped:  # CREATE TABLE ... SELECT: its ddl record stands before begin
            if kind == RECORD_DDL and not self.d.transaction.begun:
                self.d.transaction.begin_event = event
                self.d.transaction.begin_row = 1
        else:
            decoder_close_transaction(&self.d)
        return True

    cdef int _put_packed(self, int kind, bytes packed) except -1:
        cdef uint32_t event = self.d.transaction.event
        if decoder_put_packed(&self.d, kind, 0, event, <const uint8_t *>packed, len(packed), True) == DECODER_FAULT:
            raise self._fault()
        return 0

    def _put_statement(self, bytes packed):
        """A change logged as a statement: between begin and commit, as a row would stand."""
        self.d.transaction.wanted = True
        if not self.d.transaction.grouped:  # a transaction by itself: begin, it and commit count as three events
            self.commit_due = self.d.transaction.grouped = True
            self.d.transaction.event += 1
        if not decoder_delivered(&self.d, self.d.transaction.event, 0):
            if not self.d.transaction.begun and decoder_begin(&self.d) != DECODER_OK:
                return False
            output_count(&self.d.out, COUNTER_STATEMENTS, 1)
            self.statement_log.warn(packed, self.where())
            self._put_packed(RECORD_STATEMENT, packed)
        self.d.transaction.event += self.commit_due
        self.statement_put = True
        return self._commit_statement()

    def _commit_statement(self):
        """The statement is put; one that is a transaction by itself is committed too."""
        if self.commit_due and (not output_flush(&self.d.out) or decoder_commit(&self.d, NULL) != DECODER_OK):
            return False
        self.statement_put = self.commit_due = False
        return True

    def _take_gtids(self):
        """There are too many for the note: meta gets them."""
        self.ledger.keep()
        if not gtids_count(&self.d.out.gtids):
            raise InternalError("GTIDs found no room", source=self.source)

    def _tagged_gtid(self, bytes body):
        cdef gtid_entry_t *now = &self.d.out.gtids.now
        tagged = gtid.parse_tagged_gtid(body, self._error)
        if not gtids_begin(&self.d.out.gtids, self.d.file, self.d.offset):
            self._take_gtids()
            gtids_begin(&self.d.out.gtids, self.d.file, self.d.offset)
        memcpy(now.id, <const uint8_t *><bytes>tagged.uuid, 16)
        now.tag_bytes = len(tagged.tag)
        memcpy(now.tag, <const uint8_t *><bytes>tagged.tag, len(tagged.tag))
        now.low = now.high = tagged.number
        text = tagged.text.encode()[:GTID_TEXT_BYTES - 2]
        decoder_open_transaction(&self.d, tagged.commit_time_us or decoder_event_time_us(&self.d))
        self.d.transaction.origin_us = tagged.origin_us or self.d.transaction.time_us
        self.d.transaction.gtid_kind = GTID_TEXT
        self.d.transaction.text_bytes = len(text)
        memcpy(self.d.transaction.text, <const uint8_t *>text, len(text))

    def _inflate(self):
        """More bytes of the open TRANSACTION_PAYLOAD; at its end the events outside go on."""
        cdef input_t *inner = &self.d.inner
        try:
            piece = self.payload.read(INPUT_READ_BYTES)
        except events.ZstdError as error:
            raise self._error(f"the compressed transaction can't be unpacked: {error}") from None
        if piece:
            if not input_reserve(inner, len(piece)):
                raise self._error("an event is larger than memory", remedy=MEMORY)
            memcpy(inner.bytes + inner.end, <const uint8_t *>piece, len(piece))
            inner.end += len(piece)
            return
        if inner.end != inner.begin:
            raise self._error("the compressed transaction ends inside an event")
        self.payload = None
        self.d.current = &self.d.input
        if self.d.replaying:
            self.d.type, self.d.flags, self.d.have_event = EVENT_XA_PREPARE, 0, True
            self.replayed = True
        else:
            decoder_finish_event(&self.d)

    # ---- XA (see xa.py) ------------------------------------------------------------------------------------------

    def _xa_prepare(self, bytes body):
        """True: it commits too, and the group's events come first. In a TRANSACTION_PAYLOAD it is the last one."""
        parsed = xa.parse_prepare(body)
        if parsed is None or not self.d.transaction.prepared:
            raise self._error("XA_PREPARE can't be read", remedy=events.DAMAGED)
        one_phase, xid = parsed
        place = xa.Place(self.base, self.d.transaction.file, self.d.transaction.start)
        if one_phase:
            self._replay(self._groups().group_at(place, self._error))
            return True
        self._groups().remember(xid, place)
        decoder_close_transaction(&self.d)
        return False

    def _xa_ending(self, str text):
        ending = xa.parse_ending(text)
        if ending is None:
            raise self._error("an XA statement that is not known", statement=text)
        place = xa.Place(self.base, self.d.transaction.file, self.d.transaction.start)
        if ending.commits:
            self._replay(self._groups().group(ending.xid, place, self._error))
        else:
            self._groups().forget(ending.xid)
            decoder_close_transaction(&self.d)

    def _groups(self):
        if self.prepared is None:
            raise self._error("an XA transaction, in binlog that can't be read twice", remedy="read it from files or a server")
        return self.prepared

    def _replay(self, group):
        """The group's events come next, as part of the open transaction."""
        self.payload = group
        input_clear(&self.d.inner)
        self.d.have_event = False
        self.d.current = &self.d.inner
        self.d.replaying = self.d.transaction.grouped = True

    # ---- errors --------------------------------------------------------------------------------------------------

    def _forget(self, names):
        """The same TABLE_MAP may from now on mean other columns: of the tables with these names, in lower case."""
        if names:
            self._keep([known for known in self.versions if (<TableVersion>known).name.lower() not in names])

    def _keep(self, versions):
        cdef TableVersion known
        tables_forget(&self.d.tables)
        self.versions = versions
        for known in versions:
            tables_add(&self.d.tables, &known.table)

    def _moment(self):
        """Where the event now read stands, for the schema history."""
        cdef transaction_t *now = &self.d.transaction
        return new_tuple(Moment, (self.d.number, self.base, new_tuple(Identity, (now.file, now.start, now.event, 0))))

    cdef bytes body(self):
        return PyBytes_FromStringAndSize(<const char *>decoder_event(&self.d) + EVENT_HEADER_BYTES, self.d.body_bytes)

    cdef dict where(self):
        return {"file": join_file_name(self.base, self.d.file) if self.base else None, "offset": self.d.next_offset}

    cdef TableVersion known(self, table_t *table):
        for known in self.versions:
            if &(<TableVersion>known).table == table:
                return known
        return None

    def _error(self, str what, *, str remedy="", kind=BinlogError, **facts):
        """An error about the event now read, with source, file, offset and event type."""
        where = self.where()
        if self.d.have_event or self.payload is not None:
            type = self.d.type if self.d.have_event else EVENT_TRANSACTION_PAYLOAD
            where.update(offset=self.d.offset, event=events.type_name(type))
        return kind(what, remedy=remedy, source=self.source, **where, **facts)

    def _fault(self):
        cdef TableVersion known
        facts = {}
        if self.d.fault in (FAULT_COLUMNS, FAULT_ROW, FAULT_ROW_EMPTY):
            known = self.known(self.d.rows.table)
            facts["table"] = known.name
            if self.d.fault == FAULT_ROW:
                facts["row"] = self.d.rows.row
                if 0 <= self.d.fault_column < known.plan.columns:
                    facts["column"] = known.plan.schema.columns[self.d.fault_column].name
                return self._error(row_error_text(self.d.fault_detail), remedy=events.DAMAGED, **facts)
        if not self.d.have_event and self.payload is None and self.d.fault != FAULT_PACKET and self.d.type >= 0:
            facts["event"] = events.type_name(self.d.type)  # as its header claims
        what, remedy = events.FAULTS[self.d.fault]
        if self.d.fault_detail:
            facts["found"] = self.d.fault_detail
        return self._error(what, remedy=remedy, **facts)
