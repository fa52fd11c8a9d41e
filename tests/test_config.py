import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from engine.config import (
    ClusterConfig,
    Config,
    DestinationConfig,
    ServerConfig,
    SourceConfig,
    StoreConfig,
    TokenConfig,
    load_config,
    parse_address,
    parse_size,
)
from engine.errors import ConfigError
from engine.settings import plain_config

SHOP = '[sources.shop]\nurl = "mysql://repl@127.0.0.1:3306"\n'
ORDERS = "[destinations.orders]\n"


def load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "engine.toml"
    path.write_text(text)
    return load_config(path)


def error_of(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return str(caught.value)


def test_the_shipped_config_is_valid():
    config = load_config("conf/engine.toml")
    assert config.sources["shop"].ring == 8 << 20
    assert config.destinations["orders"].store.size == 256 << 20


def test_the_shipped_config_names_every_key_with_its_default():
    """A key may be set in the file or shown commented out; one that is missing would be undocumented."""
    text = Path("conf/engine.toml").read_text()
    for model in (ServerConfig, SourceConfig, DestinationConfig, StoreConfig, ClusterConfig, TokenConfig):
        for name, field in model.model_fields.items():
            key = field.alias or name
            assert f"{key} " in text or f"{key}=" in text, f"{model.__name__}: {key} is not in conf/engine.toml"


def test_the_commented_keys_of_the_shipped_config_show_the_defaults(tmp_path):
    lines = Path("conf/engine.toml").read_text().partition("# [tokens.")[0].splitlines()
    # these show an example: they have no default
    optional = ("server_id", "tls_c", "tls_key", "urls", "files", "probe  ", "send_buffer", "receive_buffer")
    shown = [
        line.removeprefix("# ") if line.startswith("# ") and "=" in line and not line.startswith("# [") else line
        for line in lines
        if not any(line.startswith(f"# {key}") for key in optional)
    ]
    text = "\n".join(line for line in shown if not line.startswith("# "))
    assert load(tmp_path, text) == load_config("conf/engine.toml")


def test_the_commented_cluster_of_the_shipped_config_is_valid_and_shows_the_defaults(tmp_path):
    _, header, cluster = Path("conf/engine.toml").read_text().partition("# [cluster]")
    config = load(tmp_path, SHOP + ORDERS + (header + cluster).replace("# ", "", 1).replace("\n# ", "\n"))
    assert config.server.meta == "zookeeper"
    assert config.cluster is not None
    own = {"zookeeper": config.cluster.zookeeper, "name": "engine-1", "address": "tcp://10.0.0.1:7411"}
    assert config.cluster == ClusterConfig(**own)
    assert len(config.cluster.zookeeper) == 3


@pytest.mark.parametrize(
    ("text", "size"),
    [("64MiB", 64 << 20), ("1GiB", 1 << 30), ("1.5 MiB", 3 << 19), ("2000000", 2_000_000), (7, 7), ("3MB", 3_000_000)],
)
def test_sizes_are_read_with_their_unit(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["64XB", "", "-1MiB", "MiB", True, None, 1.5])
def test_what_is_not_a_size_is_refused(text):
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


def test_addresses_are_tcp_tls_or_unix():
    assert parse_address("tcp://127.0.0.1:7411") == ("tcp", "127.0.0.1", 7411)
    assert parse_address("tcp://[::1]:7411") == ("tcp", "::1", 7411)
    assert parse_address("unix:///run/engine.sock") == ("unix", "/run/engine.sock", 0)
    assert parse_address("tls://0.0.0.0:7412") == ("tls", "0.0.0.0", 7412)
    for wrong in ("127.0.0.1:7411", "http://x:1", "tcp://x", "unix://"):
        with pytest.raises(ValueError, match="not an address"):
            parse_address(wrong)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (SHOP + ORDERS + 'inclde = ["x"]', "unknown key destinations.orders.inclde, did you mean 'include'?"),
        (SHOP + 'rng = "64MiB"\n' + ORDERS, "unknown key sources.shop.rng, did you mean 'ring'?"),
        (SHOP + ORDERS + '[server]\nlisten = "tls://0.0.0.0:7412"', "needs tls_cert and tls_key"),
        (SHOP + ORDERS + "[tokens.cache]", "needs either token_env or token_file"),
        (SHOP + ORDERS + '[tokens.cache]\ntoken_env = "T"\ndestinations = ["order"]', "names 'order', which is not there"),
        (SHOP + ORDERS + '[tokens.cache]\ntoken_env = "T"\ntoken = "s3cret"', "unknown key tokens.cache.token"),
        (SHOP + ORDERS + "[servr]\n", "unknown key servr, did you mean 'server'?"),
        (SHOP + ORDERS + 'store = { kind = "memory", sise = "1MiB" }', "did you mean 'size'?"),
        (SHOP + ORDERS + 'store = { kind = "disk" }', "destinations.orders.store.kind"),
        (SHOP + ORDERS + 'include = ["a("]', "bad regular expression 'a('"),
        (SHOP + 'ring = "64XB"\n' + ORDERS, "sources.shop.ring: not a size: '64XB'"),
        (SHOP + 'ring = "4KiB"\n' + ORDERS, "a ring needs between 1MiB"),
        (SHOP + 'start = "yesterday"\n' + ORDERS, "start is not a position"),
        (SHOP + ORDERS + 'partitions = "many"', "destinations.orders.partitions"),
        (SHOP + ORDERS + "sinks = 2", "sinks = 2 is more than partitions = 1"),
        (SHOP + ORDERS + 'from = ["shp"]', "did you mean 'shop'?"),
        ("[sources.shop]\n" + ORDERS, "needs one of url, urls and files"),
        ('[sources.shop]\nurl = "http://x"\n' + ORDERS, 'url looks like "mysql://user@host:3306"'),
        (ORDERS, "sources is missing"),
        (SHOP, "destinations is missing"),
        (SHOP + ORDERS + '[server]\nlisten = "7411"', "not an address"),
        (SHOP + ORDERS + '[server]\nmeta = "mixed"', 'server.meta = "mixed" needs [cluster]'),
        (SHOP + ORDERS + '[cluster]\nzookeeper = "zk:2181"\n[server]\nmeta = "file"', "others must find it"),
        (SHOP + ORDERS + '[cluster]\nzookeeper = "zk"', "not the address of a ZooKeeper node: 'zk'"),
        (SHOP + ORDERS + '[cluster]\nzookeper = "zk:1"', "unknown key cluster.zookeper, did you mean 'zookeeper'?"),
        ("sources = 3", "sources"),
        ("= broken", "is not TOML"),
    ],
)
def test_a_wrong_config_is_refused_by_an_error_that_names_the_thing(tmp_path, text, named):
    message = error_of(tmp_path, text)
    assert named in message
    assert "engine.toml" in message


