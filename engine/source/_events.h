/* SPDX-License-Identifier: Apache-2.0
 *
 * What arrives: an input buffer, and the binlog events in it, cut out of MySQL packets or of a binlog file.
 *
 *   packet (protocol)   u24 length | u8 sequence | payload. A payload of 0xFFFFFF bytes goes on in the next packet.
 *                       First byte of a dump's payload: 00 an event follows, FF error packet, FE the server ends the dump.
 *   event               u32 timestamp (s) | u8 type | u32 server id | u32 size | u32 end position | u16 flags | body [| CRC32]
 *
 * All numbers are little-endian. Sources: MySQL Internals "Replication Protocol" and "Binary Log Event Header"; MariaDB
 * Knowledge Base "2-Binlog Event Header".
 */
#ifndef BINLOG_ENGINE_EVENTS_H
#define BINLOG_ENGINE_EVENTS_H

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "_pages.h"

enum {
    EVENT_HEADER_BYTES = 19,
    EVENT_MAX_BYTES = 1 << 30 | 1 << 20,  /* max_allowed_packet ends at 1 GiB; beyond is damage, not data */
    PACKET_HEADER_BYTES = 4,
    PACKET_FULL = 0xFFFFFF,
    INPUT_BYTES = 1 << 20,                /* size of the buffer while no event needs more */
    INPUT_READ_BYTES = 256 << 10,         /* one read of a socket: stays in the second-level cache until it is decoded */
    INPUT_LEAST_READ_BYTES = 64 << 10,
    INPUT_MOVED_BYTES = 32 << 10,         /* a begun event up to so long is moved to the buffer's start before each read */
};

enum { /* event types; the names are MySQL's and MariaDB's own */
    EVENT_QUERY = 2, EVENT_STOP = 3, EVENT_ROTATE = 4, EVENT_INTVAR = 5, EVENT_APPEND_BLOCK = 9, EVENT_DELETE_FILE = 11,
    EVENT_RAND = 13, EVENT_USER_VAR = 14, EVENT_BEGIN_LOAD_QUERY = 17, EVENT_EXECUTE_LOAD_QUERY = 18,
    EVENT_FORMAT_DESCRIPTION = 15, EVENT_XID = 16, EVENT_TABLE_MAP = 19, EVENT_WRITE_ROWS_V1 = 23,
    EVENT_UPDATE_ROWS_V1 = 24, EVENT_DELETE_ROWS_V1 = 25, EVENT_HEARTBEAT = 27, EVENT_IGNORABLE = 28,
    EVENT_ROWS_QUERY = 29, EVENT_WRITE_ROWS = 30, EVENT_UPDATE_ROWS = 31, EVENT_DELETE_ROWS = 32, EVENT_GTID = 33,
    EVENT_ANONYMOUS_GTID = 34, EVENT_PREVIOUS_GTIDS = 35, EVENT_TRANSACTION_CONTEXT = 36, EVENT_VIEW_CHANGE = 37,
    EVENT_XA_PREPARE = 38, EVENT_PARTIAL_UPDATE_ROWS = 39, EVENT_TRANSACTION_PAYLOAD = 40, EVENT_HEARTBEAT_V2 = 41, EVENT_GTID_TAGGED = 42,
    EVENT_ANNOTATE_ROWS = 160, EVENT_BINLOG_CHECKPOINT = 161, EVENT_MARIADB_GTID = 162, EVENT_GTID_LIST = 163,
    EVENT_QUERY_COMPRESSED = 165, EVENT_WRITE_ROWS_COMPRESSED_V1 = 166, EVENT_DELETE_ROWS_COMPRESSED_V1 = 168,
    EVENT_WRITE_ROWS_COMPRESSED = 169, EVENT_DELETE_ROWS_COMPRESSED = 171,
};
enum { EVENT_FLAG_BINLOG_IN_USE = 0x01, EVENT_FLAG_ARTIFICIAL = 0x20, EVENT_FLAG_IGNORABLE = 0x80 };
enum { MARIADB_GTID_STANDALONE = 1, MARIADB_GTID_PREPARED_XA = 64, MARIADB_GTID_COMPLETED_XA = 128 };

