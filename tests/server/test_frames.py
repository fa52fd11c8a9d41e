"""The frames of each batch: packed natively as `engine.wire` packs them, and whole however the socket takes them."""

from __future__ import annotations

import os
import random
import socket
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.ring import Ring
from engine.server._answers import acked_batch, pack_acked, pack_head
from engine.server._outbox import Outbox
from engine.store import BatchNumbers, Cursor
from engine.wire import Ack, Acked, BatchHead, Credit
from tests.histories import History, put

MIB = 1 << 20
NUMBERS = st.one_of(st.integers(1, 2**64 - 1), st.sampled_from([2**bits + more for bits in (7, 8, 16, 32) for more in (-1, 0)]))


@given(number=NUMBERS, again=st.booleans())
def test_acked_and_ack_are_those_of_the_wire(number, again):
    assert pack_acked(number, again) == Acked(number, again).pack()
    assert acked_batch(Ack(number).pack()[4:]) == number


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\x82", Ack(1).pack()[4:-1], Ack(300).pack()[4:-1], Ack(300).pack()[4:] + b"\x00", Credit(1).pack()[4:],
        Ack(1).pack()[4:-1] + b"\xc0", Ack(1).pack()[4:-1] + b"\x00", Ack(1).pack()[4:-1] + b"\xff",
    ],
)  # fmt: skip
def test_what_is_not_an_ack_as_usual_is_left_to_who_checks_every_key(payload):
    assert acked_batch(payload) == 0


@settings(deadline=None, max_examples=30)
@given(
    rows=st.integers(1, 300), partition=st.integers(0, 255), earlier=st.integers(0, 70_000), cut=st.booleans(),
    gtid=st.one_of(st.none(), st.text(max_size=300)),
)  # fmt: skip
def test_the_head_of_a_batch_is_that_of_the_wire(rows, partition, earlier, cut, gtid):
    ring = Ring.create(None, MIB)
    ring.open_writer()
    ring.add_reader("cache")
    numbers = BatchNumbers()
    for _ in range(earlier):
        numbers.next()
    cursor = Cursor(ring.reader("cache"), MIB, {}, numbers)
    history = History()
    put(ring, history.begin(gtid), [history.change() for _ in range(rows)], history.commit())
    while batch := cursor.next_batch(rows // 2 + 1 if cut else 1000, MIB):
        transactions = {source: [gtid] for source, gtid in batch.transactions.items()}
        head = BatchHead(
            batch.number, partition, batch.rows, batch.records, batch.bytes, batch.open, transactions, batch.torn
        )  # fmt: skip
        assert pack_head(batch, partition) == head.pack_prefix(batch.bytes)
    cursor.close()
    ring.close()


class Ends:
    """An outbox, and what its peer has received."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        for end in (self.ours, self.theirs):
            end.setblocking(False)
        self.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.outbox = Outbox(self.ours, 0.0)
        self.received = b""

    def receive(self, count: int) -> None:
        with suppress(BlockingIOError):
            self.received += self.theirs.recv(count)

    def close(self) -> None:
        self.outbox.close()
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def ends():
    made = Ends()
    yield made
    made.close()


@pytest.mark.parametrize("most", [1, 1000, 20_000])
def test_frames_of_many_parts_arrive_whole_and_in_order_at_a_slow_peer(ends, most):
    rng = random.Random(most)
    expected = b""
    for _ in range(20):
        parts = [rng.randbytes(rng.choice((0, 1, 10, most))) for _ in range(rng.choice((1, 2, 300)))]
        ends.outbox.add([*map(memoryview, parts[:1]), *parts[1:]])
        expected += b"".join(parts)
    while not ends.outbox.flush(1.0) or len(ends.received) < len(expected):
        ends.receive(rng.randrange(1, 9000))
    assert ends.received == expected
    assert len(ends.outbox) == 0
    assert ends.outbox.progress == 1.0


def test_what_is_begun_is_sent_to_its_end_and_other_batches_are_let_go(ends):
    begun = [os.urandom(50), bytearray(os.urandom(40_000)), os.urandom(50)]
    whole = b"".join(begun)
    ends.outbox.add(begun, True)
    ends.outbox.add([b"batch"], True)
    ends.outbox.add([b"answer"])
    assert not ends.outbox.flush(1.0)
    ends.outbox.let_go()
    begun[1][:] = bytes(40_000)  # the store's memory is written to again
    while not ends.outbox.flush(2.0) or len(ends.received) < len(whole) + 6:
        ends.receive(3000)
    assert ends.received == whole + b"answer"


def test_after_close_nothing_goes_to_whoever_has_the_number_of_the_descriptor_now(ends):
    ends.outbox.close()
    ends.outbox.add([b"too late"])
    with pytest.raises(OSError, match="closed"):
        ends.outbox.flush(1.0)
    ends.receive(100)
    assert ends.received == b""
