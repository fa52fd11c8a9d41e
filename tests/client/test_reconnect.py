"""A stream goes on by itself: on the next session, on the next server, at the address that a server names."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

import engine
from engine import wire
from engine.client import servers
from engine.client.servers import Servers
from engine.errors import ConfigError, Disconnected, InternalError, Refused
from tests.client import streams
from tests.client.peer import Peer, Session
from tests.running_engine import RunningEngine
from tests.test_supervisor import binlog_files_of


def one_change(session: Session, number: int = 1) -> None:
    """Welcome, and a batch with the insert `number`."""
    session.welcome(session.receive())
    session.receive()
    session.send(wire.Schemas(), streams.schema_record())
    record = streams.insert(number)
    session.send(wire.BatchHead(1, 0, 1, 1, len(record)), record)


def in_turn(*behaviours: Callable[[Session], None]) -> Callable[[Session], None]:
    """Each connection is treated by the next of these, the last one again and again."""
    turns = itertools.chain(behaviours, itertools.repeat(behaviours[-1]))
    return lambda session: next(turns)(session)


def refuse(code: str, address: str | None = None) -> Callable[[Session], None]:
    def behave(session: Session) -> None:
        session.receive()
        session.send(wire.Error(code, "not here", fatal=True, address=address))

    return behave


def stay(session: Session) -> None:
    one_change(session, 2)
    while (message := session.receive()) and not isinstance(message, wire.Bye):
        pass


def ids(batch: Any) -> list[int]:
    return [change.after["id"] for change in batch]


def test_iteration_goes_on_in_the_next_session_when_one_is_lost():
    with Peer(in_turn(one_change, stay)) as peer, engine.connect(peer.url) as stream:
        assert ids(next(stream)) == [1]
        assert ids(next(stream)) == [2]


def test_an_ack_of_a_batch_whose_session_is_over_does_nothing():
    with Peer(in_turn(one_change, stay)) as peer, engine.connect(peer.url) as stream:
        old = next(stream)
        fresh = next(stream)
        assert (old.stale, fresh.stale) == (True, False)
        old.ack()
        old.rollback()
        assert not old.durable


def test_a_server_that_does_not_have_the_destination_names_the_one_that_has():
    with (
        Peer(stay) as active,
        Peer(refuse(wire.NOT_ACTIVE, active.url.rpartition("/")[0])) as standby,
        engine.connect(standby.url) as stream,
    ):
        assert ids(next(stream)) == [2]


def test_a_destination_that_moves_is_followed():
    with Peer(stay) as new:

        def move(session: Session) -> None:
            one_change(session)
            while not isinstance(session.receive(), wire.Ack):
                pass
            session.send(wire.Error(wire.MOVED, "moved", fatal=True, address=new.url.rpartition("/")[0]))

        with Peer(move) as old, engine.connect(old.url) as stream:
            first = next(stream)
            first.ack()
            assert [ids(first), ids(next(stream))] == [[1], [2]]


def test_of_several_servers_the_one_that_answers_is_taken():
    with Peer(stay) as peer, engine.connect(["tcp://127.0.0.1:1/orders", peer.url]) as stream:
        assert ids(next(stream)) == [2]


def test_a_list_is_gone_round_until_one_of_them_has_the_destination():
    nobody_yet = in_turn(refuse(wire.NOT_ACTIVE), refuse(wire.NOT_ACTIVE), stay)
    with Peer(nobody_yet) as peer, engine.connect([peer.url, peer.url]) as stream:
        assert ids(next(stream)) == [2]


def test_what_no_other_try_would_change_is_raised():
    for code in (wire.UNKNOWN_DESTINATION, wire.TAKEN_OVER, wire.VERSION_MISMATCH):
        with Peer(refuse(code)) as peer, pytest.raises(Refused, match="not here"):
            engine.connect(peer.url)


def test_at_the_start_it_is_tried_for_as_long_as_the_timeout():
    with pytest.raises(Disconnected, match="can't be reached"):
        engine.connect("tcp://127.0.0.1:1/orders", timeout=0.3)


def test_without_reconnection_the_active_servers_address_is_in_the_error():
    with Peer(refuse(wire.NOT_ACTIVE, "tcp://10.0.0.7:7411")) as peer, pytest.raises(Refused) as error:
        engine.connect(peer.url, reconnect=False)
    assert (error.value.reason, error.value.facts["address"]) == ("not_active", "tcp://10.0.0.7:7411")


def test_the_asyncio_stream_goes_on_too():
    async def consume(url: str) -> list[list[int]]:
        async with engine.aio.connect([url, url]) as stream:
            return [ids(await anext(stream)) for _ in range(2)]

    with Peer(in_turn(one_change, refuse(wire.NOT_ACTIVE), stay)) as peer:
        assert asyncio.run(consume(peer.url)) == [[1], [2]]


def internal(*, retryable: bool = False) -> Callable[[Session], None]:
    def behave(session: Session) -> None:
        session.welcome(session.receive())
        session.receive()
        session.send(wire.Error(wire.INTERNAL, "it failed over this", fatal=True, retryable=retryable))

    return behave


def first_ids(*urls: str, timeout: float = 30.0) -> list[int]:
    with engine.connect(list(urls), timeout=timeout) as stream:
        return ids(next(stream))


def say_nothing(session: Session) -> None:
    while session.receive():
        pass


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(servers, "LONGEST_PAUSE_S", 0.001)


@pytest.mark.parametrize("retryable", [True, False])
def test_a_server_that_fails_is_left_for_the_next_one_of_the_list(retryable):
    with Peer(internal(retryable=retryable)) as failing, Peer(stay) as other:
        assert first_ids(failing.url, other.url) == [2]


def test_a_single_server_that_fails_is_tried_again_only_if_it_says_that_this_passes():
    with Peer(in_turn(internal(retryable=True), stay)) as peer:
        assert first_ids(peer.url) == [2]
    with Peer(in_turn(internal(), stay)) as peer, pytest.raises(InternalError, match="it failed over this"):
        first_ids(peer.url)


def test_when_all_servers_fail_again_and_again_the_error_has_the_answer_of_each(no_pauses):
    with (
        Peer(internal()) as one,
        Peer(refuse(wire.NOT_ACTIVE)) as standby,
        Peer(internal()) as other,
        pytest.raises(InternalError) as error,
    ):
        first_ids(one.url, standby.url, other.url)
    for peer, said in ((one, "it failed over this"), (standby, "not here"), (other, "it failed over this")):
        assert f"{peer.url.rpartition('/')[0]}: {said}" in str(error.value)


def test_a_consumer_that_is_brought_on_between_faults_goes_on_for_ever(no_pauses):
    def fail_after_an_ack(session: Session) -> None:
        one_change(session)
        while not isinstance(session.receive(), wire.Ack):
            pass
        session.send(wire.Acked(1, False))
        session.send(wire.Error(wire.INTERNAL, "it failed over this", fatal=True))

    with Peer(fail_after_an_ack) as peer, engine.connect([peer.url, peer.url]) as stream:
        for _ in range(servers.MOST_FAULTS + 2):
            next(stream).ack()


def test_a_server_that_never_answers_leaves_time_for_the_next_one():
    with Peer(say_nothing) as silent, Peer(stay) as peer:
        assert first_ids(silent.url, peer.url, timeout=3.0) == [2]


def test_the_asyncio_stream_leaves_a_server_that_fails_or_never_answers_too():
    async def consume(*urls: str) -> list[int]:
        async with engine.aio.connect(list(urls), timeout=3.0) as stream:
            return ids(await anext(stream))

    with Peer(say_nothing) as silent, Peer(internal()) as failing, Peer(stay) as peer:
        assert asyncio.run(consume(silent.url, failing.url, peer.url)) == [2]


def test_urls_of_different_destinations_are_refused():
    with pytest.raises(ConfigError, match="different destinations"):
        Servers(["tcp://a:1/orders", "tcp://b:1/items"])
    with pytest.raises(ConfigError, match="no server"):
        Servers([])
    with pytest.raises(ConfigError, match="zk://host1"):
        Servers("zk://host1")


@pytest.mark.timeout(120)
def test_a_program_without_reconnection_code_survives_the_death_of_the_server_again_and_again(tmp_path):
    got, kills, most = [], 0, 5  # the supervisor's pauses grow: a few seconds in all
    with RunningEngine(tmp_path, {"shop": binlog_files_of("mariadb-shop")}, {"all": {"batch_rows": 5}}) as running:
        with engine.connect(f"{running.listen}/all", prefetch=1) as stream:
            while (batch := stream.get(wait_ms=3000)) is not None:
                if not batch.stale:
                    got += [change.identity for change in batch]
                    batch.ack()
                    stream.flush()
                if kills < most:
                    os.kill(running.stage("server")["pid"] or 0, signal.SIGKILL)
                    kills += 1
        with running.connect("all", consumer="other", batch_rows=10_000) as stream:
            everything = [change.identity for batch in iter(lambda: stream.get(wait_ms=1000), None) for change in batch]
    assert kills == most
    assert got == everything
    assert len(got) > 50
