/* SPDX-License-Identifier: Apache-2.0
 *
 * Which transactions have been executed since a set that meta keeps (its mark): a few entries that grow as transactions end,
 * so that counting one costs a comparison. Python takes them over with the next mark, or when they no longer fit.
 *
 * A transaction counts from the moment the next one begins: by then all its records are in the ring, so no note can say that it
 * was executed when some of them are not there yet. What the note's own record closes is added to the note itself.
 */
#ifndef BINLOG_ENGINE_GTIDS_H
#define BINLOG_ENGINE_GTIDS_H

#include <stdint.h>
#include <string.h>

enum { GTIDS_MOST = 12, GTIDS_TAG_BYTES = 32 };

/* MySQL: the numbers low to high of a uuid and tag. MariaDB: the last GTID of a domain, whose number is the id's first 4 bytes
 * (little-endian); low is its server id, high its number. */
typedef struct __attribute__((packed)) {
    uint8_t id[16];
    uint8_t tag_bytes;
    uint8_t tag[GTIDS_TAG_BYTES];
    uint64_t low, high;
} gtid_entry_t;

typedef struct __attribute__((packed)) { /* as it stands in the note behind source_note_t; only `count` entries are written */
    uint8_t known;         /* 0: nobody knows what was executed, and the rest says nothing */
    uint8_t mariadb;
    uint8_t count;
    uint8_t marked;        /* there is a mark */
    uint32_t mark_file;    /* place of the set in meta that these entries add to */
    uint64_t mark_start;
    gtid_entry_t entries[GTIDS_MOST + 1]; /* one more in the note, for the transaction that its record closes */
} gtid_note_t;

typedef struct {
    gtid_note_t note;
    int open;              /* `now` is a transaction that doesn't count yet */
    uint32_t file;         /* where it stands */
    uint64_t start;
    gtid_entry_t now;
} gtids_t;

static inline int gtid_same_owner(const gtid_entry_t *a, const gtid_entry_t *b) {
    return !memcmp(a->id, b->id, sizeof a->id) && a->tag_bytes == b->tag_bytes && !memcmp(a->tag, b->tag, a->tag_bytes);
}

/* `now` of an open transaction is over. 0: it doesn't fit, Python has to take the entries over first. */
static inline int gtids_count(gtids_t *g) {
    gtid_note_t *note = &g->note;
    if (!g->open) return 1;
    if (!note->known) return !(g->open = 0);
    for (int i = 0; i < note->count; i++) {
        gtid_entry_t *e = &note->entries[i];
        if (!gtid_same_owner(e, &g->now)) continue;
        if (note->mariadb) {
            e->low = g->now.low;
            e->high = g->now.high;
            return !(g->open = 0);
        }
        if (g->now.high >= e->low && g->now.high <= e->high) return !(g->open = 0);
        if (g->now.high == e->high + 1) {
            e->high++;
            return !(g->open = 0);
        }
    }
    if (note->count == GTIDS_MOST) return 0;
    note->entries[note->count++] = g->now;
    return !(g->open = 0);
}

/* A transaction begins: the one before it counts. 0 as for gtids_count. */
static inline int gtids_begin(gtids_t *g, uint32_t file, uint64_t start) {
    if (!gtids_count(g)) return 0;
    memset(&g->now, 0, sizeof g->now);
    g->open = 1;
    g->file = file;
    g->start = start;
    return 1;
}

/* The note's bytes about GTIDs, to `to`; `closed`: the record that it speaks of ends the transaction at this place. */
static inline size_t gtids_write(const gtids_t *g, uint8_t *to, int closed, uint32_t file, uint64_t start) {
    gtid_note_t *note = (gtid_note_t *)to;
    size_t n = offsetof(gtid_note_t, entries) + g->note.count * sizeof(gtid_entry_t);
    memcpy(to, &g->note, n);
    if (closed && g->open && g->file == file && g->start == start && g->note.known) {
        note->entries[note->count++] = g->now;
        n += sizeof(gtid_entry_t);
    }
    return n;
}

#endif
