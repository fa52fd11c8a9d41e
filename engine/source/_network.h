/* SPDX-License-Identifier: Apache-2.0
 *
 * MariaDB's UUID, INET4 and INET6 as text. The binlog has them as BINARY(16) and BINARY(4), in the order in which they are
 * written, without trailing zeros; only the schema tells them from plain bytes.
 */
#ifndef BINLOG_ENGINE_NETWORK_H
#define BINLOG_ENGINE_NETWORK_H

#include "_text.h"

static const char HEX_DIGITS[17] = "0123456789abcdef";

/* The `width` bytes behind a one-byte length, zeros put back; returns where the next column begins. */
static inline const uint8_t *padded_bytes(unsigned width, const uint8_t *at, const uint8_t *end, uint8_t *raw) {
    uint64_t n;
    at = string_at(1, at, end, &n);
    if (ROW_FAILED(at)) return at;
    if (n > width) return ROW_FAIL(ROW_ERROR_LENGTH);
    memset(raw, 0, width);
    memcpy(raw, at, n);
    return at + n;
}

static inline const uint8_t *value_uuid(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    uint8_t raw[16], *o = *out;
    (void)c;
    at = padded_bytes(16, at, end, raw);
    if (ROW_FAILED(at)) return at;
    *o++ = 0xd9; *o++ = 36;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *o++ = '-';
        *o++ = (uint8_t)HEX_DIGITS[raw[i] >> 4];
        *o++ = (uint8_t)HEX_DIGITS[raw[i] & 15];
    }
    *out = o;
    return at;
}

static inline uint8_t *put_inet4(uint8_t *o, const uint8_t *raw) {
    for (int i = 0; i < 4; i++) {
        o = put_decimal(o, raw[i]);
        *o++ = '.';
    }
    return o - 1;
}

static inline const uint8_t *value_inet4(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    uint8_t raw[4], *o = *out, *text_end;
    (void)c;
    at = padded_bytes(4, at, end, raw);
    if (ROW_FAILED(at)) return at;
    text_end = put_inet4(o + 1, raw);
    o[0] = (uint8_t)(0xa0 | (text_end - o - 1));
    *out = text_end;
    return at;
}

/* As the server writes it: the longest run of zero groups is `::`, the first of equals, also a run of one (here RFC 5952 would
 * not); v4-mapped and v4-compatible addresses end in dotted form. */
static inline const uint8_t *value_inet6(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    uint8_t raw[16], text[48], *o = text;
    int gap = -1, gap_length = 0, groups[8];
    (void)c;
    at = padded_bytes(16, at, end, raw);
    if (ROW_FAILED(at)) return at;
    for (int i = 0, run = 0; i < 8; i++) {
        groups[i] = raw[2 * i] << 8 | raw[2 * i + 1];
        run = groups[i] ? 0 : run + 1;
        if (run > gap_length) { gap_length = run; gap = i + 1 - run; }
    }
    int dotted = gap == 0 && (gap_length == 6 || (gap_length == 5 && groups[5] == 0xffff));
    for (int i = 0; i < 8;) {
        if (i == gap) {
            *o++ = ':';
            i += gap_length;
            if (i == 8) *o++ = ':';
            continue;
        }
        if (i) *o++ = ':';
        if (dotted && i == 6) { o = put_inet4(o, raw + 12); break; }
        int shift = groups[i] > 0xfff ? 12 : groups[i] > 0xff ? 8 : groups[i] > 0xf ? 4 : 0;
        for (; shift >= 0; shift -= 4) *o++ = (uint8_t)HEX_DIGITS[groups[i] >> shift & 15];
        i++;
    }
    uint8_t *place = put_str_head(*out, (uint64_t)(o - text));
    memcpy(place, text, (size_t)(o - text));
    *out = place + (o - text);
    return at;
}

#endif
