/* SPDX-License-Identifier: Apache-2.0
 *
 * The kinds of columns that most tables are made of, read where nothing is out of the ordinary: short ASCII text, numbers of usual
 * size, times of the same minute as the row before, and more bytes of the event behind the value than are read at once.
 *
 * The functions are as those of _values.h; NULL: this value is for another step. So they neither check for
 * damage exactly nor call anything, and all that their steps hold fits the registers that nobody needs to save.
 */
#ifndef BINLOG_ENGINE_QUICK_H
#define BINLOG_ENGINE_QUICK_H

#include "_text.h"
#include "_times.h"

/* With the op whose step reads what they leave. */
#define QUICK_KINDS(X)                                                                                                  \
    X(TEXT_1, quick_text_1, TEXT) X(TEXT_2, quick_text_2, TEXT) X(LABEL, quick_label, ENUM1)                            \
    X(CENTS, quick_cents, DECIMAL_SHORT) X(SHORT_DECIMAL, quick_decimal, DECIMAL_SHORT)                                 \
    X(DATETIME_0, quick_datetime_0, DATETIME) X(DATETIME_2, quick_datetime_2, DATETIME)                                 \
    X(DATETIME_3, quick_datetime_3, DATETIME) X(TIMESTAMP_0, quick_timestamp_0, TIMESTAMP)                              \
    X(TIMESTAMP_2, quick_timestamp_2, TIMESTAMP) X(TIMESTAMP_3, quick_timestamp_3, TIMESTAMP)

/* Text behind a length of 1 or 2 bytes: ASCII of less than TEXT_COPY. */
HOT const uint8_t *quick_text(unsigned prefix, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    uint8_t *o = *out;
    if (UNLIKELY(at + prefix + TEXT_COPY > end)) return NULL;
    uint64_t n = prefix == 1 ? at[0] : load_u16(at);
    if (UNLIKELY(n >= TEXT_COPY)) return NULL;
    o[0] = (uint8_t)(0xa0 | n);
    at += prefix;
    if (UNLIKELY((uint32_t)__builtin_ctz(copy_block(o + 1, at) | 1u << (TEXT_COPY - 1)) < n)) return NULL;
    *out = o + 1 + n;
    return at + n;
}

HOT const uint8_t *quick_text_1(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    (void)c;
    return quick_text(1, at, end, out);
}

HOT const uint8_t *quick_text_2(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    (void)c;
    return quick_text(2, at, end, out);
}

/* ENUM of one byte. */
HOT const uint8_t *quick_label(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    const uint8_t *next = at + 1;
    if (UNLIKELY(next > end)) return NULL;
    uint32_t index = at[0];
    if (UNLIKELY(index > c->count)) return NULL;
    uint32_t from = c->label_at[index], n = c->label_at[index + 1] - from;
    if (UNLIKELY(n > LABEL_SLACK)) return NULL;
    memcpy(*out, c->labels + from, LABEL_SLACK);
    *out += n;
    return next;
}

/* Short DECIMAL of less than 10^8: all digits before the dot at once, `tail` digits behind it. */
HOT const uint8_t *quick_decimal_of(unsigned tail, const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    if (UNLIKELY(at + 12 > end)) return NULL;
    uint64_t whole = __builtin_bswap64(load_u64(at)) ^ 1ULL << 63, sign = (uint64_t)((int64_t)whole >> 63);
    whole = (whole ^ sign) >> c->whole_shift;
    if (UNLIKELY(whole >= c->whole_end)) return NULL;
    uint8_t *text = *out + 1, *o = text;
    *o = '-';
    o += sign & 1;
    o = put_eight(o, (uint32_t)whole);
    if (tail == 2) {
        uint32_t cents = (uint8_t)(at[c->width] ^ sign);
        if (UNLIKELY(cents > 99)) return NULL;
        *o = '.';
        put_pair(o + 1, cents);
        o += 3;
    } else if (tail) {
        uint32_t behind = (__builtin_bswap32(load_u32(at + c->width)) ^ (uint32_t)sign) >> (32 - 8 * GROUP_BYTES[tail]);
        if (UNLIKELY(behind >= POWERS[tail])) return NULL;
        *o = '.';
        store_u64(o + 1, (eight_digits(behind) | EIGHT_ZEROS) >> (64 - 8 * tail));
        o += 1 + tail;
    }
    text[-1] = (uint8_t)(0xa0 | (o - text));
    *out = o;
    return at + c->prefix;
}

HOT const uint8_t *quick_decimal(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    return quick_decimal_of(c->tail, c, at, end, out);
}

HOT const uint8_t *quick_cents(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    return quick_decimal_of(2, c, at, end, out);
}

/* A time of the memo's minute, whose fraction has so many bytes. */
HOT const uint8_t *quick_time(const column_plan_t *c, unsigned second, uint32_t fraction, unsigned fraction_bytes,
                              const uint8_t *next, uint8_t **out) {
    uint8_t *o = *out;
    if (UNLIKELY(fraction > (fraction_bytes == 2 ? 9999 : 999999))) return NULL;
    memcpy(o, c->memo->text, sizeof c->memo->text);
    put_pair(o + 18, second);
    if (fraction_bytes == 2) {
        put_pair(o + 21, fraction / 100);
        put_pair(o + 23, fraction % 100);
    } else if (fraction_bytes == 3) {
        uint32_t low = fraction % 10000;
        put_pair(o + 21, fraction / 10000);
        put_pair(o + 23, low / 100);
        put_pair(o + 25, low % 100);
    }
    *out = o + c->width;
    return next;
}

#define QUICK_TIMES(BYTES)                                                                                              \
    HOT const uint8_t *quick_datetime_##BYTES(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) { \
        if (UNLIKELY(at + 8 > end)) return NULL;                                                                        \
        uint64_t packed = __builtin_bswap64(load_u64(at));                                                              \
        if (UNLIKELY(packed >> 30 != c->memo->minute)) return NULL;                                                     \
        uint32_t fraction = (uint32_t)packed >> (24 - 8 * BYTES) & FRACTION_BITS(BYTES);                                \
        return quick_time(c, packed >> 24 & 63, fraction, BYTES, at + 5 + BYTES, out);                                  \
    }                                                                                                                   \
    HOT const uint8_t *quick_timestamp_##BYTES(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) { \
        if (UNLIKELY(at + 8 > end)) return NULL;                                                                        \
        uint64_t packed = __builtin_bswap64(load_u64(at)), second = (packed >> 32) - c->memo->minute;                   \
        if (UNLIKELY(second > 59)) return NULL;                                                                         \
        uint32_t fraction = (uint32_t)((uint64_t)(uint32_t)packed >> (32 - 8 * BYTES));                                 \
        return quick_time(c, (unsigned)second, fraction, BYTES, at + 4 + BYTES, out);                                   \
    }
#define FRACTION_BITS(BYTES) ((1u << (8 * BYTES)) - 1)
QUICK_TIMES(0)
QUICK_TIMES(2)
QUICK_TIMES(3)

#endif
