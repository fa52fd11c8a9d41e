"""Messages taken apart in the order in which they are packed: what isn't there as expected is left to who checks every key."""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp


cdef inline bint take(const uint8_t **p, const uint8_t *end, bytes wanted) noexcept:
    """Whether these bytes stand at *p, which moves behind them."""
    cdef Py_ssize_t n = len(wanted)
    if end - p[0] < n or memcmp(p[0], <const char *>wanted, n) != 0:
        return False
    p[0] += n
    return True


cdef inline bint take_number(const uint8_t **p, const uint8_t *end, uint64_t *value) noexcept:
    """Whether an unsigned number stands at *p, which moves behind it."""
    cdef int i, n_bytes = 0
    if end - p[0] < 1:
        return False
    value[0] = p[0][0]
    if p[0][0] >= 0x80:
        if not 0xCC <= p[0][0] <= 0xCF:
            return False
        n_bytes = 1 << (p[0][0] - 0xCC)
        if end - p[0] < 1 + n_bytes:
            return False
        value[0] = 0
        for i in range(1, n_bytes + 1):
            value[0] = value[0] << 8 | p[0][i]
    p[0] += 1 + n_bytes
    return True
