/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of records to Arrow's column buffers, in one pass: each value goes from its msgpack bytes to its place in a column.
 *
 *     fixed width  │ v0 v1 v2 …            │      validity │ bit per row, made at the first null
 *     str, bin     │ bytes …  │ + offsets │ 0 n0 n0+n1 …  (int32, one more than rows)
 *     floats       │ float32 …│ + offsets │
 *
 * Layout: Arrow Columnar Format 1.x, "Fixed-size Primitive", "Variable-size Binary" and "Variable-size List".
 *
 * Whatever is not exactly as docs/protocol.md and the column's type say is ODD: the walk ends there, and Python's own path
 * decides what it means. So there is one opinion on what is an error.
 */
#ifndef BINLOG_ENGINE_CLIENT_COLUMNS_H
#define BINLOG_ENGINE_CLIENT_COLUMNS_H

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "_reading.h"

enum { COLUMN_SEEN, COLUMN_INT, COLUMN_UINT, COLUMN_FLOAT, COLUMN_DOUBLE, COLUMN_STR, COLUMN_BIN, COLUMN_FLOATS };
/* Columns that every table has behind its own. */
enum { COLUMN_OP, COLUMN_TIME, COLUMN_SOURCE, COLUMN_POSITION, COLUMN_GTID, MARK_COLUMNS };
typedef enum { WALK_END, WALK_OTHER, WALK_TABLE, WALK_ODD, WALK_NO_MEMORY } walk_answer;

enum { COPY_AT_ONCE = 64 };  /* values up to this long are copied with a few moves, where both sides have room */

typedef struct {
    int kind;            /* COLUMN_SEEN: the schema doesn't tell; the first value does */
    uint64_t nulls;
    uint8_t *valid;      /* NULL: no nulls so far */
    int32_t *offsets;    /* NULL: fixed width */
    uint8_t *values;
    uint64_t used, room; /* bytes of values, where there are offsets */
} column_t;

typedef struct {
    uint32_t width;      /* columns of the row; MARK_COLUMNS more follow */
    uint64_t rows, room;
    column_t *columns;
} table_t;

typedef struct {
    uint32_t number;
    char *name;
    uint64_t name_bytes, binlog_bytes;
    const uint8_t *gtid; /* of the transaction that is open; NULL: none, or it has none */
    uint64_t gtid_bytes;
    const uint8_t *gtid_limit; /* up to where it may be read */
    uint32_t file;       /* what `position` says */
    uint64_t start;
    char *position;      /* begins with the binlog's name */
    uint64_t position_bytes;
} source_t;

typedef struct {
    const uint8_t *at, *end;
    source_t *sources, *source;
    uint32_t source_count;
    table_t *table;
    uint32_t key;        /* that `table` belongs to */
    bool before;         /* which row image is wanted */
    const uint8_t *run;  /* the first of the records, all alike, whose marks are not written yet; NULL: none */
    uint64_t run_row;    /* its row */
    source_t *run_source;
} walk_t;

static inline uint64_t element_bytes(const column_t *column) { return column->kind == COLUMN_FLOAT ? 4 : 8; }

static inline bool has_offsets(int kind) { return kind == COLUMN_STR || kind == COLUMN_BIN || kind == COLUMN_FLOATS; }

/* Blocks of memory that Arrow has let go of, to be taken again: the kernel takes longer to give new memory than it takes to
 * fill it. Used with the GIL alone. */
enum { MOST_BLOCKS = 64, LEAST_BLOCK_BYTES = 16 << 10, MOST_KEPT_BYTES = 16 << 20 };

static struct {
    void *blocks[MOST_BLOCKS]; /* the oldest first */
    uint32_t count;
    uint64_t bytes;
} kept;

static void *pick_block(uint32_t index) {
    void *block = kept.blocks[index];
    kept.count--;
    kept.bytes -= malloc_usable_size(block);
    memmove(kept.blocks + index, kept.blocks + index + 1, (kept.count - index) * sizeof(void *));
    return block;
}

