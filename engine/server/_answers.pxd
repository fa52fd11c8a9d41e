"""Table of contents of the answers."""

from libc.stdint cimport uint64_t

from engine._cursor cimport StoreBatch


cpdef bytes pack_head(StoreBatch batch, int partition)
cpdef bytes pack_acked(uint64_t batch, bint again)
cpdef uint64_t acked_batch(bytes payload)
