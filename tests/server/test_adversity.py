"""Slow, dead and hostile peers, lost servers and full disks: nobody else is harmed, nothing acked is lost."""

import random
import socket
import time
from contextlib import suppress

import msgpack
import pytest

from engine.errors import MetaError, RingError
from engine.meta import Place
from engine.position import Identity
from engine.ring import Ring
from engine.server import session as session_module
from engine.server._flow import MESSAGES_PER_TURN, MOST_ANSWERS
from engine.server.session import Session
from engine.server.stage import build
from engine.stage import step
from engine.wire import Ack, Acked, Bye, Credit, Empty, Error, Get, Hello, Schemas, Status, Welcome, pack_message
from tests.histories import History, put


@pytest.fixture
def history(server):
    return History(1, server.table)


def next_batch(peer):
    while True:
        message, records = peer.receive()
        if not isinstance(message, Schemas):
            return message, records


def hang_up(peer):
    """And wait until the server has done so, too."""
    peer.sock.shutdown(socket.SHUT_WR)
    with suppress(ConnectionResetError):
        while peer.sock.recv(4096):
            pass
    peer.close()


def slow_peer(server):
    """Its connection holds little of what is sent until it reads."""
    peer = server.connect("unix")
    (session,) = server.stage.sessions
    session._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return peer


def still_serves(server, consumer="witness"):
    peer = server.consumer(consumer=consumer)
    peer.send(Get(), Bye())
    peer.receive()
    peer.close()


