"""Where the server listens, and what may be in the way."""

import os
import signal
import socket
import time

import pytest

from engine.errors import ConfigError
from engine.server.listener import close_listener, listen
from engine.server.stage import build


def test_a_port_in_use_is_named_with_a_remedy():
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"listen={address}.*choose another address"):
            listen(address)


def test_a_host_that_does_not_exist_is_named():
    with pytest.raises(ConfigError, match=r"no-such-host\.invalid"):
        listen("tcp://no-such-host.invalid:7411")


def test_localhost_listens_wherever_it_resolves_to():
    socks = listen("tcp://127.0.0.1:0")
    assert socks[0].getsockname()[0] == "127.0.0.1"
    for sock in socks:
        close_listener(sock)


def test_a_unix_socket_is_removed_when_it_closes(tmp_path):
    path = str(tmp_path / "engine.sock")
    (sock,) = listen(f"unix://{path}")
    assert os.path.exists(path)
    close_listener(sock)
    assert not os.path.exists(path)


def test_a_stale_unix_socket_is_replaced(tmp_path):
    path = str(tmp_path / "engine.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    (sock,) = listen(f"unix://{path}")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    close_listener(sock)


def test_a_unix_socket_on_which_somebody_listens_is_left_to_them(tmp_path):
    path = str(tmp_path / "engine.sock")
    (first,) = listen(f"unix://{path}")
    with pytest.raises(ConfigError, match=path):
        listen(f"unix://{path}")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    close_listener(first)


def test_a_file_that_is_no_socket_is_not_removed(tmp_path):
    path = tmp_path / "engine.sock"
    path.write_text("precious")
    with pytest.raises(ConfigError, match=str(path)):
        listen(f"unix://{path}")
    assert path.read_text() == "precious"


def test_a_unix_path_that_is_too_long_or_has_no_folder_is_refused(tmp_path):
    for path in (tmp_path / ("x" * 200), tmp_path / "missing" / "engine.sock"):
        with pytest.raises(ConfigError, match=str(path)):
            listen(f"unix://{path}")


def test_a_signal_ends_the_sleep_of_a_server_that_has_nothing_to_do(make_engine):
    engine = make_engine()
    stage = build(engine.config, engine.instance)
    stage.on_start()
    before = signal.signal(signal.SIGALRM, lambda signum, frame: stage.wake())
    begun = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        stage.idle(60_000_000_000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        stage.on_close()
    stage.wake()  # a signal that comes late does no harm
    assert time.monotonic() - begun < 30
