# SPDX-License-Identifier: Apache-2.0
"""Record bytes to (op, table, before, after) without msgpack's detour, and to Change objects; see `_tuples.h`."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.list cimport PyList_GET_SIZE
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_XDECREF
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from engine import record

cdef extern from "Python.h":
    void *PyErr_Occurred()
    bint PyErr_ExceptionMatches(object kind)
    void PyErr_Clear()

cdef extern from "client/_tuples.h":
    enum:
        RECORD_HEAD_BYTES, RECORD_KIND_AT, RECORD_SOURCE_AT, RECORD_TABLE_AT
        RECORD_INSERT, RECORD_UPDATE, RECORD_DELETE, RECORD_BEGIN, RECORD_COMMIT, RECORD_FRAGMENT
        REMEMBERED_COLUMNS
    ctypedef struct last_value_t:
        PyObject *object
    uint32_t record_u32(const uint8_t *p)
    uint32_t record_u16(const uint8_t *p)
    uint64_t record_length(const uint8_t *p, const uint8_t *end) nogil
    bint is_filled(const uint8_t *p, const uint8_t *end)
    bint read_transaction_mark(const uint8_t *p, const uint8_t *end, const uint8_t **gtid, uint64_t *gtid_bytes)
    enum:
        SLOT_RECORD, SLOT_TABLE, SLOT_OF, SLOT_GTID, SLOT_BEFORE, SLOT_AFTER, CHANGE_SLOTS
    ctypedef struct last_head_t:
        pass
    PyObject *make_change(const uint8_t *p, const uint8_t *end, object op, object table, last_value_t *last, PyObject *absent)
    PyObject *make_record(const uint8_t *p, const uint8_t *end, last_head_t *head, last_value_t *last, PyObject *absent)
    void forget_head(last_head_t *head)
    Py_ssize_t slot_offset(object type, const char *name) except -1
    PyObject *make_object(PyTypeObject *type, const Py_ssize_t *offsets, PyObject **values)

cdef enum:
    _MORE, _END, _OTHER, _ODD

MORE, END, OTHER, ODD = _MORE, _END, _OTHER, _ODD
cdef str _INSERT = record.OPS[record.Kind.INSERT]
cdef str _UPDATE = record.OPS[record.Kind.UPDATE]
cdef str _DELETE = record.OPS[record.Kind.DELETE]
cdef object _ABSENT = record.ABSENT


def has_fragments(const uint8_t[::1] records not None):
    """Whether one of the records is a fragment; True also where they aren't whole records."""
    cdef const uint8_t *p = &records[0] if records.shape[0] else NULL
    cdef const uint8_t *end = p + records.shape[0]
    cdef uint64_t length
    with nogil:
        while p != end:
            length = record_length(p, end)
            if length == 0 or p[RECORD_KIND_AT] == RECORD_FRAGMENT:
                break
            p += length
    return p != end


@cython.final
cdef class ChangeKind:
    """How `RecordWalk` makes objects: of a class whose __slots__ are those of `items.Change`.

    unread: what its rows are before they are asked for.
    """

    cdef object type, unread
    cdef Py_ssize_t[CHANGE_SLOTS] offsets

    def __cinit__(self, type type not None, dict unread not None):
        self.type, self.unread = type, unread
        self.offsets[SLOT_RECORD] = slot_offset(type, "_record")
        self.offsets[SLOT_TABLE] = slot_offset(type, "_table")
        self.offsets[SLOT_OF] = slot_offset(type, "_of")
        self.offsets[SLOT_GTID] = slot_offset(type, "gtid")
        self.offsets[SLOT_BEFORE] = slot_offset(type, "_before")
        self.offsets[SLOT_AFTER] = slot_offset(type, "_after")


