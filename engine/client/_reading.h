/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading records and the msgpack values in them (docs/protocol.md). Every function gets the end of the bytes it may look at
 * and says NULL or 0 where the value isn't there whole: nothing is read that was not sent.
 */
#ifndef BINLOG_ENGINE_CLIENT_READING_H
#define BINLOG_ENGINE_CLIENT_READING_H

#include <stdbool.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "_record.h"

enum { LEAST_RECORD_BYTES = RECORD_HEAD_BYTES + 2 };

#ifdef __SSE2__
/* Bytes of both that differ, of 16, where mask has 0xff. */
static inline __m128i record_difference(const uint8_t *p, const uint8_t *wanted, const uint8_t *mask) {
    __m128i found = _mm_loadu_si128((const __m128i *)p), want = _mm_loadu_si128((const __m128i *)wanted);
    return _mm_and_si128(_mm_xor_si128(found, want), _mm_loadu_si128((const __m128i *)mask));
}
#endif

/* Whether these are the markers that all records have in their head, so that its fields are where they should be. Looks at
 * LEAST_RECORD_BYTES. */
static inline bool has_record_markers(const uint8_t *p) {
#ifdef __SSE2__
#define MARKED(MARKER_9D, MARKER_CC, MARKER_CD, MARKER_CE, MARKER_CF) { \
    [0] = MARKER_9D, [RECORD_LENGTH_AT - 1] = MARKER_CE, [RECORD_KIND_AT - 1] = MARKER_CC, [RECORD_FLAGS_AT - 1] = MARKER_CD, \
    [RECORD_SOURCE_AT - 1] = MARKER_CD, [RECORD_TABLE_AT - 1] = MARKER_CE, [RECORD_TIME_AT - 1] = MARKER_CF, \
    [RECORD_FILE_AT - 1] = MARKER_CE, [RECORD_START_AT - 1] = MARKER_CF, [RECORD_EVENT_AT - 1] = MARKER_CE, \
    [RECORD_ROW_AT - 1] = MARKER_CE, [RECORD_HASH_AT - 1] = MARKER_CF }
    static const uint8_t markers[LEAST_RECORD_BYTES] = MARKED(0x9d, 0xcc, 0xcd, 0xce, 0xcf);
    static const uint8_t where[LEAST_RECORD_BYTES] = MARKED(0xff, 0xff, 0xff, 0xff, 0xff);
#undef MARKED
    enum { LAST = LEAST_RECORD_BYTES - 16 };
    __m128i low = _mm_or_si128(record_difference(p, markers, where), record_difference(p + 16, markers + 16, where + 16));
    __m128i high = _mm_or_si128(record_difference(p + 32, markers + 32, where + 32), record_difference(p + LAST, markers + LAST, where + LAST));
    return _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_or_si128(low, high), _mm_setzero_si128())) == 0xffff;
#else
    return p[0] == 0x9d && p[RECORD_LENGTH_AT - 1] == 0xce && p[RECORD_KIND_AT - 1] == 0xcc && p[RECORD_FLAGS_AT - 1] == 0xcd &&
           p[RECORD_SOURCE_AT - 1] == 0xcd && p[RECORD_TABLE_AT - 1] == 0xce && p[RECORD_TIME_AT - 1] == 0xcf &&
           p[RECORD_FILE_AT - 1] == 0xce && p[RECORD_START_AT - 1] == 0xcf && p[RECORD_EVENT_AT - 1] == 0xce &&
           p[RECORD_ROW_AT - 1] == 0xce && p[RECORD_HASH_AT - 1] == 0xcf;
#endif
}

/* Whether two records are of the same kind, source, table, time and transaction; both have their markers. */
static inline bool is_alike(const uint8_t *p, const uint8_t *other) {
    enum { FROM = RECORD_SOURCE_AT - 1, BYTES = RECORD_START_AT + 8 - FROM };
#ifdef __SSE2__
    __m128i first = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(p + FROM)), _mm_loadu_si128((const __m128i *)(other + FROM)));
    __m128i last = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(p + FROM + BYTES - 16)),
                                  _mm_loadu_si128((const __m128i *)(other + FROM + BYTES - 16)));
    _Static_assert(BYTES <= 32, "two vectors see them all");
    return p[RECORD_KIND_AT] == other[RECORD_KIND_AT] && _mm_movemask_epi8(_mm_and_si128(first, last)) == 0xffff;
