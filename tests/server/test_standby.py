"""Sessions that wait in line, and consumers that come back after they were dropped."""

from __future__ import annotations

from engine.meta import Presence
from engine.wire import Bye, Error, Get, Hello, Waiting, Welcome
from tests.histories import History, put


def stand_by(server, **keys):
    """A peer that waits, and the place it was told."""
    peer = server.connect()
    peer.send(Hello(1, "orders", wait=True, takeover=False, **keys))
    return peer, peer.expect(Waiting).place


def test_a_session_that_stands_by_opens_at_once_when_nobody_is_before_it(server):
    peer = server.connect()
    peer.send(Hello(1, "orders", wait=True, takeover=False))
    assert isinstance(peer.expect(Welcome), Welcome)


def test_those_who_stand_by_take_over_in_the_order_in_which_they_came(server):
    first = server.consumer()
    second, place_of_second = stand_by(server)
    third, place_of_third = stand_by(server)
    assert (place_of_second, place_of_third) == (1, 2)
    first.send(Bye())
    second.expect(Welcome)
    second.close()  # dies without a word
    third.expect(Welcome)


def test_what_the_first_had_not_acked_comes_to_the_next(server):
    put(server.ring, History(1, server.table).transaction(2))
    first = server.consumer()
    second, _ = stand_by(server)
    first.send(Get())
    first.receive()  # the schema
    assert first.batch()[0].rows == 2
    first.close()
    second.expect(Welcome)
    second.send(Get())
    second.receive()
    assert second.batch()[0].rows == 2


def test_one_that_gives_up_leaves_the_line(server):
    first = server.consumer()
    second, _ = stand_by(server)
    third, _ = stand_by(server)
    second.close()
    first.send(Bye())
    third.expect(Welcome)


def test_whoever_takes_over_comes_before_those_who_wait(server):
    first = server.consumer()
    waiting, _ = stand_by(server)
    new = server.consumer()
    assert first.expect(Error).code == "taken_over"
    new.send(Bye())
    waiting.expect(Welcome)


def test_one_that_waits_may_say_nothing_but_bye(server):
    server.consumer()
    waiting, _ = stand_by(server)
    waiting.send(Get())
    assert waiting.expect(Error).code == "protocol"


def test_another_consumer_does_not_wait(server):
    server.consumer()
    other = server.connect()
    other.send(Hello(1, "orders", "audit", wait=True, takeover=False))
    other.expect(Welcome)


def test_a_consumer_that_was_dropped_is_told_and_comes_back_when_it_says_where_it_begins(server):
    server.meta.keep_presence("orders", {"audit": Presence(90_000.0, 1_795_000_000.0)})
    refused = server.connect()
    refused.send(Hello(1, "orders", "audit"))
    error = refused.expect(Error)
    assert (error.code, error.fatal) == ("expired", True)
    assert "2026-11-18T11:06:40Z" in error.message
    back = server.connect()
    back.send(Hello(1, "orders", "audit", start="oldest"))
    back.expect(Welcome)
    back.send(Bye())
    assert back.at_end()
    assert "audit" not in server.meta.presence("orders")


def test_a_consumer_that_is_there_can_not_begin_elsewhere(server):
    peer = server.connect()
    peer.send(Hello(1, "orders", start="oldest"))
    assert peer.expect(Error).code == "unknown_start"
