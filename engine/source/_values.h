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

#include "_row_key.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "written for little-endian machines, as the binlog's numbers are"
#endif

enum {
    ROW_ERROR_TRUNCATED = -1, /* the image ends inside a value */
    ROW_ERROR_VALUE = -2,     /* bits that no value of this type has: month 14, a decimal group above 999999999 */
    ROW_ERROR_LABEL = -3,     /* ENUM index or SET bit beyond the labels */
    ROW_ERROR_LENGTH = -4,    /* longer than the column is declared */
    ROW_ERROR_JSON = -5,      /* not MySQL's binary JSON: offsets outside, unknown type, too deep */
    ROW_ERROR_CODEC = -6,     /* a compressed column that can't be inflated; -7 is ROW_ERROR_ROOM */
    ROW_ERROR_NO_DOCUMENT = -8, /* a partial update of a JSON document that isn't in the first image */
    ROW_ERROR_LAST = -15,
};
#define ROW_FAIL(code) ((const uint8_t *)(intptr_t)(code))
#define ROW_FAILED(at) ((uintptr_t)(at) >= (uintptr_t)(intptr_t)ROW_ERROR_LAST)
#define ROW_CODE(at) ((int)(intptr_t)(at))

#define UNLIKELY(condition) __builtin_expect(!!(condition), 0) /* keeps what only damaged bytes reach out of the hot code */
#define HOT static inline __attribute__((always_inline)) /* part of its step, for its registers and its constants */
#define ROW_SLACK 64 /* bytes behind the bound that may be written to and then overwritten */

typedef struct column_plan column_plan_t;
/* Converts n bytes of a character set to UTF-8 at `out`; NULL: these bytes can't be text. Room: 3 bytes for each of n. */
typedef uint8_t *(*text_convert_t)(const column_plan_t *c, const uint8_t *at, uint64_t n, uint8_t *out);
/* Writes n bytes of binary JSON as text, not past `limit`; returns its end or NULL. */
typedef uint8_t *(*json_convert_t)(const uint8_t *at, uint64_t n, uint8_t *out, uint8_t *limit);
/* Applies the differences of a partial update to a document's text; its new length, -1: more than room, -2: they don't fit it. */
typedef int64_t (*json_patch_t)(const uint8_t *text, uint64_t text_bytes, const uint8_t *diffs, uint64_t diff_bytes, uint8_t *out,
                                uint64_t room);
/* Unpacks n bytes of a zlib or (raw) deflate stream that holds exactly out_bytes; 0: it doesn't. */
typedef int (*inflate_t)(const uint8_t *at, size_t n, uint8_t *out, size_t out_bytes, int raw);

/* The last minute that a column held, as text: rows of one moment mostly have it in common. */
typedef struct {
    uint64_t minute;  /* in the column's own unit; MINUTE_NONE: nothing yet */
    uint8_t text[16]; /* `2026-01-01 00:00` */
} minute_memo_t;
#define MINUTE_NONE UINT64_MAX

/* Where the image is being read; what all steps share and few touch. */
typedef struct {
    const uint8_t *nulls;  /* the image's NULL bits */
    uint8_t *limit;        /* of the room that COMPRESSED columns may use */
    row_key_t *key;
    uint8_t *out;          /* where the last step left off */
    const column_plan_t *failed;
} row_walk_t;

/* Reads one column of an image that holds them all, and goes on with the next one; see _steps.h. */
typedef const uint8_t *(*row_step_t)(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t *o, row_walk_t *walk);

struct column_plan {
    row_step_t step[2];   /* where no column is NULL, and where some are */
    uint8_t op;           /* which of ROW_OPS */
    uint8_t prefix;       /* bytes of the length in front; or bytes of a number */
    uint8_t fraction;     /* digits behind the dot of a temporal type */
    uint8_t key;          /* 1 + place in the primary key; 0: not part of it */
    uint8_t null_bit;     /* its bit among the NULL bits of a whole image, in byte */
    uint16_t null_byte;
    uint32_t width;       /* BINARY(n): n; short DECIMAL: bytes before the dot */
    uint16_t count;       /* of labels */
    /* DECIMAL: digits in the leading group, whole groups before the dot, whole groups behind it, digits in the last group */
    uint8_t lead, groups, fraction_groups, tail;
    const uint8_t *labels;         /* msgpack strs of ENUM (label 0 is ""), plain UTF-8 of SET */
    const uint32_t *label_at;      /* count + 1 offsets in labels (ENUM: count + 2) */
    text_convert_t convert;
    const uint16_t *codes;         /* character set tables, see _text.h */
    const uint16_t *more_codes;
    json_convert_t json;
    json_patch_t patch;
    inflate_t inflate;             /* of COMPRESSED columns */
    minute_memo_t *memo;           /* of DATETIME and TIMESTAMP */
    uint64_t bound;                /* msgpack bytes, beyond `factor` for each source byte */
    uint32_t factor;
};

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

