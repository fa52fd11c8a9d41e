/* SPDX-License-Identifier: Apache-2.0
 *
 * A large value is copied piece by piece, and what has been copied is given back to the system on the way: so a row lies in
 * memory once, in the event at first and in the record at last.
 *
 * Only in a buffer of pages.h that its owner has named with `spend`, who reads none of these bytes again. In the sanitize build
 * pieces are small, and zeroed, so that a byte that is read again would be found.
 */
#ifndef BINLOG_ENGINE_SPENT_H
#define BINLOG_ENGINE_SPENT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum {
#ifdef __SANITIZE_ADDRESS__
    SPENT_LEAST_BYTES = 64,  /* of a value, to be copied this way */
    SPENT_PIECE_BYTES = 48,
    SPENT_PAGE_BYTES = 16,
#else
    SPENT_LEAST_BYTES = 1 << 20,
    SPENT_PIECE_BYTES = 1 << 20,
    SPENT_PAGE_BYTES = 64 << 10, /* or less: the largest pages there are */
#endif
};

static __thread const uint8_t *spent_from, *spent_to; /* what may be spent */

static inline void spend(const uint8_t *from, const uint8_t *to) {
    spent_from = from;
    spent_to = to;
}

static inline uint8_t *spent_page(const uint8_t *at) { return (uint8_t *)((uintptr_t)at & ~(uintptr_t)(SPENT_PAGE_BYTES - 1)); }

static __attribute__((noinline)) void copy_spending(uint8_t *to, const uint8_t *at, uint64_t n) {
    if (!spent_from || at < spent_from || at + n > spent_to) {
        memcpy(to, at, n);
        return;
    }
    uint8_t *given = spent_page(at + SPENT_PAGE_BYTES - 1);
    while (n) {
        uint64_t piece = n < SPENT_PIECE_BYTES ? n : SPENT_PIECE_BYTES;
        memcpy(to, at, piece);
        to += piece;
        at += piece;
        n -= piece;
        uint8_t *upto = spent_page(at);
        if (upto <= given) continue;
#ifdef __SANITIZE_ADDRESS__
        memset(given, 0, (size_t)(upto - given));
#else
        madvise(given, (size_t)(upto - given), MADV_DONTNEED);
#endif
        given = upto;
    }
}

#endif
