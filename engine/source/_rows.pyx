"""Makes row plans: which step of _steps.h reads each column, and the constants that it needs."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

import struct
from dataclasses import replace
from itertools import accumulate

import msgpack

from engine.errors import BinlogError
from engine.source import charsets
from engine.source._inflate cimport inflate
from engine.source._json cimport json_text
from engine.source._patch cimport patch
from engine.source.table_map import BLOBS, COMPRESSED, TEXTUAL, Type

cdef extern from "_partial.h" nogil:
    ctypedef uint8_t *(*text_convert_t)(const column_plan_t *, const uint8_t *, uint64_t, uint8_t *) noexcept
    ctypedef uint8_t *(*json_convert_t)(const uint8_t *, uint64_t, uint8_t *, uint8_t *) noexcept
    ctypedef int64_t (*json_patch_t)(const uint8_t *, uint64_t, const uint8_t *, uint64_t, uint8_t *, uint64_t) noexcept
    ctypedef int (*inflate_t)(const uint8_t *, size_t, uint8_t *, size_t, int) noexcept

    ctypedef struct minute_memo_t:
        uint64_t minute
    uint64_t MINUTE_NONE

    ctypedef struct column_plan_t:
        uint8_t op
        uint8_t prefix
        uint8_t fraction
        uint8_t key
        uint32_t width
        uint32_t whole_end
        uint8_t whole_shift
        uint16_t count
        uint8_t lead
        uint8_t groups
        uint8_t fraction_groups
        uint8_t tail
        const uint8_t *labels
        const uint32_t *label_at
        text_convert_t convert
        const uint16_t *codes
        const uint16_t *more_codes
        json_convert_t json
        json_patch_t patch
        inflate_t inflate
        minute_memo_t *memo
        uint64_t bound
        uint32_t factor

    ctypedef struct plan_fields_t "row_plan_t":
        uint32_t columns
        uint32_t hidden
        uint32_t key_columns
        uint64_t fixed_bound
        uint64_t hash_seed
        uint64_t null_bits
        uint32_t factor
        uint8_t head_bytes
        uint8_t *head
        column_plan_t *column

    int all_set(const uint8_t *p, uint32_t n) noexcept
    void bind_steps(column_plan_t *column, uint32_t columns) noexcept
    void spend(const uint8_t *, const uint8_t *)
    int64_t row_image_inline "row_image"(const row_plan_t *, const uint8_t *, const uint8_t *, const uint8_t *, uint8_t *,
                                         uint8_t **, row_key_t *, const row_key_t *, int *) noexcept
    int64_t row_image_partial_inline "row_image_partial"(
        const row_plan_t *, const uint8_t *, const uint8_t *, const uint8_t *, uint8_t *, uint8_t **, row_key_t *,
        const row_key_t *, const uint8_t *, int *) noexcept
    uint64_t record_hash_add(uint64_t, const uint8_t *, uint64_t) noexcept
    uint64_t RECORD_FNV_BASIS
    enum:
        LABEL_SLACK
        ROW_KEY_COLUMNS
        ROW_ERROR_TRUNCATED
        ROW_ERROR_VALUE
        ROW_ERROR_LABEL
        ROW_ERROR_LENGTH
        ROW_ERROR_JSON
        ROW_ERROR_CODEC
        ROW_ERROR_ROOM
        ROW_ERROR_NO_DOCUMENT
        ROW_OP_TINY
        ROW_OP_TINY_UNSIGNED
        ROW_OP_SHORT
        ROW_OP_SHORT_UNSIGNED
        ROW_OP_INT24
        ROW_OP_INT24_UNSIGNED
        ROW_OP_LONG
        ROW_OP_LONG_UNSIGNED
        ROW_OP_LONGLONG
        ROW_OP_LONGLONG_UNSIGNED
        ROW_OP_YEAR
        ROW_OP_BIT
        ROW_OP_FLOAT
        ROW_OP_DOUBLE
        ROW_OP_DECIMAL_SHORT
        ROW_OP_DECIMAL
        ROW_OP_DATE
        ROW_OP_DATETIME
        ROW_OP_TIMESTAMP
        ROW_OP_TIME
        ROW_OP_OLD_DATETIME
        ROW_OP_OLD_TIMESTAMP
        ROW_OP_OLD_TIME
        ROW_OP_COUNTED_DATETIME
        ROW_OP_COUNTED_TIMESTAMP
        ROW_OP_COUNTED_TIME
        ROW_OP_TEXT
        ROW_OP_TEXT_FOREIGN
        ROW_OP_BYTES
        ROW_OP_BINARY
        ROW_OP_ENUM1
        ROW_OP_ENUM2
        ROW_OP_SET
        ROW_OP_JSON
        ROW_OP_VECTOR
        ROW_OP_UUID
        ROW_OP_INET4
        ROW_OP_INET6
        ROW_OP_COMPRESSED
    uint8_t *convert_utf8(const column_plan_t *, const uint8_t *, uint64_t, uint8_t *) noexcept
    uint8_t *convert_single(const column_plan_t *, const uint8_t *, uint64_t, uint8_t *) noexcept
    uint8_t *convert_double(const column_plan_t *, const uint8_t *, uint64_t, uint8_t *) noexcept
    uint8_t *convert_euc_jp(const column_plan_t *, const uint8_t *, uint64_t, uint8_t *) noexcept
    uint8_t *convert_gb18030(const column_plan_t *, const uint8_t *, uint64_t, uint8_t *) noexcept
    uint8_t *convert_ucs2(const column_plan_t *, const uint8_t *, uint64_t, uint8_t *) noexcept
    uint8_t *convert_utf16(const column_plan_t *, const uint8_t *, uint64_t, uint8_t *) noexcept
    uint8_t *convert_utf16le(const column_plan_t *, const uint8_t *, uint64_t, uint8_t *) noexcept
    uint8_t *convert_utf32(const column_plan_t *, const uint8_t *, uint64_t, uint8_t *) noexcept


FIXED = {
    Type.TINY: (ROW_OP_TINY, ROW_OP_TINY_UNSIGNED),
    Type.SHORT: (ROW_OP_SHORT, ROW_OP_SHORT_UNSIGNED),
    Type.INT24: (ROW_OP_INT24, ROW_OP_INT24_UNSIGNED),
    Type.LONG: (ROW_OP_LONG, ROW_OP_LONG_UNSIGNED),
    Type.LONGLONG: (ROW_OP_LONGLONG, ROW_OP_LONGLONG_UNSIGNED),
    Type.YEAR: (ROW_OP_YEAR, ROW_OP_YEAR),
    Type.FLOAT: (ROW_OP_FLOAT, ROW_OP_FLOAT),
    Type.DOUBLE: (ROW_OP_DOUBLE, ROW_OP_DOUBLE),
    Type.DATE: (ROW_OP_DATE, ROW_OP_DATE),
    Type.NEWDATE: (ROW_OP_DATE, ROW_OP_DATE),
    Type.DATETIME2: (ROW_OP_DATETIME, ROW_OP_DATETIME),
    Type.TIMESTAMP2: (ROW_OP_TIMESTAMP, ROW_OP_TIMESTAMP),
    Type.TIME2: (ROW_OP_TIME, ROW_OP_TIME),
    Type.DATETIME: (ROW_OP_OLD_DATETIME, ROW_OP_OLD_DATETIME),
    Type.TIMESTAMP: (ROW_OP_OLD_TIMESTAMP, ROW_OP_OLD_TIMESTAMP),
    Type.TIME: (ROW_OP_OLD_TIME, ROW_OP_OLD_TIME),
}
COUNTED = {  # in MariaDB's old format with digits of a second
    Type.DATETIME: ROW_OP_COUNTED_DATETIME, Type.TIMESTAMP: ROW_OP_COUNTED_TIMESTAMP, Type.TIME: ROW_OP_COUNTED_TIME,
}  # fmt: skip
MOST_INFLATED = 1032  # times as large as its input is the most that deflate makes
MOST_FIXED_BYTES = 28  # the longest: DATETIME(6), 26 characters and a header
MARIADB_TYPES = {"uuid": (ROW_OP_UUID, 16), "inet6": (ROW_OP_INET6, 16), "inet4": (ROW_OP_INET4, 4)}
ERRORS = {
    ROW_ERROR_TRUNCATED: "the row image ends inside a value",
    ROW_ERROR_VALUE: "the bytes are no value of the column's type",
    ROW_ERROR_LABEL: "ENUM or SET value beyond the column's labels",
    ROW_ERROR_LENGTH: "the value is longer than the column is declared",
    ROW_ERROR_JSON: "the bytes are not MySQL's binary JSON",
    ROW_ERROR_CODEC: "a compressed column can't be inflated",
    ROW_ERROR_NO_DOCUMENT: "a partial update of a JSON document that the row before doesn't hold; set binlog_row_image=FULL",
    ROW_ERROR_ROOM: "a compressed column inflates to more than it has room for",
}


cdef str row_error_text(int64_t code):
    """What a negative answer of row_image means."""
    return ERRORS.get(code, f"unknown error {code}")


cdef int64_t row_image(const row_plan_t *plan, const uint8_t *present, const uint8_t *src, const uint8_t *src_end,
                       uint8_t *dst, uint8_t **dst_end, row_key_t *key, const row_key_t *before, int *bad_column) noexcept nogil:
    return row_image_inline(plan, present, src, src_end, dst, dst_end, key, before, bad_column)


cdef int64_t row_image_partial(const row_plan_t *plan, const uint8_t *present, const uint8_t *src, const uint8_t *src_end,
                               uint8_t *dst, uint8_t **dst_end, row_key_t *key, const row_key_t *before, const uint8_t *first,
                               int *bad_column) noexcept nogil:
    return row_image_partial_inline(plan, present, src, src_end, dst, dst_end, key, before, first, bad_column)


cdef void row_spend(const uint8_t *start, const uint8_t *end) noexcept nogil:
    spend(start, end)


cdef uint64_t hash_seed(const names_t *names) noexcept:
    """Of the rows' key hashes: over the table's names, a 0 behind each."""
    cdef uint64_t seed = record_hash_add(RECORD_FNV_BASIS, <const uint8_t *>names.schema, names.schema_bytes)
    seed = record_hash_add(record_hash_add(seed, b"\0", 1), <const uint8_t *>names.table, names.table_bytes)
    return record_hash_add(seed, b"\0", 1)


cdef void plan_as(RowPlan like, row_plan_t *to, const names_t *names) noexcept:
    (<plan_fields_t *>to)[0] = (<plan_fields_t *>like.plan)[0]
    (<plan_fields_t *>to).hash_seed = hash_seed(names)


cdef const uint8_t *keep(RowPlan rows, bytes data) except NULL:
    rows._kept.append(data)
    return <const uint8_t *>PyBytes_AS_STRING(data)


cdef int plan_column(RowPlan rows, column_plan_t *c, column, described) except -1:
    """Fill in what the functions of _values.h, _times.h and _text.h need for one column."""
    kind = column.type
    if kind in FIXED:
        c.op = FIXED[kind][bool(described.unsigned)]
        c.bound = MOST_FIXED_BYTES
        digits = column.fraction
        if kind in COUNTED and "(" in described.type:  # the map doesn't tell how many
            digits = int(described.type.partition("(")[2].rstrip(")"))
            c.op = COUNTED[kind]
        if digits > 6:
            raise BinlogError("more than 6 digits of a second", table=rows.schema.name, column=described.name)
        c.fraction = digits
        if kind in (Type.DATETIME2, Type.TIMESTAMP2):
            c.width = 20 + digits + (digits > 0)
    elif kind == Type.NEWDECIMAL:
        plan_decimal(rows, c, column.precision, column.scale, described)
    elif kind == Type.BIT:
        if not 0 < column.length <= 8:
            raise BinlogError("BIT of no possible length", table=rows.schema.name, column=described.name)
        c.op, c.prefix, c.bound = ROW_OP_BIT, column.length, 9
    elif kind in (Type.ENUM, Type.SET):
        plan_labels(rows, c, kind == Type.ENUM, column.length, described)
    elif kind == Type.JSON:
        c.op, c.prefix, c.bound, c.factor = ROW_OP_JSON, column.length, 5 + 32, 6
        c.json = json_text
        c.patch = patch
    elif kind == Type.VECTOR:
        c.op, c.prefix, c.bound, c.factor = ROW_OP_VECTOR, column.length, 5, 2
    elif kind == Type.GEOMETRY:
        c.op, c.prefix, c.bound, c.factor = ROW_OP_BYTES, column.length, 5, 1
    elif kind in TEXTUAL:
        c.prefix = column.length if kind in BLOBS else 1 if column.length < 256 else 2
        plan_text(rows, c, column, described)
        if kind in COMPRESSED:
            c.op, c.inflate = ROW_OP_COMPRESSED, inflate
    else:
        raise BinlogError("column type can't be read", table=rows.schema.name, column=described.name, type=kind)
    if kind in BLOBS or kind in (Type.JSON, Type.VECTOR, Type.GEOMETRY):
        if not 1 <= c.prefix <= 4:
            raise BinlogError("length of no possible size", table=rows.schema.name, column=described.name)


cdef int plan_decimal(RowPlan rows, column_plan_t *c, int precision, int scale, described) except -1:
    """Nine digits fill 4 bytes; 1-8 at either end fill fewer."""
    if not (0 < precision <= 65 and 0 <= scale <= 38 and scale <= precision):
        raise BinlogError("DECIMAL of no possible precision", table=rows.schema.name, column=described.name,
                          precision=precision, scale=scale)
    cdef int whole = precision - scale
    c.lead, c.groups, c.fraction_groups, c.tail = whole % 9, whole // 9, scale // 9, scale % 9
    group_bytes = (0, 1, 1, 2, 2, 3, 3, 4, 4)
    c.prefix = group_bytes[c.lead] + 4 * (c.groups + c.fraction_groups) + group_bytes[c.tail]
    c.width = group_bytes[c.lead] + 4 * c.groups
    c.op = ROW_OP_DECIMAL_SHORT if c.groups < 2 and c.width and not c.fraction_groups else ROW_OP_DECIMAL
    if c.op == ROW_OP_DECIMAL_SHORT:
        c.whole_end = <uint32_t>(10 ** min(whole, 8))
        c.whole_shift = 64 - 8 * c.width
    c.bound = precision + 8


cdef int plan_labels(RowPlan rows, column_plan_t *c, bint is_enum, int length, described) except -1:
    """ENUM: labels as msgpack strs, copied as they are, number 0 the empty error value. SET: plain, to be joined."""
    if length not in (1, 2, 3, 4, 8) or (is_enum and length > 2):
        raise BinlogError("ENUM or SET of no possible length", table=rows.schema.name, column=described.name)
    labels = [label.encode("utf-8", "replace") for label in described.labels]
    if is_enum:
        pack = msgpack.Packer().pack  # one for all: each has a buffer, and there may be 65,535 labels
        pieces = [pack(label.decode()) for label in [b"", *labels]]
        c.op = ROW_OP_ENUM1 if length == 1 else ROW_OP_ENUM2
        c.bound = max(map(len, pieces))
    else:
        if len(labels) > 64:
            raise BinlogError("SET of more than 64 labels", table=rows.schema.name, column=described.name)
        pieces = labels
        c.op = ROW_OP_SET
        c.bound = 5 + sum(map(len, pieces)) + len(pieces)
    offsets = list(accumulate(map(len, pieces), initial=0))
    c.prefix, c.count = length, len(labels)
    c.labels = keep(rows, b"".join(pieces) + bytes(LABEL_SLACK))
    c.label_at = <const uint32_t *>keep(rows, struct.pack(f"<{len(offsets)}I", *offsets))


cdef int plan_text(RowPlan rows, column_plan_t *c, column, described) except -1:
    """CHAR, VARCHAR, TEXT and their binary kin."""
    cdef str charset = described.charset or "binary"
    c.bound, c.factor = 5, 1
    if charset == "binary":
        name = described.type.partition("(")[0]
        if name in MARIADB_TYPES and column.length == MARIADB_TYPES[name][1]:
            c.op, c.bound, c.factor = MARIADB_TYPES[name][0], 48, 0
        elif column.type == Type.STRING:
            c.op, c.width, c.bound, c.factor = ROW_OP_BINARY, column.length, 5 + column.length, 0
        else:
            c.op = ROW_OP_BYTES
        return 0
    cdef bint ascii_compatible = True
    if charset in ("utf8mb4", "utf8mb3", "utf8"):
        c.convert = convert_utf8
    else:
        c.factor = 3
        if charset in charsets.PYTHON_CODECS:
            ascii_compatible = False
            if charset == "ucs2":
                c.convert = convert_ucs2
            elif charset == "utf16":
                c.convert = convert_utf16
            elif charset == "utf16le":
                c.convert = convert_utf16le
            else:
                c.convert = convert_utf32
        else:
            tables = charsets.tables(charset)
            ascii_compatible = tables.ascii
            c.codes = <const uint16_t *>keep(rows, tables.single)
            c.more_codes = <const uint16_t *>keep(rows, tables.more)
            if not tables.more:
                c.convert = convert_single
            elif charset == "gb18030":
                c.convert = convert_gb18030
            elif charset in ("ujis", "eucjpms"):
                c.convert = convert_euc_jp
            else:
                c.convert = convert_double
    c.op = ROW_OP_TEXT if ascii_compatible else ROW_OP_TEXT_FOREIGN


@cython.final
@cython.no_gc  # one for each table, and no cycles
cdef class RowPlan:
    """How to read the row images of one table version.

    Args:
        schema: names, signedness, character sets and labels; its column count must be the map's.
        table_map: types, lengths and precisions as this binlog has them.
        hidden: so many columns at the map's end are not in the schema, BIGINTs that MariaDB keeps for itself.

    Raises:
        BinlogError: schema and map contradict each other, or a column is of a kind that can't be read.
    """

    def __cinit__(self, schema, table_map, int hidden=0):
        self.plan = <row_plan_t *>calloc(1, sizeof(plan_fields_t))
        if self.plan == NULL:
            raise MemoryError
        self._schema = schema
        if schema is not None:
            self._plan_columns(table_map.columns, hidden)
            self._plan_name(schema.schema, schema.table)

    def named(self, str schema, str table):
        """The plan of another table with the very same columns and key; it shares the steps."""
        cdef RowPlan other = RowPlan.__new__(RowPlan, None, None)
        (<plan_fields_t *>other.plan)[0] = (<plan_fields_t *>self.plan)[0]
        other._like = self if self._like is None else self._like
        other.columns, other.end_slot, other.compressed = self.columns, self.end_slot, self.compressed
        other._plan_name(schema, table)
        return other

    cdef int _plan_name(self, str schema, str table) except -1:
        cdef names_t names
        names.schema = PyUnicode_AsUTF8AndSize(schema, &names.schema_bytes)
        names.table = PyUnicode_AsUTF8AndSize(table, &names.table_bytes)
        (<plan_fields_t *>self.plan).hash_seed = hash_seed(&names)
        self._names = schema, table
        return 0

    @property
    def schema(self):
        """The TableSchema."""
        if self._schema is None:
            self._schema = replace(self._like._schema, schema=self._names[0], table=self._names[1])
        return self._schema

    cdef int _plan_columns(self, tuple columns, int hidden) except -1:
        schema = self._schema
        cdef plan_fields_t *plan = <plan_fields_t *>self.plan
        cdef int shown = len(schema.columns)
        if hidden < 0 or len(columns) != shown + hidden:
            raise BinlogError("table map and schema have different columns", table=schema.name, map=len(columns),
                              schema=len(schema.columns))
        if len(schema.primary_key) > ROW_KEY_COLUMNS:
            raise BinlogError("primary key has too many columns", table=schema.name, columns=len(schema.primary_key))
        self.columns = len(columns)
        self.compressed = any([column.type in COMPRESSED for column in columns])
        self._kept = []
        cdef size_t memos = (self.columns + 1) * sizeof(column_plan_t)
        self._steps = calloc(1, memos + shown * sizeof(minute_memo_t))
        if self._steps == NULL:
            raise MemoryError
        cdef minute_memo_t *memo = <minute_memo_t *>(<uint8_t *>self._steps + memos)
        cdef column_plan_t *c
        cdef bytes head = msgpack.Packer().pack_array_header(shown)
        cdef int i
        plan.column = <column_plan_t *>self._steps
        plan.columns = shown
        plan.hidden = hidden
        plan.key_columns = len(schema.primary_key)
        plan.head_bytes = PyBytes_GET_SIZE(head)
        memcpy(plan.head, PyBytes_AS_STRING(head), plan.head_bytes)
        plan.fixed_bound = plan.head_bytes
        for i in range(shown):
            c = &plan.column[i]
            plan_column(self, c, columns[i], schema.columns[i])
            c.memo = &memo[i]
            c.memo.minute = MINUTE_NONE
            plan.fixed_bound += c.bound
            plan.factor = max(plan.factor, c.factor)
        for i in range(<int>plan.key_columns):
            plan.column[<int>schema.primary_key[i]].key = i + 1
        for i in range(shown):
            if schema.columns[i].system == "end" and plan.column[i].key == 0:
                self.end_slot = plan.column[i].key = plan.key_columns + 1
        bind_steps(plan.column, shown)
        plan.null_bits = <uint64_t>-1 >> (64 - self.columns) if 0 < self.columns <= 64 else 0

    def __dealloc__(self):
        free(self.plan)
        free(self._steps)

    def bound(self, uint64_t source_bytes):
        """Bytes of room that one image needs, given how many bytes of the source it can have at most."""
        return row_bound(self.plan, source_bytes)

    def images(self, source, present=None, hashes=None):
        """Row images that stand one behind the other, as they do in an insert event, to a msgpack stream of arrays.

        Args:
            source: bytes of whole row images. present: the event's bitmap; all columns unless given.
            hashes: a list to which the primary-key hash of each row is added.

        Raises:
            BinlogError: the bytes are not row images of this table; names column and offset.
        """
        cdef const uint8_t[::1] view = source
        cdef bytes bitmap = bytes([255]) * ((self.columns + 7) // 8) if present is None else bytes(present)
        if PyBytes_GET_SIZE(bitmap) * 8 < self.columns:
            raise BinlogError("bitmap of present columns is too short", table=self.schema.name, columns=self.columns)
        cdef row_key_t key
        cdef uint64_t inflated = 0
        cdef const uint8_t *begin = &view[0] if view.shape[0] else NULL
        cdef const uint8_t *at = begin
        cdef const uint8_t *end = begin + view.shape[0]
        cdef const uint8_t *bits = <const uint8_t *>PyBytes_AS_STRING(bitmap)
        cdef uint64_t capacity
        cdef uint8_t *buffer
        cdef uint8_t *o
        cdef uint8_t *row_end = NULL
        cdef int64_t consumed = 0
        cdef int bad_column = -1
        cdef bint takes_hashes = hashes is not None
        pieces = []
        if all_set(bits, self.columns):
            bits = NULL
        if self.compressed:
            inflated = 2 * MOST_INFLATED * (end - at)
        capacity = row_bound(self.plan, end - at) + 2 * (end - at) + inflated
        o = buffer = <uint8_t *>malloc(capacity)
        if buffer == NULL:
            raise MemoryError
        try:
            while at < end:
                with nogil:
                    while at < end and <uint64_t>(buffer + capacity - o) >= row_bound(self.plan, end - at) + inflated:
                        row_end = o + inflated
                        consumed = row_image_inline(self.plan, bits, at, end, o, &row_end, &key, NULL, &bad_column)
                        if consumed <= 0:
                            break
                        at += consumed
                        o = row_end
                        if takes_hashes:
                            with gil:
                                hashes.append(key.hash)
                if consumed < 0:
                    raise BinlogError(
                        row_error_text(consumed), table=self.schema.name, offset=at - begin,
                        column=self.schema.columns[bad_column].name if bad_column >= 0 else "NULL bits",
                    )
                if consumed == 0:
                    raise BinlogError("a row image without bytes", table=self.schema.name, offset=at - begin)
                pieces.append(PyBytes_FromStringAndSize(<char *>buffer, o - buffer))
                o = buffer
        finally:
            free(buffer)
        return b"".join(pieces)
