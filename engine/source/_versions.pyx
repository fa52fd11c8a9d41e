"""From a TABLE_MAP that the decoder hasn't seen to what it needs of the table; natively where only the table's name is new.

A server of shards or tenants has thousands of tables that differ in nothing else, and a source that begins meets all of them
within a second. What is met for the first time in other ways goes through the methods of tables.TableVersions.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memcpy

from engine.source._rows cimport RowPlan, names_t, plan_as

from engine.schema import BEFORE_TABLE, before_schema_name

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(str text)

cdef enum:
    MOST_NAME_BYTES = 250  # so that the length takes one byte; servers allow 64 characters

cdef int SHAPES_KEPT = 1024     # of each kind of server; beyond, all are made again
cdef bytes TABLE = BEFORE_TABLE


@cython.final
@cython.no_gc  # one for each table, and no cycles
cdef class TableVersion:
    """One version of one table. plan None: nobody wants the table, and nothing else is known of it."""

    @property
    def key(self):
        """The table key."""
        return self.table.key

    @property
    def plan(self):
        """The RowPlan; the decoder has its own, in this object."""
        return None if self.like is None else self.like.named(*both_names(self))

    cdef int take(self, RowPlan plan, const names_t *names, bytes packed, uint32_t key) except -1:
        """It is wanted: read by a plan for a table of the same kind, and known by this schema and key."""
        self.like, self.packed = plan, packed
        plan_as(plan, &self.steps, names)
        self.table.plan = &self.steps
        self.table.columns = plan.columns
        self.table.end_slot = plan.end_slot
        self.table.twice = plan.compressed or plan.end_slot != 0
        self.table.key = key
        self.table.schema = <const uint8_t *>PyBytes_AS_STRING(packed)
        self.table.schema_bytes = PyBytes_GET_SIZE(packed)
        return 0


@cython.final
cdef class Shape:
    """What a TABLE_MAP tells behind the table's names, so that the tables of one kind need little each.

    table_map and schema are named after the first of them; schema None: the map doesn't name the columns, and each table may have
    others.
    """

    def __init__(self, bint mariadb, bytes rest, table_map, schema=None):
        self.mariadb, self.rest, self.table_map, self.schema = mariadb, rest, table_map, schema

    def planned(self, known, RowPlan plan not None, bytes packed_columns not None):
        """The plan of a table of which the history knew so much (None: nothing): the next one is likely to have the same."""
        self.known, self.plan, self.packed_columns = known, plan, packed_columns


cdef class Versions:
    """Asked once for each TABLE_MAP that the decoder has not seen. tables.TableVersions has the methods for what is rare.

    unsynced: `sync` has to be called, within milliseconds, before anybody sees a record that uses what was answered.
    """

    def __init__(self, str source, wants, keys, history):
        self._head = before_schema_name(source)
        self._wants, self._keys, self._history = wants, keys, history
        self._shapes = {}, {}

    def version(self, bytes body not None, int post_header_bytes, bint mariadb, moment, fail):
        """body: the event without header and checksum; mariadb: whose it is; moment: gives the history.Moment where it stands;
        fail: makes an error with file, offset and event.

        Raises:
            BinlogError: the map can't be read. ServerSetupError: it names no columns, and the history doesn't know them.
            ConnectionLost: the server was asked for the table, and isn't there now.
        """
        cdef const uint8_t *begin = <const uint8_t *>PyBytes_AS_STRING(body)
        cdef Py_ssize_t n = PyBytes_GET_SIZE(body), at = post_header_bytes, table_at, end
        cdef names_t names
        cdef str schema = None, table = None
        cdef Shape shape
        cdef RowPlan plan
        cdef bytes packed
        cdef TableVersion version
        cdef bint like_another = False
        # Schema and table, as length, bytes and 0 each.
        table_at = at + begin[at] + 2 if at < n else n
        end = table_at + begin[table_at] + 2 if table_at < n else n + 1
        if end > n or begin[at] > MOST_NAME_BYTES or begin[table_at] > MOST_NAME_BYTES:
            raise fail("TABLE_MAP ends too early")
        version = TableVersion.__new__(TableVersion)
        version.body = body
        version.table.map = begin + (4 if post_header_bytes == 6 else 6)
        version.table.map_bytes = n - (version.table.map - begin)
        version.name = ascii_name(&names, begin + at, begin + table_at)
        if version.name is not None:
            version.schema_characters = names.schema_bytes
        else:
            schema = PyUnicode_DecodeUTF8(<const char *>begin + at + 1, begin[at], "replace")
            table = PyUnicode_DecodeUTF8(<const char *>begin + table_at + 1, begin[table_at], "replace")
            version.name, version.schema_characters = f"{schema}.{table}", len(schema)
            names.schema = PyUnicode_AsUTF8AndSize(schema, &names.schema_bytes)
            names.table = PyUnicode_AsUTF8AndSize(table, &names.table_bytes)
        if not self._wants(version.name):
            return version
        self.unsynced = True
        try:
            shape = self._shape_of(begin + end, n - end, mariadb)
            if shape is None:
                shape = self._new_shape(body, post_header_bytes, mariadb, body[end:])
            known = None
            if shape.schema is not None:
                if mariadb and not self._history.knows_nothing:
                    known = self._known(both_names(version), shape.schema, moment())
                like_another = shape.plan is not None and (known is shape.known or known == shape.known)
            if like_another:
                plan, packed = shape.plan, pack_schema(self._head, &names, shape.packed_columns)
            else:
                plan, packed = self._planned(shape, both_names(version), known, moment)
        except Exception as error:
            if (failure := self._failure(error, version.name, fail)) is None:
                raise
            raise failure from error
        version.take(plan, &names, packed, self._keys.table_key(packed, later=True))
        return version

    cdef Shape _shape_of(self, const uint8_t *rest, Py_ssize_t n, bint mariadb):
        """None: it isn't known."""
        cdef Shape shape = self._last
        if shape is not None and shape.mariadb == mariadb and PyBytes_GET_SIZE(shape.rest) == n:
            if memcmp(PyBytes_AS_STRING(shape.rest), rest, n) == 0:
                return shape
        shape = (<dict>self._shapes[mariadb]).get(PyBytes_FromStringAndSize(<const char *>rest, n))
        if shape is not None:
            self._last = shape
        return shape

    def keep_shape(self, Shape shape not None):
        """For all maps like it."""
        cdef dict shapes = self._shapes[shape.mariadb]
        if len(shapes) >= SHAPES_KEPT:
            shapes.clear()
        shapes[shape.rest] = self._last = shape


