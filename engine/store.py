"""get, ack and rollback: one consumer's place in one partition's store.

    acked and gone │ handed out: batch 4, batch 5, batch 6 │ still to get . . .
                  ack                                    get                   put

A batch is a run of records between two boundaries (a place where no transaction of the batch is open). Acks go in order,
a rollback moves get back. `Cursor` decides; what it has decided becomes durable in two steps that the server makes for
many cursors at once: `unsaved` goes to meta, then `settle` moves the ring's ack.
"""

from engine._cursor import BatchNumbers, Cursor, StoreBatch, Unsettled

__all__ = ["BatchNumbers", "Cursor", "StoreBatch", "Unsettled"]
