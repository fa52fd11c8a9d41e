/* SPDX-License-Identifier: Apache-2.0
 *
 * What each event means: GTIDs open a transaction, XID and COMMIT end it, TABLE_MAP names a table, ROWS become records.
 * Layouts: MySQL's classes Gtid_event, Query_event, Rows_event (libs/mysql/binlog/event); MariaDB Knowledge Base, "Replication
 * Protocol" (GTID_EVENT, Rows_event).
 */
#ifndef BINLOG_ENGINE_APPLY_H
#define BINLOG_ENGINE_APPLY_H

#include "_unpack.h"
#include "_row_run.h"
#include "_versioned.h"

#define INFLATED_BYTES_AT_FIRST (64ull << 10)
#define INFLATED_BYTES_MOST (8ull << 30) /* a record's length has 32 bits, and an update has two images */
#define DUMMY_TABLE 0xffffff /* MySQL: a ROWS event without rows that only ends a statement */

/* u8 flags | uuid | u64 number | u8 2 | u64 last committed | u64 sequence number | u56 commit time on this server, µs (bit 55:
 * that on the first server follows). Records carry this server's: it grows along the binlog. */
static inline int decoder_gtid(decoder_t *d) {
    const uint8_t *body = decoder_event(d) + EVENT_HEADER_BYTES;
    uint64_t time_us = 0;
    if (d->body_bytes < 25) return decoder_failed(d, FAULT_SHORT, (int64_t)d->body_bytes);
    if (d->body_bytes >= 49 && body[25] == 2) time_us = le55(body + 42);
    if (!gtids_begin(&d->out.gtids, d->file, d->offset)) return DECODER_PYTHON;
    decoder_open_transaction(d, time_us ? time_us : decoder_event_time_us(d));
    if (time_us && d->body_bytes >= 56 && (body[48] & 0x80)) d->transaction.origin_us = le55(body + 49);
    if (d->type == EVENT_GTID) {
        d->transaction.gtid_kind = GTID_MYSQL;
        memcpy(d->transaction.uuid, body + 1, 16);
        d->transaction.number = le64(body + 17);
        memcpy(d->out.gtids.now.id, body + 1, 16);
        d->out.gtids.now.low = d->out.gtids.now.high = d->transaction.number;
    } else {
        d->out.gtids.open = d->out.gtids.note.known = 0;
    }
    return DECODER_OK;
}

/* u64 number | u32 domain | u8 flags | ...; the server id is the header's. */
static inline int decoder_mariadb_gtid(decoder_t *d) {
    const uint8_t *body = decoder_event(d) + EVENT_HEADER_BYTES;
    if (d->body_bytes < 13) return decoder_failed(d, FAULT_SHORT, (int64_t)d->body_bytes);
    if (!gtids_begin(&d->out.gtids, d->file, d->offset)) return DECODER_PYTHON;
    decoder_open_transaction(d, decoder_event_time_us(d));
    d->transaction.grouped = !(body[12] & MARIADB_GTID_STANDALONE);
    d->transaction.prepared = (body[12] & MARIADB_GTID_PREPARED_XA) != 0;
    d->transaction.gtid_kind = GTID_MARIADB;
    d->transaction.number = le64(body);
    d->transaction.domain = le32(body + 8);
    d->transaction.server = le32(decoder_event(d) + 5);
    memcpy(d->out.gtids.now.id, body + 8, 4);
    d->out.gtids.now.low = d->transaction.server;
    d->out.gtids.now.high = d->transaction.number;
    return DECODER_OK;
}

