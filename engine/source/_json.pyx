"""MySQL's binary JSON to the text that SELECT shows, without the GIL and without allocation.

    document  type:1 value
    object    count size (key offset, key length:2)* (type:1, value or offset)* keys values      all numbers little-endian
    array     count size (type:1, value or offset)* values
              count, size and offsets are 2 bytes in the small forms and 4 in the large ones; offsets count from `count`
    string    length (7 bits a byte, lowest first, high bit: more), UTF-8
    opaque    MySQL column type:1, length as of a string, bytes

Literals and numbers that fit stand in the entry in place of an offset. The format is described in MySQL's
sql-common/json_binary.h. Every offset is checked against the value that holds it.
"""

from libc.math cimport isfinite
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport strtod
from libc.string cimport memcpy

cdef extern from "_text.h" nogil:
    uint16_t load_u16(const uint8_t *p) noexcept
    uint32_t load_u32(const uint8_t *p) noexcept
    uint64_t load_u64(const uint8_t *p) noexcept
    uint8_t *put_decimal(uint8_t *o, uint64_t v) noexcept
    bint utf8_valid(const uint8_t *p, uint64_t n) noexcept
    uint8_t *decimal_text(const uint8_t *at, unsigned lead, unsigned groups, unsigned fraction_groups, unsigned tail,
                          uint8_t *o) noexcept
    const uint8_t *GROUP_BYTES

cdef extern from "_times.h" nogil:
    uint8_t *datetime_text(uint8_t *o, uint64_t packed) noexcept
    uint8_t *time_text(uint8_t *o, int negative, uint32_t hour, uint32_t minute, uint32_t second) noexcept
    uint8_t *put_fraction(uint8_t *o, uint32_t microseconds, unsigned digits) noexcept

cdef extern from *:
    """
    /* What a byte of a string becomes: 0 itself, 1 a \\u00XX escape, otherwise a backslash and this letter. */
    static const unsigned char JSON_ESCAPE[256] = {
        1, 1, 1, 1, 1, 1, 1, 1, 'b', 't', 'n', 1, 'f', 'r', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        ['"'] = '"', ['\\\\'] = '\\\\',
    };
    static const char JSON_HEX[17] = "0123456789abcdef";
    static const char JSON_BASE64[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    /* Whether one of 8 bytes must be escaped: below space, a quote or a backslash. Bytes from 128 on may be taken for one. */
    static inline int json_special(uint64_t v) {
        const uint64_t ones = 0x0101010101010101ULL, highs = 0x8080808080808080ULL;
        uint64_t quote = v ^ (ones * '"'), backslash = v ^ (ones * '\\\\');
        return (((v - ones * 0x20) | (quote - ones) | (backslash - ones)) & highs) != 0;
    }
    """
    const uint8_t *JSON_ESCAPE
    const char *JSON_HEX
    const char *JSON_BASE64
    bint json_special(uint64_t v) nogil

cdef enum:
    MAX_DEPTH = 100  # the server's JSON_DOCUMENT_MAX_DEPTH
    NUMBER_ROOM = 128  # more than any number, date or literal takes
    BASE64_LINE = 57  # bytes that the server encodes on one line of 76 letters

cdef enum:
    SMALL_OBJECT = 0
    LARGE_OBJECT = 1
    SMALL_ARRAY = 2
    LARGE_ARRAY = 3
    LITERAL = 4
    INT16 = 5
    UINT16 = 6
    INT32 = 7
    UINT32 = 8
    INT64 = 9
    UINT64 = 10
    DOUBLE = 11
    STRING = 12
    OPAQUE = 15

cdef enum:  # of MySQL's column types, those that opaque values show in a form of their own
    TYPE_TIMESTAMP = 7
    TYPE_DATE = 10
    TYPE_TIME = 11
    TYPE_DATETIME = 12
    TYPE_NEWDECIMAL = 246


