"""The frames that each batch comes and goes with, as `engine.wire` has them, but from and to plain numbers.

Their keys are those of the wire's messages: what is packed here is what `Message.pack` makes, and what isn't exactly as a
client packs it is left to `parse_client_message`.
"""

import msgpack

from engine.wire import Ack, Acked, BatchHead, packed_keys

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from engine._packed cimport take, take_number
from engine._record cimport record_set_u32

cdef enum:
    PREFIX_BYTES = 4
    ROOM_BYTES = 512

cdef list _HEAD = packed_keys(BatchHead)
cdef list _ACKED = packed_keys(Acked)
cdef bytes _ACK = packed_keys(Ack)[0]


cdef inline uint8_t *_put(uint8_t *p, bytes packed) noexcept:
    memcpy(p, <const char *>packed, len(packed))
    return p + len(packed)


cdef inline uint8_t *_put_number(uint8_t *p, uint64_t value) noexcept:
    """As msgpack does, in as few bytes as it takes."""
    cdef int i, n_bytes = 8
    if value < 0x80:
        p[0] = <uint8_t>value
        return p + 1
    if value < 0x100:
        p[0], n_bytes = 0xCC, 1
    elif value < 0x10000:
        p[0], n_bytes = 0xCD, 2
    elif value < 0x100000000:
        p[0], n_bytes = 0xCE, 4
    else:
        p[0] = 0xCF
    for i in range(n_bytes):
        p[1 + i] = <uint8_t>(value >> 8 * (n_bytes - 1 - i))
    return p + 1 + n_bytes


cdef inline uint8_t *_put_bool(uint8_t *p, bint value) noexcept:
    p[0] = 0xC3 if value else 0xC2
    return p + 1


cpdef bytes pack_head(StoreBatch batch, int partition):
    """The beginning of a batch's frame; its records come right after it."""
    cdef uint8_t[ROOM_BYTES] room
    cdef uint8_t *p = room + PREFIX_BYTES
    cdef bytes transactions = b"\x80"
    cdef Py_ssize_t before
    if batch.transactions:
        transactions = msgpack.packb({source: [gtid] for source, gtid in batch.transactions.items()})
    p = _put_number(_put(p, _HEAD[0]), batch.number)
    p = _put_number(_put(p, _HEAD[1]), partition)
    p = _put_number(_put(p, _HEAD[2]), batch.rows)
    p = _put_number(_put(p, _HEAD[3]), batch.records)
    p = _put_number(_put(p, _HEAD[4]), batch.bytes)
    p = _put_bool(_put(p, _HEAD[5]), batch.open)
    p = _put(p, _HEAD[6])
    before = p - room
    p = _put_bool(_put(p, _HEAD[7]), batch.torn)
    record_set_u32(room, <uint32_t>(p - room - PREFIX_BYTES + len(transactions) + batch.bytes))
    return (<char *>room)[:before] + transactions + (<char *>room)[before:p - room]


cpdef bytes pack_acked(uint64_t batch, bint again):
    cdef uint8_t[ROOM_BYTES] room
    cdef uint8_t *p = _put_number(_put(room + PREFIX_BYTES, _ACKED[0]), batch)
    p = _put_bool(_put(p, _ACKED[1]), again)
    record_set_u32(room, <uint32_t>(p - room - PREFIX_BYTES))
    return (<char *>room)[:p - room]


cpdef uint64_t acked_batch(bytes payload):
    """The batch that an `ack` names; 0: this is another message, or not packed as usual."""
    cdef const uint8_t *p = <const uint8_t *><const char *>payload
    cdef const uint8_t *end = p + len(payload)
    cdef uint64_t number
    return number if take(&p, end, _ACK) and take_number(&p, end, &number) and p == end else 0
