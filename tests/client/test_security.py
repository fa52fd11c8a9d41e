"""Both clients over TLS and with tokens: what opens, what is refused, and what must never happen."""

import asyncio
import ssl

import pytest

import engine
from engine.client.servers import Servers
from engine.errors import ConfigError, Disconnected, ProtocolError, Refused
from engine.wire import NOT_ACTIVE
from tests.histories import History, put
from tests.server.conftest import Engine

TOKEN = "t" * 24


@pytest.fixture
def server(tmp_path, authority, monkeypatch):
    monkeypatch.setenv("ORDERS_TOKEN", TOKEN)
    mine = authority.sign("engine")
    rig = Engine(
        tmp_path,
        settings={"listen": "tls://127.0.0.1:0", "tls_cert": mine.cert, "tls_key": mine.key},
        tokens={"orders": {"token_env": "ORDERS_TOKEN", "destinations": ["orders"]}},
    )
    rig.start()
    yield rig
    rig.close()


@pytest.fixture
def url(server):
    return f"tls://127.0.0.1:{server.stage.addresses[0][1]}/orders"


def read_blocking(url, rows, **options):
    ids = []
    with engine.connect(url, **options) as stream:
        while len(ids) < rows:
            batch = next(stream)
            ids += [change.after["id"] for change in batch]
            batch.ack()
    return ids


def read_asyncio(url, rows, **options):
    async def consume():
        ids = []
        async with engine.aio.connect(url, **options) as stream:
            while len(ids) < rows:
                batch = await anext(stream)
                ids += [change.after["id"] for change in batch]
                await batch.ack()
        return ids

    return asyncio.run(consume())


@pytest.fixture(params=[read_blocking, read_asyncio])
def read(request):
    """Opens a stream, reads and acks so many changes, closes it; returns their ids."""
    return request.param


def test_a_stream_over_tls_with_its_token_delivers(read, server, url, authority):
    history = History(1, server.table)
    put(server.ring, *(history.transaction(3, "z" * 60_000) for _ in range(4)))
    assert read(url, 12, tls_ca=authority.cert, token=TOKEN, batch_rows=2) == [1, 2, 3] * 4
    assert server.ring.reader("default").held_bytes == 0


def test_a_wrong_token_is_refused_and_not_tried_again(read, url, authority):
    with pytest.raises(Refused, match="wants a token") as refused:
        read(url, 0, tls_ca=authority.cert, token="x" * 24)
    assert refused.value.reason == "unauthorized"
    assert "xxx" not in str(refused.value)


def test_a_server_that_the_authority_has_not_signed_for_gets_no_token(read, url):
    with pytest.raises(ConfigError, match=r"certificate is not to be trusted .*tls_ca"):
        read(url, 0, token=TOKEN)


def test_a_context_of_ones_own_will_do(read, url, authority):
    assert read(url, 0, tls_ca=ssl.create_default_context(cafile=authority.cert), token=TOKEN) == []


def test_an_authority_that_cannot_be_read_is_named(read, url, tmp_path):
    with pytest.raises(ConfigError, match="no-such-file"):
        read(url, 0, tls_ca=tmp_path / "no-such-file", token=TOKEN)


def test_a_plain_url_to_a_tls_port_is_not_the_protocol(read, url):
    with pytest.raises((Disconnected, ProtocolError)):
        read(url.replace("tls:", "tcp:"), 0, reconnect=False, token=TOKEN)


def test_a_token_is_not_in_a_stream_nor_in_the_errors_about_it(url, authority):
    with engine.connect(url, tls_ca=authority.cert, token=TOKEN) as stream:
        assert TOKEN not in repr(stream)
    with pytest.raises(ConfigError, match="token") as refused:
        engine.connect(url, token=TOKEN * 100)
    assert TOKEN not in str(refused.value)


def test_who_connects_by_tls_is_never_sent_to_a_port_without():
    servers = Servers(["tls://10.0.0.1:7412/orders", "tls://10.0.0.2:7412/orders"])
    servers.next()
    servers.after(Refused("elsewhere", reason=NOT_ACTIVE, address="tcp://10.0.0.3:7411"))
    assert str(servers.next()) == "tls://10.0.0.2:7412"
    servers.after(Refused("elsewhere", reason=NOT_ACTIVE, address="tls://10.0.0.3:7412"))
    assert str(servers.next()) == "tls://10.0.0.3:7412"
