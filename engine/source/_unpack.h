/* SPDX-License-Identifier: Apache-2.0
 *
 * MariaDB's compressed events (log_bin_compress): a QUERY whose statement, or a ROWS event whose rows, are packed as
 *
 *   u8 0x80 | algorithm << 4 (0 is zlib) | bytes of the length | length of what was packed, big-endian | zlib stream
 *
 * Everything in front of that stands as in the plain event. Layout: MariaDB's binlog_buf_compress and Query_compressed_log_event
 * (sql/log_event.cc).
 */
#ifndef BINLOG_ENGINE_UNPACK_H
#define BINLOG_ENGINE_UNPACK_H

#include "_next_event.h"

enum { INFLATE_MOST = 1032 }; /* times as large as its input is the most that deflate makes: a wrong length costs no memory */

/* Where the row images of a ROWS event begin, counted from its body; 0: the event is too short. */
static inline size_t rows_images_at(const decoder_t *d, const uint8_t *body, int type) {
    const uint8_t *end = body + d->body_bytes;
    size_t post_header = d->post_header[type - 1];
    const uint8_t *at = body + (post_header == 6 ? 6 : 8);
    uint64_t columns;
    if (d->body_bytes < 10) return 0;
    if (type >= EVENT_WRITE_ROWS && post_header >= 10) {
        if (le16(at) < 2 || end - at < le16(at)) return 0;
        at += le16(at);
    }
    if (!lenenc(&at, end, &columns) || columns > 4096) return 0;
    int update = type == EVENT_UPDATE_ROWS_V1 || type == EVENT_UPDATE_ROWS;
    size_t bitmaps = (columns + 7) / 8 * (update ? 2 : 1);
    return (size_t)(end - at) < bitmaps ? 0 : (size_t)(at - body) + bitmaps;
}

/* From body + at on the event is packed: makes it the plain event that it was. */
static inline int decoder_unpack_from(decoder_t *d, size_t at) {
    const uint8_t *event = decoder_event(d), *packed = event + EVENT_HEADER_BYTES + at;
    size_t have = d->body_bytes - at, bytes = 0, head = EVENT_HEADER_BYTES + at;
    if (!at || at >= d->body_bytes) return decoder_failed(d, FAULT_SHORT, (int64_t)d->body_bytes);
    unsigned length_bytes = packed[0] & 7;
    if ((packed[0] & 0xf0) != 0x80 || length_bytes < 1 || length_bytes > 4 || have < 1 + length_bytes)
        return decoder_failed(d, FAULT_COMPRESSED, packed[0]);
    for (unsigned i = 1; i <= length_bytes; i++) bytes = bytes << 8 | packed[i];
    packed += 1 + length_bytes;
    have -= 1 + length_bytes;
    if (bytes > EVENT_MAX_BYTES || bytes > have * INFLATE_MOST) return decoder_failed(d, FAULT_COMPRESSED, (int64_t)bytes);
    if (d->unpacked_bytes < head + bytes) {
        pages_resize(d->unpacked, d->unpacked_bytes, 0);
        d->unpacked_bytes = head + bytes < SCRATCH_KEPT_BYTES ? SCRATCH_KEPT_BYTES : head + bytes;
        d->unpacked = (uint8_t *)pages_resize(NULL, 0, d->unpacked_bytes);
        if (!d->unpacked) {
            d->unpacked_bytes = 0;
            return decoder_failed(d, FAULT_MEMORY, (int64_t)(head + bytes));
        }
    }
    memcpy(d->unpacked, event, head);
    if (!d->inflate(packed, have, d->unpacked + head, bytes, 0)) return decoder_failed(d, FAULT_COMPRESSED, (int64_t)bytes);
    decoder_guard_event(d, 0);
    d->is_unpacked = 1;
    d->body_bytes = at + bytes;
    decoder_guard_event(d, 1);
    return DECODER_OK;
}

static inline int decoder_unpack_query(decoder_t *d) {
    const uint8_t *body = decoder_event(d) + EVENT_HEADER_BYTES;
    size_t at = d->post_header[EVENT_QUERY - 1];
    if (at < 13 || d->body_bytes < at) return decoder_failed(d, FAULT_SHORT, (int64_t)d->body_bytes);
    int code = decoder_unpack_from(d, at + le16(body + 11) + (size_t)body[8] + 1);
    if (code == DECODER_OK) d->type = EVENT_QUERY;
    return code;
}

/* Rows that nobody wants stay as they are. */
static inline int decoder_unpack_rows(decoder_t *d) {
    const uint8_t *body = decoder_event(d) + EVENT_HEADER_BYTES;
    int type = d->type >= EVENT_WRITE_ROWS_COMPRESSED ? d->type - EVENT_WRITE_ROWS_COMPRESSED + EVENT_WRITE_ROWS
                                                      : d->type - EVENT_WRITE_ROWS_COMPRESSED_V1 + EVENT_WRITE_ROWS_V1;
    if (d->body_bytes < 10) return decoder_failed(d, FAULT_SHORT, (int64_t)d->body_bytes);
    const table_t *table = tables_slot(&d->tables, d->post_header[type - 1] == 6 ? le32(body) : le48(body))->table;
    int code = table && table->plan ? decoder_unpack_from(d, rows_images_at(d, body, type)) : DECODER_OK;
    if (code == DECODER_OK) d->type = type;
    return code;
}

#endif
