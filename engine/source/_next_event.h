/* SPDX-License-Identifier: Apache-2.0
 *
 * One event in: cut out, its checksum verified, its place in the file known, counted.
 */
#ifndef BINLOG_ENGINE_NEXT_EVENT_H
#define BINLOG_ENGINE_NEXT_EVENT_H

#include "_decoder.h"

enum {
    DESCRIPTION_FIXED_BYTES = 57,      /* of FORMAT_DESCRIPTION, before the post-header lengths */
    DESCRIPTION_VERSION_BYTES = 50,
    CHECKSUM_BYTES = 4,
    CHECKSUMS_SINCE_MYSQL = 50601,     /* 5.6.1, and 5.3 of MariaDB: the algorithm stands in FORMAT_DESCRIPTION */
    CHECKSUMS_SINCE_MARIADB = 50300,
};

/* "10.11.6-MariaDB" -> 101106. */
static inline uint32_t description_server_version(const uint8_t *text) {
    uint32_t number = 0, part = 0;
    int parts = 0;
    for (int i = 0; i < DESCRIPTION_VERSION_BYTES && parts < 3; i++) {
        if (text[i] >= '0' && text[i] <= '9') {
            part = (part * 10 + text[i] - '0') % 100;
            continue;
        }
        number = number * 100 + part;
        part = 0;
        parts++;
        if (text[i] != '.') break;
    }
    for (; parts < 3; parts++) number *= 100;
    return number;
}

/* FORMAT_DESCRIPTION: u16 binlog version, 4 | 50 bytes server version | u32 created | u8 header bytes | a post-header length
 * per event type | u8 checksum algorithm | CRC32 (the last two not from older servers). */
static inline int decoder_describe(decoder_t *d, const uint8_t *event, size_t size) {
    const size_t fixed = EVENT_HEADER_BYTES + DESCRIPTION_FIXED_BYTES;
    if (size < fixed + EVENT_DELETE_ROWS_V1 + 1 + CHECKSUM_BYTES || le16(event + EVENT_HEADER_BYTES) != 4
        || event[fixed - 1] != EVENT_HEADER_BYTES)
        return decoder_failed(d, FAULT_DESCRIPTION, 0);
    const uint8_t *text = event + EVENT_HEADER_BYTES + 2;
    uint32_t version = description_server_version(text);
    d->mariadb = memmem(text, DESCRIPTION_VERSION_BYTES, "MariaDB", 7) != NULL;
    size_t lengths = size - fixed;
    d->checksum = 0;
    if (version >= (d->mariadb ? CHECKSUMS_SINCE_MARIADB : CHECKSUMS_SINCE_MYSQL)) {
        uint8_t algorithm = event[size - CHECKSUM_BYTES - 1];
        if (algorithm > 1) return decoder_failed(d, FAULT_DESCRIPTION, algorithm);
        d->checksum = algorithm;
        lengths -= 1 + CHECKSUM_BYTES;
    }
    memset(d->post_header, 0, sizeof d->post_header);
    memcpy(d->post_header, event + fixed, lengths < sizeof d->post_header ? lengths : sizeof d->post_header);
    d->described = 1;
    d->transaction.open = 0; /* a file that ends inside a transaction: the server died, and rolled it back */
    tables_forget_ids(&d->tables);
    return DECODER_OK;
}

static inline uint32_t decoder_crc(const decoder_t *d, uint32_t crc, const uint8_t *bytes, size_t n) {
    return d->crc ? d->crc(crc, bytes, n) : (uint32_t)d->crc_wide(crc, bytes, n);
}

static inline int decoder_intact(const decoder_t *d, const uint8_t *event, size_t size) {
    uint32_t crc = 0;
    size_t done = 0;
    if (d->type == EVENT_FORMAT_DESCRIPTION) { /* its checksum is that of a file that has been closed */
        uint8_t header[EVENT_HEADER_BYTES];
        memcpy(header, event, EVENT_HEADER_BYTES);
        header[17] &= (uint8_t)~EVENT_FLAG_BINLOG_IN_USE;
        done = EVENT_HEADER_BYTES;
        crc = decoder_crc(d, 0, header, done);
    }
    return decoder_crc(d, crc, event + done, size - CHECKSUM_BYTES - done) == le32(event + size - CHECKSUM_BYTES);
}

/* A position that is `ahead` modulo 4 GiB may as well be one before: there is such a place, and it is nearer. */
static inline int decoder_may_go_back(const decoder_t *d, uint32_t ahead) {
    return (int32_t)ahead < 0 && (UINT64_C(1) << 32) - ahead <= d->next_offset;
}

/* The header has the low 32 bits of the event's end; 0 for what a dump makes up, and inside transactions since MariaDB 11.4.
 * A server may leave events out, so positions may jump, but only ahead; most at the dump's begin, where after a start by GTID
 * whole transactions of any size are left out. */