/* At least so many bytes; free() and realloc() will do with it. */
static void *take_block(uint64_t bytes) {
    uint32_t best = MOST_BLOCKS;
    uint64_t best_bytes = bytes + bytes / 2;
    for (uint32_t i = 0; bytes >= LEAST_BLOCK_BYTES / 2 && i < kept.count; i++) {
        uint64_t had = malloc_usable_size(kept.blocks[i]);
        if (had < bytes || had > best_bytes) continue;
        best = i;
        best_bytes = had;
    }
    return best < MOST_BLOCKS ? pick_block(best) : malloc(bytes ? bytes : 1);
}

static void give_block(void *block) {
    uint64_t bytes = block == NULL ? 0 : malloc_usable_size(block);
    if (bytes < LEAST_BLOCK_BYTES || bytes > MOST_KEPT_BYTES) {
        free(block);
        return;
    }
    while (kept.count == MOST_BLOCKS || kept.bytes + bytes > MOST_KEPT_BYTES) free(pick_block(0));
    kept.blocks[kept.count++] = block;
    kept.bytes += bytes;
}

/* A block of which so many bytes are used, without much beside. */
static void *trim_block(void *block, uint64_t used) {
    if (block != NULL && malloc_usable_size(block) - used <= used / 2) return block;
    void *smaller = realloc(block, used ? used : 1);
    return smaller == NULL ? block : smaller;
}

/* Room in the arrays that have something for each row; false: no memory. */
static bool grow_rows(table_t *table, uint64_t room) {
    for (uint32_t i = 0; i < table->width + MARK_COLUMNS; i++) {
        column_t *column = &table->columns[i];
        void *grown;
        if (column->valid != NULL) {
            uint64_t had = (table->room + 7) / 8, wanted = (room + 7) / 8;
            if ((grown = realloc(column->valid, wanted)) == NULL) return false;
            column->valid = grown;
            memset(column->valid + had, 0xff, wanted - had);
        }
        if (column->kind == COLUMN_SEEN) continue;
        if (has_offsets(column->kind)) {
            if ((grown = realloc(column->offsets, (room + 1) * 4)) == NULL) return false;
            column->offsets = grown;
            if (table->rows == 0) column->offsets[0] = 0;
        } else {
            if ((grown = realloc(column->values, room * element_bytes(column))) == NULL) return false;
            column->values = grown;
        }
    }
    table->room = room;
    return true;
}

/* Room for as many rows as are likely, and for the bytes of their values: used holds those of each column. */
static bool expect(table_t *table, uint64_t rows, const uint64_t *used) {
    for (uint32_t i = 0; i < table->width + MARK_COLUMNS; i++) {
        column_t *column = &table->columns[i];
        if (column->kind == COLUMN_SEEN) continue;
        bool varies = has_offsets(column->kind);
        uint64_t room = varies ? used[i] + COPY_AT_ONCE : rows * element_bytes(column);
        if ((column->values = take_block(room)) == NULL) return false;
        if (!varies) continue;
        column->room = room;
        if ((column->offsets = take_block((rows + 1) * 4)) == NULL) return false;
        column->offsets[0] = 0;
    }
    table->room = rows;
    return true;
}

static bool grow_values(column_t *column, uint64_t wanted) {
    uint64_t room = column->room * 2 + 256;
    if (room < wanted) room = wanted;
    void *grown = realloc(column->values, room);
    if (grown == NULL) return false;
    column->values = grown;
    column->room = room;
    return true;
}

/* No value in the rows [first, last). */
static walk_answer add_nulls(const table_t *table, column_t *column, uint64_t first, uint64_t last) {
    if (column->valid == NULL) {
        if ((column->valid = malloc((table->room + 7) / 8)) == NULL) return WALK_NO_MEMORY;
        memset(column->valid, 0xff, (table->room + 7) / 8);
    }
    column->nulls += last - first;
    for (uint64_t row = first; row < last; row++) {
        column->valid[row >> 3] &= (uint8_t)~(1u << (row & 7));
        if (column->kind == COLUMN_SEEN) continue;
        if (has_offsets(column->kind)) column->offsets[row + 1] = column->offsets[row];
        else if (column->kind == COLUMN_FLOAT) ((uint32_t *)column->values)[row] = 0;
        else ((uint64_t *)column->values)[row] = 0;
    }
    return WALK_END;
}

