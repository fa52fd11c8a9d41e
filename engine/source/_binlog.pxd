"""Table of contents of the binlog decoder: the C parts it stands on, and the shape of Decoder."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from engine._record cimport RECORD_DDL, RECORD_STATEMENT
from engine._ring cimport Ring, ring_t
from engine.source._rows cimport row_key_t
from engine.source._versions cimport TableVersion, Versions, table_t


cdef extern from "_events.h" nogil:
    enum:
        EVENT_HEADER_BYTES
        EVENT_QUERY
        EVENT_FORMAT_DESCRIPTION
        EVENT_GTID
        EVENT_ANONYMOUS_GTID
        EVENT_MARIADB_GTID
        EVENT_PREVIOUS_GTIDS
        EVENT_GTID_LIST
        EVENT_EXECUTE_LOAD_QUERY
        EVENT_ROTATE
        EVENT_TABLE_MAP
        EVENT_TRANSACTION_PAYLOAD
        EVENT_GTID_TAGGED
        EVENT_XA_PREPARE
        INPUT_READ_BYTES

    ctypedef struct input_t:
        uint8_t *bytes
        size_t capacity
        size_t begin
        size_t end
        int packets
        size_t event_bytes

    int input_claimed_type(const input_t *input) noexcept
    void input_clear(input_t *input) noexcept
    void input_free(input_t *input) noexcept
    int input_reserve(input_t *input, size_t least) noexcept
    int64_t input_read(input_t *input, int fd, int wait) noexcept


cdef extern from "_transaction.h" nogil:
    enum:
        GTID_TEXT
        GTID_TEXT_BYTES

    ctypedef struct transaction_t:
        int open
        int grouped
        int prepared
        int wanted
        int begun
        uint32_t event
        uint32_t file
        uint64_t start
        uint32_t begin_event
        uint32_t begin_row
        uint64_t time_us
        uint64_t origin_us
        int gtid_kind
        uint8_t *text
        uint32_t text_bytes

    uint32_t transaction_gtid(const transaction_t *t, uint8_t *to) noexcept


cdef extern from "_gtids.h" nogil:
    ctypedef struct gtid_entry_t:
        uint8_t id[16]
        uint8_t tag_bytes
        uint8_t tag[32]
        uint64_t low
        uint64_t high

    ctypedef struct gtid_note_t:
        uint8_t known
        uint8_t mariadb
        uint8_t count
        uint8_t marked
        uint32_t mark_file
        uint64_t mark_start
        gtid_entry_t entries[13]

    ctypedef struct gtids_t:
        gtid_note_t note
        int open
        gtid_entry_t now

    int gtids_count(gtids_t *g) noexcept
    int gtids_begin(gtids_t *g, uint32_t file, uint64_t start) noexcept


cdef extern from "_output.h" nogil:
    enum:
        NOTE_VERSION
        NOTE_LEFT
        COUNTER_DDL
        COUNTER_STATEMENTS
        COUNTER_FILE
        COUNTER_OFFSET

    ctypedef struct place_t:
        uint32_t file
        uint64_t start
        uint32_t event
        uint32_t row

    ctypedef struct source_note_t:
        uint32_t version
        uint16_t source
        uint8_t begun
        uint8_t closed
        uint32_t file
        uint64_t start
        uint32_t event
        uint32_t row
        uint32_t fragments
        uint32_t next_file
        uint64_t next_offset
        uint64_t time_us
        uint64_t origin_us

    ctypedef struct output_t:
        ring_t *ring
        source_note_t last
        gtids_t gtids
        uint64_t records
        uint64_t total
        bint held
        uint8_t *scratch
        size_t pending
        int pending_counts
        source_note_t pending_last

    void output_free(output_t *o) noexcept
    int output_flush(output_t *o) noexcept
    void output_release(output_t *o) noexcept
    int place_compare(place_t a, place_t b) noexcept
    void output_count(const output_t *o, int counter, uint64_t n) noexcept
    void output_set(const output_t *o, int counter, uint64_t value) noexcept


cdef extern from "_pages.h" nogil:
    void *pages_resize(void *pages, size_t from_bytes, size_t to_bytes) noexcept


cdef extern from "_apply.h" nogil:
    enum:
        DECODER_OK
        DECODER_INPUT
        DECODER_FULL
        DECODER_BUDGET
        DECODER_ENDED
        DECODER_PYTHON
        DECODER_ERROR_PACKET
        DECODER_PAYLOAD
        DECODER_FAULT
        FAULT_PACKET
        FAULT_COLUMNS
        FAULT_ROW
        FAULT_ROW_EMPTY

    ctypedef int64_t (*row_image_t)(const void *, const uint8_t *, const uint8_t *, const uint8_t *, uint8_t *, uint8_t **,
                                    row_key_t *, const row_key_t *, int *) noexcept
    ctypedef int64_t (*row_image_partial_t)(const void *, const uint8_t *, const uint8_t *, const uint8_t *, uint8_t *,
                                            uint8_t **, row_key_t *, const row_key_t *, const uint8_t *, int *) noexcept
    ctypedef void (*row_spend_t)(const uint8_t *, const uint8_t *) noexcept
    ctypedef int (*inflate_t)(const uint8_t *, size_t, uint8_t *, size_t, int) noexcept
    ctypedef uint64_t (*row_bound_t)(const void *, uint64_t) noexcept
    ctypedef uint32_t (*crc32_t)(uint32_t, const uint8_t *, size_t) noexcept
    ctypedef unsigned long (*crc32_wide_t)(unsigned long, const uint8_t *, size_t) noexcept

    ctypedef struct table_slot_t:
        table_t *table

    ctypedef struct tables_t:
        table_slot_t *slots
        int in_transaction

    ctypedef struct rows_t:
        int active
        table_t *table
        uint32_t row

    ctypedef struct decoder_t:
        input_t input
        input_t inner
        input_t *current
        output_t out
        transaction_t transaction
        rows_t rows
        tables_t tables
        row_image_t row_image
        row_bound_t row_bound
        row_image_partial_t row_image_partial
        row_spend_t row_spend
        inflate_t inflate
        uint8_t *unpacked
        size_t unpacked_bytes
        int is_unpacked
        crc32_t crc
        crc32_wide_t crc_wide
        uint16_t number
        uint32_t file
        uint64_t offset
        uint64_t next_offset
        uint64_t last_time_us
        uint64_t origin_us
        uint64_t again_until_us
        int started
        uint32_t first_file
        uint64_t first_offset
        uint8_t *post_header
        int described
        int mariadb
        int checksum
        int have_event
        int type
        uint16_t flags
        size_t body_bytes
        int replaying
        place_t resume
        int resuming
        int resume_begun
        uint32_t resume_fragments
        int fault
        int64_t fault_detail
        int fault_column

    const uint8_t *decoder_event(const decoder_t *d) noexcept
    uint64_t decoder_event_time_us(const decoder_t *d) noexcept
    int decoder_delivered(decoder_t *d, uint32_t event, uint32_t row) noexcept
    void decoder_open_transaction(decoder_t *d, uint64_t time_us) noexcept
    void decoder_close_transaction(decoder_t *d) noexcept
    int decoder_begin(decoder_t *d) noexcept
    int decoder_commit(decoder_t *d, const uint8_t *xid) noexcept
    int tables_grow(tables_t *t) noexcept
    void tables_add(tables_t *t, table_t *table) noexcept
    void tables_forget_ids(tables_t *t) noexcept
    void tables_forget(tables_t *t) noexcept
    int decoder_put_packed(decoder_t *d, int kind, uint32_t table_key, uint32_t event, const uint8_t *after, size_t n,
                           int counts) noexcept
    int decoder_tear(decoder_t *d, int closed) noexcept
    int decoder_heartbeat(decoder_t *d, uint64_t time_us) noexcept
    void decoder_finish_event(decoder_t *d) noexcept
    void decoder_forget_unpacked(decoder_t *d) noexcept
    int decoder_run(decoder_t *d, uint64_t budget) noexcept
    void decoder_tell_offset(decoder_t *d) noexcept


cdef class Decoder:
    cdef decoder_t d
    cdef Ring ring
    cdef Versions tables    # a tables.TableVersions
    cdef object number_of   # base name of the binlog files -> source number
    cdef object statement_log  # StatementLog
    cdef bint statement_put    # the statement now read is on its way
    cdef bint commit_due       # it is a transaction by itself
    cdef public object prepared  # xa.PreparedGroups; None: XA transactions can't be read
    cdef bint replayed      # a prepared XA transaction has been read again: its commit is due
    cdef public object ledger    # ledger.Ledger: hears of file heads, and takes GTIDs over; None: nobody keeps them
    cdef object payload     # reader of the open TRANSACTION_PAYLOAD
    cdef list versions      # TableVersion of each TABLE_MAP, see _tables.h
    cdef readonly str source
    cdef readonly str base  # base name of the binlog files; "" before it is known

    cdef int enter(self, str base, uint32_t file, uint64_t offset) except -1
    cdef bytes body(self)
    cdef int _put_packed(self, int kind, bytes packed) except -1
    cdef dict where(self)
    cdef TableVersion known(self, table_t *table)
    cdef int _learn_table(self) except -1
