"""Table of contents of the ring: the native functions other extensions use, and the shape of the classes."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from engine._mapping cimport Mapping


cdef extern from "_ring.h" nogil:
    enum:
        RING_HEADER_BYTES
        RING_IDENTITY_BYTES
        RING_VERSION
        RING_READERS
        RING_NAME_BYTES
        RING_NOTE_BYTES
        RING_READER_NOTE_BYTES
        RING_COUNTERS
        RING_READER_COUNTERS
        RING_WRITER_NONE
        RING_WRITER_LIVE
        RING_WRITER_FINISHED
        RING_READER_FREE
        RING_READER_JOINING
        RING_READER_ACTIVE
        RING_WAIT_ANY
        RING_DATA_PATH_BYTES
        RING_BELL_PATH_BYTES
        RING_PLACES
        RING_STAGE_BYTES
    uint64_t RING_MAGIC
    uint64_t RING_NEVER

    ctypedef struct ring_note_t:
        uint64_t at
        uint64_t length
        uint8_t *bytes

    ctypedef struct ring_reader_note_t:
        uint64_t at
        uint64_t length
        uint8_t *bytes

    ctypedef struct ring_owner_t:
        uint32_t state
        uint32_t pid
        uint64_t start_time
        uint64_t heartbeat_ns

    ctypedef struct ring_slot_t:
        ring_owner_t owner
        uint64_t ack
        char *name
        uint64_t *counters
        ring_reader_note_t *notes
        uint64_t joined

    ctypedef struct ring_header_t:
        uint64_t magic
        uint32_t version
        uint32_t header_bytes
        uint64_t capacity
        uint64_t ring_id
        uint64_t created_ns
        uint64_t put
        uint64_t tail
        uint64_t floor
        uint32_t put_signal
        uint32_t put_waiters
        uint32_t ack_signal
        uint32_t ack_waiters
        ring_owner_t writer
        ring_note_t *notes
        uint64_t *counters
        char *data_path
        uint64_t place_count
        uint64_t sync_failed
        char *bell_path
        ring_slot_t *readers
        uint64_t *places

    ctypedef struct ring_t:
        ring_header_t *header
        uint8_t *data
        uint64_t capacity
        uint64_t claim
        uint64_t limit
        uint64_t last_place
        uint8_t *stage
        uint64_t staged
        int fd
        int write_error

    uint64_t ring_put_load_acquire(const ring_t *r) noexcept
    uint64_t ring_ack_load_acquire(const ring_slot_t *s) noexcept
    uint64_t ring_get_load_relaxed(const ring_slot_t *s) noexcept
    void ring_get_store_relaxed(ring_slot_t *s, uint64_t get) noexcept
    uint64_t ring_tail_load_acquire(const ring_t *r) noexcept
    uint64_t ring_floor_load_acquire(const ring_t *r) noexcept
    void ring_tail_raise(ring_header_t *h, uint64_t to) noexcept
    void ring_floor_raise(ring_header_t *h, uint64_t to) noexcept
    void ring_floor_lower(ring_header_t *h, uint64_t to) noexcept
    uint64_t ring_slowest_ack_after_fence(const ring_t *r) noexcept
    uint32_t ring_state_load_acquire(const ring_owner_t *o) noexcept
    void ring_state_store_release(ring_owner_t *o, uint32_t state) noexcept
    void ring_magic_store_release(ring_header_t *h) noexcept
    void ring_owner_store_relaxed(ring_owner_t *o, uint32_t pid, uint64_t start_time) noexcept
    uint32_t ring_pid_load_relaxed(const ring_owner_t *o) noexcept
    uint64_t ring_start_time_load_relaxed(const ring_owner_t *o) noexcept
    uint64_t ring_heartbeat_load_relaxed(const ring_owner_t *o) noexcept
    void ring_heartbeat_store_relaxed(ring_owner_t *o, uint64_t now_ns) noexcept
    void ring_wake(uint32_t *signal, uint32_t *waiters) noexcept
    uint32_t ring_signal_load_acquire(const uint32_t *signal) noexcept
    void ring_waiters_add(uint32_t *waiters, int32_t n) noexcept
    void ring_bell_close(ring_t *r) noexcept
    int ring_bell_when(ring_t *r, uint64_t n) noexcept
    void ring_mark_place(ring_t *r, uint64_t sequence) noexcept
    uint64_t ring_last_place(const ring_t *r) noexcept
    uint64_t ring_place_reader(ring_t *r, ring_slot_t *s, uint64_t to) noexcept
    uint64_t ring_slowest_ack(const ring_t *r) noexcept
    void ring_refresh_limit(ring_t *r) noexcept
    uint8_t *ring_room(ring_t *r, uint64_t n) noexcept
    void ring_claim(ring_t *r, uint64_t n) noexcept
    bint ring_has_room(ring_t *r, uint64_t n) noexcept
    int ring_write_out(ring_t *r) noexcept
    int ring_append(ring_t *r, const uint8_t *bytes, uint64_t n) noexcept
    void ring_publish(ring_t *r) noexcept
    ring_note_t *ring_note_valid(ring_note_t *notes, uint64_t sequence) noexcept
    void ring_note_write(ring_note_t *notes, uint64_t sequence, uint64_t at, const void *bytes, uint64_t n) noexcept
    int64_t ring_note_read(ring_note_t *notes, const uint64_t *sequence, uint8_t *out) noexcept
    void ring_note_forget_unreached(ring_note_t *notes, uint64_t sequence) noexcept
    ring_reader_note_t *ring_reader_note_valid(ring_reader_note_t *notes, uint64_t sequence) noexcept
    void ring_reader_note_write(ring_reader_note_t *notes, uint64_t sequence, uint64_t at, const void *bytes,
                                uint64_t n) noexcept
    int64_t ring_reader_note_read(ring_reader_note_t *notes, const uint64_t *sequence, uint8_t *out) noexcept
    void ring_reader_note_forget_unreached(ring_reader_note_t *notes, uint64_t sequence) noexcept
    void ring_ack(ring_t *r, ring_slot_t *s, uint64_t ack) noexcept
    int ring_join(ring_t *r, const char *name, int latest) noexcept
    void ring_leave(ring_t *r, ring_slot_t *s) noexcept
    bint ring_finished(const ring_t *r) noexcept
    # 1: it is there, 0: time is up or the writer has finished, -1: a signal came
    int ring_wait_put(ring_t *r, uint64_t sequence, int64_t timeout_ns, int64_t spin_ns) noexcept
    int ring_wait_room(ring_t *r, uint64_t n, int64_t timeout_ns, int64_t spin_ns) noexcept
    int ring_wait_any(const ring_t *rings, const uint64_t *sequences, int n, int64_t timeout_ns, int64_t spin_ns) noexcept


cdef class Ring:
    cdef ring_t ring            # this process's view; native stages work on it directly. header is NULL once closed
    cdef readonly str name      # as given to create or attach; "" for an anonymous ring
    cdef readonly bint writing  # this object holds the writer's role
    cdef readonly uint64_t capacity    # bytes of data it holds at most
    cdef readonly uint64_t max_record  # bytes of the largest record it takes
    cdef readonly uint64_t ring_id     # random; another incarnation under the same name has another
    cdef readonly uint64_t created_ns  # CLOCK_REALTIME
    cdef Mapping _mapping

    cdef void use(self, Mapping mapping, uint64_t capacity) noexcept
    cdef int check_open(self) except -1
    cdef int check_writing(self) except -1
    cdef int lock(self) except -1
    cpdef int64_t try_claim(self, record) except? -2
    cpdef uint64_t publish(self) except? 0


cdef class Reader:
    cdef Ring ring
    cdef ring_slot_t *slot
    cdef uint64_t joined        # of the slot when this reader was found
    cdef readonly str name
    cdef readonly int number    # of its slot
    cdef readonly bint reading  # this object holds the reader's role

    cdef int check(self) except -1
    cdef int check_reading(self) except -1
    cpdef advance(self, uint64_t n_bytes)
    cpdef uint64_t ack_to(self, uint64_t sequence) except? 0