cdef uint8_t *json_text(const uint8_t *at, uint64_t n, uint8_t *out, uint8_t *limit) noexcept nogil:
    if n == 0:  # what INSERT IGNORE of a NULL leaves; the server shows null
        return put_literal(0, out, limit)
    return put_value(at[0], at + 1, at + n, out, limit, 0)


cdef uint8_t *put_value(uint8_t kind, const uint8_t *at, const uint8_t *end, uint8_t *o, uint8_t *limit,
                        int depth) noexcept nogil:
    """One value that begins at `at`; NULL where it is none or has no room."""
    cdef uint64_t n = 0
    if limit - o < NUMBER_ROOM and kind != STRING and kind > LARGE_ARRAY:
        return put_tight(kind, at, end, o, limit)
    if kind <= LARGE_ARRAY:
        return put_container(kind, at, end, o, limit, depth)
    if kind == STRING:
        at = length_at(at, end, &n)
        return NULL if at == NULL else put_string(at, n, o, limit)
    if kind == LITERAL:
        return NULL if end - at < 1 else put_literal(at[0], o, limit)
    if kind == INT16:
        return NULL if end - at < 2 else put_signed(o, <int16_t>load_u16(at))
    if kind == UINT16:
        return NULL if end - at < 2 else put_decimal(o, load_u16(at))
    if kind == INT32:
        return NULL if end - at < 4 else put_signed(o, <int32_t>load_u32(at))
    if kind == UINT32:
        return NULL if end - at < 4 else put_decimal(o, load_u32(at))
    if kind == INT64:
        return NULL if end - at < 8 else put_signed(o, <int64_t>load_u64(at))
    if kind == UINT64:
        return NULL if end - at < 8 else put_decimal(o, load_u64(at))
    if kind == DOUBLE:
        return NULL if end - at < 8 else put_double(o, at)
    if kind == OPAQUE and end - at >= 1:
        kind = at[0]
        at = length_at(at + 1, end, &n)
        return NULL if at == NULL else put_opaque(kind, at, n, o, limit)
    return NULL


cdef uint8_t *put_tight(uint8_t kind, const uint8_t *at, const uint8_t *end, uint8_t *o, uint8_t *limit) noexcept nogil:
    """put_value of a scalar by way of a place of its own, where little room is left."""
    cdef uint8_t place[2 * NUMBER_ROOM]
    cdef uint8_t *place_end = put_value(kind, at, end, place, place + 2 * NUMBER_ROOM, 0)
    if place_end == NULL or place_end - place > limit - o:
        return NULL
    memcpy(o, place, place_end - place)
    return o + (place_end - place)


cdef inline bint is_inline(uint8_t kind, bint large) noexcept nogil:
    return LITERAL <= kind <= UINT16 or (large and (kind == INT32 or kind == UINT32))


cdef uint8_t *put_container(uint8_t kind, const uint8_t *at, const uint8_t *end, uint8_t *o, uint8_t *limit,
                            int depth) noexcept nogil:
    cdef bint large = kind == LARGE_OBJECT or kind == LARGE_ARRAY
    cdef bint is_object = kind <= LARGE_OBJECT
    cdef uint64_t width = 4 if large else 2
    cdef uint64_t count, size, i, offset, n, key_entries, entries
    cdef const uint8_t *entry
    if depth >= MAX_DEPTH or <uint64_t>(end - at) < 2 * width:
        return NULL
    count = load_u32(at) if large else load_u16(at)
    size = load_u32(at + 4) if large else load_u16(at + 2)
    if size > <uint64_t>(end - at):
        return NULL
    end = at + size
    key_entries = 2 * width
    entries = key_entries + (count * (width + 2) if is_object else 0)
    if entries + count * (width + 1) > size or limit - o < 2:
        return NULL
    o[0] = c'{' if is_object else c'['
    o += 1
    for i in range(count):
        if i:
            if limit - o < 2:
                return NULL
            o[0], o[1] = c',', c' '
            o += 2
        if is_object:
            entry = at + key_entries + i * (width + 2)
            offset = load_u32(entry) if large else load_u16(entry)
            n = load_u16(entry + width)
            if offset > size or n > size - offset:
                return NULL
            o = put_string(at + offset, n, o, limit)
            if o == NULL or limit - o < 2:
                return NULL
            o[0], o[1] = c':', c' '
            o += 2
        entry = at + entries + i * (width + 1)
        if is_inline(entry[0], large):
            o = put_value(entry[0], entry + 1, entry + 1 + width, o, limit, depth + 1)
        else:
            offset = load_u32(entry + 1) if large else load_u16(entry + 1)
            if offset > size:
                return NULL
            o = put_value(entry[0], at + offset, end, o, limit, depth + 1)
        if o == NULL:
            return NULL
    if limit - o < 1:
        return NULL
    o[0] = c'}' if is_object else c']'
    return o + 1


