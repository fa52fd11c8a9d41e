"""Tokens: who has none learns nothing, who has one reads what it says, and no token is ever shown."""

import logging

import pytest

from engine.config import TokenConfig
from engine.errors import ConfigError, ProtocolError
from engine.server.rights import Rights
from engine.wire import PREFIX_BYTES, Error, Hello, Status, Welcome, pack_message, parse_client_message

CACHE = "cache-" + "c" * 20
AUDIT = "audit-" + "a" * 20
ORDERS = {"from": ["shop"], "store": {"size": "1MiB"}}


@pytest.fixture
def server(make_engine, monkeypatch, tmp_path):
    monkeypatch.setenv("CACHE_TOKEN", CACHE)
    (tmp_path / "audit").write_text(AUDIT + "\n")
    engine = make_engine(
        tokens={
            "cache": {"token_env": "CACHE_TOKEN", "destinations": ["orders"], "consumers": ["cache", "cache2"]},
            "audit": {"token_file": tmp_path / "audit"},
        },
        orders=ORDERS,
        stock=ORDERS,
    )
    engine.start()
    return engine


def answer(server, destination="orders", consumer="cache", token=None):
    peer = server.connect()
    peer.send(Hello(1, destination, consumer, token=token))
    message, _ = peer.receive()
    if isinstance(message, Error):
        assert message.fatal
        assert peer.at_end()
    return message


def test_a_token_opens_what_it_was_given_for(server):
    assert isinstance(answer(server, token=CACHE), Welcome)
    assert isinstance(answer(server, consumer="cache2", token=CACHE), Welcome)
    assert isinstance(answer(server, "stock", "anyone", AUDIT), Welcome)


def test_no_token_and_a_wrong_one_are_told_the_same(server):
    told = [answer(server, token=token) for token in (None, "", CACHE[:-1], CACHE + "c", "ü" * 20)]
    assert {message.code for message in told} == {"unauthorized"}
    assert len({message.message for message in told}) == 1
    told_elsewhere = answer(server, "no-such-destination")
    assert told_elsewhere == told[0]


def test_who_may_not_read_a_destination_is_not_told_whether_it_is_there(server):
    existing = answer(server, "stock", token=CACHE)
    missing = answer(server, "stuck", token=CACHE)
    assert (existing.code, missing.code) == ("forbidden", "forbidden")
    assert existing.message.replace("stock", "stuck") == missing.message
    assert "orders" not in missing.message


def test_a_consumer_name_that_is_not_the_tokens_own_is_refused(server):
    owner = server.connect()
    owner.hello("orders", "audit", token=AUDIT)
    assert answer(server, consumer="audit", token=CACHE).code == "forbidden"
    owner.send(Status())
    assert owner.receive()[0].type == "status"  # it was not taken over


def test_who_may_read_everything_is_told_what_there_is(server):
    error = answer(server, "stuck", token=AUDIT)
    assert error.code == "unknown_destination"
    assert "orders, stock" in error.message


def test_a_token_is_never_shown(server, caplog):
    with caplog.at_level(logging.DEBUG):
        answer(server, token=CACHE)
        answer(server, token=CACHE + "wrong")
        answer(server, "stock", token=CACHE)
        assert "open, by the token cache" in caplog.text
    assert CACHE not in caplog.text
    assert CACHE not in repr(Hello(1, "orders", token=CACHE))
    assert CACHE not in repr(server.config)
    assert CACHE not in server.config.model_dump_json()
    for wrong in (CACHE.encode(), CACHE * 100, [CACHE]):
        with pytest.raises(ProtocolError, match="token") as refused:
            parse_client_message(pack_message("hello", protocol=1, destination="orders", token=wrong)[PREFIX_BYTES:])
        assert CACHE[:10] not in str(refused.value)


def test_without_tokens_in_the_config_any_token_will_do():
    assert Rights({}).check(Hello(1, "orders", token="whatever")) is None


@pytest.mark.parametrize(
    ("environ", "fault"),
    [
        ({}, "token_env names a variable that is not set"),
        ({"T": ""}, "16 to 1024 characters .*characters=0"),
        ({"T": "x" * 15}, "16 to 1024 characters"),
        ({"T": "x" * 1025}, "16 to 1024 characters"),
    ],
)
def test_a_token_that_is_missing_or_no_secret_stops_the_server(environ, fault):
    with pytest.raises(ConfigError, match=fault) as refused:
        Rights({"cache": TokenConfig(token_env="T")}, environ)
    assert "xxx" not in str(refused.value)


def test_a_token_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"token_file can't be read .*no-such-file"):
        Rights({"cache": TokenConfig(token_file=tmp_path / "no-such-file")})
    (tmp_path / "binary").write_bytes(b"\xff" * 20)
    with pytest.raises(ConfigError, match="not UTF-8"):
        Rights({"cache": TokenConfig(token_file=tmp_path / "binary")})


def test_two_names_for_one_token_are_refused():
    with pytest.raises(ConfigError, match=r"two tokens are the same .*a, b"):
        Rights({"a": TokenConfig(token_env="T"), "b": TokenConfig(token_env="T")}, {"T": "x" * 16})
