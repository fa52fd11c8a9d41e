/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes out: records into the ring, with a note that says how to go on after a death.
 *
 * A record is claimed, and seen by readers with the next publish; the note is tied to the claim, so a decoder that dies
 * finds in the note the last record that readers have, whatever else it had done. A record that has no room yet, or is
 * larger than a quarter of the ring, waits in `scratch` and goes out as the ring drains, in the latter case in fragments.
 * While tables are new, whose keys meta keeps together at the end of the stage's turn, what is claimed is held back until then.
 */
#ifndef BINLOG_ENGINE_OUTPUT_H
#define BINLOG_ENGINE_OUTPUT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "_gtids.h"
#include "_pages.h"
#include "_record.h"
#include "_ring.h"

enum {
    NOTE_VERSION = 3,
    PUBLISH_BYTES = 512 << 10, /* at most a 16th of the ring: a fast sink is woken for each, and each of its turns has a price */
    PUBLISH_RECORDS = 4096,
    SMALL_RECORD_BYTES = 512,       /* begin, commit, heartbeat: the longest GTID and a head fit */
    SCRATCH_KEPT_BYTES = 1 << 20,
    FRAGMENT_HEAD_BYTES = RECORD_HEAD_BYTES + 16 + 5,
};

enum { /* SourceCounter of engine/counters.py; a test holds the two together */
    COUNTER_ROWS = 0, COUNTER_ROWS_UNWANTED, COUNTER_TRANSACTIONS, COUNTER_EVENTS, COUNTER_BINLOG_BYTES,
    COUNTER_RECORD_BYTES, COUNTER_DDL, COUNTER_RING_FULL, COUNTER_CONNECTS, COUNTER_FILE, COUNTER_OFFSET,
    COUNTER_COMMIT_TIME_US, COUNTER_STATEMENTS = 15,
};

/* Where one record stands. Units and order as in engine/position.py. */
typedef struct {
    uint32_t file;
    uint64_t start;
    uint32_t event, row;
} place_t;

/* Little-endian, in the ring's header. */
typedef struct __attribute__((packed)) {
    uint32_t version;
    uint16_t source;
    uint8_t begun;        /* the record's transaction goes on, and its begin record is in the ring */
    uint8_t closed;       /* NOTE_CLOSED: the record's transaction is over: go on at next_file and next_offset, not at start;
                             NOTE_LEFT: this history was left for another server, go on by GTID or time only */
    uint32_t file;
    uint64_t start;
    uint32_t event, row;
    uint32_t fragments;   /* so many fragments of the record after it are in the ring already */
    uint32_t next_file;
    uint64_t next_offset; /* of the event after the record's */
    uint64_t time_us;
    uint64_t origin_us;   /* see decoder_t: for who has to go on by time */
} source_note_t;
_Static_assert(sizeof(source_note_t) == 60, "the note's bytes, unpacked in Python too");
_Static_assert(sizeof(source_note_t) + sizeof(gtid_note_t) <= RING_NOTE_BYTES, "a note fits the ring's header");
enum { NOTE_CLOSED = 1, NOTE_LEFT = 2 };

typedef struct {
    ring_t *ring;
    source_note_t last;          /* the last record claimed */
    gtids_t gtids;               /* executed before it */
    uint64_t records, rows, bytes; /* claimed and not yet published */
    uint64_t total;              /* records claimed by this decoder */
    int held;                    /* nothing is published: what the records refer to isn't durable yet */
    uint8_t *scratch;
    size_t scratch_bytes;
    size_t pending;              /* bytes in scratch that wait for room; 0: none */
    int pending_rows;            /* 1: it is a change */
    int pending_counts;          /* `last` moves to it; not so for a schema record, which stands before its row's place */
    source_note_t pending_last;
    uint32_t pending_fragment;   /* the next one to go */
} output_t;

static inline int place_compare(place_t a, place_t b) {
    if (a.file != b.file) return a.file < b.file ? -1 : 1;
    if (a.start != b.start) return a.start < b.start ? -1 : 1;
    if (a.event != b.event) return a.event < b.event ? -1 : 1;
    return a.row < b.row ? -1 : a.row > b.row;
}

static inline void output_count(const output_t *o, int counter, uint64_t n) {
    __atomic_store_n(&o->ring->header->counters[counter], o->ring->header->counters[counter] + n, __ATOMIC_RELAXED);
}
static inline void output_set(const output_t *o, int counter, uint64_t value) {
    __atomic_store_n(&o->ring->header->counters[counter], value, __ATOMIC_RELAXED);
}

static inline void output_publish(output_t *o) {
    if (!o->records || o->held) return;
    ring_header_t *h = o->ring->header;
    uint8_t note[sizeof(source_note_t) + sizeof(gtid_note_t)];
    memcpy(note, &o->last, sizeof o->last);
    size_t n = sizeof o->last;
    n += gtids_write(&o->gtids, note + n, o->last.closed == NOTE_CLOSED, o->last.file, o->last.start);
    ring_note_write(h->notes, h->put, o->ring->claim, note, n);
    ring_publish(o->ring);
    output_count(o, COUNTER_ROWS, o->rows);
    output_count(o, COUNTER_RECORD_BYTES, o->bytes);
    o->total += o->records;
    o->records = o->rows = o->bytes = 0;
}