/* u32 thread | u32 seconds | u8 schema bytes | u16 error | u16 status bytes | status | schema | 0 | statement. */
static inline int decoder_query(decoder_t *d) {
    const uint8_t *body = decoder_event(d) + EVENT_HEADER_BYTES;
    size_t at = d->post_header[d->type - 1];
    if (at < 13 || d->body_bytes < at) return decoder_failed(d, FAULT_SHORT, (int64_t)d->body_bytes);
    at += le16(body + 11) + (size_t)body[8] + 1;
    if (d->body_bytes < at) return decoder_failed(d, FAULT_SHORT, (int64_t)d->body_bytes);
    const uint8_t *statement = body + at;
    size_t n = d->body_bytes - at;
    if (n == 5 && !memcmp(statement, "BEGIN", 5)) {
        d->transaction.grouped = 1;
        return DECODER_OK;
    }
    if (n > 9 && !memcmp(statement, "XA START ", 9)) {
        d->transaction.grouped = d->transaction.prepared = 1;
        return DECODER_OK;
    }
    if (n > 7 && !memcmp(statement, "XA END ", 7)) return DECODER_OK;
    if ((n == 6 && !memcmp(statement, "COMMIT", 6)) || (n == 8 && !memcmp(statement, "ROLLBACK", 8)))
        return decoder_commit(d, NULL); /* rows before a logged ROLLBACK are of tables without transactions: they stay */
    return DECODER_PYTHON;
}

static inline int decoder_table_map(decoder_t *d) {
    const uint8_t *body = decoder_event(d) + EVENT_HEADER_BYTES;
    size_t id_bytes = d->post_header[EVENT_TABLE_MAP - 1] == 6 ? 4 : 6;
    if (d->body_bytes < id_bytes + 2) return decoder_failed(d, FAULT_SHORT, (int64_t)d->body_bytes);
    const uint64_t id = id_bytes == 4 ? le32(body) : le48(body);
    table_t *table = tables_slot(&d->tables, id)->table;
    if (!table || !table_has_map(table, body + id_bytes, d->body_bytes - id_bytes)) {
        table = tables_with_map(&d->tables, body + id_bytes, d->body_bytes - id_bytes);
        if (!table) return DECODER_PYTHON;
        if (!tables_bind(&d->tables, id, table)) return decoder_failed(d, FAULT_MEMORY, 0);
    }
    d->tables.in_transaction++;
    if (table->plan) { /* where tables are many it isn't in the cache, and its first row comes next */
        __builtin_prefetch(table->plan);
        __builtin_prefetch((const uint8_t *)table->plan + 63);
    }
    table->map_event = d->transaction.event;
    return DECODER_OK;
}

/* One row to `to`, which has room for `row_most`. Returns the end of the record, NULL: it can't be decoded. */
static inline uint8_t *decoder_put_row_inside(decoder_t *d, const uint8_t *event, uint8_t *to) {
    rows_t *rows = &d->rows;
    const uint8_t *src = event + rows->at, *end = event + rows->end;
    row_key_t key, other_key;
    uint8_t *p = to + RECORD_HEAD_BYTES, *image_end, *second = NULL;
    memcpy(to, rows->head, RECORD_HEAD_BYTES);
    if (rows->kind == RECORD_INSERT) *p++ = 0xc0;
    image_end = p + rows->inflated;
    const uint8_t *present = rows->first_whole ? NULL : event + rows->first_present;
    int64_t used = d->row_image(rows->table->plan, present, src, end, p, &image_end, &key, NULL, &d->fault_column);
    if (used > 0 && rows->kind == RECORD_UPDATE) {
        src += used;
        const uint8_t *first = p;
        present = rows->second_whole && !rows->partial ? NULL : event + rows->second_present;
        second = p = image_end;
        image_end = p + rows->inflated;
        used = rows->partial ? d->row_image_partial(rows->table->plan, present, src, end, p, &image_end, &other_key, &key, first,
                                                    &d->fault_column)
                             : d->row_image(rows->table->plan, present, src, end, p, &image_end, &other_key, &key,
                                            &d->fault_column);
        if (used >= 0) {
            if (key.hash != other_key.hash && other_key.hash) to[RECORD_FLAGS_AT + 1] |= RECORD_KEY_CHANGED;
            used += src - (event + rows->at);
        }
    }
    p = image_end;
    if (rows->kind == RECORD_DELETE) *p++ = 0xc0;
    if (used <= 0) {
        decoder_failed(d, used < 0 ? FAULT_ROW : FAULT_ROW_EMPTY, used);
        return NULL;
    }
    uint64_t hash = key.hash;
    if (__builtin_expect(rows->table->end_slot != 0, 0)) p = version_record(rows, to, p, second, &key, &other_key, &used, &hash);
    rows->at += (size_t)used;
    record_set_u32(to + RECORD_LENGTH_AT, (uint32_t)(p - to));
    record_set_u32(to + RECORD_ROW_AT, rows->row++);
    record_set_u64(to + RECORD_HASH_AT, hash);
    return p;
}

