/* SPDX-License-Identifier: Apache-2.0
 *
 * Strings of a row image as msgpack str or bin, in the shape that _values.h describes.
 *
 * A str must be UTF-8 for every client. So text is checked while it is copied, and text that can't become UTF-8 (bytes that
 * are none in a utf8mb4 column, lone surrogates in ucs2 and utf16) is delivered as bin with the column's own bytes. Codes
 * that a character set leaves open become `?`, as the server shows them.
 */
#ifndef BINLOG_ENGINE_TEXT_H
#define BINLOG_ENGINE_TEXT_H

#include "_spent.h"
#include "_values.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define TEXT_COPY 32 /* short strings are copied in whole blocks; the rest is overwritten by what follows */
#define LABEL_SLACK 32 /* so many bytes may be read behind the last label */
#define CODE_LEAD 0xffff /* in a table of single bytes: the first byte of a longer code */

/* Bits of the bytes of a block of TEXT_COPY that are not ASCII. */
static inline uint32_t copy_block(uint8_t *o, const uint8_t *at) {
#ifdef __SSE2__
    __m128i low = _mm_loadu_si128((const __m128i *)at), high = _mm_loadu_si128((const __m128i *)(at + 16));
    _mm_storeu_si128((__m128i *)o, low);
    _mm_storeu_si128((__m128i *)(o + 16), high);
    return (uint32_t)_mm_movemask_epi8(low) | (uint32_t)_mm_movemask_epi8(high) << 16;
#else
    uint32_t bits = 0;
    memcpy(o, at, TEXT_COPY);
    for (int i = 0; i < TEXT_COPY; i++) bits |= (uint32_t)(o[i] >> 7) << i;
    return bits;
#endif
}

/* Copies n bytes; says whether one of them is not ASCII. Reads up to `end`, writes up to TEXT_COPY - 1 bytes too many. */
HOT uint32_t copy_ascii(uint8_t *o, const uint8_t *at, uint64_t n, const uint8_t *end) {
    uint32_t high = 0;
    if ((uint64_t)(end - at) >= n + TEXT_COPY) {
        while (n > TEXT_COPY) {
            high |= copy_block(o, at);
            o += TEXT_COPY; at += TEXT_COPY; n -= TEXT_COPY;
        }
        return high | (copy_block(o, at) & (uint32_t)((1ULL << n) - 1));
    }
    for (; n >= TEXT_COPY; n -= TEXT_COPY, o += TEXT_COPY, at += TEXT_COPY) high |= copy_block(o, at);
    for (uint64_t i = 0; i < n; i++) high |= (o[i] = at[i]) & 0x80;
    return high;
}

static inline void copy_bytes(uint8_t *o, const uint8_t *at, uint64_t n, const uint8_t *end) {
    if (n <= TEXT_COPY && (end - at) >= TEXT_COPY) memcpy(o, at, TEXT_COPY);
    else if (n < SPENT_LEAST_BYTES) memcpy(o, at, n);
    else copy_spending(o, at, n);
}

/* ---- character sets: text_convert_t functions ---- */

/* 0xd800..0xdfff must not get here. Up to 4 bytes. */
static inline uint8_t *put_utf8(uint8_t *o, uint32_t code) {
    if (code < 0x80) { *o = (uint8_t)code; return o + 1; }
    if (code < 0x800) { o[0] = (uint8_t)(0xc0 | code >> 6); o[1] = (uint8_t)(0x80 | (code & 63)); return o + 2; }
    if (code < 0x10000) {
        o[0] = (uint8_t)(0xe0 | code >> 12); o[1] = (uint8_t)(0x80 | (code >> 6 & 63));
        o[2] = (uint8_t)(0x80 | (code & 63));
        return o + 3;
    }
    o[0] = (uint8_t)(0xf0 | code >> 18); o[1] = (uint8_t)(0x80 | (code >> 12 & 63));
    o[2] = (uint8_t)(0x80 | (code >> 6 & 63)); o[3] = (uint8_t)(0x80 | (code & 63));
    return o + 4;
}

