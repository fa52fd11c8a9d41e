"""Table of contents of a session's flow."""

from libc.stdint cimport int64_t, uint64_t

from engine._cursor cimport Cursor, StoreBatch
from engine._ring cimport Ring
from engine.server._inbox cimport Inbox
from engine.server._loop cimport Loop
from engine.server._outbox cimport Outbox


cdef class Store:
    cdef readonly int partition
    cdef readonly Ring ring
    cdef readonly dict waiting         # flows that want records beyond a sequence


cdef class Lane:
    cdef readonly Store store
    cdef readonly Cursor cursor
    cdef bint held                     # there are records that were held back,
    cdef double held_since             # since then


cdef class Watch:
    cdef Loop loop
    cdef int bell                      # its descriptor
    cdef list stores
    cdef bint arming

    cdef int ask(self) except -1
    cpdef int serve(self) except -1


cdef class Flow:
    cdef public str state
    cdef public object _hub, _sock, _timer, _destination
    cdef public str _consumer
    cdef readonly Inbox _inbox
    cdef readonly Outbox _outbox
    cdef Loop loop
    cdef Watch watch
    cdef public bint _writing          # waiting until the socket takes more
    cdef public bint _reading
    cdef public double _since, _received, _begun  # of the state; of any bytes; of the frame that is coming
    cdef public object _lanes          # deque: the next to be asked comes first
    cdef public set _known_tables, _known_sources
    cdef readonly object _gets         # deque
    cdef public int64_t _credit
    cdef uint64_t credit_rows, credit_bytes        # its limits; 0: none
    cdef bytes usual_credit            # a credit message, since most consumers say the same for each batch; and what it says
    cdef int64_t usual_batches
    cdef uint64_t usual_rows, usual_bytes
    cdef dict acked                    # confirmations, sent together: partition, or ~batch of one acked before → batch
    cdef Py_ssize_t max_outstanding
    cdef bint stalled                  # as many batches as may be are outstanding: only acks let more go out

    cdef int _add_credit(self, int64_t batches, uint64_t rows, uint64_t bytes) except -1
    cdef int _ack(self, uint64_t number) except -1
    cdef int _keep(self, Lane lane) except -1
    cdef int _pump(self) except -1
    cdef bint _may_send(self) except -1
    cdef bint _is_ours(self) except -1
    cdef bint _send_next(self) except -1
    cdef int _wait_for_more(self) except -1
    cdef int _send_batch(self, Lane lane, StoreBatch batch) except -1
    cdef int _tell_sources(self, StoreBatch batch) except -1
    cdef int _tell_tables(self, StoreBatch batch) except -1
    cdef int _send_out(self) except -1
