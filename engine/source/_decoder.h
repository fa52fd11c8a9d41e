/* SPDX-License-Identifier: Apache-2.0
 *
 * What a decoder knows between two calls, and the records that it writes by itself: begin, commit, schema, heartbeat.
 *
 *   _events.h  bytes in, events cut out          _transaction.h  GTID, place and time of the open transaction
 *   _next_event.h  one event checked and located _output.h       records into the ring, the note
 *   _unpack.h  events that come compressed       this file       the state that all of them share
 *   _apply.h   what each event means
 *
 * Whatever answers DECODER_FULL has changed nothing that it would do again, so it is simply called again.
 */
#ifndef BINLOG_ENGINE_DECODER_H
#define BINLOG_ENGINE_DECODER_H

#include <stdlib.h>

#include "_events.h"
#include "_guard.h"
#include "_output.h"
#include "_row_key.h"
#include "_spent.h"
#include "_tables.h"
#include "_transaction.h"

enum { /* what decoder_run answers */
    DECODER_OK = -1,
    DECODER_INPUT = 0,     /* everything that is there has been read */
    DECODER_FULL = 1,      /* the ring */
    DECODER_BUDGET = 2,    /* is used up */
    DECODER_ENDED = 3,     /* 0xFE packet */
    DECODER_PYTHON = 4,    /* an event for Python */
    DECODER_ERROR_PACKET = 5,
    DECODER_PAYLOAD = 6,   /* more bytes of the open TRANSACTION_PAYLOAD are needed */
    DECODER_FAULT = 7,
};
enum { GUARD_BYTES = 1024 };
enum { /* the keys of FAULTS in events.py */
    FAULT_PACKET = 1, FAULT_SIZE, FAULT_CHECKSUM, FAULT_NOT_DESCRIBED, FAULT_DESCRIPTION, FAULT_POSITION, FAULT_SHORT,
    FAULT_TABLE_UNKNOWN, FAULT_COLUMNS, FAULT_ROW, FAULT_ROW_EMPTY, FAULT_MEMORY, FAULT_COMPRESSED = 14,
};

/* As engine/source/_rows.pxd describes it. */
typedef int64_t (*row_image_t)(const void *plan, const uint8_t *present, const uint8_t *src, const uint8_t *src_end,
                               uint8_t *dst, uint8_t **dst_end, row_key_t *key, const row_key_t *before, int *bad_column);
typedef uint64_t (*row_bound_t)(const void *plan, uint64_t source_bytes);
typedef int64_t (*row_image_partial_t)(const void *plan, const uint8_t *present, const uint8_t *src, const uint8_t *src_end,
                                       uint8_t *dst, uint8_t **dst_end, row_key_t *key, const row_key_t *before,
                                       const uint8_t *first, int *bad_column);
typedef void (*row_spend_t)(const uint8_t *from, const uint8_t *to);
/* As engine/source/_inflate.pxd describes it. */
typedef int (*inflate_t)(const uint8_t *at, size_t n, uint8_t *out, size_t out_bytes, int raw);
typedef uint32_t (*crc32_t)(uint32_t, const uint8_t *, size_t);
typedef unsigned long (*crc32_wide_t)(unsigned long, const uint8_t *, size_t);

typedef struct { /* the ROWS event that is being written; offsets count from the event's first byte */
    int active;
    int partial;           /* PARTIAL_UPDATE_ROWS */
    int kind;              /* RECORD_INSERT, RECORD_UPDATE, RECORD_DELETE */
    table_t *table;
    size_t first_present;  /* bitmap of the columns in the before image, or in an insert's only one */
    size_t second_present;
    int first_whole, second_whole; /* such an image holds all columns */
    size_t at, end;
    uint32_t row;          /* of the next record */
    int ending;            /* the row's delete is written, and what it leaves in the history is due; see _versioned.h */
    uint64_t bound;        /* bytes that one image takes at most, its compressed columns aside */
    uint64_t inflated;     /* bytes that the compressed columns of one image may take; grows when they take more */
    uint8_t head[64];
} rows_t;

