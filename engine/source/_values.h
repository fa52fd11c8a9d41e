/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers, decimals and times of a row image as msgpack: one small function per column type.
 *
 * Every function has the shape `value_*(column, at, end, &out)`: it reads the column at `at`, never past `end`, writes one
 * msgpack value at `*out`, moves `*out` behind it and returns where the next column begins, or ROW_FAIL(code). `out` has room
 * for the column's `bound` plus ROW_SLACK bytes, so a function may store whole words and let the next column overwrite the rest.
 *
 * The formats are MySQL's: "Data Type Storage Requirements" of its manual for what a type holds, my_time_packed_to_binary and
 * decimal2bin of its sources for the temporal types with fractions and for DECIMAL.
 */
#ifndef BINLOG_ENGINE_VALUES_H
#define BINLOG_ENGINE_VALUES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "_row_plan.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "written for little-endian machines, as the binlog's numbers are"
#endif

static const char DIGIT_PAIRS[201] =
    "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
    "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
static const uint32_t POWERS[10] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000};
static const uint8_t GROUP_BYTES[10] = {0, 1, 1, 2, 2, 3, 3, 4, 4, 4};

static inline uint16_t load_u16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static inline uint32_t load_u24(const uint8_t *p) { return load_u16(p) | (uint32_t)p[2] << 16; }
static inline uint32_t load_u32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint64_t load_u64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static inline void store_u16(uint8_t *p, uint16_t v) { memcpy(p, &v, 2); }
static inline void store_u32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }
static inline void store_u64(uint8_t *p, uint64_t v) { memcpy(p, &v, 8); }

/* n of 1..8 bytes, little-endian or big-endian. */
static inline uint64_t load_le(const uint8_t *p, unsigned n) {
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}
static inline uint64_t load_be(const uint8_t *p, unsigned n) {
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++) v = v << 8 | p[i];
    return v;
}

/* ---- msgpack ---- */

/* How an integer is written, by its highest byte in use. */
typedef struct {
    uint8_t shift; /* of its reversed bytes, so that those that are written come first */
    uint8_t head;
    uint8_t bytes; /* of both */
    uint8_t unused;
} integer_form_t;
#define INTEGER_FORM(HEAD, LOG2) {64 - (8 << (LOG2)), (HEAD) + (LOG2), 1 + (1 << (LOG2)), 0}
#define INTEGER_FORMS(HEAD) { \
    INTEGER_FORM(HEAD, 0), INTEGER_FORM(HEAD, 1), INTEGER_FORM(HEAD, 2), INTEGER_FORM(HEAD, 2), \
    INTEGER_FORM(HEAD, 3), INTEGER_FORM(HEAD, 3), INTEGER_FORM(HEAD, 3), INTEGER_FORM(HEAD, 3) }

/* Stores 9 bytes, whatever the length. */
HOT uint8_t *put_integer(uint8_t *o, uint64_t v, const integer_form_t *form) {
    o[0] = form->head;
    store_u64(o + 1, __builtin_bswap64(v) >> (form->shift & 63));
    return o + form->bytes;
}

/* Shortest form. */
HOT uint8_t *put_uint(uint8_t *o, uint64_t v) {
    static const integer_form_t FORMS[8] = INTEGER_FORMS(0xcc);
    if (v < 128) { *o = (uint8_t)v; return o + 1; }
    return put_integer(o, v, &FORMS[(63 - __builtin_clzll(v)) >> 3]);
}

HOT uint8_t *put_int(uint8_t *o, int64_t v) {
    static const integer_form_t FORMS[8] = INTEGER_FORMS(0xd0);
    if (v >= 0) return put_uint(o, (uint64_t)v);
    if (v >= -32) { *o = (uint8_t)v; return o + 1; }
    return put_integer(o, (uint64_t)v, &FORMS[(64 - __builtin_clzll(~(uint64_t)v)) >> 3]);
}

