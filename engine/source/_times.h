/* SPDX-License-Identifier: Apache-2.0
 *
 * Dates and times of a row image as msgpack strs, in the shape that _values.h describes.
 *
 *   DATE                  3 bytes LE    year:15 month:4 day:5
 *   DATETIME (fraction)   5 bytes BE    sign:1 year*13+month:17 day:5 hour:5 minute:6 second:6, then the fraction
 *   TIMESTAMP (fraction)  4 bytes BE    seconds since 1970 UTC, then the fraction
 *   TIME (fraction)       3 bytes BE    sign:1 unused:1 hour:10 minute:6 second:6, then the fraction; offset binary as a whole
 *   fraction              1, 2, 3 bytes BE for 1-2, 3-4, 5-6 digits: hundredths, 1/10000, microseconds
 *   older forms           DATETIME 8 bytes LE YYYYMMDDhhmmss, TIMESTAMP 4 bytes LE, TIME 3 bytes LE hhmmss
 *   older, with n digits  all BE, counted in 10^-n seconds: DATETIME 5-8 bytes (((year*13+month)*32+day)*24+hour)*3600+..., TIME
 *                         3-6 bytes + 838:59:60, TIMESTAMP 4 bytes of seconds, then 1-3 bytes of the count (MariaDB: sql/field.cc)
 */
#ifndef BINLOG_ENGINE_TIMES_H
#define BINLOG_ENGINE_TIMES_H

#include "_values.h"

static const uint8_t FRACTION_BYTES[7] = {0, 1, 1, 2, 2, 3, 3};
static const uint32_t FRACTION_UNIT_US[7] = {0, 10000, 10000, 100, 100, 1, 1};
static const uint32_t FRACTION_MASK[7] = {0, 0xff, 0xff, 0xffff, 0xffff, 0xffffff, 0xffffff};

HOT void put_date(uint8_t *o, unsigned year, unsigned month, unsigned day) { /* year < 10000, others < 100 */
    put_pair(o, year / 100);
    put_pair(o + 2, year % 100);
    o[4] = '-'; put_pair(o + 5, month);
    o[7] = '-'; put_pair(o + 8, day);
}

HOT void put_clock(uint8_t *o, unsigned hour, unsigned minute, unsigned second) {
    put_pair(o, hour);
    o[2] = ':'; put_pair(o + 3, minute);
    o[5] = ':'; put_pair(o + 6, second);
}

/* `.` and `digits` digits, nothing for 0; stores 7 bytes. */
HOT uint8_t *put_fraction(uint8_t *o, uint32_t microseconds, unsigned digits) {
    o[0] = '.';
    put_pair(o + 1, microseconds / 10000);
    put_pair(o + 3, microseconds / 100 % 100);
    put_pair(o + 5, microseconds % 100);
    return o + digits + (digits > 0);
}

/* The civil date of a day since 1970-01-01; Neri and Schneider, "Euclidean affine functions and applications to calendar
 * algorithms" (2022). */
HOT void put_day(uint8_t *o, uint32_t day) {
    uint32_t n1 = 4 * (day + 719468) + 3, century = n1 / 146097, n2 = (n1 % 146097) | 3;
    uint64_t p2 = (uint64_t)2939745 * n2;
    uint32_t year_of_century = (uint32_t)(p2 >> 32), day_of_year = (uint32_t)p2 / 2939745 / 4;
    uint32_t n3 = 2141 * day_of_year + 197913, january = day_of_year >= 306;
    put_date(o, 100 * century + year_of_century + january, january ? (n3 >> 16) - 12 : n3 >> 16,
             (n3 & 0xffff) / 2141 + 1);
}

/* Microseconds of a fraction field that ends at `end`, at least 4 bytes behind where its column begins; more than 999999
 * where the bytes are none. */
HOT uint32_t load_fraction(const uint8_t *end, unsigned digits) {
    return (__builtin_bswap32(load_u32(end - 4)) & FRACTION_MASK[digits]) * FRACTION_UNIT_US[digits];
}