cdef str ascii_name(names_t *names, const uint8_t *schema, const uint8_t *table):
    """`schema.table` of two names behind their lengths; `names` lie in it. None: they aren't ASCII, and are made one by one."""
    cdef char both[2 * MOST_NAME_BYTES + 1]
    cdef Py_ssize_t n = schema[0] + 1 + table[0]
    cdef str name
    memcpy(both, schema + 1, schema[0])
    both[schema[0]] = c"."
    memcpy(both + schema[0] + 1, table + 1, table[0])
    name = PyUnicode_DecodeUTF8(both, n, "replace")
    if not PyUnicode_IS_ASCII(name):
        return None
    names.schema, names.schema_bytes = PyUnicode_AsUTF8AndSize(name, &n), schema[0]
    names.table, names.table_bytes = names.schema + schema[0] + 1, table[0]
    return name


cdef tuple both_names(TableVersion version):
    return version.name[:version.schema_characters], version.name[version.schema_characters + 1:]


cdef bytes pack_schema(bytes head, const names_t *names, bytes columns):
    """As engine.schema.pack_schema does it; head: all that stands before the schema's name."""
    cdef Py_ssize_t schema_bytes = text_head_bytes(names.schema_bytes) + names.schema_bytes
    cdef Py_ssize_t table_bytes = text_head_bytes(names.table_bytes) + names.table_bytes
    cdef Py_ssize_t n = (PyBytes_GET_SIZE(head) + schema_bytes + PyBytes_GET_SIZE(TABLE) + table_bytes
                         + PyBytes_GET_SIZE(columns))
    cdef bytes packed = PyBytes_FromStringAndSize(NULL, n)
    cdef char *to = PyBytes_AS_STRING(packed)
    to = put(to, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
    to = put(put_text_head(to, names.schema_bytes), names.schema, names.schema_bytes)
    to = put(to, PyBytes_AS_STRING(TABLE), PyBytes_GET_SIZE(TABLE))
    to = put(put_text_head(to, names.table_bytes), names.table, names.table_bytes)
    put(to, PyBytes_AS_STRING(columns), PyBytes_GET_SIZE(columns))
    return packed


cdef inline char *put(char *to, const char *data, Py_ssize_t n) noexcept:
    memcpy(to, data, n)
    return to + n


# Of a msgpack str of less than 64 KiB.
cdef inline Py_ssize_t text_head_bytes(Py_ssize_t n) noexcept:
    return 1 if n < 32 else 2 if n < 256 else 3


cdef inline char *put_text_head(char *to, Py_ssize_t n) noexcept:
    if n < 32:
        to[0] = <char>(0xa0 | n)
    elif n < 256:
        to[0], to[1] = <char>0xd9, <char>n
    else:
        to[0], to[1], to[2] = <char>0xda, <char>(n >> 8), <char>(n & 0xff)
    return to + text_head_bytes(n)