#else
    return p[RECORD_KIND_AT] == other[RECORD_KIND_AT] && memcmp(p + FROM, other + FROM, BYTES) == 0;
#endif
}

/* Length of the record at p; 0: no record lies here whole. */
static inline uint64_t record_length(const uint8_t *p, const uint8_t *end) {
    if (end - p < LEAST_RECORD_BYTES || !has_record_markers(p)) return 0;
    uint64_t length = record_u32(p + RECORD_LENGTH_AT);
    return length >= LEAST_RECORD_BYTES && length <= (uint64_t)(end - p) ? length : 0;
}

typedef enum { VALUE_NIL, VALUE_BOOL, VALUE_UINT, VALUE_INT, VALUE_FLOAT, VALUE_DOUBLE, VALUE_STR, VALUE_BIN, VALUE_ARRAY,
               VALUE_MAP, VALUE_ABSENT, VALUE_OTHER } value_type;

typedef struct {
    value_type type;
    union { uint64_t u; int64_t i; float f; double d; };  /* VALUE_INT is negative; VALUE_BOOL in u */
    const uint8_t *bytes;                                 /* of str and bin */
    uint64_t count;                                       /* bytes of str and bin; elements of an array; keys and values of a map */
} value_t;

/* A str or bin whose length has `width` bytes at p. */
static inline const uint8_t *read_long_bytes(const uint8_t *p, const uint8_t *end, int width, value_t *value) {
    if (end - p < width) return NULL;
    value->count = width == 1 ? p[0] : width == 2 ? record_u16(p) : record_u32(p);
    value->bytes = p + width;
    return (uint64_t)(end - value->bytes) < value->count ? NULL : value->bytes + value->count;
}

/* The value at p; returns where the next begins, for an array or map its first element. NULL: it isn't whole. VALUE_OTHER
 * is what no record holds (other extensions): its bytes are not stepped over. */
static inline const uint8_t *read_value(const uint8_t *p, const uint8_t *end, value_t *value) {
    if (p >= end) return NULL;
    uint8_t b = *p++;
    value->bytes = NULL;
    value->count = 0;
    if (b <= 0x7f) {
        value->type = VALUE_UINT;
        value->u = b;
        return p;
    }
    if ((b & 0xe0) == 0xa0) {
        value->type = VALUE_STR;
        value->bytes = p;
        value->count = b & 31;
        return (uint64_t)(end - p) < value->count ? NULL : p + value->count;
    }
    if (b >= 0xe0) {
        value->type = VALUE_INT;
        value->i = (int8_t)b;
        return p;
    }
    if ((b & 0xf0) == 0x90) {
        value->type = VALUE_ARRAY;
        value->count = b & 15;
        return p;
    }
    if ((b & 0xf0) == 0x80) {
        value->type = VALUE_MAP;
        value->count = 2 * (b & 15);
        return p;
    }
    switch (b) {
    case 0xc0: value->type = VALUE_NIL; return p;
    case 0xc2: case 0xc3: value->type = VALUE_BOOL; value->u = b & 1; return p;
    case 0xc4: case 0xc5: case 0xc6: value->type = VALUE_BIN; return read_long_bytes(p, end, 1 << (b - 0xc4), value);
    case 0xd9: case 0xda: case 0xdb: value->type = VALUE_STR; return read_long_bytes(p, end, 1 << (b - 0xd9), value);
    case 0xca: {
        if (end - p < 4) return NULL;
        uint32_t bits = record_u32(p);
        value->type = VALUE_FLOAT;
        memcpy(&value->f, &bits, 4);
        return p + 4;
    }
    case 0xcb:
        if (end - p < 8) return NULL;
        value->type = VALUE_DOUBLE;
        value->u = record_u64(p);
        return p + 8;
    case 0xcc: case 0xcd: case 0xce: case 0xcf: case 0xd0: case 0xd1: case 0xd2: case 0xd3: {
        int width = 1 << (b & 3);
        if (end - p < width) return NULL;
        value->u = width == 1 ? p[0] : width == 2 ? record_u16(p) : width == 4 ? record_u32(p) : record_u64(p);
        value->type = VALUE_UINT;
        if (b >= 0xd0) {
            int unused = 64 - 8 * width;
            value->i = (int64_t)(value->u << unused) >> unused;
            if (value->i < 0) value->type = VALUE_INT;
        }
        return p + width;
    }
    case 0xc7:
        if (end - p < 2) return NULL;
        value->type = p[0] == 0 && p[1] == 1 ? VALUE_ABSENT : VALUE_OTHER;
        return p + 2;
    case 0xdc: case 0xdd: case 0xde: case 0xdf: {
        int width = b & 1 ? 4 : 2;
        if (end - p < width) return NULL;
        value->type = b <= 0xdd ? VALUE_ARRAY : VALUE_MAP;
        value->count = (uint64_t)(width == 2 ? record_u16(p) : record_u32(p)) << (b >= 0xde);
        return p + width;
    }
    default: value->type = VALUE_OTHER; return p;
    }
}