static walk_answer add_null(const table_t *table, column_t *column) {
    return add_nulls(table, column, table->rows, table->rows + 1);
}

static inline void end_bytes(const table_t *table, column_t *column, uint64_t used) {
    column->used = used;
    column->offsets[table->rows + 1] = (int32_t)used;
}

/* limit: up to where `bytes` may be read. */
static inline walk_answer add_bytes(const table_t *table, column_t *column, const uint8_t *bytes, uint64_t n, const uint8_t *limit) {
    uint64_t used = column->used;
    if (used + n > INT32_MAX) return WALK_ODD;
    if (used + n + COPY_AT_ONCE > column->room && !grow_values(column, used + n + COPY_AT_ONCE)) return WALK_NO_MEMORY;
    if (n <= 32 && limit - bytes >= 32) memcpy(column->values + used, bytes, 32);
    else if (n <= COPY_AT_ONCE && limit - bytes >= COPY_AT_ONCE) memcpy(column->values + used, bytes, COPY_AT_ONCE);
    else memcpy(column->values + used, bytes, n);
    end_bytes(table, column, used + n);
    return WALK_END;
}

/* As add_bytes, and ODD where it isn't UTF-8. */
static inline walk_answer add_utf8(const table_t *table, column_t *column, const uint8_t *bytes, uint64_t n, const uint8_t *limit) {
    return is_utf8(bytes, n) ? add_bytes(table, column, bytes, n, limit) : WALK_ODD;
}

/* The first value of a column whose type the schema doesn't tell: it is text, or bytes. */
static walk_answer settle(const table_t *table, column_t *column, value_type type) {
    if (type != VALUE_STR && type != VALUE_BIN) return WALK_ODD;
    if ((column->offsets = malloc((table->room + 1) * 4)) == NULL) return WALK_NO_MEMORY;
    memset(column->offsets, 0, (table->rows + 1) * 4);
    column->kind = type == VALUE_STR ? COLUMN_STR : COLUMN_BIN;
    return WALK_END;
}

/* The float32 elements of an array of `count`; the byte behind them in *next. */
static walk_answer add_floats(const table_t *table, column_t *column, uint64_t count, const uint8_t *p, const uint8_t *end,
                              const uint8_t **next) {
    if (count > (uint64_t)(end - p) / 5 || column->used + 4 * count > INT32_MAX) return WALK_ODD;
    if (column->used + 4 * count > column->room && !grow_values(column, column->used + 4 * count)) return WALK_NO_MEMORY;
    for (uint64_t i = 0; i < count; i++, p += 5) {
        if (p[0] != 0xca) return WALK_ODD;
        uint32_t bits = record_u32(p + 1);
        memcpy(column->values + column->used, &bits, 4);
        column->used += 4;
    }
    column->offsets[table->rows + 1] = (int32_t)(column->used / 4);
    *next = p;
    return WALK_END;
}

/* How msgpack writes integers: where the number's big-endian bytes begin behind the first byte, how many bytes the value takes, and
 * how far eight bytes from there are shifted. bytes 0: it is no integer. */
typedef struct { uint8_t at, bytes, shift; bool is_signed; } integer_form;

static const integer_form integer_forms[256] = {
    [0x00 ... 0x7f] = {0, 1, 56, false}, [0xe0 ... 0xff] = {0, 1, 56, true},
    [0xcc] = {1, 2, 56, false}, [0xcd] = {1, 3, 48, false}, [0xce] = {1, 5, 32, false}, [0xcf] = {1, 9, 0, false},
    [0xd0] = {1, 2, 56, true},  [0xd1] = {1, 3, 48, true},  [0xd2] = {1, 5, 32, true},  [0xd3] = {1, 9, 0, true},
};

enum { QUICK_BYTES = 40 };  /* that may be read from where a quick value begins, whatever it is */

/* As add_value, for what most values are: integers and short ASCII text. Where QUICK_BYTES may be read behind `end`; p < end. NULL: it is
 * something else, and nothing was done. */