cdef const uint8_t *length_at(const uint8_t *at, const uint8_t *end, uint64_t *n) noexcept nogil:
    """Reads a variable length of up to 5 bytes; returns where its bytes begin, NULL if they are not all there."""
    cdef uint64_t value = 0
    cdef int i
    for i in range(5):
        if at >= end:
            return NULL
        value |= <uint64_t>(at[0] & 0x7F) << (7 * i)
        at += 1
        if not (at - 1)[0] & 0x80:
            if value > <uint64_t>(end - at):
                return NULL
            n[0] = value
            return at
    return NULL


cdef uint8_t *put_string(const uint8_t *at, uint64_t n, uint8_t *o, uint8_t *limit) noexcept nogil:
    cdef const uint8_t *end = at + n
    cdef uint8_t escape
    if <uint64_t>(limit - o) < n + 2 or not utf8_valid(at, n):
        return NULL
    o[0] = c'"'
    o += 1
    while at < end:
        if end - at >= 8 and limit - o > 8 and not json_special(load_u64(at)):
            memcpy(o, at, 8)
            at += 8
            o += 8
            continue
        if limit - o < 7:  # the longest escape and the closing quote
            if limit - o < 2 or JSON_ESCAPE[at[0]] != 0:
                return NULL
        escape = JSON_ESCAPE[at[0]]
        if escape == 0:
            o[0] = at[0]
            o += 1
        else:
            o[0] = c'\\'
            if escape != 1:
                o[1] = escape
                o += 2
            else:
                o[1], o[2], o[3] = c'u', c'0', c'0'
                o[4], o[5] = JSON_HEX[at[0] >> 4], JSON_HEX[at[0] & 15]
                o += 6
        at += 1
    if limit - o < 1:
        return NULL
    o[0] = c'"'
    return o + 1


cdef uint8_t *put_literal(uint8_t value, uint8_t *o, uint8_t *limit) noexcept nogil:
    if value > 2 or limit - o < 5:
        return NULL
    memcpy(o, b"null" if value == 0 else b"true" if value == 1 else b"fals", 4)
    if value == 2:
        o[4] = c'e'
        return o + 5
    return o + 4


cdef inline uint8_t *put_signed(uint8_t *o, int64_t value) noexcept nogil:
    if value < 0:
        o[0] = c'-'
        return put_decimal(o + 1, 0 - <uint64_t>value)
    return put_decimal(o, <uint64_t>value)


cdef uint8_t *put_double(uint8_t *o, const uint8_t *at) noexcept nogil:
    """The shortest text of 15 to 17 digits that reads back as the same number, with `.0` where it would look like an integer."""
    cdef double value
    cdef char text[40]
    cdef int digits, n = 0, i
    cdef bint is_double = False
    memcpy(&value, at, 8)
    if not isfinite(value):
        return NULL
    for digits in range(15, 18):
        n = snprintf(text, sizeof(text), "%.*g", digits, value)
        if strtod(text, NULL) == value:
            break
    for i in range(n):
        if c'0' <= text[i] <= c'9' or text[i] == c'-' or text[i] == c'+':
            o[0] = text[i]
        elif text[i] == c'e':
            is_double = True
            o[0] = c'e'
        elif i and (o - 1)[0] == c'.':
            continue  # a further byte of the locale's decimal point
        else:
            is_double = True
            o[0] = c'.'
        o += 1
    if not is_double:
        o[0], o[1] = c'.', c'0'
        o += 2
    return o