static inline const uint8_t *value_date(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    (void)c;
    if (UNLIKELY(end - at < 3)) return ROW_FAIL(ROW_ERROR_TRUNCATED);
    uint32_t v = load_u24(at);
    if (UNLIKELY(v >> 9 > 9999)) return ROW_FAIL(ROW_ERROR_VALUE);
    uint8_t *o = *out;
    o[0] = 0xa0 | 10;
    put_date(o + 1, v >> 9, v >> 5 & 15, v & 31);
    *out = o + 11;
    return at + 3;
}

/* What DATETIME(0..6) packs, behind its head byte; NULL: not a date. */
HOT uint8_t *datetime_text(uint8_t *o, uint64_t packed) {
    uint64_t day_and_above = packed >> 17;
    uint32_t clock = packed & 0x1ffff, months = (uint32_t)(day_and_above >> 5), year = months / 13;
    if (UNLIKELY(day_and_above >> 5 > 9999 * 13 + 12)) return NULL;
    put_date(o, year, months - 13 * year, day_and_above & 31);
    o[10] = ' ';
    put_clock(o + 11, clock >> 12, clock >> 6 & 63, clock & 63);
    return o + 19;
}

/* A DATETIME or TIMESTAMP whose minute the memo holds. Stores 32 bytes. */
HOT uint8_t *put_in_minute(uint8_t *o, const minute_memo_t *memo, unsigned second, uint32_t microseconds, unsigned digits) {
    memcpy(o, memo->text, sizeof memo->text);
    put_pair(o + 18, second);
    return put_fraction(o + 20, microseconds, digits);
}

/* Whether the memo is to hold this minute, which it doesn't yet: one that two rows have had. Filling it for each row of
 * times all over would take longer than to write them. */
static inline int memo_wanted(minute_memo_t *memo, uint64_t minute) {
    int again = memo->seen == minute;
    memo->seen = minute;
    return again;
}

/* The end of the text; NULL: not a date. */
static inline uint8_t *put_datetime(uint8_t *o, uint64_t packed, uint32_t microseconds, unsigned digits) {
    uint8_t *text_end = datetime_text(o + 1, packed - 0x8000000000ULL);
    if (UNLIKELY(text_end == NULL)) return NULL;
    text_end = put_fraction(text_end, microseconds, digits);
    o[0] = (uint8_t)(0xa0 | (text_end - o - 1));
    return text_end;
}

static inline const uint8_t *value_datetime(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    unsigned digits = c->fraction, bytes = 5 + FRACTION_BYTES[digits];
    if (UNLIKELY(end - at < (ptrdiff_t)bytes)) return ROW_FAIL(ROW_ERROR_TRUNCATED);
    uint64_t packed = (uint64_t)__builtin_bswap32(load_u32(at)) << 8 | at[4], minute = packed >> 6; /* the sign is set */
    uint32_t microseconds = load_fraction(at + bytes, digits);
    if (UNLIKELY(microseconds > 999999)) return ROW_FAIL(ROW_ERROR_VALUE);
    if (minute == c->memo->minute) {
        *out = put_in_minute(*out, c->memo, packed & 63, microseconds, digits);
        return at + bytes;
    }
    uint8_t *text_end = put_datetime(*out, packed, microseconds, digits);
    if (UNLIKELY(text_end == NULL)) return ROW_FAIL(ROW_ERROR_VALUE);
    if (memo_wanted(c->memo, minute)) {
        put_datetime(c->memo->text, packed, 0, digits);
        c->memo->minute = minute;
    }
    *out = text_end;
    return at + bytes;
}

static inline uint8_t *put_timestamp(uint8_t *o, uint32_t seconds, uint32_t microseconds, unsigned digits) {
    uint8_t *text = o + 1, *text_end;
    if (seconds == 0 && microseconds == 0) {
        memcpy(text, "0000-00-00 00:00:00", 19);
    } else {
        uint32_t day = seconds / 86400, second = seconds % 86400;
        put_day(text, day);
        text[10] = ' ';
        put_clock(text + 11, second / 3600, second / 60 % 60, second % 60);
    }
    text_end = put_fraction(text + 19, microseconds, digits);
    o[0] = (uint8_t)(0xa0 | (text_end - text));
    return text_end;
}

