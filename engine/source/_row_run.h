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

/* What is the same for all rows of an event. */
typedef struct {
    const row_plan_t *plan;
    const column_plan_t *column;
    uint64_t null_bits;
    size_t null_bytes;
    size_t image_at;   /* where the first image begins in a record */
    size_t behind;     /* bytes behind the last one: a delete's nil */
    int updates;
    row_walk_t walk;
} row_run_t;

/* A whole image at `at` to `to`; walk.out is its end. Returns where the next one begins, or ROW_FAIL. */
HOT const uint8_t *row_run_image(row_run_t *run, const uint8_t *at, uint8_t *to) {
    if (UNLIKELY(at + 8 > run->walk.end)) return ROW_FAIL(ROW_ERROR_TRUNCATED); /* NULL bits are read by the word */
    run->walk.nulls = at;
    memcpy(to, run->plan->head, ROW_HEAD_BYTES);
    int nulls = (le64(at) & run->null_bits) != 0;
    return run->column->step[nulls](run->column, at + run->null_bytes, to + run->plan->head_bytes, &run->walk);
}

HOT uint64_t row_run_hash(const row_run_t *run) {
    uint64_t hash = run->plan->hash_seed;
    uint8_t *const(*place)[2] = run->walk.key->place + 1, *const(*last)[2] = place + run->plan->key_columns;
    for (; place != last; place++) hash = record_hash_add(hash, (*place)[0], (uint64_t)((*place)[1] - (*place)[0]));
    return record_hash_finish(hash);
}

/* One row at `at` to `to`, which holds the head and what an insert has before its row. *end is the record's. Returns where the next
 * row begins, or ROW_FAIL: not this way. */
HOT const uint8_t *row_run_row(row_run_t *run, uint32_t row, const uint8_t *at, uint8_t *to, uint8_t **end) {
    at = row_run_image(run, at, to + run->image_at);
    if (UNLIKELY(ROW_FAILED(at))) return at;
    uint64_t hash = row_run_hash(run);
    if (run->updates) {
        at = row_run_image(run, at, run->walk.out);
        if (UNLIKELY(ROW_FAILED(at))) return at;
        if (row_run_hash(run) != hash) to[RECORD_FLAGS_AT + 1] |= RECORD_KEY_CHANGED;
    }
    uint8_t *p = run->walk.out;
    *p = 0xc0;
    *end = p += run->behind;
    record_set_u32(to + RECORD_LENGTH_AT, (uint32_t)(p - to));
    record_set_u32(to + RECORD_ROW_AT, row);
    record_set_u64(to + RECORD_HASH_AT, hash);
    return at;
}

/* As many rows of the event as there are and go this way, each with `most` bytes of room; published like all others. */
static inline void decoder_run_rows(decoder_t *d, const uint8_t *event, uint64_t most) {
    rows_t *rows = &d->rows;
    output_t *out = &d->out;
    const row_plan_t *plan = (const row_plan_t *)rows->table->plan;
    const uint8_t *at = event + rows->at, *const end = event + rows->end;
    row_key_t key;
    row_run_t run = {
        .plan = plan, .column = plan->column, .null_bits = plan->null_bits, .null_bytes = (plan->columns + 7) >> 3,
        .image_at = RECORD_HEAD_BYTES + (rows->kind == RECORD_INSERT), .behind = rows->kind == RECORD_DELETE,
        .updates = rows->kind == RECORD_UPDATE, .walk = {.end = end, .key = &key},
    };
    while (at < end) {
        uint8_t *const begin = output_room(out, most), *to = begin;
        if (!begin) return;
        const uint64_t room = out->ring->limit - out->ring->claim - most;
        const uint8_t *const last = begin + (room < PUBLISH_BYTES ? room : PUBLISH_BYTES); /* a row may begin here */
        const uint32_t first = rows->row, rows_most = first + PUBLISH_RECORDS;
        uint32_t row = first;
        do {
            uint8_t *record_end;
            decoder_guard_room(d, to + most, 0, 1);
            memcpy(to, rows->head, sizeof rows->head);
            const uint8_t *next = row_run_row(&run, row, at, to, &record_end);
            decoder_guard_room(d, to + most, 0, 0);
            if (UNLIKELY(ROW_FAILED(next))) break;
            to = record_end;
            at = next;
            row++;
        } while (at < end && to <= last && row != rows_most);
        if (row == first) return;
        decoder_mark(d, &out->last, d->transaction.event, row - 1, 0);
        rows->at = (size_t)(at - event);
        rows->row = row;
        out->rows += row - first;
        output_claim_many(out, row - first, (uint64_t)(to - begin));
    }
}

#endif