/* Shortest header of a str; up to 5 bytes. */
static inline uint8_t *put_str_head(uint8_t *o, uint64_t n) {
    if (n < 32) { *o = (uint8_t)(0xa0 | n); return o + 1; }
    if (n < 256) { o[0] = 0xd9; o[1] = (uint8_t)n; return o + 2; }
    if (n < 65536) { o[0] = 0xda; store_u16(o + 1, __builtin_bswap16((uint16_t)n)); return o + 3; }
    o[0] = 0xdb; store_u32(o + 1, __builtin_bswap32((uint32_t)n)); return o + 5;
}

static inline uint8_t *put_bin_head(uint8_t *o, uint64_t n) {
    if (n < 256) { o[0] = 0xc4; o[1] = (uint8_t)n; return o + 2; }
    if (n < 65536) { o[0] = 0xc5; store_u16(o + 1, __builtin_bswap16((uint16_t)n)); return o + 3; }
    o[0] = 0xc6; store_u32(o + 1, __builtin_bswap32((uint32_t)n)); return o + 5;
}

/* ---- digits ---- */

static inline void put_pair(uint8_t *o, unsigned v) { memcpy(o, DIGIT_PAIRS + 2 * v, 2); } /* v < 100 */

/* `digits` digits of v with leading zeros. */
static inline void put_padded(uint8_t *o, uint32_t v, unsigned digits) {
    unsigned i = digits;
    for (; i >= 2; i -= 2) { put_pair(o + i - 2, v % 100); v /= 100; }
    if (i) o[0] = (uint8_t)('0' + v % 10);
}

/* Nine digits with leading zeros. */
static inline void put_nine(uint8_t *o, uint32_t v) {
    uint32_t high = v / 10000, low = v % 10000;
    o[0] = (uint8_t)('0' + high / 10000);
    high %= 10000;
    put_pair(o + 1, high / 100); put_pair(o + 3, high % 100);
    put_pair(o + 5, low / 100);  put_pair(o + 7, low % 100);
}

/* The eight digits of v < 10^8 as bytes 0..9, the first one lowest: halves, pairs, digits, each step for all at once. A step
 * replaces w by w / n | w % n << bits, which is (w << bits) - w / n * ((n << bits) - 1). */
HOT uint64_t eight_digits(uint32_t v) {
    uint64_t w = ((uint64_t)v << 32) - v / 10000 * ((UINT64_C(10000) << 32) - 1);
    w = (w << 16) - ((w * 10486 >> 20) & 0x0000007f0000007fULL) * ((100 << 16) - 1);
    return (w << 8) - ((w * 103 >> 10) & 0x000f000f000f000fULL) * ((10 << 8) - 1);
}
#define EIGHT_ZEROS 0x3030303030303030ULL

/* Digits without leading zeros, at least one. Stores up to 7 bytes more. */
HOT uint8_t *put_eight(uint8_t *o, uint32_t v) {
    uint64_t digits = eight_digits(v);
    unsigned zeros = (unsigned)__builtin_ctzll(digits | 1ULL << 56) & 56; /* in bits */
    store_u64(o, (digits | EIGHT_ZEROS) >> zeros);
    return o + 8 - (zeros >> 3);
}

static __attribute__((noinline)) uint8_t *put_long_decimal(uint8_t *o, uint64_t v) {
    uint64_t high = v / 100000000;
    if (high < 100000000) {
        o = put_eight(o, (uint32_t)high);
    } else {
        o = put_eight(o, (uint32_t)(high / 100000000));
        store_u64(o, eight_digits((uint32_t)(high % 100000000)) | EIGHT_ZEROS);
        o += 8;
    }
    store_u64(o, eight_digits((uint32_t)(v % 100000000)) | EIGHT_ZEROS);
    return o + 8;
}