static inline const uint8_t *value_timestamp(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    unsigned digits = c->fraction, bytes = 4 + FRACTION_BYTES[digits];
    if (UNLIKELY(end - at < (ptrdiff_t)bytes)) return ROW_FAIL(ROW_ERROR_TRUNCATED);
    uint32_t seconds = __builtin_bswap32(load_u32(at)), microseconds = load_fraction(at + bytes, digits), second = seconds % 60;
    if (UNLIKELY(microseconds > 999999)) return ROW_FAIL(ROW_ERROR_VALUE);
    if (seconds - second == c->memo->minute) {
        *out = put_in_minute(*out, c->memo, second, microseconds, digits);
        return at + bytes;
    }
    *out = put_timestamp(*out, seconds, microseconds, digits);
    if (seconds >= 60 && memo_wanted(c->memo, seconds - second)) { /* 0 is no moment, unless it has a fraction */
        put_timestamp(c->memo->text, seconds - second, 0, digits);
        c->memo->minute = seconds - second;
    }
    return at + bytes;
}

/* `[-]hh:mm:ss`, hours up to 838; NULL: not a time. */
static inline uint8_t *time_text(uint8_t *o, int negative, uint32_t hour, uint32_t minute, uint32_t second) {
    if (hour > 838 || minute > 59 || second > 59) return NULL;
    *o = '-';
    o += negative;
    *o = (uint8_t)('0' + hour / 100);
    o += hour > 99;
    put_clock(o, hour % 100, minute, second);
    return o + 8;
}

static inline const uint8_t *value_time(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    unsigned digits = c->fraction, fraction_bytes = FRACTION_BYTES[digits], bytes = 3 + fraction_bytes;
    if (UNLIKELY(end - at < (ptrdiff_t)bytes)) return ROW_FAIL(ROW_ERROR_TRUNCATED);
    /* time and fraction are one number: in a negative one the borrow goes through both */
    int64_t packed = (int64_t)load_be(at, bytes) - ((int64_t)0x800000 << (8 * fraction_bytes));
    int negative = packed < 0;
    uint64_t size = negative ? (uint64_t)-packed : (uint64_t)packed;
    uint32_t clock = (uint32_t)(size >> (8 * fraction_bytes));
    uint32_t microseconds = (uint32_t)(size & ((1ULL << (8 * fraction_bytes)) - 1)) * FRACTION_UNIT_US[digits];
    uint8_t *o = *out, *text_end = time_text(o + 1, negative, clock >> 12, clock >> 6 & 63, clock & 63);
    if (UNLIKELY(text_end == NULL || microseconds > 999999)) return ROW_FAIL(ROW_ERROR_VALUE);
    text_end = put_fraction(text_end, microseconds, digits);
    o[0] = (uint8_t)(0xa0 | (text_end - o - 1));
    *out = text_end;
    return at + bytes;
}

/* ---- before MySQL 5.6, and MariaDB with mysql56_temporal_format=OFF ---- */

static inline const uint8_t *value_old_datetime(const column_plan_t *c, const uint8_t *at, const uint8_t *end,
                                                uint8_t **out) {
    (void)c;
    if (UNLIKELY(end - at < 8)) return ROW_FAIL(ROW_ERROR_TRUNCATED);
    uint64_t v = load_u64(at), date = v / 1000000;
    uint32_t clock = (uint32_t)(v % 1000000);
    if (UNLIKELY(date > 99999999)) return ROW_FAIL(ROW_ERROR_VALUE);
    uint8_t *o = *out;
    o[0] = 0xa0 | 19;
    put_date(o + 1, (unsigned)(date / 10000), (unsigned)(date / 100 % 100), (unsigned)(date % 100));
    o[11] = ' ';
    put_clock(o + 12, clock / 10000, clock / 100 % 100, clock % 100);
    *out = o + 20;
    return at + 8;
}

static inline const uint8_t *value_old_timestamp(const column_plan_t *c, const uint8_t *at, const uint8_t *end,
                                                 uint8_t **out) {
    (void)c;
    if (UNLIKELY(end - at < 4)) return ROW_FAIL(ROW_ERROR_TRUNCATED);
    *out = put_timestamp(*out, load_u32(at), 0, 0);
    return at + 4;
}