/* Well-formed UTF-8 as Unicode defines it (table 3-7): shortest forms, no surrogates, nothing above U+10FFFF. */
static inline int utf8_valid(const uint8_t *p, uint64_t n) {
    const uint8_t *end = p + n;
    while (p < end) {
        while (end - p >= 8 && !(load_u64(p) & 0x8080808080808080ULL)) p += 8;
        if (p == end) break;
        uint8_t b = *p;
        if (b < 0x80) { p++; continue; }
        if (b >= 0xe0 && b < 0xf0) {
            if (end - p < 3 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80) return 0;
            if ((b == 0xe0 && p[1] < 0xa0) || (b == 0xed && p[1] > 0x9f)) return 0;
            p += 3;
        } else if (b >= 0xc2 && b < 0xe0) {
            if (end - p < 2 || (p[1] & 0xc0) != 0x80) return 0;
            p += 2;
        } else if (b >= 0xf0 && b < 0xf5) {
            if (end - p < 4 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80 || (p[3] & 0xc0) != 0x80) return 0;
            if ((b == 0xf0 && p[1] < 0x90) || (b == 0xf4 && p[1] > 0x8f)) return 0;
            p += 4;
        } else {
            return 0;
        }
    }
    return 1;
}

static uint8_t *convert_utf8(const column_plan_t *c, const uint8_t *at, uint64_t n, uint8_t *o) {
    (void)c;
    if (!utf8_valid(at, n)) return NULL;
    memcpy(o, at, n);
    return o + n;
}

static uint8_t *convert_single(const column_plan_t *c, const uint8_t *at, uint64_t n, uint8_t *o) {
    for (uint64_t i = 0; i < n; i++) o = put_utf8(o, c->codes[at[i]]);
    return o;
}

/* big5, gbk, gb2312, euckr, sjis, cp932: two bytes from a lead byte on. */
static uint8_t *convert_double(const column_plan_t *c, const uint8_t *at, uint64_t n, uint8_t *o) {
    for (const uint8_t *end = at + n; at < end;) {
        uint32_t code = c->codes[*at], length = 1;
        if (code == CODE_LEAD) {
            code = 0;
            if (end - at >= 2) { code = c->more_codes[at[0] << 8 | at[1]]; length = 2; }
        }
        o = put_utf8(o, code || at[0] == 0 ? code : '?');
        at += length;
    }
    return o;
}

/* ujis, eucjpms: as above, and three bytes after 0x8f, whose table stands behind that of the double ones. */
static uint8_t *convert_euc_jp(const column_plan_t *c, const uint8_t *at, uint64_t n, uint8_t *o) {
    for (const uint8_t *end = at + n; at < end;) {
        uint32_t code = c->codes[*at], length = 1;
        if (code == CODE_LEAD) {
            code = 0;
            if (*at == 0x8f) {
                if (end - at >= 3) { code = c->more_codes[65536 + (at[1] << 8 | at[2])]; length = 3; }
            } else if (end - at >= 2) {
                code = c->more_codes[at[0] << 8 | at[1]];
                length = 2;
            }
        }
        o = put_utf8(o, code || at[0] == 0 ? code : '?');
        at += length;
    }
    return o;
}

#define GB18030_BMP_CODES 39420 /* four-byte codes from 81308130 on */
#define GB18030_SUPPLEMENTARY 189000 /* 90308130 is U+10000 */

/* gb18030: the four-byte codes of the BMP have a table behind that of the double ones; those above are U+10000 + n. */
static uint8_t *convert_gb18030(const column_plan_t *c, const uint8_t *at, uint64_t n, uint8_t *o) {
    for (const uint8_t *end = at + n; at < end;) {
        uint32_t code = c->codes[*at], length = 1;
        if (code == CODE_LEAD) {
            code = 0;
            if (end - at >= 4 && at[1] >= 0x30 && at[1] <= 0x39 && at[2] >= 0x81 && at[3] >= 0x30 && at[3] <= 0x39) {
                uint32_t linear = ((at[0] - 0x81u) * 10 + at[1] - 0x30u) * 1260 + (at[2] - 0x81u) * 10 + at[3] - 0x30u;
                if (linear < GB18030_BMP_CODES) code = c->more_codes[65536 + linear];
                else if (linear >= GB18030_SUPPLEMENTARY && linear - GB18030_SUPPLEMENTARY < 0x100000)
                    code = 0x10000 + linear - GB18030_SUPPLEMENTARY;
                length = 4;
            } else if (end - at >= 2) {
                code = c->more_codes[at[0] << 8 | at[1]];
                length = 2;
            }
        }
        o = put_utf8(o, code || at[0] == 0 ? code : '?');
        at += length;
    }
    return o;
}