static inline uint16_t le16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static inline uint32_t le24(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16; }
static inline uint32_t le32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint64_t le48(const uint8_t *p) { return le32(p) | (uint64_t)le16(p + 4) << 32; }
static inline uint64_t le55(const uint8_t *p) { return le48(p) | (uint64_t)(p[6] & 0x7f) << 48; }
static inline uint64_t le64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }

/* A length-encoded integer at *p; moves *p behind it. 0: it isn't wholly inside, or no such encoding. */
static inline int lenenc(const uint8_t **p, const uint8_t *end, uint64_t *value) {
    if (*p >= end) return 0;
    const uint8_t *q = *p;
    size_t n = *q < 0xfb ? 0 : *q == 0xfc ? 2 : *q == 0xfd ? 3 : *q == 0xfe ? 8 : SIZE_MAX;
    if (n == SIZE_MAX || (size_t)(end - q) < 1 + n) return 0;
    *value = n == 0 ? *q : n == 2 ? le16(q + 1) : n == 3 ? le24(q + 1) : le64(q + 1);
    *p = q + 1 + n;
    return 1;
}

/* ---- input ------------------------------------------------------------------------------------------------------- */

typedef struct {
    uint8_t *bytes;
    size_t capacity;
    size_t begin, end;  /* unread bytes */
    int packets;        /* framing: 1 packets, 0 file */
    size_t event_at, event_bytes, next_at; /* what input_next found last; event_bytes 0: nothing */
    size_t wanted;      /* bytes from begin on without which input_next gets no further */
} input_t;

enum {
    INPUT_MORE = 0, INPUT_EVENT = 1, INPUT_ERROR_PACKET = 2, INPUT_END_PACKET = 3,
    INPUT_BAD_PACKET = -1, INPUT_BAD_SIZE = -2,
};

static inline void input_clear(input_t *in) { in->begin = in->end = in->event_bytes = in->wanted = 0; }
static inline void input_free(input_t *in) {
    pages_resize(in->bytes, in->capacity, 0);
    memset(in, 0, sizeof *in);
}

static inline void input_consume(input_t *in) {
    in->begin = in->next_at;
    in->event_bytes = in->wanted = 0;
}

/* Finds the event that stands at begin. The event stays where it is until input_consume. */
static inline int input_next_in_file(input_t *in) {
    size_t have = in->end - in->begin;
    in->wanted = EVENT_HEADER_BYTES;
    if (have < in->wanted) return INPUT_MORE;
    uint32_t size = le32(in->bytes + in->begin + 9);
    if (size < EVENT_HEADER_BYTES || size > EVENT_MAX_BYTES) return INPUT_BAD_SIZE;
    in->wanted = size;
    if (have < in->wanted) return INPUT_MORE;
    in->event_at = in->begin;
    in->event_bytes = size;
    in->next_at = in->begin + size;
    return INPUT_EVENT;
}

