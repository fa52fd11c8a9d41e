"""TLS on the consumers' port: the same session, the same bytes, and nothing that a broken handshake can hold up."""

import socket
import ssl
import time
from contextlib import suppress

import pytest

from engine.errors import ConfigError
from engine.server.stage import build
from engine.wire import Ack, Acked, Bye, Credit, Error, Get, Hello, Schemas, Status, Welcome
from tests.certificates import Authority
from tests.histories import History, put
from tests.server.peer import Peer


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.sign("engine")


@pytest.fixture
def start(make_engine, certificate):
    def make(**settings):
        server = make_engine(
            settings={
                "listen": ["tcp://127.0.0.1:0", "tls://127.0.0.1:0"], "tls_cert": certificate.cert,
                "tls_key": certificate.key, **settings,
            }
        )  # fmt: skip
        server.start()
        return server

    return make


def tls_address(server):
    return next(sock.getsockname() for sock, context in server.stage.listeners.items() if context)


def client_context(authority, mine=None):
    context = ssl.create_default_context(cafile=authority.cert)
    if mine is not None:
        context.load_cert_chain(mine.cert, mine.key)
    return context


def secure_peer(server, authority, mine=None):
    peer = Peer(tls_address(server))
    server.peers.append(peer)
    peer.sock = client_context(authority, mine).wrap_socket(peer.sock, server_hostname="127.0.0.1")
    return peer


def next_batch(peer):
    while True:
        message, records = peer.receive()
        if not isinstance(message, Schemas):
            return message, records


def test_a_session_over_tls_gets_the_same_bytes_as_one_without(start, authority):
    server = start()
    history = History(1, server.table)
    put(server.ring, *(history.transaction(3, "z" * 90_000) for _ in range(3)))
    contents = []
    for peer in (server.connect(), secure_peer(server, authority)):
        peer.hello(consumer=f"c{len(contents)}")
        peer.send(Credit(6, rows=2))
        batches = [next_batch(peer) for _ in range(6)]
        peer.send(Ack(batches[-1][0].batch))
        peer.expect(Acked)
        contents.append(b"".join(records for _, records in batches))
        peer.send(Bye())
        assert peer.at_end()
    assert contents[0] == contents[1]
    assert len(contents[0]) > 800_000


def test_a_handshake_that_comes_byte_by_byte_is_completed(start, authority):
    server = start()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context(authority).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with socket.create_connection(tls_address(server), 10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def carry():
            for byte in outgoing.read():
                sock.sendall(bytes([byte]))

        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                carry()
                incoming.write(sock.recv(1000))
        client.write(Hello(1, "orders").pack())
        carry()
        received = b""
        while len(received) < 4:
            try:
                received += client.read(100)
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(1000))
        assert b"welcome" in received


def test_many_frames_in_one_tls_record_are_all_answered(start, authority):
    server = start()
    peer = secure_peer(server, authority)
    peer.hello()
    peer.sock.sendall(Status().pack() * 3000 + Bye().pack())
    for _ in range(3000):
        assert peer.receive()[0].type == "status"
    assert peer.at_end()


def test_a_slow_tls_reader_gets_its_batch_whole_after_it_was_taken_over(start, authority):
    server = start(send_buffer=4096)
    history = History(1, server.table)
    put(server.ring, history.transaction(8, "z" * 100_000))
    slow = secure_peer(server, authority)
    slow.send(Hello(1, "orders"), Get())
    slow.expect(Welcome)
    new = server.consumer()
    new.send(Get())
    _, content = next_batch(new)
    new.send(Ack(1))
    new.expect(Acked)
    put(server.ring, history.transaction(8, "y" * 100_000))  # over the bytes that the first session was being sent
    received = []
    with suppress(ConnectionError, ssl.SSLError):
        while True:
            received.append(slow.receive())
    assert received[-1][0].code == "taken_over"
    assert [records for message, records in received if message.type == "batch"] == [content]


GARBAGE = [Hello(1, "orders").pack(), b"\x16\x03\x01\x02\x00\x01" + bytes(600), b"GET / HTTP/1.1\r\n\r\n"]


@pytest.mark.parametrize("garbage", GARBAGE, ids=("plain", "broken", "http"))
def test_what_is_not_tls_ends_the_connection_and_nothing_else(start, authority, garbage):
    server = start()
    peer = Peer(tls_address(server))
    server.peers.append(peer)
    peer.sock.sendall(garbage)
    with suppress(ConnectionResetError):
        while peer.sock.recv(1000):  # an alert, perhaps; then the end
            pass
    secure_peer(server, authority).hello()


def test_half_open_handshakes_end_in_time_and_cost_nothing(start):
    server = start(hello_timeout_s=0.5)
    peers = [Peer(tls_address(server)) for _ in range(10)]
    server.peers += peers
    for peer in peers:
        peer.sock.sendall(b"\x16\x03\x01\x02\x00")
    cpu = time.process_time()
    assert all(peer.at_end() for peer in peers)
    assert time.process_time() - cpu < 0.3
    server.call(lambda: None)
    assert not server.stage.sessions


def test_with_a_client_authority_only_its_clients_are_let_in(start, authority, tmp_path):
    server = start(tls_client_ca=authority.cert)
    secure_peer(server, authority, authority.sign("cache")).hello()
    with pytest.raises((ssl.SSLError, ConnectionError)):  # TLS 1.3 tells it with the first read
        secure_peer(server, authority).hello()
    stranger = Authority(tmp_path, "stranger").sign("stray")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        secure_peer(server, authority, stranger).hello()


def test_the_server_does_not_speak_tls_1_1(start, authority):
    server = start()
    context = client_context(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(tls_address(server), 10) as sock, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(sock, server_hostname="127.0.0.1")


def test_a_certificate_file_that_is_none_is_named(make_engine, certificate, tmp_path):
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    server = make_engine(settings={"listen": "tls://127.0.0.1:0", "tls_cert": wrong, "tls_key": certificate.key})
    stage = build(server.config, server.instance)
    with pytest.raises(ConfigError, match=r"TLS can't be set up \[tls_cert=.*wrong\.pem"):
        stage.on_start()
    stage.on_close()


def test_too_many_sessions_over_tls_are_ended_though_they_cannot_be_told(start, authority):
    server = start(max_sessions=1)
    secure_peer(server, authority).hello()
    refused = Peer(tls_address(server))
    server.peers.append(refused)
    assert refused.at_end()


def test_an_error_over_tls_reaches_the_peer_before_the_end(start, authority):
    peer = secure_peer(start(), authority)
    peer.sock.sendall(b"\x00\x00\x00\x01\xc1")
    assert peer.expect(Error).code == "protocol"
    assert peer.at_end()
