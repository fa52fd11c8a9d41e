/* SPDX-License-Identifier: Apache-2.0
 *
 * The second image of PARTIAL_UPDATE_ROWS (MySQL, binlog_row_value_options=PARTIAL_JSON), whose JSON columns may hold what
 * changed in place of the document:
 *
 *   lenenc options (1: partial JSON) | a bit for each JSON column of the table, if so | image
 *   a partial column's value: u32 bytes | (u8 operation | lenenc path | lenenc binary JSON)*      see json_diff.py
 *
 * Layout: MySQL's class Rows_event (libs/mysql/binlog/event/rows_event.h), "PARTIAL_UPDATE_ROWS_EVENT".
 */
#ifndef BINLOG_ENGINE_PARTIAL_H
#define BINLOG_ENGINE_PARTIAL_H

#include "_image.h"

enum { PARTIAL_JSON = 1 };

/* Bytes of the msgpack value at p, one that this decoder has written for a column. */
static inline uint64_t written_bytes(const uint8_t *p) {
    switch (*p) {
    case 0xc4: case 0xd9: return 2 + (uint64_t)p[1];
    case 0xc5: case 0xda: return 3 + ((uint64_t)p[1] << 8 | p[2]);
    case 0xc6: case 0xdb: return 5 + load_be(p + 1, 4);
    case 0xc7: return 3; /* absent */
    case 0xca: case 0xce: case 0xd2: return 5;
    case 0xcb: case 0xcf: case 0xd3: return 9;
    case 0xcc: case 0xd0: return 2;
    case 0xcd: case 0xd1: return 3;
    case 0xdc: return 3 + 5 * load_be(p + 1, 2); /* VECTOR: float32 each */
    case 0xdd: return 5 + 5 * load_be(p + 1, 4);
    default:
        if ((*p & 0xe0) == 0xa0) return 1 + (*p & 31u);
        return (*p & 0xf0) == 0x90 ? 1 + 5 * (*p & 15u) : 1;
    }
}

/* The str at p: its bytes and *n of them. NULL: no str. */
static inline const uint8_t *written_text(const uint8_t *p, uint64_t *n) {
    unsigned head = (*p & 0xe0) == 0xa0 ? 1 : *p == 0xd9 ? 2 : *p == 0xda ? 3 : *p == 0xdb ? 5 : 0;
    if (!head) return NULL;
    *n = written_bytes(p) - head;
    return p + head;
}

/* The document that the differences make of the one in the first image, as text before `limit`. */
static const uint8_t *value_patched(const column_plan_t *c, const uint8_t *before, const uint8_t *at, const uint8_t *end,
                                    uint8_t **out, uint8_t *limit) {
    uint64_t n, text_bytes;
    at = string_at(c->prefix, at, end, &n);
    if (ROW_FAILED(at)) return at;
    const uint8_t *text = written_text(before, &text_bytes);
    if (!text) return ROW_FAIL(*before == 0xc7 ? ROW_ERROR_NO_DOCUMENT : ROW_ERROR_JSON);
    uint8_t *plain = *out + 5;
    int64_t length = limit < plain ? -1 : c->patch(text, text_bytes, at, n, plain, (uint64_t)(limit - plain));
    if (length < 0) return ROW_FAIL(length == -1 ? ROW_ERROR_ROOM : ROW_ERROR_JSON);
    uint8_t *place = put_str_head(*out, (uint64_t)length);
    if (place != plain) memmove(place, plain, (uint64_t)length);
    *out = place + length;
    return at + n;
}

/* As row_image; `first` is the first image as it was written, an array of the same columns. */
static int64_t row_image_partial(const row_plan_t *plan, const uint8_t *present, const uint8_t *src, const uint8_t *src_end,
                                 uint8_t *dst, uint8_t **dst_end, row_key_t *row_key, const row_key_t *before,
                                 const uint8_t *first, int *bad_column) {
    uint32_t columns = plan->columns, documents = 0, document = 0, bit = 0;
    uint64_t partial_bytes = 0;
    const uint8_t *at = src, *partial;
    uint8_t *o = dst + plan->head_bytes, *limit = *dst_end;
    *bad_column = -1;
    if (src_end - at < 1 || *at > PARTIAL_JSON) return ROW_ERROR_TRUNCATED;
    for (uint32_t i = 0; i < columns; i++) documents += plan->column[i].op == ROW_OP_JSON;
    if (*at++) partial_bytes = (documents + 7) / 8;
    uint64_t null_bytes = (count_set(present, columns) + 7) / 8;
    if ((uint64_t)(src_end - at) < partial_bytes + null_bytes) return ROW_ERROR_TRUNCATED;
    partial = at;
    const uint8_t *nulls = at + partial_bytes;
    at = nulls + null_bytes;
    memcpy(dst, plan->head, sizeof plan->head);
    first += plan->head_bytes;
    for (uint32_t i = 0; i < columns; first += written_bytes(first), i++) {
        const column_plan_t *c = &plan->column[i];
        int patched = 0;
        uint8_t **key = row_key->place[c->key];
        if (c->op == ROW_OP_JSON) {
            patched = partial_bytes && partial[document >> 3] >> (document & 7) & 1;
            document++;
        }
        key[0] = o;
        if (!(present[i >> 3] >> (i & 7) & 1)) {
            o[0] = 0xc7; o[1] = 0; o[2] = 1;
            o += 3;
            key[0] = NULL;
        } else if (nulls[bit >> 3] >> (bit & 7) & 1) {
            *o++ = 0xc0;
            bit++;
        } else {
            bit++;
            uint8_t *value_end = o;
            at = patched ? value_patched(c, first, at, src_end, &value_end, limit) : row_value(c, at, src_end, &value_end, limit);
            if (ROW_FAILED(at)) {
                *bad_column = (int)i;
                return ROW_CODE(at);
            }
            o = value_end;
        }
        key[1] = o;
    }
    *dst_end = o;
    row_hash_key(plan, row_key, before);
    return at - src;
}

#endif