typedef struct {
    input_t input;         /* from the server or file */
    input_t inner;         /* events out of a TRANSACTION_PAYLOAD */
    input_t *current;      /* the one that is being read */
    output_t out;
    transaction_t transaction;
    rows_t rows;
    tables_t tables;
    row_image_t row_image;
    row_bound_t row_bound;
    row_image_partial_t row_image_partial;
    row_spend_t row_spend;
    inflate_t inflate;
    uint8_t *unpacked;     /* the event now read, where it came compressed */
    size_t unpacked_bytes; /* of that memory */
    int is_unpacked;
    crc32_t crc;           /* one of the two is there */
    crc32_wide_t crc_wide;

    uint16_t number;       /* source number */
    uint32_t file;         /* number of the binlog file */
    uint64_t offset, next_offset; /* of the event now read, and behind it */
    uint64_t last_time_us; /* commit time of the last transaction */
    uint64_t origin_us;    /* the latest transaction_t.origin_us of those that are over */
    uint64_t again_until_us; /* transactions of up to this origin_us may have been delivered before, from another server */
    int started;           /* a transaction has been seen, the first one here: */
    uint32_t first_file;
    uint64_t first_offset;

    uint8_t post_header[256]; /* bytes of each type's fixed part, from FORMAT_DESCRIPTION; index type - 1 */
    int described;         /* FORMAT_DESCRIPTION has been seen */
    int mariadb;           /* it is a MariaDB's */
    int checksum;          /* events end in a CRC32 */
    int have_event;        /* checked, counted, not yet finished */
    int type;
    uint16_t flags;
    size_t body_bytes;     /* of the event, without header and checksum */

    int replaying;         /* a prepared XA transaction's events are read again, for its XA COMMIT */

    place_t resume;        /* records up to here are delivered */
    int resuming;
    int resume_begun;      /* the begin record of the transaction at `resume` is in the ring */
    uint32_t resume_fragments; /* so many fragments of the first record after it, too */

    int fault;             /* what is wrong, and what stands beside it */
    int64_t fault_detail;
    int fault_column;
} decoder_t;

static inline int decoder_failed(decoder_t *d, int fault, int64_t detail) {
    d->fault = fault;
    d->fault_detail = detail;
    return DECODER_FAULT;
}

static inline const uint8_t *decoder_event(const decoder_t *d) {
    return d->is_unpacked ? d->unpacked : d->current->bytes + d->current->event_at;
}

/* Nothing behind the event now read may be touched, nor behind the room for the record now written; see _guard.h. */
static inline const uint8_t *decoder_guarded_end(const uint8_t *from, const uint8_t *memory_end) {
    return memory_end - from < GUARD_BYTES ? memory_end : from + GUARD_BYTES;
}
static inline void decoder_guard_event(const decoder_t *d, int on) {
    const uint8_t *end = decoder_event(d) + EVENT_HEADER_BYTES + d->body_bytes;
    const uint8_t *memory_end = d->is_unpacked ? d->unpacked + d->unpacked_bytes : d->current->bytes + d->current->capacity;
    if (on) guard(end, decoder_guarded_end(end, memory_end));
    else unguard(end, decoder_guarded_end(end, memory_end));
}
static inline void decoder_guard_room(const decoder_t *d, const uint8_t *end, int in_scratch, int on) {
    const uint8_t *guarded_end = in_scratch ? decoder_guarded_end(end, d->out.scratch + d->out.scratch_bytes) : end + GUARD_BYTES;
    if (on) guard(end, guarded_end);
    else unguard(end, guarded_end);
}

/* The event has been dealt with; the memory of a large one is given back. */
static inline void decoder_forget_unpacked(decoder_t *d) {
    d->is_unpacked = 0;
    if (d->unpacked_bytes > SCRATCH_KEPT_BYTES) {
        d->unpacked = (uint8_t *)pages_resize(d->unpacked, d->unpacked_bytes, 0);
        d->unpacked_bytes = 0;
    }
}
static inline uint64_t decoder_event_time_us(const decoder_t *d) { return le32(decoder_event(d)) * UINT64_C(1000000); }

static inline place_t decoder_place(const decoder_t *d, uint32_t event, uint32_t row) {
    return (place_t){d->transaction.file, d->transaction.start, event, row};
}

/* Is this record of the open transaction to be left out? The first that isn't ends the resuming. */
static inline int decoder_delivered(decoder_t *d, uint32_t event, uint32_t row) {
    if (!d->resuming) return 0;
    if (place_compare(decoder_place(d, event, row), d->resume) <= 0) return 1;
    d->resuming = 0;
    return 0;
}

static inline void decoder_open_transaction(decoder_t *d, uint64_t time_us) {
    transaction_open(&d->transaction, d->file, d->offset, time_us);
    tables_begin_transaction(&d->tables);
    if (!d->started) {
        d->started = 1;
        d->first_file = d->file;
        d->first_offset = d->offset;
    }
    if (d->resuming && d->resume_begun && d->file == d->resume.file && d->offset == d->resume.start)
        d->transaction.begun = d->transaction.wanted = 1;
}