static inline const uint8_t *add_quickly(column_t *column, uint64_t row, const uint8_t *p) {
    uint8_t b = *p;
    if (column->kind == COLUMN_INT || column->kind == COLUMN_UINT) {
        integer_form form = integer_forms[b];
        uint64_t eight = record_u64(p + form.at);
        int64_t number = form.is_signed ? (int64_t)eight >> form.shift : (int64_t)(eight >> form.shift);
        if (form.bytes == 0 || (number < 0 && form.is_signed != (column->kind == COLUMN_INT))) return NULL;
        ((int64_t *)column->values)[row] = number;
        return p + form.bytes;
    }
#ifdef __SSE2__
    if (column->kind == COLUMN_STR) {
        uint64_t n = b & 31, used = column->used;
        if ((b & 0xe0) != 0xa0) {
            if (b != 0xd9 || (n = *++p) > 32) return NULL;
        }
        p++;
        __m128i low = _mm_loadu_si128((const __m128i *)p), high = _mm_loadu_si128((const __m128i *)(p + 16));
        uint64_t not_ascii = (uint32_t)_mm_movemask_epi8(low) | (uint64_t)(uint32_t)_mm_movemask_epi8(high) << 16;
        if ((not_ascii & ((UINT64_C(1) << n) - 1)) != 0 || used + n + COPY_AT_ONCE > column->room || used + n > INT32_MAX) return NULL;
        _mm_storeu_si128((__m128i *)(column->values + used), low);
        _mm_storeu_si128((__m128i *)(column->values + used + 16), high);
        column->used = used + n;
        column->offsets[row + 1] = (int32_t)(used + n);
        return p + n;
    }
#endif
    return NULL;
}

/* One value of one column, read at *p, which moves on. */
static inline walk_answer add_value(const table_t *table, column_t *column, const uint8_t **p, const uint8_t *end,
                                    const uint8_t *limit) {
    value_t value;
    const uint8_t *next = read_value(*p, end, &value);
    walk_answer answer;
    uint64_t row = table->rows;
    if (next == NULL) return WALK_ODD;
    *p = next;
    if (value.type == VALUE_NIL || value.type == VALUE_ABSENT) return add_null(table, column);
    if (column->kind == COLUMN_SEEN && (answer = settle(table, column, value.type)) != WALK_END) return answer;
    switch (column->kind) {
    case COLUMN_INT:
        if (value.type != VALUE_INT && (value.type != VALUE_UINT || value.u > INT64_MAX)) return WALK_ODD;
        ((int64_t *)column->values)[row] = value.i;
        return WALK_END;
    case COLUMN_UINT:
        if (value.type != VALUE_UINT) return WALK_ODD;
        ((uint64_t *)column->values)[row] = value.u;
        return WALK_END;
    case COLUMN_FLOAT:
        if (value.type == VALUE_DOUBLE && (double)(float)value.d == value.d) value.f = (float)value.d;
        else if (value.type != VALUE_FLOAT) return WALK_ODD;
        ((float *)column->values)[row] = value.f;
        return WALK_END;
    case COLUMN_DOUBLE:
        if (value.type != VALUE_DOUBLE && value.type != VALUE_FLOAT) return WALK_ODD;
        ((double *)column->values)[row] = value.type == VALUE_DOUBLE ? value.d : (double)value.f;
        return WALK_END;
    case COLUMN_STR:
        if (value.type != VALUE_STR) return WALK_ODD;
        return add_utf8(table, column, value.bytes, value.count, limit);
    case COLUMN_BIN:
        if (value.type != VALUE_BIN) return WALK_ODD;
        return add_bytes(table, column, value.bytes, value.count, limit);
    default:
        if (value.type != VALUE_ARRAY) return WALK_ODD;
        return add_floats(table, column, value.count, next, end, p);
    }
}

