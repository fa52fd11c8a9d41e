/* SPDX-License-Identifier: Apache-2.0
 *
 * The plan of a table version: what its columns are and which steps read them (_rows.pyx makes it); what a step gets and answers.
 */
#ifndef BINLOG_ENGINE_ROW_PLAN_H
#define BINLOG_ENGINE_ROW_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "_row_key.h"

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
    uint64_t minute;  /* DATETIME: the bits before the second. TIMESTAMP: the minute's first second. MINUTE_NONE: nothing yet */
    uint64_t seen;    /* the last one that it didn't hold */
    uint8_t text[32]; /* the msgpack str, `\xb7` `2026-01-01 00:00:00.000`; second and fraction are put in for each row */
} minute_memo_t;
#define MINUTE_NONE (UINT64_C(1) << 63) /* and of no second less than a minute behind */

/* Where the image is being read; what all steps share and few touch. */
typedef struct {
    const uint8_t *end;    /* nothing behind it is read */
    const uint8_t *nulls;  /* the image's NULL bits */
    uint8_t *limit;        /* of the room that COMPRESSED columns may use */
    row_key_t *key;
    uint8_t *out;          /* where the last step left off */
    const column_plan_t *failed;
} row_walk_t;

/* Reads one column of an image that holds them all, and goes on with the next one; see _steps.h. */
typedef const uint8_t *(*row_step_t)(const column_plan_t *c, const uint8_t *at, uint8_t *o, row_walk_t *walk);

struct column_plan {
    row_step_t step[2];   /* where no column is NULL, and where some are */
    uint8_t op;           /* which of ROW_OPS */
    uint8_t prefix;       /* bytes of the length in front; or bytes of a number */
    uint8_t fraction;     /* digits behind the dot of a temporal type */
    uint8_t key;          /* 1 + place in the primary key; 0: not part of it */
    uint8_t null_bit;     /* its bit among the NULL bits of a whole image, in byte */
    uint16_t null_byte;
    uint32_t width;       /* BINARY(n): n; short DECIMAL: bytes before the dot; DATETIME, TIMESTAMP: msgpack bytes */
    uint32_t whole_end;   /* short DECIMAL: quick_decimal reads what is below it before the dot */
    uint8_t whole_shift;  /* and of eight bytes so many bits are behind that */
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

enum { ROW_HEAD_BYTES = 8 }; /* an array's header has 5 at most; a word is copied at once */

typedef struct row_plan {
    uint32_t columns;
    uint32_t hidden;          /* so many more at the end, 8 bytes each, which nobody gets (MariaDB's DB_ROW_HASH_1) */
    uint32_t key_columns;
    uint64_t fixed_bound;
    uint64_t hash_seed;       /* FNV-1a over the table's name */
    uint64_t null_bits;       /* of an image that holds all columns, if they are at most 64 */
    uint32_t factor;          /* msgpack bytes that one source byte can become */
    uint8_t head_bytes;       /* of the array's header */
    uint8_t head[ROW_HEAD_BYTES];
    column_plan_t *column;    /* tables with the same columns share them */
} row_plan_t;

#endif
