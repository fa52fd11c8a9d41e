"""Each limit of the config, met: sessions, outstanding batches, time to say hello, to finish a frame, to say anything at all."""

import ctypes
import resource
import socket
import struct
import subprocess
import sys
import time

from engine.server.listener import FDS_BESIDE_SESSIONS
from engine.wire import Ack, Acked, Credit, Error, Get, Heartbeat, Hello, Schemas, Status
from tests.histories import History, put

SO_ATTACH_FILTER = 26
DROP_EVERYTHING = struct.pack("=HBBI", 0x06, 0, 0, 0)  # a classic BPF program: return 0 bytes of each packet


def tick_at(server, later_s):
    server.call(lambda: [s.tick(server.stage.loop.time() + later_s) for s in list(server.stage.sessions)])


def next_batch(peer):
    while True:
        message, records = peer.receive()
        if not isinstance(message, Schemas):
            return message, records


def vanish(sock):
    """From now on the kernel drops what comes for this socket, so its peer gets no answer: as if the machine were gone."""
    program = ctypes.create_string_buffer(DROP_EVERYTHING)
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(program)))


def test_one_address_cannot_take_all_sessions(make_engine):
    server = make_engine(settings={"max_sessions_per_address": 3})
    server.start()
    kept = [server.connect() for _ in range(3)]
    error = server.connect().expect(Error)
    assert (error.code, error.fatal) == ("too_many_sessions", True)
    assert "3 sessions of one address" in error.message
    for _ in range(5):
        server.connect("unix").hello(consumer="local")  # isn't counted
    other = socket.create_connection(next(a for a in server.stage.addresses if not isinstance(a, str)), 10, ("127.0.0.2", 0))
    other.sendall(Hello(1, "orders").pack())
    assert b"welcome" in other.recv(1000)
    other.close()
    kept[0].close()
    for _ in range(100):  # until the server has seen that
        peer = server.connect()
        peer.send(Hello(1, "orders"))
        if peer.receive()[0].type == "welcome":
            break
    else:
        raise AssertionError("the place of a closed session was not given back")


def test_a_flood_of_connections_beyond_the_limit_is_cut_without_a_word(make_engine):
    server = make_engine(settings={"max_sessions": 2})
    server.start()
    good = server.consumer()
    flood = [server.connect() for _ in range(150)]
    assert len(server.stage.sessions) <= 102
    assert flood[-1].at_end()
    good.send(Status())
    good.receive()


def test_a_session_gets_no_more_batches_than_may_be_outstanding(make_engine):
    server = make_engine(settings={"max_outstanding": 3})
    server.start()
    history = History(1, server.table)
    put(server.ring, *(history.transaction(1) for _ in range(10)))
    peer = server.consumer()
    peer.send(Credit(10, rows=1))
    assert [next_batch(peer)[0].batch for _ in range(3)] == [1, 2, 3]
    peer.send(Status())
    assert peer.receive()[0].outstanding == 3
    peer.send(Ack(1))
    peer.expect(Acked)
    assert next_batch(peer)[0].batch == 4


def test_a_frame_that_comes_a_byte_at_a_time_is_waited_for_only_so_long(make_engine):
    server = make_engine(settings={"session_timeout_s": 1})
    server.start()
    peer = server.consumer()
    begun = time.monotonic()
    peer.sock.settimeout(0.1)
    frame = iter(Get().pack() * 10 + bytes(1000))
    peer.sock.sendall(b"\x00\x00\x10\x00\x81")  # 4096 bytes to come
    while time.monotonic() - begun < 10:
        peer.sock.sendall(bytes([next(frame)]))
        try:
            message, _ = peer.receive()
            break
        except TimeoutError:
            pass
    assert isinstance(message, Error)
    assert "rest of a frame" in message.message
    assert 1 <= time.monotonic() - begun < 5


def test_a_peer_that_sends_whole_frames_without_a_pause_is_never_in_the_middle_of_one(make_engine):
    server = make_engine(settings={"session_timeout_s": 1})
    server.start()
    peer = server.consumer()
    frame = Get().pack()
    peer.sock.sendall(frame[:5])
    begun = time.monotonic()
    while time.monotonic() - begun < 2.2:
        peer.sock.sendall(frame[5:] + frame[:5])
        assert peer.receive()[0].type in ("empty", "heartbeat")


def test_a_peer_that_says_nothing_is_ended_if_the_operator_wants_that(make_engine):
    server = make_engine(settings={"idle_timeout_s": 20})
    server.start()
    silent, lively = server.consumer(consumer="silent"), server.consumer(consumer="lively")
    tick_at(server, 19)
    assert silent.receive()[0].type == "heartbeat"
    lively.expect(Heartbeat)
    server.call(lambda: [setattr(s, "_received", s._received - 30) for s in server.stage.sessions])
    lively.send(Heartbeat(), Status())  # the answer to the heartbeat
    lively.receive()
    tick_at(server, 0)
    error = silent.expect(Error)
    assert (error.code, error.fatal) == ("idle", True)
    lively.send(Get())
    assert lively.receive()[0].type == "empty"


def test_a_peer_whose_machine_has_vanished_is_given_up_but_not_one_that_only_takes_its_time(make_engine):
    server = make_engine(settings={"session_timeout_s": 1, "send_buffer": 4096})
    server.start()
    history = History(1, server.table)
    put(server.ring, history.transaction(8, "z" * 100_000))
    slow, gone = server.consumer(consumer="slow"), server.consumer(consumer="gone")
    gone.send(Status())
    gone.receive()
    vanish(gone.sock)
    slow.send(Get())
    gone.send(Get())
    deadline = time.monotonic() + 15
    while {s._consumer for s in server.stage.sessions} != {"slow"}:
        assert time.monotonic() < deadline
        server.call(lambda: None)
    tick_at(server, 3)
    assert next_batch(slow)[0].rows == 8


def test_the_limit_of_file_descriptors_is_raised_or_the_sessions_are_fewer():
    code = (
        "import resource; from engine.server.listener import make_room_for_sessions as make\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 1000))\n"
        "print(make(500), resource.getrlimit(resource.RLIMIT_NOFILE)[0], make(5000))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert printed.split() == ["500", str(500 + FDS_BESIDE_SESSIONS), str(1000 - FDS_BESIDE_SESSIONS)]
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64
