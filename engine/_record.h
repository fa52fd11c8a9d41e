/* SPDX-License-Identifier: Apache-2.0
 *
 * The head of a record, native twin of engine/record.py, which draws the bytes. All numbers are big-endian, as msgpack wants.
 */
#ifndef BINLOG_ENGINE_RECORD_H
#define BINLOG_ENGINE_RECORD_H

#include <stdint.h>
#include <string.h>

enum {
    RECORD_HEAD_BYTES = 61,
    RECORD_LENGTH_AT = 2, RECORD_KIND_AT = 7, RECORD_FLAGS_AT = 9, RECORD_SOURCE_AT = 12, RECORD_TABLE_AT = 15,
    RECORD_TIME_AT = 20, RECORD_FILE_AT = 29, RECORD_START_AT = 34, RECORD_EVENT_AT = 43, RECORD_ROW_AT = 48,
    RECORD_HASH_AT = 53,
    RECORD_FRAGMENT_BYTES = 128 * 1024,
};
enum {
    RECORD_INSERT = 1, RECORD_UPDATE, RECORD_DELETE, RECORD_BEGIN, RECORD_COMMIT, RECORD_DDL, RECORD_SCHEMA,
    RECORD_HEARTBEAT, RECORD_FRAGMENT, RECORD_STATEMENT, RECORD_HISTORY,
};
enum { RECORD_KEY_CHANGED = 1, RECORD_SPLIT = 2, RECORD_TORN = 4, RECORD_AGAIN = 8 };

static inline uint16_t record_u16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return __builtin_bswap16(v); }
static inline uint32_t record_u32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return __builtin_bswap32(v); }
static inline uint64_t record_u64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return __builtin_bswap64(v); }
static inline void record_set_u16(uint8_t *p, uint16_t v) { v = __builtin_bswap16(v); memcpy(p, &v, 2); }
static inline void record_set_u32(uint8_t *p, uint32_t v) { v = __builtin_bswap32(v); memcpy(p, &v, 4); }
static inline void record_set_u64(uint8_t *p, uint64_t v) { v = __builtin_bswap64(v); memcpy(p, &v, 8); }

/* Writes the markers of all fields and zeroes their values. */
static inline void record_head_init(uint8_t *p) {
    memset(p, 0, RECORD_HEAD_BYTES);
    p[0] = 0x9d;
    p[RECORD_LENGTH_AT - 1] = 0xce; p[RECORD_KIND_AT - 1] = 0xcc; p[RECORD_FLAGS_AT - 1] = 0xcd;
    p[RECORD_SOURCE_AT - 1] = 0xcd; p[RECORD_TABLE_AT - 1] = 0xce; p[RECORD_TIME_AT - 1] = 0xcf;
    p[RECORD_FILE_AT - 1] = 0xce;   p[RECORD_START_AT - 1] = 0xcf; p[RECORD_EVENT_AT - 1] = 0xce;
    p[RECORD_ROW_AT - 1] = 0xce;    p[RECORD_HASH_AT - 1] = 0xcf;
}

/* The hash of a primary key (docs/protocol.md): FNV-1a over the msgpack bytes of its columns, seeded by the table's
 * name, finished with MurmurHash3's fmix64. Fowler/Noll/Vo, RFC 9923; Appleby, MurmurHash3. */
#define RECORD_FNV_BASIS 0xcbf29ce484222325ULL
static inline uint64_t record_hash_add(uint64_t h, const uint8_t *p, uint64_t n) {
#define RECORD_FNV(BYTE) (h = (h ^ (BYTE)) * 0x100000001b3ULL)
    for (; n >= 4; n -= 4, p += 4) { RECORD_FNV(p[0]); RECORD_FNV(p[1]); RECORD_FNV(p[2]); RECORD_FNV(p[3]); }
    for (; n; n--) RECORD_FNV(*p++);
    return h;
#undef RECORD_FNV
}
static inline uint64_t record_hash_finish(uint64_t h) {
    h ^= h >> 33; h *= 0xff51afd7ed558ccdULL; h ^= h >> 33; h *= 0xc4ceb9fe1a85ec53ULL; h ^= h >> 33;
    return h;
}

#endif