/* Shortest form. Stores 9 bytes, whatever the length. */
HOT uint8_t *put_uint(uint8_t *o, uint64_t v) {
    static const uint8_t CLASS[8] = {0, 1, 2, 2, 3, 3, 3, 3}; /* log2 of the bytes, by the highest byte in use */
    if (v < 128) { *o = (uint8_t)v; return o + 1; }
    unsigned k = CLASS[(63 - __builtin_clzll(v)) >> 3];
    *o = (uint8_t)(0xcc + k);
    store_u64(o + 1, __builtin_bswap64(v << (64 - (8u << k))));
    return o + 1 + (1u << k);
}

HOT uint8_t *put_int(uint8_t *o, int64_t v) {
    static const uint8_t CLASS[8] = {0, 1, 2, 2, 3, 3, 3, 3};
    if (v >= 0) return put_uint(o, (uint64_t)v);
    if (v >= -32) { *o = (uint8_t)v; return o + 1; }
    unsigned k = CLASS[(64 - __builtin_clzll(~(uint64_t)v)) >> 3];
    *o = (uint8_t)(0xd0 + k);
    store_u64(o + 1, __builtin_bswap64((uint64_t)v << (64 - (8u << k))));
    return o + 1 + (1u << k);
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

/* The eight digits of v < 10^8 as bytes 0..9, the first one lowest: halves, pairs, digits, each step for all at once. */
HOT uint64_t eight_digits(uint32_t v) {
    uint64_t w = v / 10000 | (uint64_t)(v % 10000) << 32;
    uint64_t hundreds = (w * 10486 >> 20) & 0x0000007f0000007fULL;
    w = hundreds | (w - 100 * hundreds) << 16;
    uint64_t tens = (w * 103 >> 10) & 0x000f000f000f000fULL;
    return tens | (w - 10 * tens) << 8;
}
#define EIGHT_ZEROS 0x3030303030303030ULL

/* How many decimal digits v < 10^8 has, 1 for 0: a number's highest bit leaves two answers, the addition carries into bit 32
 * where it is the larger one. Found before the digits are, so that what follows need not wait for them. Lemire, "Computing
 * the number of digits of an integer even faster" (2021). */
HOT unsigned digit_count(uint32_t v) {
#define DIGITS(n, power) (((uint64_t)(n) << 32) - (power))
    static const uint64_t CARRY[27] = {
        DIGITS(1, 0),       DIGITS(1, 0),       DIGITS(1, 0),       DIGITS(2, 10),      DIGITS(2, 0),       DIGITS(2, 0),
        DIGITS(3, 100),     DIGITS(3, 0),       DIGITS(3, 0),       DIGITS(4, 1000),    DIGITS(4, 0),       DIGITS(4, 0),
        DIGITS(4, 0),       DIGITS(5, 10000),   DIGITS(5, 0),       DIGITS(5, 0),       DIGITS(6, 100000),  DIGITS(6, 0),
        DIGITS(6, 0),       DIGITS(7, 1000000), DIGITS(7, 0),       DIGITS(7, 0),       DIGITS(7, 0),       DIGITS(8, 10000000),
        DIGITS(8, 0),       DIGITS(8, 0),       DIGITS(8, 0),
    };
#undef DIGITS
    return (unsigned)((v + CARRY[31 - __builtin_clz(v | 1)]) >> 32);
}

/* Digits without leading zeros, at least one. Stores up to 7 bytes more. */
HOT uint8_t *put_eight(uint8_t *o, uint32_t v) {
    unsigned digits = digit_count(v);
    store_u64(o, (eight_digits(v) | EIGHT_ZEROS) >> (64 - 8 * digits));
    return o + digits;
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
        if (UNLIKELY(end - at < BYTES)) return ROW_FAIL(ROW_ERROR_TRUNCATED);                                           \
        *out = PUT(*out, EXPRESSION);                                                                                   \
        return at + BYTES;                                                                                              \
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
HOT const uint8_t *value_decimal_short(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
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