/* Bytes that one row takes at most. */
static inline uint64_t decoder_row_most(const rows_t *rows) {
    return RECORD_HEAD_BYTES + 1 + (rows->bound + rows->inflated) * (rows->kind == RECORD_UPDATE ? 2 : 1);
}

static inline uint8_t *decoder_put_row(decoder_t *d, const uint8_t *event, uint8_t *to, uint64_t most) {
    const int in_scratch = to == d->out.scratch;
    decoder_guard_room(d, to + most, in_scratch, 1);
    uint8_t *end = decoder_put_row_inside(d, event, to);
    decoder_guard_room(d, to + most, in_scratch, 0);
    return end;
}

/* A row whose compressed columns found no room: twice as much for the next try. 0: that was not the matter, or it's too much. */
static inline int decoder_grow_row(decoder_t *d) {
    rows_t *rows = &d->rows;
    if (d->fault != FAULT_ROW || d->fault_detail != ROW_ERROR_ROOM) return 0;
    rows->inflated = rows->inflated ? 2 * rows->inflated : INFLATED_BYTES_AT_FIRST;
    if (rows->inflated <= INFLATED_BYTES_MOST) return 1;
    decoder_failed(d, FAULT_MEMORY, (int64_t)rows->inflated);
    return 0;
}

static inline int decoder_write_rows_inside(decoder_t *d) {
    rows_t *rows = &d->rows;
    output_t *out = &d->out;
    const uint8_t *event = decoder_event(d);
    uint64_t most = decoder_row_most(rows);
    const uint32_t number = d->transaction.event;
    const int plain = row_run_possible(d);
    int code, marked = 0; /* `last` says all but the row */
    while (rows->at < rows->end) {
        uint32_t row = rows->row;
        int deliver = !decoder_delivered(d, number, row);
        d->transaction.wanted = 1;
        if (deliver) {
            if (!d->transaction.begun && (code = decoder_begin(d)) != DECODER_OK) return code;
            if (!rows->table->schema_written) {
                marked = 0;
                rows->table->schema_written = 1; /* with fragments of this row in the ring, it is there as well */
                if (!d->resume_fragments) {
                    code = decoder_put_packed(d, RECORD_SCHEMA, rows->table->key, rows->table->map_event, rows->table->schema,
                                              rows->table->schema_bytes, 0);
                    if (code != DECODER_OK) return code;
                }
            }
        }
        if (plain && deliver && !d->resume_fragments) {
            decoder_run_rows(d, event, most);
            if (rows->at == rows->end) break;
            row = rows->row;
            marked = 0;
        }
        uint8_t *to = deliver && !d->resume_fragments ? output_room(out, most) : NULL, *end;
        if (to) { /* straight into the ring */
            if (!(end = decoder_put_row(d, event, to, most))) {
                if (!decoder_grow_row(d)) return DECODER_FAULT;
                most = decoder_row_most(rows);
                continue;
            }
            if (!marked) decoder_mark(d, &out->last, number, row, 0);
            out->last.row = row;
            marked = 1;
            out->rows++;
            output_claim(out, (uint64_t)(end - to));
            continue;
        }
        marked = 0;
        if (!(to = output_scratch(out, most))) return decoder_failed(d, FAULT_MEMORY, (int64_t)most);
        if (!(end = decoder_put_row(d, event, to, most))) {
            if (!decoder_grow_row(d)) return DECODER_FAULT;
            most = decoder_row_most(rows);
            continue;
        }
        if (deliver) {
            source_note_t last;
            decoder_mark(d, &last, number, row, 0);
            output_pend(out, (size_t)(end - to), &last, d->resume_fragments, 1);
            d->resume_fragments = 0;
            if (!output_flush(out)) return DECODER_FULL;
        }
    }
    rows->active = 0;
    return DECODER_OK;
}