static uint8_t *convert_ucs2(const column_plan_t *c, const uint8_t *at, uint64_t n, uint8_t *o) {
    (void)c;
    if (n % 2) return NULL;
    for (const uint8_t *end = at + n; at < end; at += 2) {
        uint32_t code = (uint32_t)at[0] << 8 | at[1];
        if (code >> 11 == 0xd800 >> 11) return NULL;
        o = put_utf8(o, code);
    }
    return o;
}

static inline uint8_t *utf16_text(const uint8_t *at, uint64_t n, uint8_t *o, int high, int low) {
    if (n % 2) return NULL;
    for (const uint8_t *end = at + n; at < end; at += 2) {
        uint32_t code = (uint32_t)at[high] << 8 | at[low];
        if (code >> 11 == 0xd800 >> 11) {
            if (code >= 0xdc00 || end - at < 4) return NULL;
            uint32_t second = (uint32_t)at[2 + high] << 8 | at[2 + low];
            if (second >> 10 != 0xdc00 >> 10) return NULL;
            code = 0x10000 + ((code & 0x3ff) << 10) + (second & 0x3ff);
            at += 2;
        }
        o = put_utf8(o, code);
    }
    return o;
}

static uint8_t *convert_utf16(const column_plan_t *c, const uint8_t *at, uint64_t n, uint8_t *o) {
    (void)c;
    return utf16_text(at, n, o, 0, 1);
}

static uint8_t *convert_utf16le(const column_plan_t *c, const uint8_t *at, uint64_t n, uint8_t *o) {
    (void)c;
    return utf16_text(at, n, o, 1, 0);
}

static uint8_t *convert_utf32(const column_plan_t *c, const uint8_t *at, uint64_t n, uint8_t *o) {
    (void)c;
    if (n % 4) return NULL;
    for (const uint8_t *end = at + n; at < end; at += 4) {
        uint32_t code = (uint32_t)load_be(at, 4);
        if (code > 0x10ffff || code >> 11 == 0xd800 >> 11) return NULL;
        o = put_utf8(o, code);
    }
    return o;
}

/* ---- strings ---- */

static inline uint8_t *put_bin(uint8_t *o, const uint8_t *at, uint64_t n) {
    o = put_bin_head(o, n);
    memcpy(o, at, n);
    return o + n;
}

/* Text that is not plain ASCII, or of a set whose letters differ from ASCII. */
static __attribute__((noinline)) uint8_t *put_converted(const column_plan_t *c, const uint8_t *at, uint64_t n, uint8_t *o) {
    uint64_t most = n * (c->convert == convert_utf8 ? 1 : 3);
    uint64_t head = most < 32 ? 1 : most < 256 ? 2 : most < 65536 ? 3 : 5;
    uint8_t *text = o + head, *text_end = c->convert(c, at, n, text);
    if (text_end == NULL) return put_bin(o, at, n);
    uint64_t length = (uint64_t)(text_end - text);
    uint8_t *place = put_str_head(o, length);
    if (place != text) memmove(place, text, length);
    return place + length;
}

/* Where the string behind a length of `prefix` bytes begins; *n is its length. */
HOT const uint8_t *string_at(unsigned prefix, const uint8_t *at, const uint8_t *end, uint64_t *n) {
    if (UNLIKELY(end - at < (ptrdiff_t)prefix)) return ROW_FAIL(ROW_ERROR_TRUNCATED);
    *n = prefix == 1 ? at[0] : prefix == 2 ? load_u16(at) : load_le(at, prefix);
    at += prefix;
    if (UNLIKELY((uint64_t)(end - at) < *n)) return ROW_FAIL(ROW_ERROR_TRUNCATED);
    return at;
}

/* Long UTF-8 is looked at as a whole before any of it is given back. */
static __attribute__((noinline)) uint8_t *put_long_utf8(const uint8_t *at, uint64_t n, uint8_t *o) {
    o = utf8_valid(at, n) ? put_str_head(o, n) : put_bin_head(o, n);
    copy_spending(o, at, n);
    return o + n;
}

