"""What a session does for each batch and each ack: natively, since that is thousands of times a second, mostly for a row or two.

    store ──bell──▶ Watch ──▶ Flow.pump ──▶ Outbox ══▶ consumer ══▶ Inbox ──▶ Flow: credit, acks ──▶ AckKeeper

All that is rare, from hello to the end, is in `engine.server.session`, whose Session is a Flow.
"""

from collections import deque

from engine.errors import MetaAway, MetaError, MetaFull, ProtocolError, Refused
from engine.wire import INTERNAL, PROTOCOL_FAULT, Schemas, Sources, parse_client_message

cimport cython
from libc.stdint cimport int64_t, uint64_t
from posix.unistd cimport read

from engine._cursor cimport Cursor, StoreBatch
from engine._ring cimport Ring, ring_bell_when, ring_put_load_acquire
from engine.server._answers cimport acked_batch, pack_acked, pack_head
from engine.server._inbox cimport NOTHING_YET, Inbox
from engine.server._loop cimport Loop
from engine.server._outbox cimport Outbox

MOST_ANSWERS = 1000  # frames not taken by the peer, beyond which nothing more is read from it
MESSAGES_PER_TURN = 16  # then other sessions have their turn: a consumer that reads is not to wait for one that only asks
PATIENCE_S = 5.0  # for the rest of a transaction: then its source is taken for dead, and the others must go on
LISTENING = ("greeting", "waiting", "open")  # states in which what comes in counts

cdef enum:
    BATCHES_PER_TURN = 8
    HUSHED_BYTES = 512  # as often it may have rung, at most once for each store
    FILL_STEPS = 8  # looks at a filling batch during batch_wait_ms
    ROOM_BYTES = 4096  # for what comes in at once: messages are small, and thousands of peers may send nothing but a byte

cdef int _MOST_ANSWERS = MOST_ANSWERS
cdef int _MESSAGES_PER_TURN = MESSAGES_PER_TURN
cdef double _PATIENCE_S = PATIENCE_S


@cython.final
cdef class Store:
    """The ring of one partition."""

    def __init__(self, int partition, Ring ring not None):
        self.partition = partition
        self.ring = ring
        self.waiting = {}


@cython.final
cdef class Lane:
    """One partition in a session."""

    def __init__(self, Store store not None, Cursor cursor not None):
        self.store = store
        self.cursor = cursor


@cython.final
cdef class Watch:
    """The stores that are served here, and the sessions that wait for records in them. bell: descriptor of the stores' Bell."""

    def __init__(self, Loop loop not None, int bell):
        self.loop = loop
        self.bell = bell
        self.stores = []
        loop.add_reader(bell, self._on_bell)

    def add(self, list stores):
        self.stores += stores

    def remove(self, list stores):
        self.stores = [store for store in self.stores if store not in stores]

    cpdef int serve(self) except -1:
        """Sessions for which there is something new send it."""
        cdef Store store
        cdef uint64_t put
        for store in self.stores:
            if store.waiting:
                store.ring.check_open()
                put = ring_put_load_acquire(&store.ring.ring)
                ready = [flow for flow, seen in store.waiting.items() if put > <uint64_t>seen]
                for flow in ready:
                    del store.waiting[flow]
                for flow in ready:
                    (<Flow>flow)._pump()
        return 0

    cdef int ask(self) except -1:
        """Somebody waits for records: see to it, before the loop waits again, that their coming wakes the loop."""
        if not self.arming:
            self.arming = True
            self.loop.call_soon(self._arm)
        return 0

    def _arm(self):
        cdef Store store
        cdef bint more = False
        self.arming = True  # who waits again is seen to below
        self.serve()
        self.arming = False
        for store in self.stores:
            if store.waiting:
                store.ring.check_open()
                more |= ring_bell_when(&store.ring.ring, min(store.waiting.values())) != 0
        if more:  # it has come since they were looked at
            self.ask()

    def _on_bell(self):
        cdef char[HUSHED_BYTES] rung
        read(self.bell, rung, HUSHED_BYTES)
        self._arm()


@cython.final
cdef class _Durable:
    """Called when an ack is kept."""

    cdef Flow flow
    cdef uint64_t batch
    cdef object answered_by

    def __call__(self):
        flow = self.flow
        if flow.state == "open" and flow._is_ours():
            if not flow.acked:
                flow.loop.call_soon(flow._confirm)
            flow.acked.pop(self.answered_by, None)
            flow.acked[self.answered_by] = self.batch  # an answer is for the acks before it in its partition, too


