"""`engine.aio.connect` against the same small server."""

import asyncio

import pytest

import engine
from engine import wire
from engine.errors import Disconnected, ProtocolError, Refused
from tests.client import streams
from tests.client.peer import Peer, Session, Store

BATCHES = [streams.transaction(1, 2), streams.transaction(3, 1), streams.transaction(4, 3)]


async def take(stream: engine.aio.Stream, count: int) -> list[engine.aio.Batch]:
    return [await anext(stream) for _ in range(count)]


def ids(batch: engine.aio.Batch) -> list[int]:
    return [change.after["id"] for change in batch]


def test_a_stream_hands_out_batches_which_are_acked(tmp_path):
    store = Store(BATCHES)

    async def consume(url: str) -> None:
        seen = []
        async with engine.aio.connect(url, consumer="cache") as stream:
            assert (stream.destination, stream.consumer, stream.partitions) == ("orders", "cache", [0])
            async for batch in stream:
                seen += ids(batch)
                await batch.ack()
                if len(seen) == 6:
                    break
            await stream.flush()
            assert batch.durable
        assert seen == [1, 2, 3, 4, 5, 6]
        assert stream.closed

    with Peer(store) as peer:
        asyncio.run(consume(peer.url))
    assert store.acked == {"cache": [3]}
    with Peer(store, unix=tmp_path / "engine.sock") as peer:
        store.acked.clear()
        asyncio.run(consume(peer.url))


def test_awaiting_connect_gives_a_stream_to_close_by_hand():
    async def consume(url: str) -> None:
        stream = await engine.aio.connect(url)
        batch = await stream.get()
        await batch.ack()
        await stream.close()
        await stream.close()
        assert batch.durable
        with pytest.raises(Disconnected, match="closed"):
            await batch.ack()

    with Peer(Store(BATCHES)) as peer:
        asyncio.run(consume(peer.url))


def test_get_gives_one_batch_or_none_also_while_streaming():
    async def consume(url: str) -> None:
        async with engine.aio.connect(url) as stream:
            assert ids(await stream.get()) == [1, 2]
            assert ids(await anext(stream)) == [3]
            assert ids(await stream.get(wait_ms=5000)) == [4, 5, 6]
            assert await stream.get(wait_ms=10) is None
            assert (await stream.status()).held_bytes == 3

    with Peer(Store(BATCHES)) as peer:
        asyncio.run(consume(peer.url))


def test_rollback_hands_out_again():
    async def consume(url: str) -> None:
        async with engine.aio.connect(url) as stream:
            first, second, third = await take(stream, 3)
            await first.ack()
            await second.rollback()
            assert [ids(batch) for batch in await take(stream, 2)] == [ids(second), ids(third)]
            await stream.rollback()
            assert [ids(batch) for batch in await take(stream, 2)] == [ids(second), ids(third)]

    with Peer(Store(BATCHES)) as peer:
        asyncio.run(consume(peer.url))


def test_a_cancelled_wait_loses_no_batch():
    async def consume(url: str) -> None:
        async with engine.aio.connect(url) as stream:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await anext(stream)
            assert ids(await anext(stream)) == [1, 2]

    with Peer(Store(BATCHES)) as peer:
        asyncio.run(consume(peer.url))


def test_a_large_batch_arrives_whole():
    batch = [streams.begin(), *(streams.insert(number) for number in range(50_000)), streams.commit()]

    async def consume(url: str) -> None:
        async with engine.aio.connect(url) as stream:
            assert ids(await anext(stream)) == list(range(50_000))

    with Peer(Store([batch])) as peer:
        asyncio.run(consume(peer.url))


def test_errors_are_those_of_the_blocking_client():
    def http(session: Session) -> None:
        session.receive()
        session.connection.sendall(b"\x00\x00\x00\x04HTTP")

    def leave(session: Session) -> None:
        session.welcome(session.receive())

    async def fail(url: str, error: type[Exception], told: str, **options: float) -> None:
        with pytest.raises(error, match=told):
            async with engine.aio.connect(url, reconnect=False, **options) as stream:
                await anext(stream)

    with Peer(Store([])) as peer:
        asyncio.run(fail(peer.url.replace("/orders", "/nonsense"), Refused, "no destination nonsense"))
        asyncio.run(fail(peer.url, Disconnected, "nothing came", timeout=0.5))
    asyncio.run(fail(peer.url, Disconnected, "can't be reached"))
    asyncio.run(fail("unix:///nowhere?destination=orders", Disconnected, "can't be reached"))
    with Peer(http) as peer:
        asyncio.run(fail(peer.url, ProtocolError, "msgpack map"))
    with Peer(leave) as peer:
        asyncio.run(fail(peer.url, Disconnected, "connect again"))


def test_unconfirmed_acks_are_told_at_the_end():
    def unanswering(session: Session) -> None:
        session.welcome(session.receive())
        session.receive()
        session.send(wire.Schemas(), streams.schema_record())
        record = streams.insert(1)
        session.send(wire.BatchHead(1, 0, 1, 1, len(record)), record)
        session.receive()

    async def consume(url: str) -> None:
        stream = await engine.aio.connect(url)
        await (await anext(stream)).ack()
        with pytest.raises(Disconnected):
            await stream.close()

    with Peer(unanswering) as peer:
        asyncio.run(consume(peer.url))