/* Where the value behind the one at p begins; NULL: it isn't whole, or holds what no record holds. */
static inline const uint8_t *step_over(const uint8_t *p, const uint8_t *end) {
    value_t value;
    for (uint64_t pending = 1; pending; pending--) {
        p = read_value(p, end, &value);
        if (p == NULL || value.type == VALUE_OTHER) return NULL;
        if (value.type == VALUE_ARRAY || value.type == VALUE_MAP) pending += value.count;
    }
    return p;
}

/* Whether `before` and `after` fill the record at p, which ends at `end`. */
static inline bool is_filled(const uint8_t *p, const uint8_t *end) {
    p = step_over(p + RECORD_HEAD_BYTES, end);
    return p != NULL && step_over(p, end) == end;
}

/* Whether the bytes are UTF-8 as RFC 3629 has it: shortest forms, no surrogates, nothing above U+10FFFF. */
static inline bool is_utf8(const uint8_t *p, uint64_t n) {
    const uint8_t *end = p + n;
    while (p < end) {
        if (end - p >= 8) {
            uint64_t eight;
            memcpy(&eight, p, 8);
            if (!(eight & 0x8080808080808080ULL)) {
                p += 8;
                continue;
            }
        }
        uint8_t b = *p++;
        if (b < 0x80) continue;
        int more = b >= 0xc2 && b <= 0xdf ? 1 : b >= 0xe0 && b <= 0xef ? 2 : b >= 0xf0 && b <= 0xf4 ? 3 : 0;
        if (more == 0 || end - p < more) return false;
        uint8_t least = b == 0xe0 ? 0xa0 : b == 0xf0 ? 0x90 : 0x80, most = b == 0xed ? 0x9f : b == 0xf4 ? 0x8f : 0xbf;
        if (*p < least || *p > most) return false;
        for (int i = 1; i < more; i++)
            if ((p[i] & 0xc0) != 0x80) return false;
        p += more;
    }
    return true;
}

static inline bool is_ascii(const uint8_t *p, uint64_t n) {
    uint64_t seen = 0, eight;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&eight, p, 8);
        seen |= eight;
    }
    for (; n; p++, n--) seen |= *p;
    return !(seen & 0x8080808080808080ULL);
}

/* The body of a begin or commit, `nil, [gtid or nil, xid or nil]`: whether it is one that ends where it should; sets gtid,
 * NULL where there is none. */
static inline bool read_transaction_mark(const uint8_t *p, const uint8_t *end, const uint8_t **gtid, uint64_t *gtid_bytes) {
    value_t value;
    if (p >= end || *p++ != 0xc0) return false;
    p = read_value(p, end, &value);
    if (p == NULL || value.type != VALUE_ARRAY || value.count != 2) return false;
    p = read_value(p, end, &value);
    if (p == NULL || (value.type != VALUE_STR && value.type != VALUE_NIL)) return false;
    *gtid = value.type == VALUE_STR ? value.bytes : NULL;
    *gtid_bytes = value.type == VALUE_STR ? value.count : 0;
    if (*gtid != NULL && !is_utf8(*gtid, *gtid_bytes)) return false;
    p = read_value(p, end, &value);
    return p == end && (value.type == VALUE_UINT || value.type == VALUE_NIL);
}

#endif