static inline int input_next_in_packets(input_t *in) {
    size_t have = in->end - in->begin, payload = 0, pieces = 0, piece;
    uint8_t *first = in->bytes + in->begin;
    in->wanted = 0;
    do { /* the first packet, and those that continue it */
        if (have < in->wanted + PACKET_HEADER_BYTES) {
            in->wanted += PACKET_HEADER_BYTES;
            return INPUT_MORE;
        }
        piece = le24(first + in->wanted);
        in->wanted += PACKET_HEADER_BYTES + piece;
        payload += piece;
        pieces++;
        if (payload > EVENT_MAX_BYTES) return INPUT_BAD_SIZE;
        if (have < in->wanted) { /* a damaged length is known by the event's own, without waiting for what never comes */
            if (pieces == 1 && piece < PACKET_FULL && have >= PACKET_HEADER_BYTES + 1 + EVENT_HEADER_BYTES
                && first[PACKET_HEADER_BYTES] == 0x00 && le32(first + PACKET_HEADER_BYTES + 1 + 9) != piece - 1)
                return INPUT_BAD_SIZE;
            return INPUT_MORE;
        }
    } while (piece == PACKET_FULL);
    if (payload == 0) return INPUT_BAD_PACKET;
    for (size_t i = 1; i < pieces; i++) { /* close up over the headers in between */
        size_t from = i * (PACKET_HEADER_BYTES + PACKET_FULL) + PACKET_HEADER_BYTES;
        size_t n = i + 1 < pieces ? PACKET_FULL : piece;
        memmove(first + PACKET_HEADER_BYTES + i * PACKET_FULL, first + from, n);
    }
    in->event_at = in->begin + PACKET_HEADER_BYTES + 1; /* behind the first byte, which says what it is */
    in->event_bytes = payload - 1;
    in->next_at = in->begin + in->wanted;
    switch (first[PACKET_HEADER_BYTES]) {
    case 0x00:
        if (in->event_bytes < EVENT_HEADER_BYTES) return INPUT_BAD_PACKET;
        return le32(in->bytes + in->event_at + 9) == in->event_bytes ? INPUT_EVENT : INPUT_BAD_SIZE;
    case 0xff: return INPUT_ERROR_PACKET;
    case 0xfe: return payload < 9 ? INPUT_END_PACKET : INPUT_BAD_PACKET;
    default: return INPUT_BAD_PACKET;
    }
}

static inline int input_next(input_t *in) { return in->packets ? input_next_in_packets(in) : input_next_in_file(in); }

/* The type in the header of the event that stands at begin, as far as it is there; -1: not yet. */
static inline int input_claimed_type(const input_t *in) {
    size_t at = in->begin + (in->packets ? PACKET_HEADER_BYTES + 1 : 0) + 4;
    return at < in->end ? in->bytes[at] : -1;
}

/* Makes room behind end: at least `least` bytes, and all of a long event as it keeps coming. Doubling means that a wrong
 * length costs no more memory than bytes have arrived. 0: no memory. */
static inline int input_reserve(input_t *in, size_t least) {
    size_t have = in->end - in->begin, capacity = in->capacity;
    int move = in->begin && have <= INPUT_MOVED_BYTES; /* cheap, and the next bytes come to where the cache is warm */
    if (!move && in->capacity - in->end >= least && capacity <= 4 * INPUT_BYTES) return 1;
    if (in->begin) {
        memmove(in->bytes, in->bytes + in->begin, have);
        in->event_at -= in->begin;
        in->next_at -= in->begin;
        in->begin = 0;
        in->end = have;
    }
    while (capacity - have < least) capacity = capacity ? 2 * capacity : INPUT_BYTES;
    if (capacity > 4 * INPUT_BYTES && have + least < INPUT_BYTES && in->wanted < INPUT_BYTES) capacity = INPUT_BYTES;
    if (capacity == in->capacity) return 1;
    uint8_t *bytes = (uint8_t *)pages_resize(in->bytes, in->capacity, capacity);
    if (!bytes) return 0;
    in->bytes = bytes;
    in->capacity = capacity;
    return 1;
}

/* Bytes read, 0: the end, -EAGAIN: nothing there now, other negative: errno. wait: of a socket, as long as its SO_RCVTIMEO says, or
 * until a signal comes. */
static inline int64_t input_read(input_t *in, int fd, int wait) {
    if (!input_reserve(in, INPUT_LEAST_READ_BYTES)) return -ENOMEM;
    size_t room = in->capacity - in->end;
    if (in->packets && room > INPUT_READ_BYTES && in->wanted < INPUT_READ_BYTES) room = INPUT_READ_BYTES; /* a file: long reads */
    for (;;) {
        ssize_t n = in->packets ? recv(fd, in->bytes + in->end, room, wait ? 0 : MSG_DONTWAIT) : read(fd, in->bytes + in->end, room);
        if (n >= 0) {
            in->end += n;
            return n;
        }
        if (errno == EINTR && wait) return -EAGAIN;
        if (errno != EINTR) return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    }
}

#endif