static inline const uint8_t *value_text(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    uint64_t n;
    at = string_at(c->prefix, at, end, &n);
    if (UNLIKELY(ROW_FAILED(at))) return at;
    uint8_t *text = *out;
    if (__builtin_expect(n < 256, 1)) { /* the header is chosen without a branch */
        unsigned wide = n > 31;
        text[0] = (uint8_t)(wide ? 0xd9 : 0xa0 | n);
        text[1] = (uint8_t)n;
        text += 1 + wide;
    } else if (UNLIKELY(n >= SPENT_LEAST_BYTES && c->convert == convert_utf8)) {
        *out = put_long_utf8(at, n, text);
        return at + n;
    } else {
        text = put_str_head(text, n);
    }
    if (UNLIKELY(copy_ascii(text, at, n, end) != 0)) *out = put_converted(c, at, n, *out);
    else *out = text + n;
    return at + n;
}

/* swe7, ucs2, utf16, utf16le, utf32, and others in which a byte below 128 is not always the ASCII letter. */
static inline const uint8_t *value_text_foreign(const column_plan_t *c, const uint8_t *at, const uint8_t *end,
                                                uint8_t **out) {
    uint64_t n;
    at = string_at(c->prefix, at, end, &n);
    if (UNLIKELY(ROW_FAILED(at))) return at;
    *out = put_converted(c, at, n, *out);
    return at + n;
}

static inline const uint8_t *value_bytes(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    uint64_t n;
    at = string_at(c->prefix, at, end, &n);
    if (UNLIKELY(ROW_FAILED(at))) return at;
    uint8_t *o = put_bin_head(*out, n);
    copy_bytes(o, at, n, end);
    *out = o + n;
    return at + n;
}

/* BINARY(n): the binlog leaves out trailing zeros. */
static inline const uint8_t *value_binary(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    uint64_t n;
    at = string_at(c->prefix, at, end, &n);
    if (UNLIKELY(ROW_FAILED(at))) return at;
    if (UNLIKELY(n > c->width)) return ROW_FAIL(ROW_ERROR_LENGTH);
    uint8_t *o = put_bin_head(*out, c->width);
    memcpy(o, at, n);
    memset(o + n, 0, c->width - n);
    *out = o + c->width;
    return at + n;
}

/* ---- labels ---- */

static inline const uint8_t *put_label(const column_plan_t *c, uint32_t index, const uint8_t *next, uint8_t **out) {
    if (UNLIKELY(index > c->count)) return ROW_FAIL(ROW_ERROR_LABEL);
    const uint8_t *label = c->labels + c->label_at[index];
    uint32_t n = c->label_at[index + 1] - c->label_at[index];
    memcpy(*out, label, n);
    *out += n;
    return next;
}

static inline const uint8_t *value_enum1(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    if (UNLIKELY(end - at < 1)) return ROW_FAIL(ROW_ERROR_TRUNCATED);
    return put_label(c, at[0], at + 1, out);
}

static inline const uint8_t *value_enum2(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    if (UNLIKELY(end - at < 2)) return ROW_FAIL(ROW_ERROR_TRUNCATED);
    return put_label(c, load_u16(at), at + 2, out);
}

static inline const uint8_t *value_set(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    if (UNLIKELY(end - at < c->prefix)) return ROW_FAIL(ROW_ERROR_TRUNCATED);
    uint64_t set = load_le(at, c->prefix), length = 0;
    if (UNLIKELY(c->count < 64 && set >> c->count)) return ROW_FAIL(ROW_ERROR_LABEL);
    while (set && c->label_at[__builtin_ctzll(set)] == c->label_at[__builtin_ctzll(set) + 1])
        set &= set - 1; /* as SELECT shows it: no comma follows an empty label that nothing stands before */
    for (uint64_t bits = set; bits; bits &= bits - 1) {
        int i = __builtin_ctzll(bits);
        length += c->label_at[i + 1] - c->label_at[i] + 1;
    }
    length -= set != 0; /* the commas stand between */
    uint8_t *o = put_str_head(*out, length);
    for (uint64_t bits = set; bits; bits &= bits - 1) {
        int i = __builtin_ctzll(bits);
        uint32_t n = c->label_at[i + 1] - c->label_at[i];
        memcpy(o, c->labels + c->label_at[i], n);
        o += n;
        *o++ = ','; /* the last one is overwritten by what follows */
    }
    *out = o - (set != 0);
    return at + c->prefix;
}