cdef class Flow:
    """Base of a session: its socket, what comes in and goes out, and the consumer's place."""

    def __init__(self, hub, sock):
        self.loop = hub.loop
        self.watch = hub.watch
        now = self.loop.time()
        self.state = "greeting"
        self._hub = hub
        self._sock = sock
        self._inbox = Inbox(sock, hub.settings.max_frame, ROOM_BYTES)
        self._outbox = Outbox(sock, now)
        self.max_outstanding = hub.settings.max_outstanding
        self._since = self._received = self._begun = now
        self._consumer = ""
        self._lanes, self._gets = deque(), deque()
        self._known_tables, self._known_sources = set(), set()
        self.acked = {}

    # ---- what comes in

    def _read(self, bint wanted):
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                self.loop.add_reader(self._sock, self._on_readable)
            else:
                self.loop.remove_reader(self._sock)

    def _on_readable(self):
        cdef bint leaving = self.state == "leaving", begins = self._inbox.start == self._inbox.end
        cdef Py_ssize_t count = self._inbox.discard() if leaving else self._inbox.receive()
        if count == NOTHING_YET:
            self._send_out()  # what TLS has to say by itself
        elif count == 0:
            self.close()
        elif not leaving:
            self._received = self.loop.time()
            if begins:
                self._begun = self._received
            self._work_through()

    def _work_through(self):
        """Handle the messages received; when there are very many, the others' turn comes in between."""
        cdef int handled = 0
        cdef uint64_t number
        cdef bytes payload
        if self.state not in LISTENING:
            return
        try:
            while handled < _MESSAGES_PER_TURN:
                payload = self._inbox.next()
                if payload is None:
                    break
                handled += 1
                if payload == self.usual_credit:
                    self._add_credit(self.usual_batches, self.usual_rows, self.usual_bytes)
                elif self.state == "open" and (number := acked_batch(payload)):
                    self._ack(number)
                else:
                    self._handle(parse_client_message(payload), payload)
                if self.state not in LISTENING:
                    break
        except ProtocolError as error:
            self.fail(PROTOCOL_FAULT, str(error))
        except Refused as error:
            self._refuse(error)
        except (MetaAway, MetaFull) as error:  # it may be over soon, and those who are there already can go on
            self.fail(INTERNAL, f"not now: {error}", retryable=True)
        except MetaError:
            raise  # no session can go on
        except Exception as error:
            self._blame_ourselves(error)
        self._hub.work += handled
        if handled:
            self._begun = self._received
        if self.state in LISTENING:
            more_later = len(self._outbox) < _MOST_ANSWERS
            self._read(handled < _MESSAGES_PER_TURN and more_later)
            if handled == _MESSAGES_PER_TURN and more_later:
                self.loop.call_soon(self._work_through)
            if self._gets:
                self._expire_gets()

    def _on_credit(self, message, bytes payload):
        self.usual_credit = payload
        self.usual_batches, self.usual_rows, self.usual_bytes = message.batches, message.rows or 0, message.bytes or 0
        self._add_credit(self.usual_batches, self.usual_rows, self.usual_bytes)

    cdef int _add_credit(self, int64_t batches, uint64_t rows, uint64_t bytes) except -1:
        # What lets the next batch go out will call pump.
        cdef bint waits = self._credit > 0 and rows == self.credit_rows and bytes == self.credit_bytes
        self._credit += batches
        self.credit_rows, self.credit_bytes = rows, bytes
        if not waits:
            self._pump()
        return 0

    def _on_ack(self, uint64_t number):
        self._ack(number)

    cdef int _ack(self, uint64_t number) except -1:
        cdef Lane lane
        cdef _Durable durable = _Durable.__new__(_Durable)
        durable.flow, durable.batch = self, number
        durable.answered_by = ~<object>number  # one that had been acked before is answered by itself
        for lane in self._lanes:
            if number in lane.cursor.outstanding:
                lane.cursor.ack(number)
                self._keep(lane)
                durable.answered_by = lane.store.partition
                break
        else:
            lane = self._lanes[0]
            lane.cursor.ack(number)  # says whether it was ever handed out
        self._hub.acks.then(durable, self._destination.name)
        return 0

    cdef int _keep(self, Lane lane) except -1:
        self._hub.acks.keep(lane.cursor, self._destination.name, self._consumer, lane.store.partition)
        return 0

    def _confirm(self):
        """Send what is durable, all in one go."""
        if self.acked:
            wait_for_us = self.stalled or self._outbox.frames  # batches that pump has not sent
            self._outbox.add([self._take_acked()])
            self._hub.work += 1
            self._send_out()
            if wait_for_us:
                self._pump()

    def _take_acked(self):
        frames = b"".join([pack_acked(batch, answered_by < 0) for answered_by, batch in self.acked.items()])
        self.acked.clear()
        return frames

    # ---- what goes out

    def pump(self):
        """Send batches as far as the consumer wants any, and takes them."""
        self._pump()

    cdef int _pump(self) except -1:
        cdef int _
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            for _ in range(BATCHES_PER_TURN):
                if not self._may_send():
                    return 0
                if not self._send_next():
                    self._wait_for_more()
                    return 0
                if len(self._lanes) == 1 and (<Lane>self._lanes[0]).cursor.has_had_all():  # a look would find nothing
                    if self._may_send():
                        self._wait_for_more()
                    return 0
            self.loop.call_soon(self.pump)
        except MetaError:
            raise
        except Exception as error:
            self._blame_ourselves(error)
        return 0

    cdef bint _may_send(self) except -1:
        cdef Lane lane
        cdef Py_ssize_t outstanding = 0
        if self.state != "open" or self._outbox.frames or not (self._credit > 0 or self._gets):
            return False
        for lane in self._lanes:
            outstanding += len(lane.cursor.outstanding)
        self.stalled = outstanding >= self.max_outstanding
        return not self.stalled and self._is_ours()

    cdef bint _is_ours(self) except -1:
        """The consumer's place, at this moment; outside a cluster it always is."""
        return self._destination is not None and (self._destination.grant is None or self._destination.may_serve())

    cdef bint _send_next(self) except -1:
        """False: nothing is to go out yet."""
        cdef Lane lane
        cdef StoreBatch batch
        cdef bint was_settled
        cdef double held_s, now = self.loop.time()
        cdef double fill_s = _fill_s(self._destination.settings)
        cdef uint64_t rows = self.credit_rows, bytes = self.credit_bytes
        cdef uint64_t max_rows = self._destination.settings.batch_rows, max_bytes = self._destination.settings.batch_bytes
        if self._gets:
            get = self._gets[0]
            rows, bytes = get.rows or 0, get.bytes or 0
            if get.deadline <= now:
                fill_s = 0.0
        if rows:
            max_rows = min(max_rows, rows)
        if bytes:
            max_bytes = min(max_bytes, bytes)
        for _ in range(len(self._lanes)):
            lane = self._lanes[0]
            self._lanes.rotate(-1)
            held_s = now - lane.held_since if lane.held else 0.0
            was_settled = lane.cursor.unsettled is None
            batch = lane.cursor.take(max_rows, max_bytes, held_s < fill_s, held_s >= _PATIENCE_S)
            if was_settled and lane.cursor.unsettled is not None:  # passed over what needs no consumer
                self._keep(lane)
            if batch is not None:
                lane.held = False
                self._send_batch(lane, batch)
                return True
            if not lane.cursor.held_back:
                lane.held = False
            elif not lane.held:
                lane.held, lane.held_since = True, now
        return False

    cdef int _wait_for_more(self) except -1:
        cdef Lane lane
        cdef double fill_s = _fill_s(self._destination.settings)
        cdef bint filling = False
        for lane in self._lanes:
            filling |= lane.held
            if not lane.held or not fill_s:
                lane.store.waiting[self] = lane.cursor.seen_put
        if filling and fill_s:
            self._timer = self.loop.call_later(max(fill_s / FILL_STEPS, 0.001), self.pump)
        self.watch.ask()
        return 0

    cdef int _send_batch(self, Lane lane, StoreBatch batch) except -1:
        if self._gets:
            self._gets.popleft()
        else:
            self._credit -= 1
        self._tell_sources(batch)
        self._tell_tables(batch)
        batch.pieces.insert(0, pack_head(batch, lane.store.partition))
        self._outbox.add(batch.pieces, True)
        batch.pieces = []
        self._hub.work += 1
        self._send_out()
        return 0

    cdef int _tell_sources(self, StoreBatch batch) except -1:
        cdef dict by_number
        for by_number in (batch.positions, batch.transactions, batch.open_after):
            for number in by_number:
                if number not in self._known_sources:
                    sources = self._hub.catalogue.sources(self._destination.sources)
                    self._known_sources = batch.sources | set(sources)
                    self._outbox.add([Sources(sources).pack()])
                    return 0
        return 0

    cdef int _tell_tables(self, StoreBatch batch) except -1:
        unseen = [(table, source) for table, source in batch.tables if table not in self._known_tables]
        if unseen:
            records = self._hub.catalogue.schema_records(unseen)
            self._outbox.add([Schemas().pack_prefix(sum(map(len, records))), *records])
            self._known_tables.update([table for table, _ in unseen])
        return 0

    def _send(self, message):
        self._outbox.add([message.pack()])
        self._send_out()

    def _flush(self):
        """Send what the socket takes now, and the rest when it takes more."""
        self._send_out()

    cdef int _send_out(self) except -1:
        cdef bint done
        try:
            done = self._outbox.flush(self.loop.time())
        except OSError:
            self.close()
            return 0
        if done == self._writing:
            self._writing = not done
            if done:
                self.loop.remove_writer(self._sock)
            else:
                self.loop.add_writer(self._sock, self._on_writable)
        return 0

    def _on_writable(self):
        self._hub.work += 1
        self._send_out()
        if self._writing:
            return
        if self.state == "leaving":
            self._say_no_more()
        elif self.state != "closed":
            self._pump()
            self._work_through()


cdef double _fill_s(settings) except? -1:
    return settings.batch_wait_ms / 1000