static inline void output_release(output_t *o) {
    o->held = 0;
    output_publish(o);
}

/* n bytes at the claim, or NULL: full, or more than a record may have there. */
static inline uint8_t *output_room(output_t *o, uint64_t n) {
    if (n > o->ring->capacity / 4) return NULL;
    uint8_t *room = ring_room(o->ring, n);
    if (!room && o->records) output_publish(o); /* the readers can't make room for what they don't see */
    return room;
}

/* n bytes of that room, which hold so many records. */
static inline void output_claim_many(output_t *o, uint64_t records, uint64_t n) {
    ring_claim(o->ring, n);
    o->bytes += n;
    o->records += records;
    uint64_t sixteenth = o->ring->capacity / 16;
    if (o->records >= PUBLISH_RECORDS || o->bytes >= (sixteenth < PUBLISH_BYTES ? sixteenth : PUBLISH_BYTES)) output_publish(o);
}
static inline void output_claim(output_t *o, uint64_t n) { output_claim_many(o, 1, n); }

/* n bytes of private memory for one record, or NULL: no memory. What was in it is lost. */
static inline uint8_t *output_scratch(output_t *o, size_t n) {
    if (n > o->scratch_bytes) {
        pages_resize(o->scratch, o->scratch_bytes, 0);
        n = n < SCRATCH_KEPT_BYTES ? SCRATCH_KEPT_BYTES : n;
        o->scratch = (uint8_t *)pages_resize(NULL, 0, n);
        o->scratch_bytes = o->scratch ? n : 0;
    }
    return o->scratch;
}
static inline void output_shrink(output_t *o) {
    if (o->scratch_bytes > SCRATCH_KEPT_BYTES && !o->pending) {
        o->scratch = (uint8_t *)pages_resize(o->scratch, o->scratch_bytes, 0);
        o->scratch_bytes = 0;
    }
}

static inline void output_free(output_t *o) { pages_resize(o->scratch, o->scratch_bytes, 0); }

static inline uint32_t output_fragments(size_t record_bytes) {
    return (uint32_t)((record_bytes + RECORD_FRAGMENT_BYTES - 1) / RECORD_FRAGMENT_BYTES);
}

static inline void output_put_fragment(uint8_t *to, const uint8_t *record, size_t total, uint32_t index, size_t chunk) {
    uint32_t count = output_fragments(total);
    uint8_t *p = to + RECORD_HEAD_BYTES;
    memcpy(to, record, RECORD_HEAD_BYTES);
    to[RECORD_KIND_AT] = RECORD_FRAGMENT;
    record_set_u32(to + RECORD_LENGTH_AT, (uint32_t)(FRAGMENT_HEAD_BYTES + chunk));
    p[0] = 0x93;
    p[1] = p[6] = p[11] = 0xce;
    record_set_u32(p + 2, index);
    record_set_u32(p + 7, count);
    record_set_u32(p + 12, (uint32_t)total);
    p[16] = 0xc6;
    record_set_u32(p + 17, (uint32_t)chunk);
    memcpy(p + 21, record + (size_t)index * RECORD_FRAGMENT_BYTES, chunk);
}

/* Sends what waits in scratch. 1: nothing waits any more, 0: the ring is full (and all that was claimed is published). */
static inline int output_flush(output_t *o) {
    if (!o->pending) return 1;
    if (o->pending <= o->ring->capacity / 4) {
        uint8_t *to = output_room(o, o->pending);
        if (!to) return 0;
        memcpy(to, o->scratch, o->pending);
        if (o->pending_counts) o->last = o->pending_last;
        o->rows += o->pending_rows;
        output_claim(o, o->pending);
    } else {
        uint32_t count = output_fragments(o->pending);
        while (o->pending_fragment < count) {
            size_t left = o->pending - (size_t)o->pending_fragment * RECORD_FRAGMENT_BYTES;
            size_t chunk = left < RECORD_FRAGMENT_BYTES ? left : RECORD_FRAGMENT_BYTES;
            uint8_t *to = output_room(o, FRAGMENT_HEAD_BYTES + chunk);
            if (!to) return 0;
            output_put_fragment(to, o->scratch, o->pending, o->pending_fragment, chunk);
            o->pending_fragment++;
            if (o->pending_counts) {
                if (o->pending_fragment == count) o->last = o->pending_last;
                else o->last.fragments = o->pending_fragment;
            }
            if (o->pending_fragment == count) o->rows += o->pending_rows;
            output_claim(o, FRAGMENT_HEAD_BYTES + chunk);
        }
    }
    o->pending = 0;
    return 1;
}

/* The record of n bytes in scratch is complete: it goes out with the next flush, from `fragment` on if it needs fragments.
 * `last` is what the note says once it is out; NULL: the note stays as it is. */
static inline void output_pend(output_t *o, size_t n, const source_note_t *last, uint32_t fragment, int rows) {
    o->pending = n;
    o->pending_rows = rows;
    o->pending_fragment = fragment;
    o->pending_counts = last != NULL;
    if (last) o->pending_last = *last;
}

#endif