static inline void decoder_close_transaction(decoder_t *d) {
    d->transaction.open = 0;
    d->last_time_us = d->transaction.time_us;
    if (d->transaction.origin_us > d->origin_us) d->origin_us = d->transaction.origin_us;
    output_count(&d->out, COUNTER_TRANSACTIONS, 1);
    output_set(&d->out, COUNTER_COMMIT_TIME_US, d->last_time_us);
}

/* ---- records out ------------------------------------------------------------------------------------------------- */

/* What a note says of time: the latest transaction's that is over, or else when the first one was made. */
static inline uint64_t decoder_noted_origin(const decoder_t *d, int closed) {
    uint64_t own = closed || !d->origin_us ? d->transaction.origin_us : 0;
    return own > d->origin_us ? own : d->origin_us;
}

static inline void decoder_mark(const decoder_t *d, source_note_t *note, uint32_t event, uint32_t row, int closed) {
    *note = (source_note_t){
        .version = NOTE_VERSION, .source = d->number, .begun = !closed && d->transaction.begun, .closed = closed,
        .file = d->transaction.file, .start = d->transaction.start, .event = event, .row = row,
        .next_file = d->file, .next_offset = d->next_offset, .time_us = d->transaction.time_us,
        .origin_us = decoder_noted_origin(d, closed),
    };
}

static inline void decoder_head(const decoder_t *d, uint8_t *to, int kind, uint32_t event, uint32_t row) {
    record_head_init(to);
    to[RECORD_KIND_AT] = (uint8_t)kind;
    record_set_u16(to + RECORD_SOURCE_AT, d->number);
    if (d->again_until_us && d->transaction.origin_us <= d->again_until_us) to[RECORD_FLAGS_AT + 1] = RECORD_AGAIN;
    record_set_u64(to + RECORD_TIME_AT, d->transaction.time_us);
    record_set_u32(to + RECORD_FILE_AT, d->transaction.file);
    record_set_u64(to + RECORD_START_AT, d->transaction.start);
    record_set_u32(to + RECORD_EVENT_AT, event);
    record_set_u32(to + RECORD_ROW_AT, row);
}

/* nil for before, and an array of the GTID and what the caller puts behind it. */
static inline uint8_t *decoder_put_mark(const decoder_t *d, uint8_t *to, int kind, uint32_t event, uint32_t row) {
    decoder_head(d, to, kind, event, row);
    to[RECORD_HEAD_BYTES] = 0xc0;
    to[RECORD_HEAD_BYTES + 1] = 0x92;
    return transaction_put_gtid(&d->transaction, to + RECORD_HEAD_BYTES + 2);
}

static inline int decoder_begin(decoder_t *d) {
    place_t place = decoder_place(d, d->transaction.begin_event, d->transaction.begin_row);
    uint8_t *to = output_room(&d->out, SMALL_RECORD_BYTES);
    if (!to) return DECODER_FULL;
    uint8_t *p = decoder_put_mark(d, to, RECORD_BEGIN, place.event, place.row);
    *p++ = 0xc0;
    record_set_u32(to + RECORD_LENGTH_AT, (uint32_t)(p - to));
    d->transaction.begun = 1;
    if (place_compare(place, d->resume) < 0) place = d->resume; /* written again: what follows it is delivered */
    decoder_mark(d, &d->out.last, place.event, place.row, 0);
    output_claim(&d->out, p - to);
    return DECODER_OK;
}

static inline int decoder_commit(decoder_t *d, const uint8_t *xid) {
    if (d->transaction.wanted && !decoder_delivered(d, d->transaction.event, 0)) {
        if (!d->transaction.begun) {
            int code = decoder_begin(d);
            if (code != DECODER_OK) return code;
        }
        uint8_t *to = output_room(&d->out, SMALL_RECORD_BYTES);
        if (!to) return DECODER_FULL;
        uint8_t *p = decoder_put_mark(d, to, RECORD_COMMIT, d->transaction.event, 0);
        *p++ = xid ? 0xcf : 0xc0;
        if (xid) {
            record_set_u64(p, le64(xid));
            p += 8;
        }
        record_set_u32(to + RECORD_LENGTH_AT, (uint32_t)(p - to));
        decoder_mark(d, &d->out.last, d->transaction.event, 0, 1);
        output_claim(&d->out, p - to);
    }
    decoder_close_transaction(d);
    return DECODER_OK;
}

