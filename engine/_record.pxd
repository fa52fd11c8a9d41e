"""The head of a record, for Cython: _record.h, whose twin in Python is record.py."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "_record.h" nogil:
    enum:
        RECORD_HEAD_BYTES
        RECORD_LENGTH_AT
        RECORD_KIND_AT
        RECORD_FLAGS_AT
        RECORD_SOURCE_AT
        RECORD_TABLE_AT
        RECORD_TIME_AT
        RECORD_FILE_AT
        RECORD_START_AT
        RECORD_EVENT_AT
        RECORD_ROW_AT
        RECORD_HASH_AT
        RECORD_FRAGMENT_BYTES
    enum:
        RECORD_INSERT
        RECORD_UPDATE
        RECORD_DELETE
        RECORD_BEGIN
        RECORD_COMMIT
        RECORD_DDL
        RECORD_SCHEMA
        RECORD_HEARTBEAT
        RECORD_FRAGMENT
        RECORD_STATEMENT
        RECORD_HISTORY
    enum:
        RECORD_KEY_CHANGED
        RECORD_SPLIT
        RECORD_TORN
    uint64_t RECORD_FNV_BASIS
    uint16_t record_u16(const uint8_t *p) noexcept
    uint32_t record_u32(const uint8_t *p) noexcept
    uint64_t record_u64(const uint8_t *p) noexcept
    void record_set_u16(uint8_t *p, uint16_t v) noexcept
    void record_set_u32(uint8_t *p, uint32_t v) noexcept
    void record_set_u64(uint8_t *p, uint64_t v) noexcept
    uint64_t record_hash_add(uint64_t h, const uint8_t *p, uint64_t n) noexcept
    uint64_t record_hash_finish(uint64_t h) noexcept
