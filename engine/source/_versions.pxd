"""Table versions as the decoder gets them; see _versions.pyx."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

from engine.source._rows cimport RowPlan, names_t, row_plan_t


cdef extern from "_tables.h" nogil:
    ctypedef struct table_t:
        const void *plan
        uint32_t key
        uint32_t columns
        uint32_t end_slot
        int twice
        const uint8_t *schema
        size_t schema_bytes
        const uint8_t *map
        size_t map_bytes


cdef class TableVersion:     # owns a table_t and keeps what it points to alive
    cdef table_t table
    cdef row_plan_t steps    # with this table's hash seed
    cdef RowPlan like        # has all else that they need
    cdef bytes body          # the TABLE_MAP
    cdef readonly bytes packed  # the schema
    cdef readonly str name   # schema.table
    cdef Py_ssize_t schema_characters

    cdef int take(self, RowPlan plan, const names_t *names, bytes packed, uint32_t key) except -1


cdef class Shape:
    cdef readonly bint mariadb
    cdef bytes rest          # what the TABLE_MAP has behind the names
    cdef readonly object table_map, schema
    cdef object known
    cdef RowPlan plan
    cdef bytes packed_columns


cdef class Versions:
    cdef public bint unsynced
    cdef object _wants, _keys, _history
    cdef bytes _head         # of each packed schema
    cdef tuple _shapes       # of MySQL and of MariaDB: Shape by its `rest`
    cdef Shape _last         # found
    cdef Shape _shape_of(self, const uint8_t *rest, Py_ssize_t n, bint mariadb)
