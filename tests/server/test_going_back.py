"""A new consumer begins where it says, as far as the store still holds it."""

from __future__ import annotations

import pytest

from engine.expiry import drop_consumer
from engine.position import Identity
from engine.record import unpack_head
from engine.server.late_acks import LateAckKeeper
from engine.wire import Ack, Acked, Bye, Error, Get, Hello, Welcome
from tests.histories import History, put


def acked_transactions(server, n: int) -> list[Identity]:
    """So many are put, and acked by the consumer that was there; the identity of each begin."""
    server.meta.source_number("shop", "binlog")
    history, begins = History(1, server.table), []
    consumer = server.consumer()
    for _ in range(n):
        records = history.transaction(2)
        begins.append(unpack_head(records[0]).identity)
        put(server.ring, records)
        consumer.send(Get(wait_ms=5000))
        head = consumer.batch()[0] if begins[1:] else (consumer.receive(), consumer.batch()[0])[1]
        consumer.send(Ack(head.batch))
        consumer.expect(Acked)
    consumer.send(Bye())
    return begins


def first_of(server, name: str, start: str) -> Identity | None:
    """Of the first record that a new consumer gets; None: there is none."""
    peer = server.connect()
    peer.send(Hello(1, "orders", name, start=start))
    peer.expect(Welcome)
    peer.send(Get())
    message, records = peer.receive()
    if message.type == "schemas":
        message, records = peer.receive()
    return unpack_head(records).identity if message.type == "batch" else None


def test_a_new_consumer_gets_what_all_others_have_acked(server):
    begins = acked_transactions(server, 5)
    assert first_of(server, "a", "oldest") == begins[0]
    assert first_of(server, "b", f"binlog.000001:{begins[3].start}") == begins[3]
    assert first_of(server, "c", "latest") is None
    assert first_of(server, "d", f"gtid:0-1-{begins[1].start}") == begins[2]


@pytest.mark.parametrize(
    ("start", "why"),
    [
        ("gtid:0-1-5", "lacking=0-1-"),
        ("gtid:1-2-3-4", "not a GTID"),
        ("yesterday", "not a position"),
        ("binlog.000001:4", "no longer holds"),
    ],
)
def test_a_start_that_is_not_to_be_had_is_refused_and_leaves_no_consumer(server, start, why):
    acked_transactions(server, 3)
    peer = server.connect()
    peer.send(Hello(1, "orders", "new", start=start))
    error = peer.expect(Error)
    assert (error.code, error.fatal) == ("unknown_start", True)
    assert why in error.message
    assert "new" not in server.ring.readers()


def test_a_consumer_that_was_forgotten_begins_as_a_new_one_where_acks_are_remembered(server):
    """In a cluster acks are read from ZooKeeper once in a lease."""
    stage = server.stage
    late = LateAckKeeper(stage.loop, stage.meta, 0.0)
    server.call(lambda: setattr(stage, "acks", late))
    begins = acked_transactions(server, 3)
    server.call(lambda: None)  # its session is over
    assert {place.consumer for place in late.acked("orders")} == {"default"}
    drop_consumer(server.config, server.instance, server.meta, "orders", "default", None)
    assert first_of(server, "default", "oldest") == begins[0]
