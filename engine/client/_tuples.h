/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of records to tuples, and records to Change objects. What isn't as docs/protocol.md has it gives NULL, and Python's own
 * path decides what it means.
 *
 * Tuples of plain values are taken from the garbage collector at once, as it would do itself when it first meets them.
 */
#ifndef BINLOG_ENGINE_CLIENT_TUPLES_H
#define BINLOG_ENGINE_CLIENT_TUPLES_H

#include <Python.h>
#include <structmember.h>

#include "_reading.h"

enum { REMEMBERED_COLUMNS = 64, MAX_ARRAYS = 8 };

/* The last text or bytes of a column: the same again (after an update, in a label, in a time of one statement) is the same
 * object. */
typedef struct {
    const uint8_t *bytes;
    uint64_t count;
    value_type type;
    PyObject *object; /* NULL: none yet */
} last_value_t;

static inline PyObject *make_text(const uint8_t *bytes, uint64_t count) {
    if (count < 2 || !is_ascii(bytes, count)) return PyUnicode_DecodeUTF8((const char *)bytes, (Py_ssize_t)count, NULL);
    PyObject *text = PyUnicode_New((Py_ssize_t)count, 127);
    if (text != NULL) memcpy(PyUnicode_DATA(text), bytes, count);
    return text;
}

static inline PyObject *make_bytes(const value_t *value) {
    return value->type == VALUE_STR ? make_text(value->bytes, value->count)
                                    : PyBytes_FromStringAndSize((const char *)value->bytes, (Py_ssize_t)value->count);
}

static inline PyObject *make_or_remember(const value_t *value, last_value_t *last) {
    if (last->object != NULL && last->count == value->count && last->type == value->type &&
        memcmp(last->bytes, value->bytes, value->count) == 0)
        return Py_NewRef(last->object);
    PyObject *made = make_bytes(value);
    if (made == NULL) return NULL;
    Py_XDECREF(last->object);
    *last = (last_value_t){value->bytes, value->count, value->type, Py_NewRef(made)};
    return made;
}

static PyObject *make_tuple(uint64_t count, const uint8_t **p, const uint8_t *end, last_value_t *last, PyObject *absent, int depth);

/* The value at *p, which moves on. last: of the column, or NULL. absent: for a column that the image doesn't hold; NULL: that is odd. */
static inline PyObject *make_value(const uint8_t **p, const uint8_t *end, last_value_t *last, PyObject *absent, int depth) {
    value_t value;
    const uint8_t *next = read_value(*p, end, &value);
    if (next == NULL) return NULL;
    *p = next;
    switch (value.type) {
    case VALUE_NIL: return Py_NewRef(Py_None);
    case VALUE_BOOL: return PyBool_FromLong((long)value.u);
    case VALUE_UINT: return PyLong_FromUnsignedLongLong(value.u);
    case VALUE_INT: return PyLong_FromLongLong(value.i);
    case VALUE_FLOAT: return PyFloat_FromDouble(value.f);
    case VALUE_DOUBLE: return PyFloat_FromDouble(value.d);
    case VALUE_STR: case VALUE_BIN: return last == NULL ? make_bytes(&value) : make_or_remember(&value, last);
    case VALUE_ARRAY: return make_tuple(value.count, p, end, NULL, absent, depth + 1);
    case VALUE_ABSENT: return absent == NULL ? NULL : Py_NewRef(absent);
    default: return NULL;
    }
}

/* A tuple of `count` values. last: of REMEMBERED_COLUMNS columns, or NULL. */
static PyObject *make_tuple(uint64_t count, const uint8_t **p, const uint8_t *end, last_value_t *last, PyObject *absent, int depth) {
    if (depth > MAX_ARRAYS || count > (uint64_t)(end - *p)) return NULL; /* each value takes a byte at least */
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    if (tuple == NULL || count == 0) return tuple;
    PyObject_GC_UnTrack(tuple);
    for (uint64_t i = 0; i < count; i++) {
        PyObject *value = make_value(p, end, last != NULL && i < REMEMBERED_COLUMNS ? last + i : NULL, absent, depth);
        if (value == NULL) {
            Py_DECREF(tuple);
            return NULL;
        }
        PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, value);
    }
    return tuple;
}

/* The row image at *p: None or a tuple. */
static inline PyObject *make_image(const uint8_t **p, const uint8_t *end, last_value_t *last, PyObject *absent) {
    value_t value;
    const uint8_t *next = read_value(*p, end, &value);
    if (next == NULL || (value.type != VALUE_NIL && value.type != VALUE_ARRAY)) return NULL;
    *p = next;
    return value.type == VALUE_NIL ? Py_NewRef(Py_None) : make_tuple(value.count, p, end, last, absent, 0);
}

/* Both row images of the change at p; false: it isn't one. */
static inline bool make_images(const uint8_t *p, const uint8_t *end, last_value_t *last, PyObject *absent, PyObject **before,
                               PyObject **after) {
    p += RECORD_HEAD_BYTES;
    *before = make_image(&p, end, last, absent);
    *after = *before == NULL ? NULL : make_image(&p, end, last, absent);
    if (*after != NULL && p == end) return true;
    Py_XDECREF(*before);
    Py_XDECREF(*after);
    return false;
}

/* A tuple that never leads back to itself. */
static inline PyObject *new_tuple(Py_ssize_t count) {
    PyObject *tuple = PyTuple_New(count);
    if (tuple != NULL) PyObject_GC_UnTrack(tuple);
    return tuple;
}

