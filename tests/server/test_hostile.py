"""A port under attack: what a good consumer gets meanwhile, all of it and once, and what is left of the attackers afterwards."""

import json
import resource
import subprocess
import sys
import time

import pytest

import engine
from tests.certificates import Authority
from tests.histories import History, put

_, MOST_FDS = resource.getrlimit(resource.RLIMIT_NOFILE)
CONNECTIONS = 2000 if MOST_FDS < 0 else min(2000, MOST_FDS - 1500)
ATTACK_S = 6.0
STORE = {"from": ["shop"], "store": {"size": "1MiB"}}


@pytest.fixture
def server(make_engine, tmp_path):
    mine = Authority(tmp_path).sign("engine")
    server = make_engine(
        settings={
            "listen": ["tcp://127.0.0.1:0", "tls://127.0.0.1:0"], "tls_cert": mine.cert, "tls_key": mine.key,
            "max_sessions": 4000, "hello_timeout_s": 2, "session_timeout_s": 2, "max_frame": 4096,
        },
        orders=STORE, decoy=STORE,
    )  # fmt: skip
    put(server.rings["decoy", 0], History(1, server.table).transaction(8, "z" * 100_000))
    server.start()
    return server


def sent_and_received(stream, ring, history, first):
    """One transaction through the store to the consumer, acked; whether it is what was put in."""
    put(ring, history.transaction(3, f"{first}" * 100))
    batch = stream.get(wait_ms=20_000)
    values = [change.after["note"] for change in batch]
    batch.ack()
    return values == [f"{first}" * 100] * 3


def test_an_attacked_port_serves_a_good_consumer_whole(server):
    plain, secure = (sock.getsockname()[1] for sock in server.stage.listeners)
    history = History(1, server.table)
    url = f"tcp://127.0.0.1:{plain}/orders"
    attackers = subprocess.Popen(
        [sys.executable, "-m", "tests.server.attackers", str(plain), str(secure), "7", str(CONNECTIONS)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        with engine.connect(url, prefetch=0) as stream:
            most = done = 0
            deadline = time.monotonic() + ATTACK_S
            while time.monotonic() < deadline or done < 50 or most < CONNECTIONS:
                assert time.monotonic() < deadline + 60, (most, done)
                assert sent_and_received(stream, server.ring, history, done)
                most = max(most, len(server.stage.sessions))
                done += 1
                assert attackers.poll() is None
            stream.flush()
        with engine.connect(url, prefetch=0) as stream:  # comes in although the port is full of others
            assert sent_and_received(stream, server.ring, history, done)
        printed, _ = attackers.communicate(timeout=20)
    finally:
        attackers.kill()
        attackers.wait()
    ended = json.loads(printed)
    assert {"random_bytes", "mutated_session", "slow_writer", "half_open_tls"} <= {kind.removesuffix("_cut") for kind in ended}
    print(f"{done} transactions with up to {most} sessions; ended: {ended}")
    deadline = time.monotonic() + 20
    while server.stage.sessions:
        server.call(lambda: None)
        assert time.monotonic() < deadline, server.stage.sessions
