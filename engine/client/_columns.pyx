# SPDX-License-Identifier: Apache-2.0
"""Record bytes to Arrow's column buffers without a Python object per value; `_columns.h` has the layout and the walk."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

cdef extern from "client/_columns.h" nogil:
    enum:
        RECORD_TABLE_AT
        COLUMN_SEEN, COLUMN_INT, COLUMN_UINT, COLUMN_FLOAT, COLUMN_DOUBLE, COLUMN_STR, COLUMN_BIN, COLUMN_FLOATS
        MARK_COLUMNS, COPY_AT_ONCE
    ctypedef enum walk_answer:
        WALK_END, WALK_OTHER, WALK_TABLE, WALK_ODD, WALK_NO_MEMORY
    ctypedef struct column_t:
        int kind
        uint64_t nulls
        uint8_t *valid
        int32_t *offsets
        uint8_t *values
        uint64_t used
    ctypedef struct table_t:
        uint32_t width
        uint64_t rows
        column_t *columns
    ctypedef struct source_t:
        uint32_t number
        char *name
        uint64_t name_bytes, binlog_bytes
        const uint8_t *gtid
        uint64_t gtid_bytes
        const uint8_t *gtid_limit
        char *position
    ctypedef struct walk_t:
        const uint8_t *at
        const uint8_t *end
        source_t *sources
        source_t *source
        uint32_t source_count
        table_t *table
        uint32_t key
        bint before
    uint32_t record_u32(const uint8_t *p)
    uint64_t record_length(const uint8_t *p, const uint8_t *end)
    uint64_t element_bytes(const column_t *column)
    bint has_offsets(int kind)
    walk_answer walk_records(walk_t *walk)
    bint expect(table_t *table, uint64_t rows, const uint64_t *used)
    void give_block(void *block)
    void *trim_block(void *block, uint64_t used)
    void free_columns(column_t *columns, uint32_t count)

SEEN, INT, UINT, FLOAT, DOUBLE = COLUMN_SEEN, COLUMN_INT, COLUMN_UINT, COLUMN_FLOAT, COLUMN_DOUBLE
STR, BIN, FLOATS = COLUMN_STR, COLUMN_BIN, COLUMN_FLOATS
END, OTHER, TABLE, ODD = WALK_END, WALK_OTHER, WALK_TABLE, WALK_ODD
_MARK_KINDS = bytes((COLUMN_STR, COLUMN_INT, COLUMN_STR, COLUMN_STR, COLUMN_STR))


@cython.final
@cython.internal
cdef class Memory:
    """Bytes that a column had, handed over to whoever reads them through the buffer protocol."""

    cdef void *bytes
    cdef Py_ssize_t size

    def __dealloc__(self):
        give_block(self.bytes)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.bytes, self.size, 1, flags)


cdef Memory hand_over(void *bytes, uint64_t size):
    cdef Memory memory = Memory.__new__(Memory)
    memory.bytes, memory.size = trim_block(bytes, size), size
    return memory


@cython.final
cdef class TableColumns:
    """The columns of one table, growing; `kinds` holds one of SEEN … FLOATS for each of the row's own.

    Behind the row's own come five marks: op, commit time in µs, source, position, GTID. likely: what `used` has said of others
    of this table, to be multiplied by `share`, for which there is to be room from the beginning.
    """

    cdef table_t table

    def __cinit__(self, bytes kinds not None, tuple likely=None, double share=1.0):
        cdef uint32_t i, width = len(kinds)
        cdef bytes all_kinds = kinds + _MARK_KINDS
        self.table.columns = <column_t *>calloc(len(all_kinds), sizeof(column_t))
        if self.table.columns is NULL:
            raise MemoryError
        self.table.width = width
        for i in range(width + MARK_COLUMNS):
            self.table.columns[i].kind = all_kinds[i]
        if likely is not None:
            self.make_room(likely, share * (1 + 1 / 16))

    cdef make_room(self, tuple likely, double share):
        cdef uint32_t i, count = self.table.width + MARK_COLUMNS
        cdef uint64_t *used = <uint64_t *>malloc(count * sizeof(uint64_t))
        if used is NULL:
            raise MemoryError
        try:
            for i in range(count):
                used[i] = <uint64_t>(share * <uint64_t>likely[i + 1])
            if not expect(&self.table, 1 + <uint64_t>(share * <uint64_t>likely[0]), used):
                raise MemoryError
        finally:
            free(used)

    @property
    def used(self):
        """Rows, and for each column the bytes of its values where they vary."""
        return (self.table.rows, *[self.table.columns[i].used for i in range(self.table.width + MARK_COLUMNS)])

    def __dealloc__(self):
        free_columns(self.table.columns, self.table.width + MARK_COLUMNS)

    def __len__(self):
        return self.table.rows

    def take(self, uint32_t index):
        """(kind, nulls, validity or None, offsets or None, values) of one column, once: the buffers are given away."""
        cdef column_t *column
        cdef uint64_t rows = self.table.rows, size
        if index >= self.table.width + MARK_COLUMNS:
            raise IndexError(index)
        column = &self.table.columns[index]
        valid = offsets = values = None
        if column.nulls:
            valid = hand_over(column.valid, (rows + 7) // 8)
            column.valid = NULL
        if column.offsets is not NULL:
            offsets = hand_over(column.offsets, 4 * (rows + 1))
            column.offsets = NULL
        if column.kind != COLUMN_SEEN:
            size = column.used if has_offsets(column.kind) else rows * element_bytes(column)
            values = hand_over(column.values, size)
            column.values = NULL
        return column.kind, column.nulls, valid, offsets, values


@cython.final
cdef class ColumnWalk:
    """Goes over records once and adds each change to the columns of its table.

    Args:
        records: whole records.
        sources: (number, name, base name of its binlog files, GTID of the transaction open at the first record, or None).
        before: take the rows as they were before, not as they are afterwards.
    """

    cdef walk_t walk
    cdef Py_buffer view
    cdef dict tables  # table key → TableColumns
    cdef list gtids  # keeps alive what the sources point to

    def __cinit__(self, records, list sources not None, bint before):
        cdef bytes packed
        PyObject_GetBuffer(records, &self.view, PyBUF_SIMPLE)
        self.tables = {}
        self.gtids = []
        self.walk.at = <const uint8_t *>self.view.buf
        self.walk.end = self.walk.at + self.view.len
        self.walk.before = before
        self.walk.sources = <source_t *>calloc(len(sources) or 1, sizeof(source_t))
        if self.walk.sources is NULL:
            raise MemoryError
        for number, name, binlog, gtid in sources:
            self.add_source(&self.walk.sources[self.walk.source_count], name.encode(), binlog.encode())
            self.walk.sources[self.walk.source_count].number = number
            if gtid is not None:
                packed = gtid.encode()
                self.gtids.append(packed)
                self.walk.sources[self.walk.source_count].gtid = <const uint8_t *><const char *>packed
                self.walk.sources[self.walk.source_count].gtid_bytes = len(packed)
                self.walk.sources[self.walk.source_count].gtid_limit = (
                    self.walk.sources[self.walk.source_count].gtid + len(packed))
            self.walk.source_count += 1

    cdef add_source(self, source_t *source, bytes name, bytes binlog):
        """Its texts, each with the room that copying in one go wants; a position has up to 32 characters behind the name."""
        source.name = <char *>malloc(len(name) + COPY_AT_ONCE)
        source.position = <char *>malloc(len(binlog) + 33 + COPY_AT_ONCE)
        if source.name is NULL or source.position is NULL:
            free(source.name)
            free(source.position)
            raise MemoryError
        source.name_bytes, source.binlog_bytes = len(name), len(binlog)
        memcpy(source.name, <const char *>name, len(name))
        memcpy(source.position, <const char *>binlog, len(binlog))

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.walk.source_count):
            free(self.walk.sources[i].name)
            free(self.walk.sources[i].position)
        free(self.walk.sources)
        PyBuffer_Release(&self.view)

    def go(self):
        """On to where something is to be decided: END, OTHER (`record` is not a change, begin or commit), TABLE (its table
        key is new) or ODD (what follows is not as it should be)."""
        cdef walk_answer answer
        cdef TableColumns found
        while True:
            with nogil:
                answer = walk_records(&self.walk)
            if answer == WALK_NO_MEMORY:
                raise MemoryError
            if answer != WALK_TABLE:
                return answer
            self.walk.key = record_u32(self.walk.at + RECORD_TABLE_AT)
            found = self.tables.get(self.walk.key)
            if found is None:
                self.walk.table = NULL
                return answer
            self.walk.table = &found.table

    def add_whole(self, bytes record not None):
        """As `go`, over one record that had come in fragments."""
        cdef const uint8_t *at = self.walk.at
        cdef const uint8_t *end = self.walk.end
        self.walk.at = <const uint8_t *><const char *>record
        self.walk.end = self.walk.at + len(record)
        try:
            return self.go()
        finally:
            self.walk.at, self.walk.end = at, end

    @property
    def key(self):
        """Table key of the change that `go` or `add_whole` has stopped at, with TABLE."""
        return self.walk.key

    def put_table(self, uint32_t key, TableColumns columns):
        """Where changes with this table key go from now on; None: ask again."""
        self.walk.table = NULL
        if columns is None:
            self.tables.pop(key, None)
        else:
            self.tables[key] = columns

    def step(self):
        """The bytes of the record that `go` has stopped at, with OTHER; the walk goes on behind it."""
        cdef uint64_t length = record_length(self.walk.at, self.walk.end)
        cdef const uint8_t *at = self.walk.at
        if length == 0:
            raise ValueError("no whole record here")
        self.walk.at += length
        return (<const char *>at)[:length]
