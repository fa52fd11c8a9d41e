/* SPDX-License-Identifier: Apache-2.0
 *
 * Large buffers straight from the kernel: what is given back is given back at once, which malloc doesn't promise.
 */
#ifndef BINLOG_ENGINE_PAGES_H
#define BINLOG_ENGINE_PAGES_H

#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__
/* Memory whose ends the sanitizer watches. */
static inline void *pages_resize(void *pages, size_t from, size_t to) {
    (void)from;
    if (to) return realloc(pages, to);
    free(pages);
    return NULL;
}
#else
/* Grows, shrinks, makes (from NULL, 0) or frees (to 0) a buffer; the contents move along. NULL: no memory, or freed. */
static inline void *pages_resize(void *pages, size_t from, size_t to) {
    void *moved;
    if (to == 0) {
        if (pages) munmap(pages, from);
        return NULL;
    }
    if (pages) moved = mremap(pages, from, to, MREMAP_MAYMOVE);
    else moved = mmap(NULL, to, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return moved == MAP_FAILED ? NULL : moved;
}
#endif

#endif
