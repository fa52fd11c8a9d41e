"""The proxy that other tests cut connections with: each of its faults does what its name says."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.servers.proxy import Proxy


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """Before a server that sends back what it gets."""

    def echo(peer: socket.socket) -> None:
        with peer, suppress(OSError):
            while data := peer.recv(1 << 16):
                peer.sendall(data)

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        with Proxy(listener.getsockname()[1]) as made:
            yield made
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), 5)


def echoed(peer: socket.socket, data: bytes) -> bytes:
    peer.sendall(data)
    got = b""
    while len(got) < len(data) and (more := peer.recv(1 << 16)):
        got += more
    return got


def test_bytes_pass_both_ways_and_an_orderly_end_passes_too(proxy: Proxy) -> None:
    with connected(proxy) as peer:
        assert echoed(peer, b"x" * 200_000) == b"x" * 200_000
        assert proxy.down_bytes == proxy.up_bytes == 200_000
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(1) == b""


def test_cut_resets_all_connections_and_takes_new_ones(proxy: Proxy) -> None:
    with connected(proxy) as peer:
        assert echoed(peer, b"x") == b"x"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            peer.recv(1)
    with connected(proxy) as peer:
        assert echoed(peer, b"y") == b"y"


def test_cut_after_bytes_lets_exactly_so_many_through(proxy: Proxy) -> None:
    with connected(proxy) as peer:
        proxy.cut(after_bytes=1000)
        got = b""
        with suppress(ConnectionResetError):
            got = echoed(peer, b"x" * 100_000)
        assert proxy.down_bytes == 1000
        assert len(got) <= 1000


def test_a_stall_holds_bytes_back_until_restore(proxy: Proxy) -> None:
    with connected(proxy) as peer:
        proxy.stall()
        peer.sendall(b"late")
        peer.settimeout(0.1)
        with pytest.raises(TimeoutError):
            peer.recv(1)
        proxy.restore()
        peer.settimeout(5)
        assert peer.recv(10) == b"late"


def test_a_half_open_connection_says_nothing_any_more_also_after_restore(proxy: Proxy) -> None:
    with connected(proxy) as peer, connected(proxy) as fresh:
        proxy.half_open()
        peer.sendall(b"lost")
        peer.settimeout(0.1)
        with pytest.raises(TimeoutError):
            peer.recv(1)
        proxy.restore()
        peer.sendall(b"lost too")
        with pytest.raises(TimeoutError):
            peer.recv(1)
        assert echoed(fresh, b"x") == b"x"


def test_refuse_turns_new_connections_away_and_keeps_the_old(proxy: Proxy) -> None:
    with connected(proxy) as peer:
        assert echoed(peer, b"x") == b"x"
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            connected(proxy)
        assert echoed(peer, b"x") == b"x"
    proxy.restore()
    with connected(proxy) as peer:
        assert echoed(peer, b"x") == b"x"


def test_delay_and_throttle_slow_it_down(proxy: Proxy) -> None:
    with connected(proxy) as peer:
        proxy.delay(0.1)
        began = time.monotonic()
        assert echoed(peer, b"x") == b"x"
        assert time.monotonic() - began >= 0.2
        proxy.restore()
        proxy.throttle(100_000)
        began = time.monotonic()
        assert echoed(peer, b"x" * 30_000) == b"x" * 30_000
        assert time.monotonic() - began >= 0.2


def test_corrupt_turns_bits_of_the_byte_it_was_told(proxy: Proxy) -> None:
    with connected(proxy) as peer:
        assert proxy.corrupt(after_bytes=10, mask=0x20) == 10
        assert echoed(peer, b"x" * 20) == b"x" * 10 + b"X" + b"x" * 9
        assert proxy.corruptions_due == 0


def test_a_target_that_is_not_there_resets_and_aim_leads_elsewhere(proxy: Proxy) -> None:
    port = proxy.target[1]
    proxy.aim(1)
    with pytest.raises(ConnectionResetError), connected(proxy) as peer:
        peer.recv(1)
    proxy.aim(port)
    with connected(proxy) as peer:
        assert echoed(peer, b"x") == b"x"
