/* SPDX-License-Identifier: Apache-2.0
 *
 * One row image to one msgpack array: the plan of a table version and the loop over its columns.
 *
 *   image = NULL bits of the columns that are present ((present + 7) / 8 bytes), then the values that are not NULL
 */
#ifndef BINLOG_ENGINE_IMAGE_H
#define BINLOG_ENGINE_IMAGE_H

#include "../_record.h"
#include "_network.h"
#include "_text.h"
#include "_times.h"

/* Every kind of column, with the function that reads it. */
#define ROW_OPS(X)                                                                                                      \
    X(TINY, value_tiny) X(TINY_UNSIGNED, value_tiny_unsigned) X(SHORT, value_short)                                     \
    X(SHORT_UNSIGNED, value_short_unsigned) X(INT24, value_int24) X(INT24_UNSIGNED, value_int24_unsigned)               \
    X(LONG, value_long) X(LONG_UNSIGNED, value_long_unsigned) X(LONGLONG, value_longlong)                               \
    X(LONGLONG_UNSIGNED, value_longlong_unsigned) X(YEAR, value_year) X(BIT, value_bit) X(FLOAT, value_float)           \
    X(DOUBLE, value_double) X(DECIMAL_SHORT, value_decimal_short) X(DECIMAL, value_decimal) X(DATE, value_date)         \
    X(DATETIME, value_datetime) X(TIMESTAMP, value_timestamp) X(TIME, value_time) X(OLD_DATETIME, value_old_datetime)   \
    X(OLD_TIMESTAMP, value_old_timestamp) X(OLD_TIME, value_old_time) X(TEXT_SHORT, value_text_short)                   \
    X(TEXT, value_text) X(TEXT_FOREIGN, value_text_foreign) X(BYTES, value_bytes) X(BINARY, value_binary)               \
    X(ENUM1, value_enum1) X(ENUM2, value_enum2) X(SET, value_set) X(JSON, value_json) X(VECTOR, value_vector)           \
    X(UUID, value_uuid) X(INET4, value_inet4) X(INET6, value_inet6)

enum {
#define X(NAME, FUNCTION) ROW_OP_##NAME,
    ROW_OPS(X)
#undef X
    ROW_OP_COMPRESSED, /* value_compressed, which needs to know the room */
};

typedef struct row_plan {
    uint32_t columns;
    uint32_t hidden;          /* so many more at the end, 8 bytes each, which nobody gets (MariaDB's DB_ROW_HASH_1) */
    uint32_t key_columns;
    uint64_t fixed_bound;
    uint64_t hash_seed;       /* FNV-1a over the table's name */
    uint32_t factor;          /* msgpack bytes that one source byte can become */
    uint8_t head_bytes;       /* of the array's header */
    uint8_t head[5];
    column_plan_t column[];
} row_plan_t;

static inline uint64_t row_bound(const row_plan_t *plan, uint64_t source_bytes) {
    return plan->fixed_bound + plan->factor * source_bytes + ROW_SLACK;
}

/* Whether all n low bits at p are set. */
static inline int all_set(const uint8_t *p, uint32_t n) {
    for (; n >= 8; n -= 8)
        if (*p++ != 0xff) return 0;
    return n == 0 || (uint8_t)(*p | 0xff << n) == 0xff;
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

/* Past the hidden columns. */
static const uint8_t *row_hidden(const row_plan_t *plan, const uint8_t *present, const uint8_t *nulls, uint32_t bit,
                                 const uint8_t *at, const uint8_t *end, int plain) {
    for (uint32_t i = plan->columns; i < plan->columns + plan->hidden; i++) {
        if (!plain) {
            if (!(present[i >> 3] >> (i & 7) & 1)) continue;
            uint32_t null = nulls[bit >> 3] >> (bit & 7) & 1;
            bit++;
            if (null) continue;
        }
        if (end - at < 8) return ROW_FAIL(ROW_ERROR_TRUNCATED);
        at += 8;
    }
    return at;
}

/* The loop over the columns. `plain`: all are present and none is NULL. Returns where the image ends, or ROW_FAIL. */
static inline __attribute__((always_inline)) const uint8_t *row_values(
    const row_plan_t *plan, const uint8_t *present, const uint8_t *nulls, const uint8_t *at, const uint8_t *end, uint8_t *o,
    uint8_t **out, uint8_t *(*key)[2], int *bad_column, const int plain) {
    const column_plan_t *c = plan->column;
    uint32_t bit = 0;
    for (uint32_t i = 0; i < plan->columns; i++, c++) {
        key[c->key][0] = o;
        if (!plain) {
            if (!(present[i >> 3] >> (i & 7) & 1)) {
                o[0] = 0xc7; o[1] = 0; o[2] = 1; /* ext type 1, empty: not in the image */
                o += 3;
                key[c->key][0] = NULL;
                continue;
            }
            uint32_t null = nulls[bit >> 3] >> (bit & 7) & 1;
            bit++;
            if (null) {
                *o++ = 0xc0;
                key[c->key][1] = o;
                continue;
            }
        }
        uint8_t *value_end = o;
        switch (c->op) {
#define X(NAME, FUNCTION) case ROW_OP_##NAME: at = FUNCTION(c, at, end, &value_end); break;
            ROW_OPS(X)
#undef X
            case ROW_OP_COMPRESSED: at = value_compressed(c, at, end, &value_end, *out); break;
            default: __builtin_unreachable();
        }
        if (__builtin_expect(ROW_FAILED(at), 0)) {
            *bad_column = (int)i;
            return at;
        }
        o = value_end;
        key[c->key][1] = o;
    }
    *out = o;
    return __builtin_expect(plan->hidden != 0, 0) ? row_hidden(plan, present, nulls, bit, at, end, plain) : at;
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
    uint8_t *(*key)[2] = row_key->place;
    uint32_t columns = plan->columns + plan->hidden;
    int all_present = all_set(present, columns);
    uint32_t bits = all_present ? columns : count_set(present, columns);
    uint32_t null_bytes = (bits + 7) >> 3;
    *bad_column = -1;
    if (src_end - src < (ptrdiff_t)null_bytes) return ROW_ERROR_TRUNCATED;
    memcpy(dst, plan->head, sizeof plan->head);
    uint8_t *o = dst + plan->head_bytes;
    const uint8_t *at = src + null_bytes;
    if (all_present && all_clear(src, columns))
        at = row_values(plan, present, src, at, src_end, o, dst_end, key, bad_column, 1);
    else
        at = row_values(plan, present, src, at, src_end, o, dst_end, key, bad_column, 0);
    if (ROW_FAILED(at)) return ROW_CODE(at);
    row_hash_key(plan, row_key, before);
    return at - src;
}

#endif