/* `binlog.000012:1234`, made anew only when it is another one. */
static inline void write_position(source_t *source, const uint8_t *record) {
    uint32_t file = record_u32(record + RECORD_FILE_AT);
    uint64_t start = record_u64(record + RECORD_START_AT);
    if (source->position_bytes != 0 && source->file == file && source->start == start) return;
    source->file = file;
    source->start = start;
    source->position_bytes = source->binlog_bytes + (uint64_t)sprintf(source->position + source->binlog_bytes, ".%06u:%llu",
                                                                      file, (unsigned long long)start);
}

/* The same text in the rows [first, last), which come next. limit: up to where it may be read. */
static walk_answer repeat_text(column_t *column, uint64_t first, uint64_t last, const uint8_t *text, uint64_t n, const uint8_t *limit) {
    enum { AT_ONCE = 4096 };  /* what is copied again and again stays in the nearest cache */
    uint64_t used = column->used, bytes = n * (last - first), most = n == 0 || n > AT_ONCE ? n : AT_ONCE - AT_ONCE % n;
    if (used + bytes > INT32_MAX) return WALK_ODD;
    if (used + bytes + COPY_AT_ONCE > column->room && !grow_values(column, used + bytes + COPY_AT_ONCE)) return WALK_NO_MEMORY;
    uint8_t *to = column->values + used;
    if (n <= COPY_AT_ONCE && limit - text >= COPY_AT_ONCE) memcpy(to, text, COPY_AT_ONCE);
    else memcpy(to, text, n);
    for (uint64_t done = n, step; done < bytes; done += step) {
        step = done < most ? done : most;
        if (step > bytes - done) step = bytes - done;
        memcpy(to + done, to, step);
    }
    column->used = used + bytes;
    for (uint64_t row = first; row < last; row++) column->offsets[row + 1] = (int32_t)(used += n);
    return WALK_END;
}

static walk_answer repeat_ours(column_t *column, uint64_t first, uint64_t last, const char *text, uint64_t n) {
    return repeat_text(column, first, last, (const uint8_t *)text, n, (const uint8_t *)text + n + COPY_AT_ONCE);
}

/* What happened to the rows of the run, when and where: the marks of records that are alike are written together. */
static walk_answer end_run(walk_t *walk) {
    static const char ops[18 + COPY_AT_ONCE] = "insertupdatedelete";
    const uint8_t *record = walk->run;
    if (record == NULL) return WALK_END;
    table_t *table = walk->table;
    source_t *source = walk->run_source;
    column_t *marks = table->columns + table->width;
    uint64_t time = record_u64(record + RECORD_TIME_AT), first = walk->run_row, last = table->rows;
    walk_answer answer;
    walk->run = NULL;
    if (time > INT64_MAX) return WALK_ODD;
    for (uint64_t row = first; row < last; row++) ((uint64_t *)marks[COLUMN_TIME].values)[row] = time;
    write_position(source, record);
    const char *op = ops + 6 * (record[RECORD_KIND_AT] - RECORD_INSERT);
    if ((answer = repeat_ours(&marks[COLUMN_OP], first, last, op, 6)) != WALK_END) return answer;
    if ((answer = repeat_ours(&marks[COLUMN_SOURCE], first, last, source->name, source->name_bytes)) != WALK_END) return answer;
    answer = repeat_ours(&marks[COLUMN_POSITION], first, last, source->position, source->position_bytes);
    if (answer != WALK_END) return answer;
    if (source->gtid == NULL) return add_nulls(table, &marks[COLUMN_GTID], first, last);
    return repeat_text(&marks[COLUMN_GTID], first, last, source->gtid, source->gtid_bytes, source->gtid_limit);
}

