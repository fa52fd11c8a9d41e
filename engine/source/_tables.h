/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables that TABLE_MAPs stand for: by the id that rows name, and by the bytes of the map behind the id.
 *
 * A server gives a table a new id each time it opens it, which it does again and again where it has more tables than it keeps open.
 * The bytes stay the same, and mean the same version of the same table, until a statement changes it.
 */
#ifndef BINLOG_ENGINE_TABLES_H
#define BINLOG_ENGINE_TABLES_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    TABLES_BY_MAP = 4096,  /* heads of chains; engine/source/_binlog.pyx keeps about as many versions */
    TABLES_IDS = 4096,     /* more are forgotten when a transaction begins: their TABLE_MAPs come again, known by their bytes */
};

typedef struct table_s { /* one version of one table */
    const void *plan;    /* NULL: nobody wants this table */
    uint32_t key;        /* table key */
    uint32_t columns;
    uint32_t end_slot;   /* where row_key_t has the end of a versioned row's life; 0: the table isn't versioned */
    int twice;           /* a row of it may be decoded twice: a versioned one, or one whose compressed columns need more room */
    int schema_written;  /* its schema record is in the ring */
    uint32_t map_event;  /* ordinal of its last TABLE_MAP, for the schema record */
    const uint8_t *schema; /* packed, the body of the schema record */
    size_t schema_bytes;
    const uint8_t *map;  /* TABLE_MAP's body behind the table id */
    size_t map_bytes;
    struct table_s *next; /* in its chain */
} table_t;

typedef struct {
    uint64_t id;
    table_t *table; /* NULL: free */
} table_slot_t;

typedef struct {
    table_slot_t *slots; /* open addressing by id; slot_count is a power of two */
    size_t slot_count, slots_used;
    table_t *by_map[TABLES_BY_MAP];
    int in_transaction;  /* TABLE_MAPs since it began: rows may still name what they bound */
} tables_t;

static inline table_slot_t *tables_slot(const tables_t *t, uint64_t id) {
    size_t i = id & (t->slot_count - 1);
    while (t->slots[i].table && t->slots[i].id != id) i = (i + 1) & (t->slot_count - 1);
    return &t->slots[i];
}

/* Twice as many slots, or the first ones. 0: no memory. */
static inline int tables_grow(tables_t *t) {
    size_t count = t->slot_count, more = count ? 2 * count : 64;
    table_slot_t *old = t->slots, *slots = (table_slot_t *)calloc(more, sizeof *slots);
    if (!slots) return 0;
    t->slots = slots;
    t->slot_count = more;
    for (size_t i = 0; i < count; i++)
        if (old[i].table) *tables_slot(t, old[i].id) = old[i];
    free(old);
    return 1;
}

/* 0: no memory. */
static inline int tables_bind(tables_t *t, uint64_t id, table_t *table) {
    if (2 * t->slots_used >= t->slot_count && !tables_grow(t)) return 0;
    table_slot_t *slot = tables_slot(t, id);
    t->slots_used += slot->table == NULL;
    *slot = (table_slot_t){id, table};
    return 1;
}

static inline void tables_forget_ids(tables_t *t) {
    if (t->slots_used) memset(t->slots, 0, t->slot_count * sizeof *t->slots);
    t->slots_used = 0;
}

static inline void tables_forget(tables_t *t) {
    tables_forget_ids(t);
    memset(t->by_map, 0, sizeof t->by_map);
}

static inline void tables_begin_transaction(tables_t *t) {
    if (t->slots_used > TABLES_IDS) tables_forget_ids(t);
    t->in_transaction = 0;
}

static inline table_t **tables_chain(tables_t *t, const uint8_t *map, size_t n) {
    uint64_t hash = n, word;
    for (; n >= 8; map += 8, n -= 8) {
        memcpy(&word, map, 8);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    while (n--) hash = (hash ^ *map++) * UINT64_C(0x9e3779b97f4a7c15);
    return &t->by_map[(hash ^ hash >> 32) & (TABLES_BY_MAP - 1)];
}

static inline int table_has_map(const table_t *table, const uint8_t *map, size_t n) {
    return table->map_bytes == n && !memcmp(table->map, map, n);
}

/* NULL: no table has this map. */
static inline table_t *tables_with_map(tables_t *t, const uint8_t *map, size_t n) {
    table_t *table = *tables_chain(t, map, n);
    while (table && !table_has_map(table, map, n)) table = table->next;
    return table;
}

static inline void tables_add(tables_t *t, table_t *table) {
    table_t **chain = tables_chain(t, table->map, table->map_bytes);
    table->next = *chain;
    *chain = table;
}

#endif