/* A record whose `after` is n bytes of msgpack, by way of the scratch memory. `counts`: it moves the note. */
static inline int decoder_put_packed(decoder_t *d, int kind, uint32_t table_key, uint32_t event, const uint8_t *after, size_t n,
                                     int counts) {
    size_t length = RECORD_HEAD_BYTES + 1 + n;
    uint8_t *to = output_scratch(&d->out, length);
    source_note_t last;
    if (!to) return decoder_failed(d, FAULT_MEMORY, (int64_t)length);
    decoder_head(d, to, kind, event, 0);
    record_set_u32(to + RECORD_LENGTH_AT, (uint32_t)length);
    record_set_u32(to + RECORD_TABLE_AT, table_key);
    to[RECORD_HEAD_BYTES] = 0xc0;
    memcpy(to + RECORD_HEAD_BYTES + 1, after, n);
    decoder_mark(d, &last, event, 0, !d->transaction.grouped);
    output_pend(&d->out, length, counts ? &last : NULL, counts ? d->resume_fragments : 0, 0);
    if (counts) d->resume_fragments = 0;
    return output_flush(&d->out) ? DECODER_OK : DECODER_FULL;
}

/* The transaction whose begin is in the ring won't go on: a commit record says so, and that all of it is void. `closed`: see
 * source_note_t. The place is behind all that the ring has of it. */
static inline int decoder_tear(decoder_t *d, int closed) {
    source_note_t *last = &d->out.last;
    if (!output_flush(&d->out)) return DECODER_FULL;
    if (last->begun) {
        uint8_t *to = output_room(&d->out, SMALL_RECORD_BYTES), *p;
        if (!to) return DECODER_FULL;
        int same = d->transaction.file == last->file && d->transaction.start == last->start;
        if (!same) d->transaction.gtid_kind = GTID_NONE;
        d->transaction.file = last->file;
        d->transaction.start = last->start;
        d->transaction.time_us = last->time_us;
        p = decoder_put_mark(d, to, RECORD_COMMIT, last->event + 1, 0);
        *p++ = 0xc0;
        to[RECORD_FLAGS_AT + 1] = RECORD_TORN;
        record_set_u16(to + RECORD_SOURCE_AT, last->source);
        record_set_u32(to + RECORD_LENGTH_AT, (uint32_t)(p - to));
        last->event++;
        last->row = last->begun = last->fragments = 0;
        last->closed = (uint8_t)closed;
        last->next_file = d->file;
        last->next_offset = d->next_offset;
        d->out.gtids.open = 0; /* it wasn't executed */
        output_claim(&d->out, p - to);
        output_publish(&d->out);
    }
    d->transaction.open = d->transaction.begun = d->rows.active = d->resume_begun = 0;
    d->resume_fragments = 0;
    return DECODER_OK;
}

/* Says how far the source has come: to the open transaction, or the next event. 0: not now. */
static inline int decoder_heartbeat(decoder_t *d, uint64_t time_us) {
    place_t place = {d->file, d->transaction.open ? d->transaction.start : d->next_offset, 0, 0};
    if ((d->transaction.open && d->transaction.begun) || d->out.pending || d->resume_fragments) return 0;
    if (d->resuming && place_compare(place, d->resume) <= 0) return 0;
    uint8_t *to = output_room(&d->out, SMALL_RECORD_BYTES);
    if (!to) return 0;
    decoder_head(d, to, RECORD_HEARTBEAT, 0, 0);
    record_set_u64(to + RECORD_TIME_AT, time_us);
    record_set_u32(to + RECORD_FILE_AT, place.file);
    record_set_u64(to + RECORD_START_AT, place.start);
    record_set_u32(to + RECORD_LENGTH_AT, RECORD_HEAD_BYTES + 2);
    to[RECORD_HEAD_BYTES] = to[RECORD_HEAD_BYTES + 1] = 0xc0;
    if (!d->transaction.open) gtids_count(&d->out.gtids);
    decoder_mark(d, &d->out.last, 0, 0, 1);
    d->out.last.origin_us = d->origin_us;
    d->out.last.file = place.file;
    d->out.last.start = d->out.last.next_offset = place.start;
    d->out.last.time_us = time_us;
    output_claim(&d->out, RECORD_HEAD_BYTES + 2);
    output_publish(&d->out);
    return 1;
}

#endif
