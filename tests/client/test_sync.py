"""`engine.connect` against a small server on a real socket."""

import os
import socket

import pytest

import engine
from engine import wire
from engine.errors import ConfigError, Disconnected, ProtocolError, Refused
from tests.client import streams
from tests.client.peer import Peer, Session, Store

BATCHES = [streams.transaction(1, 2), streams.transaction(3, 1), streams.transaction(4, 3)]


def take(stream: engine.Stream, count: int) -> list[engine.Batch]:
    return [batch for _, batch in zip(range(count), stream, strict=False)]


def ids(batch: engine.Batch) -> list[int]:
    return [change.after["id"] for change in batch]


def test_a_stream_hands_out_batches_which_are_acked():
    store = Store(BATCHES)
    with Peer(store) as peer, engine.connect(peer.url, consumer="cache") as stream:
        assert (stream.destination, stream.consumer, stream.partitions) == ("orders", "cache", [0])
        batches = take(stream, 3)
        assert [ids(batch) for batch in batches] == [[1, 2], [3], [4, 5, 6]]
        for batch in batches:
            batch.ack()
        stream.flush()
        assert all(batch.durable for batch in batches)
    assert store.acked == {"cache": [3]}
    assert stream.closed


def test_a_unix_socket_serves_as_well(tmp_path):
    with Peer(Store(BATCHES), unix=tmp_path / "engine.sock") as peer, engine.connect(peer.url) as stream:
        assert ids(next(stream)) == [1, 2]


def test_what_was_not_acked_comes_again_in_the_next_session():
    with Peer(Store(BATCHES)) as peer:
        with engine.connect(peer.url) as stream:
            first, _ = take(stream, 2)
            first.ack()
        with engine.connect(peer.url) as stream:
            assert ids(next(stream)) == [3]


def test_close_waits_until_acks_are_durable():
    store = Store(BATCHES)
    with Peer(store) as peer:
        stream = engine.connect(peer.url)
        batch = next(stream)
        batch.ack()
        stream.close()
        stream.close()
        assert batch.durable
    with pytest.raises(Disconnected, match="closed"):
        batch.ack()
    with pytest.raises(Disconnected, match="closed"):
        next(stream)


def test_get_gives_one_batch_or_none():
    with Peer(Store(BATCHES[:1])) as peer, engine.connect(peer.url) as stream:
        assert ids(stream.get()) == [1, 2]
        assert stream.get(wait_ms=10) is None


def test_get_after_streaming_takes_what_is_on_its_way():
    with Peer(Store(BATCHES)) as peer, engine.connect(peer.url) as stream:
        assert ids(next(stream)) == [1, 2]
        assert ids(stream.get(wait_ms=5000)) == [3]
        assert ids(stream.get(wait_ms=5000)) == [4, 5, 6]
        assert stream.get(wait_ms=10) is None


def test_rollback_hands_out_again():
    with Peer(Store(BATCHES)) as peer, engine.connect(peer.url) as stream:
        first, second, third = take(stream, 3)
        first.ack()
        second.rollback()
        assert [ids(batch) for batch in take(stream, 2)] == [ids(second), ids(third)]
        stream.rollback()
        assert [ids(batch) for batch in take(stream, 2)] == [ids(second), ids(third)]


def test_partitions_keep_their_own_order():
    store = Store(BATCHES[:1], BATCHES[1:])
    with Peer(store) as peer, engine.connect(peer.url) as stream:
        batches = take(stream, 3)
        assert [ids(batch) for batch in batches if batch.partition == 1] == [[3], [4, 5, 6]]
        for batch in batches:
            batch.ack()
    assert store.acked["default"] == [1, 2]


def test_status_is_answered():
    with Peer(Store(BATCHES)) as peer, engine.connect(peer.url) as stream:
        assert stream.status().held_bytes == 3


def test_limits_and_prefetch_reach_the_server():
    store = Store(BATCHES)
    with Peer(store) as peer, engine.connect(peer.url, prefetch=1, batch_rows=7, batch_bytes=9) as stream:
        next(stream)
    assert store.received[0] == wire.Credit(1, 7, 9)


def test_a_large_batch_arrives_whole():
    batch = [streams.begin(), *(streams.insert(number) for number in range(50_000)), streams.commit()]
    with Peer(Store([batch])) as peer, engine.connect(peer.url) as stream:
        assert ids(next(stream)) == list(range(50_000))


def test_an_unknown_destination_is_refused_with_the_servers_words():
    with Peer(Store([])) as peer, pytest.raises(Refused, match="no destination nonsense"):
        engine.connect(peer.url.replace("/orders", "/nonsense"))


