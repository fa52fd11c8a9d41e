/* SPDX-License-Identifier: Apache-2.0
 *
 * The transaction that is being read: where it began, how far it is, its GTID as consumers see it.
 */
#ifndef BINLOG_ENGINE_TRANSACTION_H
#define BINLOG_ENGINE_TRANSACTION_H

#include <stdint.h>
#include <string.h>

enum { GTID_NONE = 0, GTID_MYSQL, GTID_MARIADB, GTID_TEXT };
enum { GTID_TEXT_BYTES = 128 }; /* uuid : tag of 32 : number of 20 digits is the longest */

typedef struct {
    int open;
    int grouped;          /* ends with XID, COMMIT or ROLLBACK; otherwise its only statement ends it */
    int prepared;         /* an XA transaction's first part: its rows are due with its XA COMMIT, see xa.py */
    int wanted;           /* it holds a change that somebody wants, so its commit is due */
    int begun;            /* its begin record is in the ring */
    uint32_t file;
    uint32_t event;       /* ordinal of the event now read */
    uint64_t start;       /* offset of its first event */
    uint32_t begin_event, begin_row; /* identity of the begin record: (1, 0), unless a ddl record had to go first */
    uint64_t time_us;
    uint64_t origin_us;   /* when the server that made it committed it (MariaDB: began its statement); a replica's binlog says the same */
    int gtid_kind;
    uint32_t domain, server;
    uint64_t number;
    uint8_t uuid[16];
    uint8_t text[GTID_TEXT_BYTES];
    uint32_t text_bytes;
} transaction_t;

static inline void transaction_open(transaction_t *t, uint32_t file, uint64_t start, uint64_t time_us) {
    t->open = 1;
    t->grouped = t->prepared = t->wanted = t->begun = 0;
    t->file = file;
    t->start = start;
    t->event = t->begin_event = 1;
    t->begin_row = 0;
    t->time_us = t->origin_us = time_us;
    t->gtid_kind = GTID_NONE;
}

static inline uint8_t *gtid_put_number(uint8_t *p, uint64_t n) {
    uint8_t digits[20];
    int i = 20;
    do digits[--i] = '0' + n % 10; while (n /= 10);
    memcpy(p, digits + i, 20 - i);
    return p + 20 - i;
}

/* The GTID's text; returns its length. */
static inline uint32_t transaction_gtid(const transaction_t *t, uint8_t *to) {
    uint8_t *p = to;
    if (t->gtid_kind == GTID_MYSQL) {
        for (int i = 0; i < 16; i++) {
            if (i == 4 || i == 6 || i == 8 || i == 10) *p++ = '-';
            *p++ = "0123456789abcdef"[t->uuid[i] >> 4];
            *p++ = "0123456789abcdef"[t->uuid[i] & 15];
        }
        *p++ = ':';
        p = gtid_put_number(p, t->number);
    } else if (t->gtid_kind == GTID_MARIADB) {
        p = gtid_put_number(p, t->domain);
        *p++ = '-';
        p = gtid_put_number(p, t->server);
        *p++ = '-';
        p = gtid_put_number(p, t->number);
    } else if (t->gtid_kind == GTID_TEXT) {
        memcpy(p, t->text, t->text_bytes);
        p += t->text_bytes;
    }
    return (uint32_t)(p - to);
}

/* The GTID as a msgpack value: str 8, or nil. Returns the place behind it. */
static inline uint8_t *transaction_put_gtid(const transaction_t *t, uint8_t *p) {
    if (t->gtid_kind == GTID_NONE) {
        *p = 0xc0;
        return p + 1;
    }
    uint32_t n = transaction_gtid(t, p + 2);
    p[0] = 0xd9;
    p[1] = (uint8_t)n;
    return p + 2 + n;
}

#endif
