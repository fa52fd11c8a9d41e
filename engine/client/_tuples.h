/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of records to tuples. What isn't as docs/protocol.md has it gives NULL, and Python's own path decides what it means.
 *
 * Tuples of plain values are taken from the garbage collector at once, as it would do itself when it first meets them.
 */
#ifndef BINLOG_ENGINE_CLIENT_TUPLES_H
#define BINLOG_ENGINE_CLIENT_TUPLES_H

#include <Python.h>

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

/* The value at *p, which moves on. last: of the column, or NULL. */
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
    case VALUE_ABSENT: return Py_NewRef(absent);
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

/* (op, table, before, after) of the change at p. The tuple leads to a table, which never leads back to it: no cycle. */
static PyObject *make_change(const uint8_t *p, const uint8_t *end, PyObject *op, PyObject *table, last_value_t *last,
                             PyObject *absent) {
    p += RECORD_HEAD_BYTES;
    PyObject *before = make_image(&p, end, last, absent);
    PyObject *after = before == NULL ? NULL : make_image(&p, end, last, absent);
    PyObject *change = after == NULL || p != end ? NULL : PyTuple_New(4);
    if (change == NULL) {
        Py_XDECREF(before);
        Py_XDECREF(after);
        return NULL;
    }
    PyObject_GC_UnTrack(change);
    PyTuple_SET_ITEM(change, 0, Py_NewRef(op));
    PyTuple_SET_ITEM(change, 1, Py_NewRef(table));
    PyTuple_SET_ITEM(change, 2, before);
    PyTuple_SET_ITEM(change, 3, after);
    return change;
}

#endif
