"""Takes out of a batch what a torn transaction left in it: its server died in the middle of it, and all of it is void.

A transaction that ends in a commit marked `torn` comes again whole from another server, if that has it, so whoever applied its
changes would apply them twice (docs/protocol.md, Record). Such batches are rare: the server marks them.
"""

from __future__ import annotations

from dataclasses import replace

import msgpack

from engine.record import CHANGES, HEAD_BYTES, TORN, Head, Kind, unpack_head
from engine.wire import BatchHead

_OUTSIDE = frozenset({Kind.SCHEMA, Kind.HEARTBEAT, Kind.DDL})  # belong to no transaction


def without_torn(head: BatchHead, records: memoryview) -> tuple[BatchHead, memoryview]:
    """The batch without the changes of torn transactions, and without their begins and commits.

    The commit stays where the begin was in an earlier batch: that one was handed out with a part of the transaction (`open`),
    and `Commit.torn` tells whoever asked for transactions to take it back.
    """
    kept: dict[int, tuple[int, Head]] = {}  # offset → end and head, in order
    inside: dict[int, list[int]] = {}  # source number → offsets of its open transaction's records in this batch
    at = 0
    while at < len(records):
        record = unpack_head(records, at)
        kept[at] = (at + record.length, record)
        if record.kind not in _OUTSIDE:
            held = inside.setdefault(record.source, [])
            if record.kind == Kind.BEGIN:
                held.clear()
            held.append(at)
            if record.kind == Kind.COMMIT:
                if record.flags & TORN:
                    whole = kept[held[0]][1].kind == Kind.BEGIN
                    for void in held if whole else held[:-1]:
                        del kept[void]
                held.clear()
        at += record.length
    left = b"".join(records[begin:end] for begin, (end, _) in kept.items())
    rows = sum(_ends_change(records, begin, record) for begin, (_, record) in kept.items())
    return replace(head, rows=rows, records=len(kept), bytes=len(left)), memoryview(left)


def _ends_change(records: memoryview, at: int, head: Head) -> bool:
    """Whether it counts as a change: it is one, or the last fragment of one."""
    if head.kind != Kind.FRAGMENT:
        return head.kind in CHANGES
    unpacker = msgpack.Unpacker()
    unpacker.feed(records[at + HEAD_BYTES : at + HEAD_BYTES + 32])
    index, count, _ = unpacker.unpack()
    return index + 1 == count
