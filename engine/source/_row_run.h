/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows that need nothing but to be decoded, one behind the other straight into the ring: whole images of a table that is neither
 * versioned nor has compressed columns, in a transaction whose begin record is out. What all rows of an event have in common is
 * looked at once. Whatever else turns up ends the run, and decoder_write_rows goes on with that row, or tells what is wrong.
 */
#ifndef BINLOG_ENGINE_ROW_RUN_H
#define BINLOG_ENGINE_ROW_RUN_H

#include "_decoder.h"
#include "_row_plan.h"

/* Whether rows of the event may go this way at all. */
static inline int row_run_possible(const decoder_t *d) {
    const rows_t *rows = &d->rows;
    const row_plan_t *plan = (const row_plan_t *)rows->table->plan;
    return rows->first_whole && (rows->second_whole || rows->kind != RECORD_UPDATE) && !rows->partial && !rows->table->twice
        && plan->null_bits && !plan->hidden && !d->out.ring->stage;
}

/* A whole image at `at` to *to, which moves behind it. Returns where the next one begins, NULL: not this way. */
HOT const uint8_t *row_run_image(const row_plan_t *plan, const uint8_t *at, uint8_t **to, row_walk_t *walk) {
    if (UNLIKELY(walk->end - at < 8)) return NULL; /* NULL bits are read by the word */
    walk->nulls = at;
    memcpy(*to, plan->head, sizeof plan->head);
    int nulls = (le64(at) & plan->null_bits) != 0;
    at = plan->column->step[nulls](plan->column, at + ((plan->columns + 7) >> 3), *to + plan->head_bytes, walk);
    if (UNLIKELY(ROW_FAILED(at))) return NULL;
    *to = walk->out;
    return at;
}

HOT uint64_t row_run_hash(const row_plan_t *plan, const row_key_t *key) {
    uint64_t hash = plan->hash_seed;
    for (uint32_t i = 1; i <= plan->key_columns; i++)
        hash = record_hash_add(hash, key->place[i][0], (uint64_t)(key->place[i][1] - key->place[i][0]));
    return record_hash_finish(hash);
}

/* One row at `at` to `to`: returns the record's end, and *next is the next row; NULL: not this way. */
HOT uint8_t *row_run_row(const rows_t *rows, uint32_t row, const uint8_t *at, uint8_t *to, row_walk_t *walk,
                         const uint8_t **next) {
    const row_plan_t *plan = (const row_plan_t *)rows->table->plan;
    uint8_t *p = to + RECORD_HEAD_BYTES;
    memcpy(to, rows->head, sizeof rows->head);
    p += rows->kind == RECORD_INSERT;
    if (!(at = row_run_image(plan, at, &p, walk))) return NULL;
    uint64_t hash = row_run_hash(plan, walk->key);
    if (rows->kind == RECORD_UPDATE) {
        if (!(at = row_run_image(plan, at, &p, walk))) return NULL;
        if (row_run_hash(plan, walk->key) != hash) to[RECORD_FLAGS_AT + 1] |= RECORD_KEY_CHANGED;
    }
    *p = 0xc0;
    p += rows->kind == RECORD_DELETE;
    record_set_u32(to + RECORD_LENGTH_AT, (uint32_t)(p - to));
    record_set_u32(to + RECORD_ROW_AT, row);
    record_set_u64(to + RECORD_HASH_AT, hash);
    *next = at;
    return p;
}

/* As many rows of the event as there are and go this way, each with `most` bytes of room; published like all others. */
static inline void decoder_run_rows(decoder_t *d, const uint8_t *event, uint64_t most) {
    rows_t *rows = &d->rows;
    output_t *out = &d->out;
    const uint8_t *at = event + rows->at, *const end = event + rows->end;
    row_key_t key;
    row_walk_t walk = {.end = end, .key = &key};
    while (at < end) {
        uint8_t *const begin = output_room(out, most), *to = begin;
        if (!begin) return;
        const uint64_t room = out->ring->limit - out->ring->claim - most;
        const uint8_t *const last = begin + (room < PUBLISH_BYTES ? room : PUBLISH_BYTES); /* a row may begin here */
        const uint32_t first = rows->row, rows_most = first + PUBLISH_RECORDS;
        uint32_t row = first;
        while (at < end && to <= last && row != rows_most) {
            const uint8_t *next;
            decoder_guard_room(d, to + most, 0, 1);
            uint8_t *record_end = row_run_row(rows, row, at, to, &walk, &next);
            decoder_guard_room(d, to + most, 0, 0);
            if (UNLIKELY(!record_end)) break;
            to = record_end;
            at = next;
            row++;
        }
        if (row == first) return;
        decoder_mark(d, &out->last, d->transaction.event, row - 1, 0);
        rows->at = (size_t)(at - event);
        rows->row = row;
        out->rows += row - first;
        output_claim_many(out, row - first, (uint64_t)(to - begin));
    }
}

#endif