def test_a_missing_config_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"can't be read .*absent\.toml"):
        load_config(tmp_path / "absent.toml")


def test_the_password_comes_from_the_url_a_file_a_variable_or_mysql_pwd(tmp_path):
    (tmp_path / "secret").write_text("from file\n")
    url = "mysql://repl@db:3307"
    assert SourceConfig(url="mysql://repl:p%40ss@db").account({})["password"] == "p@ss"
    assert SourceConfig(url=url, password_file=tmp_path / "secret").account({})["password"] == "from file"
    assert SourceConfig(url=url, password_env="X").account({"X": "from env"})["password"] == "from env"
    assert SourceConfig(url=url).account({"MYSQL_PWD": "last"}) == {
        "host": "db", "port": 3307, "user": "repl", "password": "last",
    }  # fmt: skip


def test_a_password_variable_that_is_not_set_is_an_error_that_names_it():
    with pytest.raises(ConfigError, match="SHOP_PASSWORD"):
        SourceConfig(url="mysql://repl@db", password_env="SHOP_PASSWORD").account({})


def test_a_destination_without_from_is_fed_by_every_source(tmp_path):
    config = load(tmp_path, SHOP + SHOP.replace("shop", "depot") + ORDERS)
    assert config.sources_of("orders") == ["shop", "depot"]


def test_a_stage_has_the_config_as_the_supervisor_has_checked_it():
    config = Config(
        server=ServerConfig(meta="mixed", tls_cert=Path("c"), tls_key=Path("k"), tls_client_ca=Path("a")),
        sources={"shop": SourceConfig(url="mysql://repl:pw@h:1", tls_ca=Path("ca")), "archive": SourceConfig(files=["x.000001"])},
        destinations={
            "orders": DestinationConfig(**{"from": ["shop"]}, store=StoreConfig(kind="file", sync="20ms", dir=Path("/d"))),
            "all": DestinationConfig(consumer_expiry=None),
        },
        cluster=ClusterConfig(zookeeper=["z:1"]),
        tokens={"team": TokenConfig(token_file=Path("t"))},
    )
    plain = plain_config(json.loads(config.model_dump_json(by_alias=True)))
    assert same(plain, config)
    shop = plain.sources["shop"]
    assert shop.account() == config.sources["shop"].account()
    assert same(shop.model_copy(update={"url": None}), config.sources["shop"].model_copy(update={"url": None}))
    assert shop == shop.model_copy(update={}) != shop.model_copy(update={"url": None})
    assert [plain.sources_of(name) for name in ("orders", "all")] == [["shop"], ["shop", "archive"]]
    assert plain.destinations["orders"].store.sync_s == 0.02


def same(plain: Any, checked: Any) -> bool:
    """Whether all that the config has is in the plain one under the same name, and of the same type."""
    if isinstance(checked, BaseModel):
        return all(same(getattr(plain, name), getattr(checked, name)) for name in type(checked).model_fields)
    if isinstance(checked, dict):
        return plain.keys() == checked.keys() and all(same(plain[name], checked[name]) for name in checked)
    return type(plain) is type(checked) and plain == checked