/* The rest of the ROWS event's rows. What large values have been copied out of isn't read again. */
static inline int decoder_write_rows(decoder_t *d) {
    const rows_t *rows = &d->rows;
    const int spending = rows->end - rows->at >= SPENT_LEAST_BYTES && !rows->table->twice && !rows->partial;
    if (__builtin_expect(spending, 0)) d->row_spend(decoder_event(d) + rows->at, decoder_event(d) + rows->end);
    int code = decoder_write_rows_inside(d);
    if (__builtin_expect(spending, 0)) d->row_spend(NULL, NULL);
    return code;
}

/* u48 table | u16 flags | v2: u16 bytes of extra data, these two included | lenenc columns | bitmap of the columns in the
 * (first) image | update: bitmap of those in the second | rows: bitmap of NULLs, values. */
static inline int decoder_start_rows(decoder_t *d) {
    const uint8_t *event = decoder_event(d), *body = event + EVENT_HEADER_BYTES, *end = body + d->body_bytes, *at;
    size_t post_header = d->post_header[d->type - 1];
    rows_t *rows = &d->rows;
    uint64_t columns;
    if (d->transaction.prepared && !d->replaying) return DECODER_OK;
    int v2 = d->type >= EVENT_WRITE_ROWS;
    if (d->body_bytes < 10) return decoder_failed(d, FAULT_SHORT, (int64_t)d->body_bytes);
    uint64_t id = post_header == 6 ? le32(body) : le48(body);
    at = body + (post_header == 6 ? 6 : 8);
    if (v2 && post_header >= 10) {
        if (le16(at) < 2 || end - at < le16(at)) return decoder_failed(d, FAULT_SHORT, (int64_t)d->body_bytes);
        at += le16(at);
    }
    rows->table = tables_slot(&d->tables, id)->table;
    if (!rows->table) return id == DUMMY_TABLE ? DECODER_OK : decoder_failed(d, FAULT_TABLE_UNKNOWN, (int64_t)id);
    if (!rows->table->plan) {
        output_count(&d->out, COUNTER_ROWS_UNWANTED, 1);
        return DECODER_OK;
    }
    if (!lenenc(&at, end, &columns)) return decoder_failed(d, FAULT_SHORT, (int64_t)d->body_bytes);
    if (columns != rows->table->columns) return decoder_failed(d, FAULT_COLUMNS, (int64_t)columns);
    size_t bitmap = (columns + 7) / 8;
    rows->partial = d->type == EVENT_PARTIAL_UPDATE_ROWS;
    int type = rows->partial ? EVENT_UPDATE_ROWS_V1 : v2 ? d->type - EVENT_WRITE_ROWS + EVENT_WRITE_ROWS_V1 : d->type;
    rows->kind = type == EVENT_WRITE_ROWS_V1 ? RECORD_INSERT : type == EVENT_UPDATE_ROWS_V1 ? RECORD_UPDATE : RECORD_DELETE;
    if ((size_t)(end - at) < (rows->kind == RECORD_UPDATE ? 2 * bitmap : bitmap))
        return decoder_failed(d, FAULT_SHORT, (int64_t)d->body_bytes);
    rows->first_present = (size_t)(at - event);
    at += bitmap;
    rows->second_present = (size_t)(at - event);
    if (rows->kind == RECORD_UPDATE) at += bitmap;
    rows->first_whole = all_set(event + rows->first_present, (uint32_t)columns);
    rows->second_whole = rows->kind == RECORD_UPDATE && all_set(event + rows->second_present, (uint32_t)columns);
    rows->at = (size_t)(at - event);
    rows->end = (size_t)(end - event);
    rows->row = 0;
    rows->ending = 0;
    rows->inflated = 0;
    rows->bound = d->row_bound(rows->table->plan, (uint64_t)(end - at));
    decoder_head(d, rows->head, rows->kind, d->transaction.event, 0);
    record_set_u32(rows->head + RECORD_TABLE_AT, rows->table->key);
    rows->head[RECORD_HEAD_BYTES] = 0xc0; /* what an insert has before its row */
    rows->active = 1;
    return decoder_write_rows(d);
}