def test_a_server_that_is_not_there_is_named():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(Disconnected, match=f"can't be reached.*tcp://127.0.0.1:{port}.*binlog-engine run"):
        engine.connect(f"tcp://127.0.0.1:{port}/orders", reconnect=False)
    with pytest.raises(Disconnected, match="can't be reached"):
        engine.connect("unix:///nowhere/engine.sock?destination=orders", reconnect=False)


def test_a_server_that_says_nothing_is_not_waited_for():
    with Peer(Session.receive) as peer, pytest.raises(Disconnected):
        engine.connect(peer.url, timeout=0.2, reconnect=False)


def test_silence_on_an_open_session_is_a_lost_connection():
    with Peer(Store([])) as peer, engine.connect(peer.url, timeout=0.5, reconnect=False) as stream:
        with pytest.raises(Disconnected, match="nothing came from the server") as error:
            next(stream)
        assert error.value.retryable


def test_heartbeats_keep_an_idle_session_alive():
    def beat(session: Session) -> None:
        session.welcome(session.receive())
        session.receive()
        for _ in range(3):
            session.send(wire.Heartbeat())
        session.send(wire.Schemas(), streams.schema_record())
        record = streams.insert(1)
        session.send(wire.BatchHead(1, 0, 1, 1, len(record)), record)
        session.receive()

    with Peer(beat) as peer, engine.connect(peer.url) as stream:
        assert ids(next(stream)) == [1]


def test_a_server_that_ends_the_connection_disconnects():
    def leave(session: Session) -> None:
        session.welcome(session.receive())

    with Peer(leave) as peer:
        stream = engine.connect(peer.url, reconnect=False)
        with pytest.raises(Disconnected, match="connect again"):
            next(stream)
        stream.close()


def test_something_else_that_answers_is_a_protocol_error():
    def http(session: Session) -> None:
        session.receive()
        session.connection.sendall(b"\x00\x00\x00\x04HTTP")

    with Peer(http) as peer, pytest.raises(ProtocolError, match="msgpack map"):
        engine.connect(peer.url)


def test_being_taken_over_is_told():
    def take_over(session: Session) -> None:
        session.welcome(session.receive())
        session.receive()
        session.send(wire.Error(wire.TAKEN_OVER, "a newer session took over", fatal=True))

    with Peer(take_over) as peer:
        stream = engine.connect(peer.url)
        with pytest.raises(Refused, match="newer session"):
            next(stream)
        stream.close()


def test_an_error_inside_with_is_not_hidden_by_closing():
    def unanswering(session: Session) -> None:
        session.welcome(session.receive())
        session.receive()
        session.send(wire.Schemas(), streams.schema_record())
        record = streams.insert(1)
        session.send(wire.BatchHead(1, 0, 1, 1, len(record)), record)
        session.receive()

    with Peer(unanswering) as peer:
        with pytest.raises(ZeroDivisionError), engine.connect(peer.url) as stream:  # noqa: PT012 - the error is the case
            next(stream).ack()
            raise ZeroDivisionError
        stream = engine.connect(peer.url)
        next(stream).ack()
        with pytest.raises(Disconnected):
            stream.close()


@pytest.mark.parametrize(
    ("url", "destination"),
    [
        ("tcp://127.0.0.1:7411", None),
        ("tcp://127.0.0.1/orders", None),
        ("tcp://127.0.0.1:port/orders", None),
        ("http://127.0.0.1:7411/orders", None),
        ("unix:///run/engine.sock", None),
        ("unix:///run/engine.sock?topic=orders", None),
        ("unix://host/run/engine.sock?destination=orders", None),
        ("tcp://127.0.0.1:7411/orders", "other"),
        ("tcp://127.0.0.1:7411/orders?destination=other", None),
        ("tcp://127.0.0.1:7411/orders#x", None),
        ("", None),
    ],
)
def test_a_wrong_url_is_refused_with_what_to_write(url, destination):
    with pytest.raises(ConfigError):
        engine.connect(url, destination=destination)


def test_the_destination_may_be_given_beside_the_url(tmp_path):
    path = tmp_path / "engine.sock"
    with Peer(Store(BATCHES), unix=path), engine.connect(f"unix://{path}", destination="orders") as stream:
        assert stream.destination == "orders"


def test_closing_leaves_no_file_descriptor_behind():
    with Peer(Store(BATCHES)) as peer:
        with engine.connect(peer.url):
            pass
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            with engine.connect(peer.url) as stream:
                next(stream)
        assert len(os.listdir("/proc/self/fd")) <= before + 5  # the peer's ends close in their own time