/* The row of one change into its table. */
static inline walk_answer add_change(table_t *table, bool before, const uint8_t *record, const uint8_t *end, const uint8_t *limit) {
    const uint8_t *p = record + RECORD_HEAD_BYTES;
    value_t value;
    walk_answer answer;
    int kind = record[RECORD_KIND_AT];
    bool take_first = kind == RECORD_DELETE || (before && kind == RECORD_UPDATE);
    if (table->rows == table->room) {
        uint64_t likely = (uint64_t)(limit - record) / (uint64_t)(end - record) + 1;  /* if all are like this one */
        uint64_t most = table->rows == 0 ? 64 : table->rows * 8;  /* there may be many tables with few rows each */
        if (!grow_rows(table, table->rows + (likely < most ? likely : most))) return WALK_NO_MEMORY;
    }
    if (!take_first) {
        if (kind == RECORD_INSERT ? (p >= end || *p != 0xc0) : (p < end && *p == 0xc0)) return WALK_ODD;
        if ((p = step_over(p, end)) == NULL) return WALK_ODD;
    }
    if (before && kind == RECORD_INSERT) {
        for (uint32_t i = 0; i < table->width; i++)
            if ((answer = add_null(table, &table->columns[i])) != WALK_END) return answer;
        p = step_over(p, end);
    } else {
        p = read_value(p, end, &value);
        if (p == NULL || value.type != VALUE_ARRAY || value.count != table->width) return WALK_ODD;
        bool quick = limit - end >= QUICK_BYTES;
        for (column_t *column = table->columns, *last = column + table->width; column < last; column++) {
            const uint8_t *next = quick && p < end ? add_quickly(column, table->rows, p) : NULL;
            if (next != NULL) p = next;
            else if ((answer = add_value(table, column, &p, end, limit)) != WALK_END) return answer;
        }
        if (kind == RECORD_DELETE && (p >= end || *p != 0xc0)) return WALK_ODD;
        if (take_first) p = step_over(p, end);
    }
    if (p != end) return WALK_ODD;
    table->rows++;
    return WALK_END;
}

static bool find_source(walk_t *walk, uint32_t number) {
    for (uint32_t i = 0; i < walk->source_count; i++)
        if (walk->sources[i].number == number) {
            walk->source = &walk->sources[i];
            return true;
        }
    return false;
}

static walk_answer walk_on(walk_t *walk) {
    walk_answer answer;
    while (walk->at < walk->end) {
        const uint8_t *p = walk->at;
        uint64_t length = record_length(p, walk->end), gtid_bytes;
        const uint8_t *end = p + length, *gtid;
        if (length == 0) return WALK_ODD;
        if (walk->run == NULL || !is_alike(p, walk->run)) {
            if ((answer = end_run(walk)) != WALK_END) return answer;
            uint32_t number = record_u16(p + RECORD_SOURCE_AT);
            if ((walk->source == NULL || walk->source->number != number) && !find_source(walk, number)) return WALK_ODD;
            switch (p[RECORD_KIND_AT]) {
            case RECORD_INSERT: case RECORD_UPDATE: case RECORD_DELETE:
                if (walk->table == NULL || record_u32(p + RECORD_TABLE_AT) != walk->key) return WALK_TABLE;
                walk->run = p;
                walk->run_row = walk->table->rows;
                walk->run_source = walk->source;
                break;
            case RECORD_BEGIN: case RECORD_COMMIT:
                if (!read_transaction_mark(p + RECORD_HEAD_BYTES, end, &gtid, &gtid_bytes)) return WALK_ODD;
                walk->source->gtid = p[RECORD_KIND_AT] == RECORD_BEGIN ? gtid : NULL;
                walk->source->gtid_bytes = gtid_bytes;
                walk->source->gtid_limit = walk->end;
                walk->at = end;
                continue;
            default:
                return p[RECORD_KIND_AT] != 0 && is_filled(p, end) ? WALK_OTHER : WALK_ODD;
            }
        }
        if ((answer = add_change(walk->table, walk->before, p, end, walk->end)) != WALK_END) return answer;
        walk->at = end;
    }
    return WALK_END;
}

/* Changes and transaction marks from `at` on. Stops at the end, at a record that Python has to read (OTHER), at a change of
 * another table key (TABLE), and at what is not as it should be. */
static walk_answer walk_records(walk_t *walk) {
    walk_answer answer = walk_on(walk), ended = end_run(walk);
    return ended == WALK_END ? answer : ended;
}

static void free_columns(column_t *columns, uint32_t count) {
    if (columns == NULL) return;
    for (uint32_t i = 0; i < count; i++) {
        give_block(columns[i].valid);
        give_block(columns[i].offsets);
        give_block(columns[i].values);
    }
    free(columns);
}

#endif