static inline int decoder_apply(decoder_t *d) {
    int code;
    if (d->rows.active) return decoder_write_rows(d);
    switch (d->type) {
    case EVENT_WRITE_ROWS_V1: case EVENT_UPDATE_ROWS_V1: case EVENT_DELETE_ROWS_V1:
    case EVENT_WRITE_ROWS: case EVENT_UPDATE_ROWS: case EVENT_DELETE_ROWS: case EVENT_PARTIAL_UPDATE_ROWS:
        return decoder_start_rows(d);
    case EVENT_WRITE_ROWS_COMPRESSED_V1: case EVENT_WRITE_ROWS_COMPRESSED_V1 + 1: case EVENT_DELETE_ROWS_COMPRESSED_V1:
    case EVENT_WRITE_ROWS_COMPRESSED: case EVENT_WRITE_ROWS_COMPRESSED + 1: case EVENT_DELETE_ROWS_COMPRESSED:
        code = decoder_unpack_rows(d);
        return code == DECODER_OK ? decoder_start_rows(d) : code;
    case EVENT_QUERY_COMPRESSED:
        code = decoder_unpack_query(d);
        return code == DECODER_OK ? decoder_query(d) : code;
    case EVENT_TABLE_MAP:
        return decoder_table_map(d);
    case EVENT_XID:
        if (d->body_bytes < 8) return decoder_failed(d, FAULT_SHORT, (int64_t)d->body_bytes);
        return decoder_commit(d, decoder_event(d) + EVENT_HEADER_BYTES);
    case EVENT_GTID: case EVENT_ANONYMOUS_GTID:
        return decoder_gtid(d);
    case EVENT_MARIADB_GTID:
        return decoder_mariadb_gtid(d);
    case EVENT_QUERY: case EVENT_EXECUTE_LOAD_QUERY:
        return decoder_query(d);
    case EVENT_FORMAT_DESCRIPTION: case EVENT_GTID_LIST: case EVENT_PREVIOUS_GTIDS: /* a file's head, or made up for a dump */
        return d->input.packets && le32(decoder_event(d) + 13) && !(d->flags & EVENT_FLAG_ARTIFICIAL) ? DECODER_PYTHON : DECODER_OK;
    case EVENT_ROWS_QUERY: case EVENT_ANNOTATE_ROWS: case EVENT_HEARTBEAT: case EVENT_HEARTBEAT_V2:
    case EVENT_BINLOG_CHECKPOINT: case EVENT_STOP: case EVENT_IGNORABLE:
    case EVENT_TRANSACTION_CONTEXT: case EVENT_VIEW_CHANGE:
        return DECODER_OK; /* they carry no change */
    case EVENT_INTVAR: case EVENT_RAND: case EVENT_USER_VAR: case EVENT_BEGIN_LOAD_QUERY: case EVENT_APPEND_BLOCK: case EVENT_DELETE_FILE:
        return DECODER_OK; /* nor do these: the statement that follows does */
    case EVENT_ROTATE: /* table ids may begin anew; one without a time only says where the dump is */
        if (le32(decoder_event(d))) tables_forget_ids(&d->tables);
        return DECODER_PYTHON;
    default:
        return d->flags & EVENT_FLAG_IGNORABLE ? DECODER_OK : DECODER_PYTHON;
    }
}

/* How far it has come, for `status`: never further than what readers see and the counters count. */
static inline void decoder_tell_offset(decoder_t *d) {
    if (!d->out.held) output_set(&d->out, COUNTER_OFFSET, d->have_event || d->out.pending ? d->offset : d->next_offset);
}

/* Reads on until something is missing, or about `budget` bytes of events have been read. Publishes what it has written. */
static inline int decoder_run(decoder_t *d, uint64_t budget) {
    uint64_t spent = 0;
    int code = DECODER_OK;
    while (code == DECODER_OK) {
        if (!output_flush(&d->out)) {
            code = DECODER_FULL;
        } else if (!d->have_event && spent >= budget) {
            code = DECODER_BUDGET;
        } else if (d->have_event || (code = decoder_next_event(d)) == DECODER_OK) {
            spent += d->current->event_bytes;
            decoder_guard_event(d, 1);
            code = decoder_apply(d);
            decoder_guard_event(d, 0);
            if (code == DECODER_OK) decoder_finish_event(d);
        }
    }
    if (code == DECODER_FULL) output_count(&d->out, COUNTER_RING_FULL, 1);
    output_publish(&d->out);
    decoder_tell_offset(d);
    return code;
}

#endif
