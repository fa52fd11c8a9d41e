/* SPDX-License-Identifier: Apache-2.0
 *
 * MariaDB's system-versioned tables. Their rows carry the end of their life, which is a maximum while they are current:
 *
 *   INSERT               WRITE_ROWS   row, end MAX                                    insert
 *   UPDATE               UPDATE_ROWS  row, end MAX → new row, end MAX                 update
 *                        WRITE_ROWS   the row as it was, end NOW                      history, after
 *   DELETE               UPDATE_ROWS  row, end MAX → the same, end NOW                delete, and history, after
 *   DELETE HISTORY       DELETE_ROWS  row, end before                                 history, before
 *
 * So one row of an UPDATE_ROWS may become two records; each has its own row ordinal.
 */
#ifndef BINLOG_ENGINE_VERSIONED_H
#define BINLOG_ENGINE_VERSIONED_H

#include "_decoder.h"

/* The end of a current row as it is written: of TIMESTAMP(6) before MariaDB 11.5 and since, of a transaction's number. */
static const char VERSION_ENDS[2][28] = {"\xba" "2038-01-19 03:14:07.999999", "\xba" "2106-02-07 06:28:15.999999"};
static const char VERSION_TRANSACTION_END[] = "\xcf\xff\xff\xff\xff\xff\xff\xff\xff";

/* Whether an image is that of a past version: it holds the end of the row's life, and that isn't the maximum. */
static inline int version_is_past(const row_key_t *key, uint32_t slot) {
    const uint8_t *begin = key->place[slot][0];
    if (!begin || *begin == 0xc0) return 0;
    size_t n = (size_t)(key->place[slot][1] - begin);
    if (n == 27) return memcmp(begin, VERSION_ENDS[0], 27) && memcmp(begin, VERSION_ENDS[1], 27);
    return n != 9 || memcmp(begin, VERSION_TRANSACTION_END, 9);
}

/* Makes the record at `to`, written as an ordinary change that ends at p, what it is for a versioned table; `second` is where
 * an update's second image begins. Sets *used to 0 where another record of the same row is to follow. Returns its new end. */
static __attribute__((noinline)) uint8_t *version_record(rows_t *rows, uint8_t *to, uint8_t *p, uint8_t *second,
                                                         const row_key_t *key, row_key_t *other_key, int64_t *used,
                                                         uint64_t *hash) {
    const uint32_t slot = rows->table->end_slot;
    const int past = version_is_past(key, slot);
    uint8_t *image = to + RECORD_HEAD_BYTES;
    if (past || rows->kind != RECORD_UPDATE || !version_is_past(other_key, slot)) {
        if (past) to[RECORD_KIND_AT] = RECORD_HISTORY;
        return p;
    }
    to[RECORD_FLAGS_AT + 1] &= RECORD_AGAIN;
    rows->ending = !rows->ending;
    if (rows->ending) {
        to[RECORD_KIND_AT] = RECORD_DELETE;
        *second = 0xc0;
        *used = 0;
        return second + 1;
    }
    to[RECORD_KIND_AT] = RECORD_HISTORY;
    *image = 0xc0;
    memmove(image + 1, second, (size_t)(p - second));
    *hash = other_key->hash;
    return image + 1 + (p - second);
}

#endif
