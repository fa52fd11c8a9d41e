"""Table of contents of the binlog decoder: the C parts it stands on, and the shape of Decoder."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from engine._ring cimport Ring, ring_t
from engine.source._rows cimport row_plan_t


cdef extern from "_events.h" nogil:
    enum:
        EVENT_HEADER_BYTES
        EVENT_QUERY, EVENT_STOP, EVENT_ROTATE, EVENT_INTVAR, EVENT_RAND, EVENT_USER_VAR, EVENT_FORMAT_DESCRIPTION, EVENT_XID
        EVENT_TABLE_MAP, EVENT_WRITE_ROWS_V1, EVENT_UPDATE_ROWS_V1, EVENT_DELETE_ROWS_V1, EVENT_HEARTBEAT, EVENT_IGNORABLE
        EVENT_ROWS_QUERY, EVENT_WRITE_ROWS, EVENT_UPDATE_ROWS, EVENT_DELETE_ROWS, EVENT_GTID, EVENT_ANONYMOUS_GTID
        EVENT_PREVIOUS_GTIDS, EVENT_TRANSACTION_CONTEXT, EVENT_VIEW_CHANGE, EVENT_TRANSACTION_PAYLOAD, EVENT_HEARTBEAT_V2
        EVENT_GTID_TAGGED, EVENT_ANNOTATE_ROWS, EVENT_BINLOG_CHECKPOINT, EVENT_MARIADB_GTID, EVENT_GTID_LIST
        EVENT_FLAG_BINLOG_IN_USE, EVENT_FLAG_ARTIFICIAL, EVENT_FLAG_IGNORABLE
        MARIADB_GTID_STANDALONE, MARIADB_GTID_PREPARED_XA, MARIADB_GTID_COMPLETED_XA
        INPUT_READ_BYTES, INPUT_MORE, INPUT_EVENT, INPUT_ERROR_PACKET, INPUT_END_PACKET, INPUT_BAD_PACKET, INPUT_BAD_SIZE

    ctypedef struct input_t:
        uint8_t *bytes
        size_t capacity
        size_t begin
        size_t end
        int packets
        size_t event_at
        size_t event_bytes
        size_t next_at
        size_t wanted

    uint16_t le16(const uint8_t *p) noexcept
    uint32_t le32(const uint8_t *p) noexcept
    uint64_t le48(const uint8_t *p) noexcept
    uint64_t le55(const uint8_t *p) noexcept
    uint64_t le64(const uint8_t *p) noexcept
    int lenenc(const uint8_t **p, const uint8_t *end, uint64_t *value) noexcept
    void input_clear(input_t *input) noexcept
    void input_free(input_t *input) noexcept
    void input_consume(input_t *input) noexcept
    int input_next(input_t *input) noexcept
    int input_reserve(input_t *input, size_t least) noexcept
    int64_t input_read(input_t *input, int fd) noexcept


cdef extern from "_transaction.h" nogil:
    enum:
        GTID_NONE, GTID_MYSQL, GTID_MARIADB, GTID_TEXT, GTID_TEXT_BYTES

    ctypedef struct transaction_t:
        int open
        int grouped
        int wanted
        int begun
        uint32_t file
        uint32_t event
        uint64_t start
        uint32_t begin_event
        uint32_t begin_row
        uint64_t time_us
        int gtid_kind
        uint32_t domain
        uint32_t server
        uint64_t number
        uint8_t *uuid
        uint8_t *text
        uint32_t text_bytes

    void transaction_open(transaction_t *t, uint32_t file, uint64_t start, uint64_t time_us) noexcept
    uint32_t transaction_gtid(const transaction_t *t, uint8_t *to) noexcept
    uint8_t *transaction_put_gtid(const transaction_t *t, uint8_t *p) noexcept


cdef extern from "_record.h" nogil:
    enum:
        RECORD_HEAD_BYTES, RECORD_LENGTH_AT, RECORD_KIND_AT, RECORD_FLAGS_AT, RECORD_SOURCE_AT, RECORD_TABLE_AT
        RECORD_TIME_AT, RECORD_FILE_AT, RECORD_START_AT, RECORD_EVENT_AT, RECORD_ROW_AT, RECORD_HASH_AT
        RECORD_INSERT, RECORD_UPDATE, RECORD_DELETE, RECORD_BEGIN, RECORD_COMMIT, RECORD_DDL, RECORD_SCHEMA
        RECORD_HEARTBEAT, RECORD_KEY_CHANGED
    void record_set_u16(uint8_t *p, uint16_t value) noexcept
    void record_set_u32(uint8_t *p, uint32_t value) noexcept
    void record_set_u64(uint8_t *p, uint64_t value) noexcept
    void record_head_init(uint8_t *p) noexcept


cdef extern from "_output.h" nogil:
    enum:
        NOTE_VERSION, SMALL_RECORD_BYTES
        COUNTER_ROWS, COUNTER_ROWS_UNWANTED, COUNTER_TRANSACTIONS, COUNTER_EVENTS, COUNTER_BINLOG_BYTES
        COUNTER_RECORD_BYTES, COUNTER_DDL, COUNTER_RING_FULL, COUNTER_FILE, COUNTER_OFFSET, COUNTER_COMMIT_TIME_US

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

    ctypedef struct output_t:
        ring_t *ring
        source_note_t last
        uint64_t records
        uint64_t rows
        uint64_t bytes
        uint64_t total
        uint8_t *scratch
        size_t scratch_bytes
        size_t pending
        int pending_counts
        source_note_t pending_last

    int place_compare(place_t a, place_t b) noexcept
    void output_count(const output_t *o, int counter, uint64_t n) noexcept
    void output_set(const output_t *o, int counter, uint64_t value) noexcept
    void output_publish(output_t *o) noexcept
    uint8_t *output_room(output_t *o, uint64_t n) noexcept
    void output_claim(output_t *o, uint64_t n) noexcept
    uint8_t *output_scratch(output_t *o, size_t n) noexcept
    void output_shrink(output_t *o) noexcept
    int output_flush(output_t *o) noexcept
    void output_pend(output_t *o, size_t n, const source_note_t *last, uint32_t fragment, int rows) noexcept


ctypedef struct table_t:
    row_plan_t *plan       # NULL: nobody wants this table
    uint32_t key           # table key
    uint32_t columns
    bint schema_written    # its schema record is in the ring
    uint8_t *schema        # packed, the body of the schema record
    size_t schema_bytes
    uint8_t *map           # TABLE_MAP's body behind the table id: the same bytes mean the same version
    size_t map_bytes
    uint32_t map_event     # ordinal of the last TABLE_MAP, for the schema record
    char *name             # schema.table, UTF-8

ctypedef struct table_slot_t:
    uint64_t id
    table_t *table         # NULL: free

ctypedef struct rows_t:    # the ROWS event that is being written; offsets count from the event's first byte
    bint active
    int kind               # RECORD_INSERT, RECORD_UPDATE, RECORD_DELETE
    table_t *table
    size_t first_present   # columns of the before image, or of an insert's only one
    size_t second_present
    size_t at
    size_t end
    uint32_t row
    uint64_t bound         # bytes that one image takes at most
    uint8_t head[64]

ctypedef uint32_t (*crc32_t)(uint32_t, const uint8_t *, size_t) noexcept nogil
ctypedef unsigned long (*crc32_wide_t)(unsigned long, const uint8_t *, size_t) noexcept nogil


cdef class Decoder:
    cdef input_t input         # from the server or file
    cdef input_t inner         # events out of a TRANSACTION_PAYLOAD
    cdef input_t *current      # the one that is being read
    cdef output_t out
    cdef transaction_t transaction
    cdef rows_t rows
    cdef table_slot_t *slots   # open addressing by table id
    cdef size_t slot_count
    cdef size_t slots_used
    cdef uint16_t number       # source number
    cdef uint32_t file         # number of the binlog file
    cdef uint64_t offset       # of the event now read
    cdef uint64_t next_offset
    cdef uint64_t last_time_us
    cdef uint8_t post_header[256]
    cdef bint described        # FORMAT_DESCRIPTION has been seen
    cdef bint checksum         # events end in a CRC32
    cdef bint have_event       # checked, counted, not yet finished
    cdef uint8_t type
    cdef uint16_t flags
    cdef size_t body_bytes     # of the event, without header and checksum
    cdef place_t resume_place  # records up to here are delivered
    cdef bint resuming
    cdef bint resume_begun     # the begin record of the transaction at resume_place is in the ring
    cdef uint32_t resume_fragments
    cdef int fault             # what is wrong, and what stands beside it
    cdef int64_t fault_detail
    cdef int fault_column
    cdef crc32_t crc
    cdef crc32_wide_t crc_wide
    cdef Ring ring
    cdef object tables
    cdef object number_of
    cdef object payload        # reader of the open TRANSACTION_PAYLOAD
    cdef dict versions         # TABLE_MAP body without id -> _Table
    cdef readonly str source
    cdef readonly str base     # base name of the binlog files
    cdef bint started          # a transaction has been seen since open, the first one here:
    cdef uint32_t first_file
    cdef uint64_t first_offset

    # what stands where
    cdef const uint8_t *event(self) noexcept nogil
    cdef bint delivered(self, uint32_t event, uint32_t row) noexcept nogil
    cdef int failed(self, int fault, int64_t detail) noexcept nogil
    # one event in
    cdef int run(self, uint64_t budget) noexcept nogil
    cdef int next_event(self) noexcept nogil
    cdef int describe(self, const uint8_t *event, size_t size) noexcept nogil
    cdef int locate(self, const uint8_t *event, size_t size) noexcept nogil
    cdef bint intact(self, const uint8_t *event, size_t size) noexcept nogil
    cdef void count_event(self, const uint8_t *event) noexcept nogil
    cdef void finish_event(self) noexcept nogil
    # what it means
    cdef int apply(self) noexcept nogil
    cdef int gtid(self) noexcept nogil
    cdef int mariadb_gtid(self) noexcept nogil
    cdef int query(self) noexcept nogil
    cdef int table_map(self) noexcept nogil
    cdef int start_rows(self) noexcept nogil
    cdef int write_rows(self) noexcept nogil
    cdef int commit(self, const uint8_t *xid) noexcept nogil
    # records out
    cdef void open_transaction(self, uint64_t time_us) noexcept nogil
    cdef void mark(self, source_note_t *note, uint32_t event, uint32_t row, bint closed) noexcept nogil
    cdef void head(self, uint8_t *to, int kind, uint32_t event, uint32_t row) noexcept nogil
    cdef int begin(self) noexcept nogil
    cdef bint write_schema(self, table_t *table) noexcept nogil
    cdef table_t *find_table(self, uint64_t id) noexcept nogil
    cdef int bind_table(self, uint64_t id, table_t *table) except -1
    cdef void forget_tables(self) noexcept nogil
    # with Python
    cdef bytes body(self)
    cdef object handle(self)