@cython.final
cdef class RecordWalk:
    """Goes over records and makes something of the changes: tuples, or objects; follows transactions in `gtids`.

    Args:
        records: whole records.
        views: table key → items.TableView.
        sources: source number → items.SourceName.
        gtids: source number → GTID of the open transaction.
        partial: source number → the change that has come in part, which the end of its transaction ends.
        kind: of the objects; None: (op, table, before, after).
        absent: whether columns that a row image doesn't hold are met as usual; otherwise the first one is odd.
        marks: whether begin and commit are left to the caller.
    """

    cdef Py_buffer view
    cdef const uint8_t *p
    cdef const uint8_t *end
    cdef last_value_t[REMEMBERED_COLUMNS] last
    cdef last_head_t head
    cdef dict views, sources, gtids, partial
    cdef ChangeKind kind
    cdef PyObject *absent
    cdef bint marks
    cdef object table, of, gtid  # of the change before, as are the next two
    cdef uint32_t key
    cdef int32_t number  # of the source; -1: it is to be looked up
    cdef readonly int answer

    def __cinit__(self, records, dict views not None, dict sources not None, dict gtids not None, dict partial not None,
                  ChangeKind kind=None, bint absent=True, bint marks=False):
        PyObject_GetBuffer(records, &self.view, PyBUF_SIMPLE)
        self.p = <const uint8_t *>self.view.buf
        self.end = self.p + self.view.len
        self.views, self.sources, self.gtids, self.partial = views, sources, gtids, partial
        self.kind, self.absent, self.marks = kind, <PyObject *>_ABSENT if absent else NULL, marks
        self.number = -1

    def __dealloc__(self):
        cdef int i
        for i in range(REMEMBERED_COLUMNS):
            Py_XDECREF(self.last[i].object)
        forget_head(&self.head)
        PyBuffer_Release(&self.view)

    @property
    def at(self):
        """Bytes of the records that are behind the walk."""
        return self.p - <const uint8_t *>self.view.buf

    def take(self, Py_ssize_t most):
        """The next changes, up to `most`. `answer` says what ended them: MORE (there are enough), END, OTHER (a record that the
        caller has to read) or ODD (what follows is not as it should be, or its table or source unknown)."""
        cdef list rows = []
        cdef uint64_t length
        cdef int kind
        cdef PyObject *made
        while True:
            if PyList_GET_SIZE(rows) >= most:
                self.answer = _MORE
                return rows
            if self.p == self.end:
                self.answer = _END
                return rows
            length = record_length(self.p, self.end)
            kind = self.p[RECORD_KIND_AT] if length else 0
            if RECORD_INSERT <= kind <= RECORD_DELETE:
                if not self.find_table(record_u32(self.p + RECORD_TABLE_AT)):
                    break
                if self.kind is not None:
                    if not self.find_source(record_u16(self.p + RECORD_SOURCE_AT)):
                        break
                    made = self.make(length)
                else:
                    made = make_change(self.p, self.p + length,
                                       _INSERT if kind == RECORD_INSERT else _UPDATE if kind == RECORD_UPDATE else _DELETE,
                                       self.table, self.last, self.absent)
                if made is NULL:
                    if PyErr_Occurred() is not NULL:
                        self.forgive()
                    break
                rows.append(<object>made)
                Py_DECREF(<object>made)
            elif (kind == RECORD_BEGIN or kind == RECORD_COMMIT) and not self.marks:
                if not self.follow(kind, length):
                    break
            elif kind and is_filled(self.p, self.p + length):
                self.answer = _OTHER
                return rows
            else:
                break
            self.p += length
        self.answer = _ODD
        return rows

    cdef bint find_table(self, uint32_t key) except -1:
        if self.table is None or self.key != key:
            view = self.views.get(key)
            if view is None:
                return False
            self.table, self.key = view.schema if self.kind is None else view, key
        return True

    cdef bint find_source(self, int32_t number) except -1:
        if self.number != number:
            self.of = self.sources.get(number)
            if self.of is None:
                return False
            self.number, self.gtid = number, self.gtids.get(number)
        return True

    cdef PyObject *make(self, uint64_t length) noexcept:
        """The object for the change at `p`; NULL: as make_change has it."""
        cdef PyObject *fields = make_record(self.p, self.p + length, &self.head, self.last, self.absent)
        cdef PyObject *made
        cdef PyObject *unread = <PyObject *>self.kind.unread
        cdef PyObject **values = [fields, <PyObject *>self.table, <PyObject *>self.of, <PyObject *>self.gtid, unread, unread]
        if fields is NULL:
            return NULL
        made = make_object(<PyTypeObject *>self.kind.type, self.kind.offsets, values)
        Py_DECREF(<object>fields)
        return made

    cdef bint follow(self, int kind, uint64_t length) except -1:
        """Takes in a begin or commit; false: it isn't one as it should be."""
        cdef const uint8_t *gtid
        cdef uint64_t gtid_bytes
        number = record_u16(self.p + RECORD_SOURCE_AT)
        self.number = -1
        if number not in self.sources:
            return False
        if not read_transaction_mark(self.p + RECORD_HEAD_BYTES, self.p + length, &gtid, &gtid_bytes):
            return False
        if kind == RECORD_COMMIT:
            self.gtids.pop(number, None)
            self.partial.pop(number, None)  # of a torn transaction
        else:
            self.gtids[number] = None if gtid is NULL else (<const char *>gtid)[:gtid_bytes].decode()
        return True

    cdef int forgive(self) except -1:
        """Text that is not UTF-8 is odd; else there was no memory."""
        if not PyErr_ExceptionMatches(UnicodeDecodeError):
            PyErr_Clear()
            raise MemoryError
        PyErr_Clear()
        return 0

    def step(self):
        """The bytes of the record that `take` has stopped at, with OTHER; the walk goes on behind it."""
        cdef uint64_t length = record_length(self.p, self.end)
        cdef const uint8_t *at = self.p
        if length == 0:
            raise ValueError("no whole record here")
        self.p += length
        self.table, self.number = None, -1  # they may stand for something else from there on
        return (<const char *>at)[:length]