cdef uint8_t *put_opaque(uint8_t kind, const uint8_t *at, uint64_t n, uint8_t *o, uint8_t *limit) noexcept nogil:
    """A value of one of MySQL's column types: DECIMAL as a number, times as strings, all else in base64, as SELECT shows them."""
    cdef int whole
    cdef uint64_t bytes_wanted
    if kind == TYPE_NEWDECIMAL:
        if n < 2 or at[0] == 0 or at[0] > 65 or at[1] > 30 or at[1] > at[0]:
            return NULL
        whole = at[0] - at[1]
        bytes_wanted = 2 + GROUP_BYTES[whole % 9] + 4 * (whole // 9 + at[1] // 9) + GROUP_BYTES[at[1] % 9]
        if n < bytes_wanted or limit - o < NUMBER_ROOM:
            return NULL
        return decimal_text(at + 2, whole % 9, whole // 9, at[1] // 9, at[1] % 9, o)
    if kind == TYPE_TIME or kind == TYPE_DATE or kind == TYPE_DATETIME or kind == TYPE_TIMESTAMP:
        if n < 8 or limit - o < NUMBER_ROOM:
            return NULL
        return put_time(kind, <int64_t>load_u64(at), o)
    return put_base64(kind, at, n, o, limit)


cdef uint8_t *put_time(uint8_t kind, int64_t packed, uint8_t *o) noexcept nogil:
    """`packed` as MySQL keeps times in memory: what the column formats hold, above 24 bits of microseconds, with a sign."""
    cdef bint negative = packed < 0
    cdef uint64_t size = 0 - <uint64_t>packed if negative else <uint64_t>packed
    cdef uint32_t microseconds = size & 0xFFFFFF
    cdef uint32_t clock
    if microseconds > 999999:
        return NULL
    o[0] = c'"'
    if kind == TYPE_TIME:
        if size >> 48:
            return NULL
        clock = <uint32_t>(size >> 24)
        o = time_text(o + 1, negative, clock >> 12, clock >> 6 & 63, clock & 63)
    elif negative:
        return NULL
    else:
        o = datetime_text(o + 1, size >> 24)
    if o == NULL:
        return NULL
    if kind == TYPE_DATE:
        o -= 9  # without the time of day
    else:
        o = put_fraction(o, microseconds, 6)
    o[0] = c'"'
    return o + 1


cdef uint8_t *put_base64(uint8_t kind, const uint8_t *at, uint64_t n, uint8_t *o, uint8_t *limit) noexcept nogil:
    """`"base64:typeN:..."`."""
    cdef uint64_t i, rest
    cdef uint32_t three
    if <uint64_t>(limit - o) < 20 + (n + 2) // 3 * 4 + n // BASE64_LINE * 2:
        return NULL
    memcpy(o, b'"base64:type', 12)
    o = put_decimal(o + 12, kind)
    o[0] = c':'
    o += 1
    for i in range(0, n, 3):
        if i and i % BASE64_LINE == 0:
            o[0], o[1] = c'\\', c'n'
            o += 2
        rest = n - i
        three = <uint32_t>at[i] << 16
        if rest > 1:
            three |= <uint32_t>at[i + 1] << 8
        if rest > 2:
            three |= at[i + 2]
        o[0] = JSON_BASE64[three >> 18]
        o[1] = JSON_BASE64[three >> 12 & 63]
        o[2] = JSON_BASE64[three >> 6 & 63] if rest > 1 else c'='
        o[3] = JSON_BASE64[three & 63] if rest > 2 else c'='
        o += 4
    o[0] = c'"'
    return o + 1