static inline int decoder_locate(decoder_t *d, const uint8_t *event, size_t size) {
    uint32_t end = le32(event + 13), ahead = end - (uint32_t)d->next_offset;
    d->offset = d->next_offset;
    if (!d->input.packets) {
        d->next_offset += size;
    } else if (d->type == EVENT_HEARTBEAT || d->type == EVENT_HEARTBEAT_V2) {
        if (!d->transaction.open && d->type == EVENT_HEARTBEAT && end && !decoder_may_go_back(d, ahead)) d->next_offset += ahead;
    } else if (!(d->flags & EVENT_FLAG_ARTIFICIAL)
               && (end || (d->type != EVENT_ROTATE && d->type != EVENT_FORMAT_DESCRIPTION))) {
        if (!end) ahead = (uint32_t)size;
        else if (ahead < size || (d->started && decoder_may_go_back(d, ahead))) return decoder_failed(d, FAULT_POSITION, end);
        d->next_offset += ahead;
        d->offset = d->next_offset - size;
    }
    return DECODER_OK;
}

/* Events that have an ordinal in their transaction. ANNOTATE_ROWS has none: a server sends it on request only. */
static inline int event_is_numbered(int type) {
    return type == EVENT_QUERY || type == EVENT_XID || type == EVENT_INTVAR || type == EVENT_APPEND_BLOCK || type == EVENT_DELETE_FILE
        || type == EVENT_RAND || type == EVENT_USER_VAR || type == EVENT_BEGIN_LOAD_QUERY || type == EVENT_EXECUTE_LOAD_QUERY
        || (type >= EVENT_TABLE_MAP && type <= EVENT_DELETE_ROWS_V1) || (type >= EVENT_ROWS_QUERY && type <= EVENT_DELETE_ROWS)
        || type == EVENT_XA_PREPARE || type == EVENT_PARTIAL_UPDATE_ROWS || type == EVENT_TRANSACTION_PAYLOAD
        || (type >= EVENT_QUERY_COMPRESSED && type <= EVENT_DELETE_ROWS_COMPRESSED);
}

static inline int decoder_next_event(decoder_t *d) {
    int found = input_next(d->current), code, outer = d->current == &d->input;
    if (found != INPUT_EVENT) {
        if (found == INPUT_MORE) return outer ? DECODER_INPUT : DECODER_PAYLOAD;
        if (found == INPUT_ERROR_PACKET) return DECODER_ERROR_PACKET;
        if (found == INPUT_BAD_PACKET) return decoder_failed(d, FAULT_PACKET, 0);
        if (found == INPUT_BAD_SIZE) {
            d->type = input_claimed_type(d->current);
            return decoder_failed(d, FAULT_SIZE, 0);
        }
        input_consume(d->current);
        return DECODER_ENDED;
    }
    const uint8_t *event = decoder_event(d);
    size_t size = d->current->event_bytes;
    d->type = event[4];
    d->flags = le16(event + 17);
    d->body_bytes = size - EVENT_HEADER_BYTES;
    if (outer) {
        if (d->type == EVENT_FORMAT_DESCRIPTION) {
            /* the head of the next file, and the transaction in the ring is not over: the server died, and rolled it back */
            if (d->input.packets && le32(event + 13) && d->out.last.begun && d->file > d->out.last.file
                && (code = decoder_tear(d, NOTE_CLOSED)) != DECODER_OK) return code;
            if ((code = decoder_describe(d, event, size)) != DECODER_OK) return code;
        } else if (!d->described && d->type != EVENT_ROTATE && d->type != EVENT_HEARTBEAT && d->type != EVENT_HEARTBEAT_V2) {
            return decoder_failed(d, FAULT_NOT_DESCRIBED, d->type);
        }
        if (d->checksum) {
            if (d->body_bytes < CHECKSUM_BYTES) return decoder_failed(d, FAULT_SHORT, (int64_t)size);
            if (!decoder_intact(d, event, size)) return decoder_failed(d, FAULT_CHECKSUM, 0);
            d->body_bytes -= CHECKSUM_BYTES;
        }
        if ((code = decoder_locate(d, event, size)) != DECODER_OK) return code;
        output_count(&d->out, COUNTER_BINLOG_BYTES, size);
    }
    d->have_event = 1;
    output_count(&d->out, COUNTER_EVENTS, 1);
    if (event_is_numbered(d->type)) {
        if (d->transaction.open) d->transaction.event++;
        else decoder_open_transaction(d, decoder_event_time_us(d));
    }
    return DECODER_OK;
}

static inline void decoder_finish_event(decoder_t *d) {
    d->have_event = 0;
    input_consume(d->current);
    output_shrink(&d->out);
    if (d->is_unpacked) decoder_forget_unpacked(d);
}

#endif