HOT uint8_t *put_decimal(uint8_t *o, uint64_t v) {
    return __builtin_expect(v < 100000000, 1) ? put_eight(o, (uint32_t)v) : put_long_decimal(o, v);
}

/* ---- integers ---- */

#define VALUE_INTEGER(NAME, BYTES, PUT, EXPRESSION)                                                                     \
    HOT const uint8_t *NAME(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {             \
        (void)c;                                                                                                        \
        const uint8_t *next = at + BYTES;                                                                               \
        if (UNLIKELY(next > end)) return ROW_FAIL(ROW_ERROR_TRUNCATED);                                                 \
        if (ROW_FAILED(next)) __builtin_unreachable();                                                                  \
        *out = PUT(*out, EXPRESSION);                                                                                   \
        return next;                                                                                                    \
    }
VALUE_INTEGER(value_tiny, 1, put_int, (int8_t)at[0])
VALUE_INTEGER(value_tiny_unsigned, 1, put_uint, at[0])
VALUE_INTEGER(value_short, 2, put_int, (int16_t)load_u16(at))
VALUE_INTEGER(value_short_unsigned, 2, put_uint, load_u16(at))
VALUE_INTEGER(value_int24, 3, put_int, (int32_t)(load_u24(at) << 8) >> 8)
VALUE_INTEGER(value_int24_unsigned, 3, put_uint, load_u24(at))
VALUE_INTEGER(value_long, 4, put_int, (int32_t)load_u32(at))
VALUE_INTEGER(value_long_unsigned, 4, put_uint, load_u32(at))
VALUE_INTEGER(value_longlong, 8, put_int, (int64_t)load_u64(at))
VALUE_INTEGER(value_longlong_unsigned, 8, put_uint, load_u64(at))
VALUE_INTEGER(value_year, 1, put_uint, at[0] ? at[0] + 1900u : 0u)

/* BIT(1..64): big-endian in `prefix` bytes. */
static inline const uint8_t *value_bit(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    if (UNLIKELY(end - at < c->prefix)) return ROW_FAIL(ROW_ERROR_TRUNCATED);
    *out = put_uint(*out, load_be(at, c->prefix));
    return at + c->prefix;
}

static inline const uint8_t *value_float(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    (void)c;
    if (UNLIKELY(end - at < 4)) return ROW_FAIL(ROW_ERROR_TRUNCATED);
    uint8_t *o = *out;
    o[0] = 0xca;
    store_u32(o + 1, __builtin_bswap32(load_u32(at)));
    *out = o + 5;
    return at + 4;
}

static inline const uint8_t *value_double(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    (void)c;
    if (UNLIKELY(end - at < 8)) return ROW_FAIL(ROW_ERROR_TRUNCATED);
    uint8_t *o = *out;
    o[0] = 0xcb;
    store_u64(o + 1, __builtin_bswap64(load_u64(at)));
    *out = o + 9;
    return at + 8;
}

/* ---- DECIMAL: nine digits in 4 bytes, shorter groups at both ends in fewer; first bit flipped, all bits if negative ---- */

/* 1 to 17 digits before the dot, in `width` bytes, and less than 9 behind it: the text has at most 28 characters, its
 * header 1 byte. */
static inline const uint8_t *value_decimal_short(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    uint8_t place[16];
    const uint8_t *next = at + c->prefix;
    if (UNLIKELY(end - at < 12)) { /* eight bytes are loaded before the dot, and four behind it */
        if (end - at < c->prefix) return ROW_FAIL(ROW_ERROR_TRUNCATED);
        memset(place, 0, sizeof place);
        memcpy(place, at, c->prefix);
        at = place;
    }
    uint64_t whole = __builtin_bswap64(load_u64(at)) ^ 1ULL << 63, sign = (uint64_t)((int64_t)whole >> 63), lead;
    whole = lead = (whole ^ sign) >> (64 - 8 * c->width);
    if (c->groups) {
        uint32_t group = (uint32_t)whole;
        lead = whole >> 32;
        if (UNLIKELY(group > 999999999)) return ROW_FAIL(ROW_ERROR_VALUE);
        whole = lead * 1000000000 + group;
    }
    if (UNLIKELY(lead >= POWERS[c->lead])) return ROW_FAIL(ROW_ERROR_VALUE);
    uint8_t *text = *out + 1, *o = text;
    *o = '-';
    o += sign & 1;
    o = put_decimal(o, whole);
    if (c->tail) {
        uint32_t tail = (__builtin_bswap32(load_u32(at + c->width)) ^ (uint32_t)sign) >> (32 - 8 * GROUP_BYTES[c->tail]);
        if (UNLIKELY(tail >= POWERS[c->tail])) return ROW_FAIL(ROW_ERROR_VALUE);
        *o++ = '.';
        if (__builtin_expect(c->tail == 2, 1)) put_pair(o, tail);
        else store_u64(o, (eight_digits(tail) | EIGHT_ZEROS) >> (64 - 8 * c->tail));
        o += c->tail;
    }
    **out = (uint8_t)(0xa0 | (o - text));
    *out = o;
    return next;
}

/* Any DECIMAL: at most 65 digits, a dot, a sign and a zero. Writes at most 68 characters, and stores up
 * to 7 bytes more; NULL: not a decimal. */
static inline uint8_t *decimal_text(const uint8_t *at, unsigned lead, unsigned groups, unsigned fraction_groups, unsigned tail,
                                    uint8_t *o) {
    uint8_t bytes[32]; /* DECIMAL(65, 30) has 30 */
    unsigned n = GROUP_BYTES[lead] + 4 * (groups + fraction_groups) + GROUP_BYTES[tail];
    uint8_t flip = at[0] & 0x80 ? 0 : 0xff;
    for (unsigned i = 0; i < n; i++) bytes[i] = at[i] ^ flip;
    bytes[0] ^= 0x80;
    const uint8_t *p = bytes;
    if (flip) *o++ = '-';
    int begun = 0;
    if (lead) {
        uint64_t group = load_be(p, GROUP_BYTES[lead]);
        if (group >= POWERS[lead]) return NULL;
        if (group) { o = put_decimal(o, group); begun = 1; }
        p += GROUP_BYTES[lead];
    }
    for (unsigned i = 0; i < groups; i++, p += 4) {
        uint64_t group = load_be(p, 4);
        if (UNLIKELY(group > 999999999)) return NULL;
        if (begun) { put_nine(o, (uint32_t)group); o += 9; }
        else if (group) { o = put_decimal(o, group); begun = 1; }
    }
    if (!begun) *o++ = '0';
    if (fraction_groups + tail == 0) return o;
    *o++ = '.';
    for (unsigned i = 0; i < fraction_groups; i++, p += 4) {
        uint64_t group = load_be(p, 4);
        if (UNLIKELY(group > 999999999)) return NULL;
        put_nine(o, (uint32_t)group);
        o += 9;
    }
    if (tail) {
        uint64_t group = load_be(p, GROUP_BYTES[tail]);
        if (group >= POWERS[tail]) return NULL;
        put_padded(o, (uint32_t)group, tail);
        o += tail;
    }
    return o;
}

static inline const uint8_t *value_decimal(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    if (UNLIKELY(end - at < c->prefix)) return ROW_FAIL(ROW_ERROR_TRUNCATED);
    uint8_t text[96], *text_end = decimal_text(at, c->lead, c->groups, c->fraction_groups, c->tail, text);
    if (UNLIKELY(text_end == NULL)) return ROW_FAIL(ROW_ERROR_VALUE);
    uint8_t *o = put_str_head(*out, (uint64_t)(text_end - text));
    memcpy(o, text, (size_t)(text_end - text));
    *out = o + (text_end - text);
    return at + c->prefix;
}

#endif