/* MariaDB's COMPRESSED columns: empty, or u8 algorithm << 4 | raw << 3 | bytes of the length (0: the rest is as it was), the
 * length big-endian, and a deflate stream, in zlib's frame unless raw. What comes out is written before `limit`. Layout:
 * MariaDB's compress_zlib (sql/field_comp.cc). */
static const uint8_t *value_compressed(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out,
                                       uint8_t *limit) {
    enum { ZLIB = 8, INFLATE_MOST = 1032 };
    uint64_t n, length = 0, room = (uint64_t)(limit - *out), factor = c->convert && c->convert != convert_utf8 ? 3 : 1;
    uint8_t *o = *out;
    at = string_at(c->prefix, at, end, &n);
    if (UNLIKELY(ROW_FAILED(at))) return at;
    const uint8_t *next = at + n;
    if (n == 0) {
        *o = 0xa0;
        *out = c->convert ? o + 1 : put_bin(o, at, 0);
        return next;
    }
    unsigned bytes = at[0] & 7, raw = at[0] >> 3 & 1, algorithm = at[0] >> 4;
    if (algorithm == 0) {
        if (UNLIKELY(limit < o || room < factor * n)) return ROW_FAIL(ROW_ERROR_ROOM);
        *out = c->convert ? put_converted(c, at + 1, n - 1, o) : put_bin(o, at + 1, n - 1);
        return next;
    }
    if (UNLIKELY(algorithm != ZLIB || bytes < 1 || bytes > 4 || n < 1 + bytes)) return ROW_FAIL(ROW_ERROR_CODEC);
    length = load_be(at + 1, bytes);
    at += 1 + bytes;
    if (UNLIKELY(length > (uint64_t)(next - at) * INFLATE_MOST)) return ROW_FAIL(ROW_ERROR_CODEC);
    if (UNLIKELY(limit < o || room < (factor + 1) * length)) return ROW_FAIL(ROW_ERROR_ROOM);
    if (c->convert) { /* inflated behind where the text will stand */
        uint8_t *plain = o + 5 + factor * length;
        if (UNLIKELY(!c->inflate(at, (size_t)(next - at), plain, length, (int)raw))) return ROW_FAIL(ROW_ERROR_CODEC);
        *out = put_converted(c, plain, length, o);
    } else {
        o = put_bin_head(o, length);
        if (UNLIKELY(!c->inflate(at, (size_t)(next - at), o, length, (int)raw))) return ROW_FAIL(ROW_ERROR_CODEC);
        *out = o + length;
    }
    return next;
}

/* ---- what is stored in a string but isn't one ---- */

static inline const uint8_t *value_json(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    uint64_t n;
    at = string_at(c->prefix, at, end, &n);
    if (UNLIKELY(ROW_FAILED(at))) return at;
    uint64_t most = c->factor * n + 32, head = most < 32 ? 1 : most < 256 ? 2 : most < 65536 ? 3 : 5;
    uint8_t *text = *out + head, *text_end = c->json(at, n, text, text + most);
    if (UNLIKELY(text_end == NULL)) return ROW_FAIL(ROW_ERROR_JSON);
    uint64_t length = (uint64_t)(text_end - text);
    uint8_t *place = put_str_head(*out, length);
    if (place != text) memmove(place, text, length);
    *out = place + length;
    return at + n;
}

static inline const uint8_t *value_vector(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    uint64_t n;
    at = string_at(c->prefix, at, end, &n);
    if (UNLIKELY(ROW_FAILED(at))) return at;
    if (UNLIKELY(n % 4)) return ROW_FAIL(ROW_ERROR_LENGTH);
    uint64_t floats = n / 4;
    uint8_t *o = *out;
    if (floats < 16) { *o++ = (uint8_t)(0x90 | floats); }
    else if (floats < 65536) { *o = 0xdc; store_u16(o + 1, __builtin_bswap16((uint16_t)floats)); o += 3; }
    else { *o = 0xdd; store_u32(o + 1, __builtin_bswap32((uint32_t)floats)); o += 5; }
    for (const uint8_t *next = at + n; at < next; at += 4, o += 5) {
        o[0] = 0xca;
        store_u32(o + 1, __builtin_bswap32(load_u32(at)));
    }
    *out = o;
    return at;
}

#endif
