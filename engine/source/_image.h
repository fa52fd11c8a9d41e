/* SPDX-License-Identifier: Apache-2.0
 *
 * One row image to one msgpack array: the plan of a table version and the walk over its columns.
 *
 *   image = NULL bits of the columns that are present ((present + 7) / 8 bytes), then the values that are not NULL
 */
#ifndef BINLOG_ENGINE_IMAGE_H
#define BINLOG_ENGINE_IMAGE_H

#include "../_record.h"
#include "_steps.h"

static inline uint64_t row_bound(const row_plan_t *plan, uint64_t source_bytes) {
    return plan->fixed_bound + plan->factor * source_bytes + ROW_SLACK;
}

/* Whether all n low bits at p are clear. The others may have any value: MySQL sets them. */
static inline int all_clear(const uint8_t *p, uint32_t n) {
    for (; n >= 8; n -= 8)
        if (*p++ != 0) return 0;
    return n == 0 || (uint8_t)(*p << (8 - n)) == 0;
}

static inline uint32_t count_set(const uint8_t *p, uint32_t n) {
    uint32_t count = 0;
    for (; n >= 8; n -= 8) count += (uint32_t)__builtin_popcount(*p++);
    return n ? count + (uint32_t)__builtin_popcount((uint8_t)(*p << (8 - n))) : count;
}

/* Past the hidden columns. present NULL: they are all there. */
static const uint8_t *row_hidden(const row_plan_t *plan, const uint8_t *present, const uint8_t *nulls, uint32_t bit,
                                 const uint8_t *at, const uint8_t *end, int plain) {
    for (uint32_t i = plan->columns; i < plan->columns + plan->hidden; i++) {
        if (!plain) {
            if (present && !(present[i >> 3] >> (i & 7) & 1)) continue;
            uint32_t null = nulls[bit >> 3] >> (bit & 7) & 1;
            bit++;
            if (null) continue;
        }
        if (end - at < 8) return ROW_FAIL(ROW_ERROR_TRUNCATED);
        at += 8;
    }
    return at;
}

static __attribute__((noinline)) const uint8_t *row_value(const column_plan_t *c, const uint8_t *at, const uint8_t *end,
                                                          uint8_t **out, uint8_t *limit) {
    switch (c->op) {
#define X(NAME, FUNCTION) case ROW_OP_##NAME: return FUNCTION(c, at, end, out);
        ROW_OPS(X)
#undef X
        default: return value_compressed(c, at, end, out, limit);
    }
}

/* The columns of an image that does not hold all of them. Returns where it ends, or ROW_FAIL. */
static const uint8_t *row_sparse(const row_plan_t *plan, const uint8_t *present, const uint8_t *at, const uint8_t *end,
                                 uint8_t *o, row_walk_t *walk) {
    uint32_t bit = 0;
    for (uint32_t i = 0; i < plan->columns; i++) {
        const column_plan_t *c = &plan->column[i];
        uint8_t **key = walk->key->place[c->key];
        key[0] = o;
        if (!(present[i >> 3] >> (i & 7) & 1)) {
            o[0] = 0xc7; o[1] = 0; o[2] = 1; /* ext type 1, empty: not in the image */
            o += 3;
            key[0] = NULL;
            continue;
        }
        if (walk->nulls[bit >> 3] >> (bit & 7) & 1) {
            *o++ = 0xc0;
        } else {
            uint8_t *value_end = o;
            at = row_value(c, at, end, &value_end, walk->limit);
            if (ROW_FAILED(at)) {
                walk->failed = c;
                return at;
            }
            o = value_end;
        }
        bit++;
        key[1] = o;
    }
    walk->out = o;
    return plan->hidden ? row_hidden(plan, present, walk->nulls, bit, at, end, 0) : at;
}

/* The hash of the key that row_key has found, columns that the image doesn't hold taken from `before` (or NULL). */
static inline void row_hash_key(const row_plan_t *plan, row_key_t *row_key, const row_key_t *before) {
    uint64_t hash = plan->hash_seed;
    for (uint32_t i = 1; i <= plan->key_columns; i++) {
        uint8_t *const *place = row_key->place[i][0] || !before ? row_key->place[i] : before->place[i];
        if (place[0] == NULL) {
            row_key->hash = 0;
            return;
        }
        hash = record_hash_add(hash, place[0], (uint64_t)(place[1] - place[0]));
    }
    row_key->hash = record_hash_finish(hash);
}

/* See _rows.pxd. */
static int64_t row_image(const row_plan_t *plan, const uint8_t *present, const uint8_t *src, const uint8_t *src_end,
                         uint8_t *dst, uint8_t **dst_end, row_key_t *row_key, const row_key_t *before, int *bad_column) {
    uint32_t columns = plan->columns + plan->hidden;
    uint32_t null_bytes = ((present ? count_set(present, columns) : columns) + 7) >> 3;
    row_walk_t walk = {.end = src_end, .nulls = src, .limit = *dst_end, .key = row_key};
    const uint8_t *at = src + null_bytes;
    *bad_column = -1;
    if (UNLIKELY(src_end - src < (ptrdiff_t)null_bytes)) return ROW_ERROR_TRUNCATED;
    memcpy(dst, plan->head, sizeof plan->head);
    dst += plan->head_bytes;
    if (UNLIKELY(present != NULL)) {
        at = row_sparse(plan, present, at, src_end, dst, &walk);
    } else {
        int nulls = columns <= 64 && src_end - src >= 8 ? (load_u64(src) & plan->null_bits) != 0 : !all_clear(src, columns);
        at = plan->column->step[nulls](plan->column, at, dst, &walk);
        if (UNLIKELY(plan->hidden && !ROW_FAILED(at))) at = row_hidden(plan, present, src, plan->columns, at, src_end, !nulls);
    }
    if (UNLIKELY(ROW_FAILED(at))) {
        if (walk.failed) *bad_column = (int)(walk.failed - plan->column);
        return ROW_CODE(at);
    }
    *dst_end = walk.out;
    row_hash_key(plan, row_key, before);
    return at - src;
}

#endif
