/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the primary key of a row image stands in its msgpack, and its hash: what an update's second image takes over from its
 * first where it doesn't hold a column of the key (binlog_row_image MINIMAL and NOBLOB).
 */
#ifndef BINLOG_ENGINE_ROW_KEY_H
#define BINLOG_ENGINE_ROW_KEY_H

#include <stdint.h>

#define ROW_KEY_COLUMNS 32 /* MariaDB's limit of key parts; MySQL has 16 */

enum { ROW_ERROR_ROOM = -7 }; /* row_image: compressed columns or patched documents need more room than they were given */

typedef struct {
    uint64_t hash; /* docs/protocol.md, "The key hash"; 0: neither image holds the whole key */
    uint8_t *place[2 + ROW_KEY_COLUMNS][2]; /* begin and end of each key column, NULL: absent; place 0 is for all others, the
                                             * one behind the key's for the end of a row's life, see _versioned.h */
} row_key_t;

/* Whether an image holds all n columns: are all n low bits of the event's bitmap set? */
static inline int all_set(const uint8_t *p, uint32_t n) {
    for (; n >= 8; n -= 8)
        if (*p++ != 0xff) return 0;
    return n == 0 || (uint8_t)(*p | 0xff << n) == 0xff;
}

#endif