/* (op, table, before, after) of the change at p. */
static PyObject *make_change(const uint8_t *p, const uint8_t *end, PyObject *op, PyObject *table, last_value_t *last,
                             PyObject *absent) {
    PyObject *before, *after, *change;
    if (!make_images(p, end, last, absent, &before, &after)) return NULL;
    if ((change = new_tuple(4)) == NULL) {
        Py_DECREF(before);
        Py_DECREF(after);
        return NULL;
    }
    PyTuple_SET_ITEM(change, 0, Py_NewRef(op));
    PyTuple_SET_ITEM(change, 1, Py_NewRef(table));
    PyTuple_SET_ITEM(change, 2, before);
    PyTuple_SET_ITEM(change, 3, after);
    return change;
}

/* What the records of a transaction have in common, of the last one: field → object, NULL for the others. */
enum { FIELD_LENGTH, FIELD_KIND, FIELD_FLAGS, FIELD_SOURCE, FIELD_TABLE, FIELD_TIME, FIELD_FILE, FIELD_START, FIELD_EVENT, FIELD_ROW,
       FIELD_HASH, FIELD_BEFORE, FIELD_AFTER, RECORD_FIELDS };
typedef struct {
    const uint8_t *record; /* NULL: none yet */
    PyObject *fields[RECORD_FIELDS];
} last_head_t;

static bool remember_head(last_head_t *last, const uint8_t *p) {
    PyObject *fields[RECORD_FIELDS] = {
        [FIELD_KIND] = PyLong_FromLong(p[RECORD_KIND_AT]),
        [FIELD_SOURCE] = PyLong_FromLong(record_u16(p + RECORD_SOURCE_AT)),
        [FIELD_TABLE] = PyLong_FromUnsignedLong(record_u32(p + RECORD_TABLE_AT)),
        [FIELD_TIME] = PyLong_FromUnsignedLongLong(record_u64(p + RECORD_TIME_AT)),
        [FIELD_FILE] = PyLong_FromUnsignedLong(record_u32(p + RECORD_FILE_AT)),
        [FIELD_START] = PyLong_FromUnsignedLongLong(record_u64(p + RECORD_START_AT)),
    };
    for (int i = 0; i < RECORD_FIELDS; i++) {
        Py_XDECREF(last->fields[i]);
        last->fields[i] = fields[i];
    }
    last->record = p;
    return PyErr_Occurred() == NULL;
}

static void forget_head(last_head_t *last) {
    last->record = NULL;
    for (int i = 0; i < RECORD_FIELDS; i++) Py_CLEAR(last->fields[i]);
}

/* All 13 fields of the change at p, as msgpack reads them. */
static PyObject *make_record(const uint8_t *p, const uint8_t *end, last_head_t *head, last_value_t *last, PyObject *absent) {
    if ((head->record == NULL || !is_alike(p, head->record)) && !remember_head(head, p)) return NULL;
    PyObject *before, *after, *record;
    if (!make_images(p, end, last, absent, &before, &after)) return NULL;
    if ((record = new_tuple(RECORD_FIELDS)) == NULL) {
        Py_DECREF(before);
        Py_DECREF(after);
        return NULL;
    }
    PyObject *own[RECORD_FIELDS] = {
        [FIELD_LENGTH] = PyLong_FromLongLong(end - p),
        [FIELD_FLAGS] = PyLong_FromLong(record_u16(p + RECORD_FLAGS_AT)),
        [FIELD_EVENT] = PyLong_FromUnsignedLong(record_u32(p + RECORD_EVENT_AT)),
        [FIELD_ROW] = PyLong_FromUnsignedLong(record_u32(p + RECORD_ROW_AT)),
        [FIELD_HASH] = PyLong_FromUnsignedLongLong(record_u64(p + RECORD_HASH_AT)),
        [FIELD_BEFORE] = before, [FIELD_AFTER] = after,
    };
    for (int i = 0; i < RECORD_FIELDS; i++)
        PyTuple_SET_ITEM(record, i, head->fields[i] != NULL ? Py_NewRef(head->fields[i]) : own[i]);
    if (PyErr_Occurred() == NULL) return record;
    Py_DECREF(record);
    return NULL;
}

/* Where a class keeps what its __slots__ name. */
enum { SLOT_RECORD, SLOT_TABLE, SLOT_OF, SLOT_GTID, SLOT_BEFORE, SLOT_AFTER, CHANGE_SLOTS };

/* -1: the class has no such slot. */
static Py_ssize_t slot_offset(PyObject *type, const char *name) {
    PyObject *found = PyObject_GetAttrString(type, name);
    if (found == NULL) return -1;
    Py_ssize_t offset = -1;
    if (Py_IS_TYPE(found, &PyMemberDescr_Type)) offset = ((PyMemberDescrObject *)found)->d_member->offset;
    else PyErr_Format(PyExc_TypeError, "%s is no slot", name);
    Py_DECREF(found);
    return offset;
}

/* An instance with these values in its slots. It is taken from the garbage collector: neither a record nor a table, nor the dicts
 * that the rows become, lead back to it. */
static PyObject *make_object(PyTypeObject *type, const Py_ssize_t *offsets, PyObject *const *values) {
    PyObject *object = type->tp_alloc(type, 0);
    if (object == NULL) return NULL;
    PyObject_GC_UnTrack(object);
    for (int i = 0; i < CHANGE_SLOTS; i++) *(PyObject **)((char *)object + offsets[i]) = Py_NewRef(values[i]);
    return object;
}

#endif
