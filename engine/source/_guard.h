/* SPDX-License-Identifier: Apache-2.0
 *
 * In the sanitize build (setup.py) what surrounds the event now read and the record now written is off limits, so that one byte
 * too many is found although the same buffer goes on behind it. In every other build these are nothing.
 */
#ifndef BINLOG_ENGINE_GUARD_H
#define BINLOG_ENGINE_GUARD_H

#include <stdint.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
static inline void guard(const uint8_t *from, const uint8_t *to) {
    if (from && from < to) __asan_poison_memory_region(from, (size_t)(to - from));
}
static inline void unguard(const uint8_t *from, const uint8_t *to) {
    if (from && from < to) __asan_unpoison_memory_region(from, (size_t)(to - from));
}
#else
static inline void guard(const uint8_t *from, const uint8_t *to) { (void)from; (void)to; }
static inline void unguard(const uint8_t *from, const uint8_t *to) { (void)from; (void)to; }
#endif

#endif
