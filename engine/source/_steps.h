/* SPDX-License-Identifier: Apache-2.0
 *
 * One step per column: reads its value and jumps to the next column's step, so that a row is a chain of jumps without a loop
 * around it, and what all steps need stays in registers. The plan holds for each column the step of its kind.
 *
 *   row_image ─▶ step of column 0 ─▶ step of column 1 ─▶ … ─▶ step_end ─▶ back in row_image
 *
 * Each kind has four of them: in rows with and without NULLs, for columns of the primary key and others. Columns of the kinds that
 * most tables are made of have a quick step, which hands what is out of the ordinary to the full one (_quick.h).
 */
#ifndef BINLOG_ENGINE_STEPS_H
#define BINLOG_ENGINE_STEPS_H

#include "_network.h"
#include "_quick.h"
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
    X(OLD_TIMESTAMP, value_old_timestamp) X(OLD_TIME, value_old_time) X(COUNTED_DATETIME, value_counted_datetime)       \
    X(COUNTED_TIMESTAMP, value_counted_timestamp) X(COUNTED_TIME, value_counted_time) X(TEXT, value_text)               \
    X(TEXT_FOREIGN, value_text_foreign) X(BYTES, value_bytes) X(BINARY, value_binary)                                   \
    X(ENUM1, value_enum1) X(ENUM2, value_enum2) X(SET, value_set) X(JSON, value_json) X(VECTOR, value_vector)           \
    X(UUID, value_uuid) X(INET4, value_inet4) X(INET6, value_inet6)

enum {
#define X(NAME, FUNCTION) ROW_OP_##NAME,
    ROW_OPS(X)
#undef X
    ROW_OP_COMPRESSED, /* value_compressed, which needs to know the room */
#define X(NAME, FUNCTION, OP) STEP_##NAME,
    QUICK_KINDS(X)
#undef X
};

/* Which of the quick kinds a column is of, or else its op. */
static inline int step_kind(const column_plan_t *c) {
    static const int DATETIMES[] = {STEP_DATETIME_0, ROW_OP_DATETIME, STEP_DATETIME_2, STEP_DATETIME_3};
    static const int TIMESTAMPS[] = {STEP_TIMESTAMP_0, ROW_OP_TIMESTAMP, STEP_TIMESTAMP_2, STEP_TIMESTAMP_3};
    switch (c->op) {
    case ROW_OP_TEXT: return c->prefix == 1 ? STEP_TEXT_1 : c->prefix == 2 ? STEP_TEXT_2 : c->op;
    case ROW_OP_ENUM1: return STEP_LABEL;
    case ROW_OP_DECIMAL_SHORT: return c->tail == 2 ? STEP_CENTS : STEP_SHORT_DECIMAL;
    case ROW_OP_DATETIME: return DATETIMES[FRACTION_BYTES[c->fraction]];
    case ROW_OP_TIMESTAMP: return TIMESTAMPS[FRACTION_BYTES[c->fraction]];
    default: return c->op;
    }
}

/* OTHERWISE: what ends a step whose CALL didn't read the value. */
#define ROW_STEP(ATTRIBUTES, NAME, CALL, OTHERWISE, NULLS, KEY)                                                         \
    static ATTRIBUTES const uint8_t *step_##NAME##_##NULLS##KEY(const column_plan_t *c, const uint8_t *at, uint8_t *o,  \
                                                                row_walk_t *walk) {                                     \
        const uint8_t *next = at, *const end = walk->end;                                                               \
        uint8_t *value_end = o;                                                                                         \
        if (NULLS && (walk->nulls[c->null_byte] & c->null_bit)) {                                                       \
            *value_end++ = 0xc0;                                                                                        \
        } else {                                                                                                        \
            next = CALL;                                                                                                \
            OTHERWISE                                                                                                   \
        }                                                                                                               \
        if (KEY) {                                                                                                      \
            uint8_t **place = walk->key->place[c->key];                                                                 \
            place[0] = o;                                                                                               \
            place[1] = value_end;                                                                                       \
        }                                                                                                               \
        c++;                                                                                                            \
        __asm__("" : "+r"(c)); /* or gcc takes two registers for it, and two instructions more */                      \
        return c->step[NULLS](c, next, value_end, walk);                                                                \
    }
#define EACH_STEP(STEP, NAME, ...)                                                                                      \
    STEP(NAME, __VA_ARGS__, 0, 0) STEP(NAME, __VA_ARGS__, 1, 0) STEP(NAME, __VA_ARGS__, 0, 1) STEP(NAME, __VA_ARGS__, 1, 1)

#define OR_FAIL                                                                                                         \
    if (UNLIKELY(ROW_FAILED(next))) {                                                                                   \
        walk->failed = c;                                                                                               \
        return next;                                                                                                    \
    }
#define FULL __attribute__((noinline, flatten))
#define FULL_STEP(NAME, CALL, NULLS, KEY) ROW_STEP(FULL, NAME, CALL, OR_FAIL, NULLS, KEY)
#define X(NAME, FUNCTION) EACH_STEP(FULL_STEP, NAME, FUNCTION(c, at, end, &value_end))
ROW_OPS(X)
#undef X
EACH_STEP(FULL_STEP, COMPRESSED, value_compressed(c, at, end, &value_end, walk->limit))

#define OR_STEP(NAME, NULLS, KEY)                                                                                       \
    if (UNLIKELY(next == NULL)) return step_##NAME##_##NULLS##KEY(c, at, o, walk);
#define QUICK_STEP(NAME, CALL, OP, NULLS, KEY) ROW_STEP(, NAME, CALL, OR_STEP(OP, NULLS, KEY), NULLS, KEY)
#define X(NAME, FUNCTION, OP) EACH_STEP(QUICK_STEP, NAME, FUNCTION(c, at, end, &value_end), OP)
QUICK_KINDS(X)
#undef X

static const uint8_t *step_end(const column_plan_t *c, const uint8_t *at, uint8_t *o, row_walk_t *walk) {
    (void)c;
    walk->out = o;
    return at;
}

static const row_step_t STEPS[][2][2] = { /* by kind, whether it is of the key, whether the row has NULLs */
#define X(NAME, ...) {{step_##NAME##_00, step_##NAME##_10}, {step_##NAME##_01, step_##NAME##_11}},
    ROW_OPS(X) X(COMPRESSED) QUICK_KINDS(X)
#undef X
};

/* Once the ops and the keys of all columns are known: their steps, and behind the last column the end. */
static inline void bind_steps(column_plan_t *column, uint32_t columns) {
    for (uint32_t i = 0; i < columns; i++) {
        memcpy(column[i].step, STEPS[step_kind(&column[i])][column[i].key != 0], sizeof column[i].step);
        column[i].null_byte = (uint16_t)(i >> 3);
        column[i].null_bit = (uint8_t)(1 << (i & 7));
    }
    column[columns].step[0] = column[columns].step[1] = step_end;
}

#endif