GARBAGE = [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\xff\xff\xff\xff" + b"\x00" * 100,
    b"\x00\x00\x00\x00",
    b"\x00\x00\x00\x01\xc1",
    b"\x00\x00\x00\x03\x93\x01\x02",
    b"\x00\x00\x00\x05\xdf\xff\xff\xff\xff",
    pack_message("hello"),
    pack_message("hello", protocol="one", destination="orders"),
    pack_message("nonsense"),
    Get().pack(),
    Ack(1).pack(),
    Hello(1, "orders", "no such/name").pack(),
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_gets_a_protocol_error_and_the_end_of_the_connection(server, garbage):
    peer = server.connect()
    peer.sock.sendall(garbage)
    error = peer.expect(Error)
    assert (error.code, error.fatal) == ("protocol", True)
    assert peer.at_end()
    still_serves(server)


def test_garbage_in_an_open_session_ends_only_this_one(server):
    other = server.consumer(consumer="other")
    peer = server.consumer()
    peer.send(Status())
    peer.receive()
    peer.sock.sendall(b"\x00\x00\x00\x04\x81\xa4ty")
    assert peer.expect(Error).code == "protocol"
    other.send(Get())
    other.expect(Empty)


def test_a_second_hello_is_a_protocol_error(server):
    peer = server.consumer()
    peer.send(Hello(1, "orders"))
    assert peer.expect(Error).code == "protocol"


def test_random_bytes_never_stop_the_server(server):
    seeded = random.Random(7)
    for _ in range(60):
        peer = server.connect()
        peer.sock.sendall(seeded.randbytes(seeded.randrange(1, 300)))
        hang_up(peer)
    still_serves(server)


def test_mutated_sessions_never_stop_the_server(server, history):
    put(server.ring, history.transaction(1))
    seeded = random.Random(8)
    talk = b"".join(m.pack() for m in (Hello(1, "orders"), Credit(2), Ack(1), Get(), Status(), Bye()))
    for _ in range(60):
        spoiled = bytearray(talk)
        for _ in range(3):
            spoiled[seeded.randrange(len(spoiled))] = seeded.randrange(256)
        peer = server.connect()
        peer.sock.sendall(spoiled)
        hang_up(peer)
    still_serves(server)


def test_frames_that_arrive_byte_by_byte_are_understood(server):
    peer = server.connect()
    for byte in Hello(1, "orders").pack():
        peer.sock.sendall(bytes([byte]))
    peer.expect(Welcome)


def test_an_announced_giant_frame_is_refused_before_it_comes(server):
    peer = server.consumer()
    peer.sock.sendall((4097).to_bytes(4, "big"))
    error = peer.expect(Error)
    assert "max_frame=4096" in error.message


def test_many_messages_in_one_piece_are_all_answered_in_order(server):
    peer = server.consumer()
    peer.sock.sendall(Get().pack() * 3000 + Bye().pack())
    for _ in range(3000):
        peer.expect(Empty)
    assert peer.at_end()


def test_a_peer_that_asks_without_ever_reading_does_not_fill_our_memory(server):
    peer = server.consumer()
    peer.sock.settimeout(0.3)
    question = Status().pack() * 1000
    with suppress(TimeoutError):
        while True:
            peer.sock.sendall(question)
    (session,) = server.stage.sessions
    assert len(session._outbox) <= MOST_ANSWERS + MESSAGES_PER_TURN
    still_serves(server)


def test_without_a_hello_the_connection_ends(server):
    peer = server.connect()
    server.call(lambda: [s.tick(server.stage.loop.time() + 11) for s in server.stage.sessions])
    error = peer.expect(Error)
    assert "no hello" in error.message
    assert peer.at_end()


def test_half_a_frame_that_is_never_completed_ends_the_session(server):
    peer = server.consumer()
    peer.sock.sendall(b"\x00\x00")
    later = 31
    peer.sock.setblocking(False)
    while True:  # until the half frame has been read
        server.call(lambda: [s.tick(server.stage.loop.time() + later) for s in server.stage.sessions])
        try:
            if not peer.sock.recv(1, socket.MSG_PEEK):
                break
            peer.sock.settimeout(10)
            message, _ = peer.receive()
            if isinstance(message, Error):
                assert "rest of a frame" in message.message
                break
            peer.sock.setblocking(False)
        except BlockingIOError:
            pass


def test_a_session_that_is_idle_hears_heartbeats(server):
    peer = server.consumer()
    server.call(lambda: [s.tick(server.stage.loop.time() + session_module.HEARTBEAT_S + 1) for s in server.stage.sessions])
    assert peer.receive()[0].type == "heartbeat"


def fill(server, history):
    """One transaction that no socket buffer takes whole."""
    put(server.ring, history.transaction(8, "z" * 100_000))


def test_a_slow_reader_holds_up_nobody_and_may_be_slow(server, history):
    slow = slow_peer(server)
    fill(server, history)
    slow.send(Hello(1, "orders"), Get())
    other = server.consumer(consumer="other")
    other.send(Get())
    message, content = next_batch(other)
    assert message.rows == 8
    assert len(content) == message.bytes
    later = server.stage.loop.time() + 3600
    server.call(lambda: [s.tick(later) for s in list(server.stage.sessions)])
    assert len(server.stage.sessions) == 2  # it may work on its batch for as long as it likes


def test_a_takeover_from_a_peer_in_the_middle_of_a_batch_leaves_that_batch_as_it_was(server, history):
    fill(server, history)
    slow = slow_peer(server)
    slow.send(Hello(1, "orders"), Get())
    slow.expect(Welcome)
    new = server.consumer()
    new.send(Get())
    _, content = next_batch(new)
    new.send(Ack(1))
    new.expect(Acked)
    fill(server, history)  # over the bytes that the first session was being sent
    received = []
    with suppress(ConnectionError):
        while True:
            received.append(slow.receive())
    assert received[-1][0].code == "taken_over"
    assert [records for message, records in received if message.type == "batch"] == [content]


def test_a_peer_that_vanishes_leaves_its_unacked_batches_to_the_next(server, history):
    put(server.ring, history.transaction(1))
    peer = server.consumer()
    peer.send(Get())
    _, content = next_batch(peer)
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    peer.close()
    again = server.consumer()
    again.send(Get())
    assert next_batch(again)[1] == content


def test_too_many_sessions_are_told_so(server):
    kept = [server.connect() for _ in range(20)]
    peer = server.connect()
    error = peer.expect(Error)
    assert (error.code, error.fatal) == ("too_many_sessions", True)
    kept[0].close()
    kept.pop(0)


def test_too_many_consumers_are_refused_and_leave_nothing_behind(server):
    for number in range(31):
        server.ring.add_reader(f"c{number}")
    peer = server.connect()
    peer.send(Hello(1, "orders", "one-too-many"))
    error = peer.expect(Error)
    assert error.code == "too_many_sessions"
    assert "another consumer" in error.message
    assert len(server.ring.readers()) == 32


def test_a_table_key_that_meta_does_not_know_is_our_fault_and_ends_only_this_session(server, caplog):
    put(server.ring, History(1, 99).transaction(1))
    peer = server.consumer()
    peer.send(Get())
    error = peer.expect(Error)
    assert (error.code, error.fatal) == ("internal", True)
    assert "table_key=99" in error.message
    server.consumer(consumer="witness").send(Status())


def test_a_stopping_server_keeps_the_last_acks_and_says_goodbye(server, history):
    put(server.ring, history.transaction(1))
    peer = server.consumer()
    peer.send(Get())
    next_batch(peer)
    peer.send(Ack(1))
    peer.expect(Acked)
    idle = server.connect()
    server.stop()
    assert peer.expect(Error).code == "shutting_down"
    assert idle.expect(Error).code == "shutting_down"
    assert len(server.meta.acked()) == 1


def test_a_restarted_server_goes_on_at_the_acks(server, history):
    first, second = history.transaction(1), history.transaction(3)
    put(server.ring, first, second)
    peer = server.consumer()
    peer.send(Credit(2, rows=1))
    next_batch(peer)
    assert next_batch(peer)[0].open
    peer.send(Ack(2))
    peer.expect(Acked)
    server.stop()
    server.start()
    peer = server.consumer()
    peer.send(Get())
    message, content = next_batch(peer)
    assert content == b"".join(second[2:])
    assert message.transactions == {1: [history.gtid]}


def test_a_server_that_died_between_meta_and_the_ring_does_not_repeat_what_was_acked(server, history):
    first, second = history.transaction(1), history.transaction(1)
    put(server.ring, first, second)
    peer = server.consumer()
    peer.send(Credit(2, rows=1))
    next_batch(peer)
    (session,) = server.stage.sessions
    cursor = session._lanes[0].cursor

    def die_after_meta():
        cursor.ack(1)
        server.stage.meta.ack({Place("orders", "default", 0, n): i for n, i in cursor.unsaved.items()})
        cursor.take_unsettled()

    server.call(die_after_meta)
    server.stop()
    server.start()
    peer = server.consumer()
    peer.send(Get())
    assert next_batch(peer)[1] == b"".join(second)


def test_consumers_that_meta_knows_hold_their_place_from_the_start(make_engine):
    server = make_engine()
    server.meta.ack({Place("orders", "dynamic", 0, 1): Identity(1, 4, 0, 0)})
    server.start()
    assert "dynamic" in server.ring.readers()


def test_acks_that_cannot_be_kept_are_not_answered_and_stop_the_stage(server, history, monkeypatch):
    put(server.ring, history.transaction(1))
    peer = server.consumer()
    peer.send(Get())
    next_batch(peer)

    def full(positions):
        raise MetaError("meta can't be read or written", error="disk full")

    monkeypatch.setattr(server.stage.meta, "ack", full)
    peer.send(Ack(1))
    with pytest.raises(ConnectionError):
        peer.receive()
    server.stop()
    assert isinstance(server.failure, MetaError)
    assert server.ring.reader("default").held_bytes > 0


def test_a_missing_store_is_named(make_engine):
    server = make_engine()
    Ring.unlink(server.ring.name)
    stage = build(server.config, server.instance)
    with pytest.raises(RingError, match="no such ring"):
        stage.on_start()
    stage.on_close()


def test_all_is_served_by_stepping_alone(make_engine):
    server = make_engine()
    server.stage = stage = build(server.config, server.instance)
    stage.on_start()
    try:
        peer = server.connect()
        peer.send(Hello(1, "orders"), Credit(1))
        step(stage)
        peer.expect(Welcome)
        put(server.ring, History(1, server.table).transaction(2))
        step(stage)
        message, _ = next_batch(peer)
        assert message.rows == 2
        peer.send(Ack(1))
        step(stage)
        peer.expect(Acked)
    finally:
        stage.on_close()


def test_an_idle_server_costs_less_than_a_hundredth_of_a_core(server):
    peers = [server.consumer(consumer=f"c{n}") for n in range(10)]
    for peer in peers:
        peer.send(Credit(10))
    peers[0].send(Status())
    peers[0].receive()
    wall, cpu = time.monotonic(), time.process_time()
    peers[0].sock.settimeout(1.0)
    with pytest.raises(TimeoutError):
        peers[0].sock.recv(1)
    assert (time.process_time() - cpu) / (time.monotonic() - wall) < 0.02  # of this whole process, tests and all


def test_a_session_says_who_it_is(server):
    server.consumer()
    (session,) = server.stage.sessions
    assert isinstance(session, Session)
    assert str(session).endswith("orders/default")
    assert msgpack.packb(session.peer)