static inline const uint8_t *value_old_time(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    (void)c;
    if (UNLIKELY(end - at < 3)) return ROW_FAIL(ROW_ERROR_TRUNCATED);
    int32_t v = (int32_t)(load_u24(at) << 8) >> 8;
    uint32_t size = v < 0 ? (uint32_t)-v : (uint32_t)v;
    uint8_t *o = *out, *text_end = time_text(o + 1, v < 0, size / 10000, size / 100 % 100, size % 100);
    if (UNLIKELY(text_end == NULL)) return ROW_FAIL(ROW_ERROR_VALUE);
    o[0] = (uint8_t)(0xa0 | (text_end - o - 1));
    *out = text_end;
    return at + 3;
}

static const uint32_t PER_SECOND[7] = {1, 10, 100, 1000, 10000, 100000, 1000000};
static const uint8_t COUNTED_DATETIME_BYTES[7] = {5, 6, 6, 7, 7, 7, 8}, COUNTED_TIME_BYTES[7] = {3, 4, 4, 5, 5, 5, 6};

/* Behind the second: a count of 10^-digits seconds. */
static inline uint8_t *put_counted(uint8_t *o, uint64_t count, unsigned digits) {
    return put_fraction(o, (uint32_t)count * PER_SECOND[6 - digits], digits);
}

static inline const uint8_t *value_counted_datetime(const column_plan_t *c, const uint8_t *at, const uint8_t *end,
                                                    uint8_t **out) {
    unsigned digits = c->fraction, bytes = COUNTED_DATETIME_BYTES[digits];
    if (UNLIKELY(end - at < (ptrdiff_t)bytes)) return ROW_FAIL(ROW_ERROR_TRUNCATED);
    uint64_t v = load_be(at, bytes), seconds = v / PER_SECOND[digits], days = seconds / 86400, months = days / 32;
    uint32_t second = (uint32_t)(seconds % 86400);
    if (UNLIKELY(months > 9999 * 13 + 12)) return ROW_FAIL(ROW_ERROR_VALUE);
    uint8_t *o = *out;
    put_date(o + 1, (unsigned)(months / 13), (unsigned)(months % 13), (unsigned)(days % 32));
    o[11] = ' ';
    put_clock(o + 12, second / 3600, second / 60 % 60, second % 60);
    *out = put_counted(o + 20, v % PER_SECOND[digits], digits);
    o[0] = (uint8_t)(0xa0 | (*out - o - 1));
    return at + bytes;
}

static inline const uint8_t *value_counted_timestamp(const column_plan_t *c, const uint8_t *at, const uint8_t *end,
                                                     uint8_t **out) {
    unsigned digits = c->fraction, bytes = 4 + FRACTION_BYTES[digits];
    if (UNLIKELY(end - at < (ptrdiff_t)bytes)) return ROW_FAIL(ROW_ERROR_TRUNCATED);
    uint64_t count = load_be(at + 4, FRACTION_BYTES[digits]);
    if (UNLIKELY(count >= PER_SECOND[digits])) return ROW_FAIL(ROW_ERROR_VALUE);
    *out = put_timestamp(*out, (uint32_t)load_be(at, 4), (uint32_t)count * PER_SECOND[6 - digits], digits);
    return at + bytes;
}

static inline const uint8_t *value_counted_time(const column_plan_t *c, const uint8_t *at, const uint8_t *end, uint8_t **out) {
    unsigned digits = c->fraction, bytes = COUNTED_TIME_BYTES[digits];
    if (UNLIKELY(end - at < (ptrdiff_t)bytes)) return ROW_FAIL(ROW_ERROR_TRUNCATED);
    int64_t v = (int64_t)load_be(at, bytes) - (int64_t)(838 * 3600 + 59 * 60 + 60) * PER_SECOND[digits];
    uint64_t size = v < 0 ? (uint64_t)-v : (uint64_t)v, second = size / PER_SECOND[digits];
    if (UNLIKELY(second > 838 * 3600 + 59 * 60 + 59)) return ROW_FAIL(ROW_ERROR_VALUE);
    uint32_t clock = (uint32_t)second;
    uint8_t *o = *out, *text_end = time_text(o + 1, v < 0, clock / 3600, clock / 60 % 60, clock % 60);
    text_end = put_counted(text_end, size % PER_SECOND[digits], digits);
    o[0] = (uint8_t)(0xa0 | (text_end - o - 1));
    *out = text_end;
    return at + bytes;
}

#endif
