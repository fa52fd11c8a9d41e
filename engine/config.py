"""The config file: every key, its type and its only default. conf/engine.toml shows all of them with comments."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from engine.errors import ConfigError
from engine.position import parse_start
from engine.record import MIN_RING_BYTES
from engine.settings import account_of, parse_address, sync_s

_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


def parse_size(value: Any) -> int:
    """`64MiB`, `1GiB`, `1048576` → bytes.

    Raises:
        ValueError: not a size.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", value) if isinstance(value, str) else None
    if not match or match[2].lower() not in _UNITS:
        raise ValueError(f'not a size: {value!r}; write "64MiB", "1GiB" or a number of bytes')
    return int(float(match[1]) * _UNITS[match[2].lower()])


def parse_duration(value: Any) -> float | None:
    """`7d`, `12h`, `30min`, `90s` or seconds → seconds; `never` → None.

    Raises:
        ValueError: not a duration.
    """
    if value is None or value == "never":
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        return float(value)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h|d)\s*", value) if isinstance(value, str) else None
    if not match or not float(match[1]):
        raise ValueError(f'not a duration: {value!r}; write "7d", "12h", "30min", "90s" or "never"')
    return float(match[1]) * {"s": 1, "min": 60, "h": 3600, "d": 86400}[match[2]]


def _ring_size(size: int) -> int:
    if not MIN_RING_BYTES <= size <= 1 << 40:
        raise ValueError(f"a ring needs between 1MiB and 1TiB, this is {size} bytes")
    return size


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"bad regular expression {text!r}: {error}") from None
    return text


def _start(text: str) -> str:
    try:
        parse_start(text)
    except ConfigError as error:
        raise ValueError(f"{error.what}: {text!r}; {error.remedy}") from None
    return text


def _listen(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _one_or_more(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


def _host_and_port(text: str) -> str:
    host, _, port = text.strip().rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f'not the address of a ZooKeeper node: {text!r}; write "10.0.0.1:2181"')
    return text.strip()


def _address(text: str) -> str:
    parse_address(text)
    return text


RingSize = Annotated[int, BeforeValidator(parse_size), AfterValidator(_ring_size)]
Size = Annotated[int, BeforeValidator(parse_size)]
Duration = Annotated[float | None, BeforeValidator(parse_duration)]
Regex = Annotated[str, AfterValidator(_regex)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,47}$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class ServerConfig(_Table):
    """[server]: where consumers connect and where files are kept."""

    listen: Annotated[list[Annotated[str, AfterValidator(_address)]], BeforeValidator(_listen)] = ["tcp://127.0.0.1:7411"]
    data_dir: Path = Path("data")
    meta: Literal["file", "memory", "zookeeper", "mixed"] = "file"  # with [cluster]: "zookeeper"
    tls_cert: Path | None = None  # PEM: the server's certificate and its chain, for tls:// addresses
    tls_key: Path | None = None  # PEM
    tls_client_ca: Path | None = None  # PEM: clients must show a certificate of this authority
    max_sessions: int = Field(default=1000, ge=1)
    max_sessions_per_address: int = Field(default=500, ge=1)  # of one IP address; connections by unix socket aren't counted
    max_outstanding: int = Field(default=1000, ge=1)  # batches handed out in a session and not acked
    hello_timeout_s: float = Field(default=10.0, gt=0)  # from connecting to hello, the TLS handshake included
    session_timeout_s: float = Field(default=30.0, ge=1)  # a peer that vanished, takes nothing, or stops inside a frame
    idle_timeout_s: float = Field(default=0.0, ge=0)  # a peer that says nothing, not even to heartbeats; 0: for ever
    stall_kill_s: float = Field(default=60.0, ge=0)  # a stage whose loop stands still for so long is killed; 0: never
    max_frame: Size = 1 << 20  # of what a client sends; a hostile length is refused before anything is allocated
    send_buffer: Size | None = None  # SO_SNDBUF of a consumer's connection; None: the kernel's own, which grows

    @model_validator(mode="after")
    def _tls_has_what_it_needs(self) -> ServerConfig:
        if any(address.startswith("tls:") for address in self.listen) and not (self.tls_cert and self.tls_key):
            raise ValueError("a tls:// address in listen needs tls_cert and tls_key, two PEM files")
        return self


class TokenConfig(_Table):
    """[tokens.NAME]: who says this secret in its hello may read these destinations. The secret itself is never in the config."""

    token_env: str | None = None
    token_file: Path | None = None
    destinations: list[Name] = []  # empty: all
    consumers: list[Name] = []  # empty: any name

    @model_validator(mode="after")
    def _either_variable_or_file(self) -> TokenConfig:
        if bool(self.token_env) == bool(self.token_file):
            raise ValueError("needs either token_env or token_file, and not both")
        return self


class ClusterConfig(_Table):
    """[cluster]: engines on several machines that share the destinations, by way of ZooKeeper."""

    zookeeper: Annotated[list[Annotated[str, AfterValidator(_host_and_port)]], BeforeValidator(_one_or_more)]
    root: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9_.-]+)+$")] = "/binlog-engine"
    name: Name | None = None  # of this engine in the cluster; None: host name and the port that it listens on
    address: Annotated[str, AfterValidator(_address)] | None = None  # where consumers reach it; None: the first of server.listen
    session_timeout_s: float = Field(default=6.0, ge=0.2, le=60)
    balance_after_s: float = Field(default=10.0, ge=0)  # uneven for so long: destinations move to engines that have fewer
    flush_ms: int = Field(default=100, ge=0)  # acks go to ZooKeeper at most this often, per destination
    spares: bool = True  # processes that wait, so that a destination can start here at once


class SourceConfig(_Table):
    """[sources.NAME]: a server, or binlog files."""

    url: str | None = None
    urls: list[str] | None = None  # instead of url: the primary, then its standbys, in the order in which they are tried
    files: list[str] | None = None
    failover_s: float = Field(default=10.0, gt=0)  # the server in use has been away so long, and
    failover_failures: int = Field(default=3, ge=1)  # tried so often in vain: the next of urls is tried
    failover_overlap_s: float = Field(default=60.0, ge=0)  # without GTIDs: so much is read again there; 0: only by GTID
    probe: str | None = None  # a statement that the server in use must answer, not with 0 or NULL
    probe_s: float = Field(default=1.0, gt=0)  # from one to the next
    probe_timeout_s: float = Field(default=1.0, gt=0)  # no answer within this: it has failed
    probe_failures: int = Field(default=3, ge=1)  # so many in a row: the next of urls is tried at once
    password_env: str | None = None
    password_file: Path | None = None
    start: Annotated[str, AfterValidator(_start)] = "latest"
    ring: RingSize = 8 << 20  # small enough to stay in the processor's cache: what waits for consumers waits in the stores
    server_id: int | None = Field(default=None, ge=1, le=2**32 - 1)  # None: one is chosen that no other replica has
    heartbeat_s: float = Field(default=1.0, gt=0)  # the server's replication heartbeat when it has nothing to send
    read_timeout_s: float = Field(default=10.0, gt=0)  # without even a heartbeat: the connection is dead
    statements: Literal["refuse", "deliver"] = "refuse"  # a server whose binlog_format is STATEMENT
    tls: Literal["preferred", "required", "disabled"] = "preferred"
    tls_ca: Path | None = None
    receive_buffer: Size | None = None  # SO_RCVBUF of the connection; None: the kernel's own, which grows

    @model_validator(mode="after")
    def _either_url_or_files(self) -> SourceConfig:
        if sum(map(bool, (self.url, self.urls, self.files))) != 1:
            raise ValueError("needs one of url, urls and files")
        if self.probe and not self.urls:
            raise ValueError("probe is for a source with urls: there is no other server to go to")
        for url in filter(None, [self.url, *(self.urls or [])]):
            parts = urlsplit(url)
            if parts.scheme not in ("mysql", "mariadb") or not (parts.hostname or parts.query):
                raise ValueError('url looks like "mysql://user@host:3306"')
        return self

    def account(self, environ: dict[str, str] | os._Environ[str] = os.environ) -> dict[str, Any]:
        """See settings.account_of."""
        return account_of(self, environ)


def _sync(text: str) -> str:
    if text != "batch" and not re.fullmatch(r"[1-9][0-9]{0,5}ms", text):
        raise ValueError(f'not a way to sync: {text!r}; write "batch" or a pause such as "100ms"')
    return text


class StoreConfig(_Table):
    """store = { kind, size, sync, dir }: the ring that holds one partition of a destination."""

    kind: Literal["memory", "file"] = "memory"
    size: RingSize = 256 << 20
    sync: Annotated[str, AfterValidator(_sync)] = "100ms"  # file: how often it is brought to the disk; "batch": all the time
    dir: Path | None = None  # file: where; None: data_dir/stores
    retain: Duration = None  # how far one wants to be able to go back: `status` complains when it reaches back less

    @property
    def sync_s(self) -> float:
        return sync_s(self.sync)

    @model_validator(mode="after")
    def _sync_takes_a_file(self) -> StoreConfig:
        if self.kind == "memory" and {"sync", "dir"} & self.model_fields_set and self.dir is not None:
            raise ValueError('sync and dir are for kind = "file"')
        return self


class DestinationConfig(_Table):
    """[destinations.NAME]: a named stream."""

    from_: list[Name] = Field(default=[], alias="from")  # empty: every source
    include: list[Regex] = [".*"]
    exclude: list[Regex] = []
    order: Literal["arrival", "commit_time"] = "arrival"
    merge_wait_s: float = Field(default=1.0, ge=0)  # commit_time: how long a silent source may hold the others back
    store: StoreConfig = StoreConfig()
    partitions: int = Field(default=1, ge=1, le=256)
    partition_by: Literal["primary_key", "table"] | list[str] = "primary_key"
    sinks: int = Field(default=1, ge=1, le=32)
    consumers: list[Name] = ["default"]
    consumer_expiry: Duration = 7 * 86400.0  # how long one that isn't listed may be away and hold the stores back
    batch_rows: int = Field(default=10_000, ge=1)
    batch_bytes: Size = Field(default=4 << 20, ge=1)
    batch_wait_ms: int = Field(default=0, ge=0)  # how long a batch may wait to fill up once it has a record
    spin_us: int = Field(default=10, ge=0, le=1_000_000)  # how long a sink looks for records before it sleeps

    @model_validator(mode="after")
    def _sinks_share_partitions(self) -> DestinationConfig:
        if self.sinks > self.partitions:
            raise ValueError(f"sinks = {self.sinks} is more than partitions = {self.partitions}; a sink needs a partition")
        return self


class Config(_Table):
    """The whole file."""

    server: ServerConfig = ServerConfig()
    sources: dict[Name, SourceConfig] = Field(min_length=1)
    destinations: dict[Name, DestinationConfig] = Field(min_length=1)
    cluster: ClusterConfig | None = None
    tokens: dict[Name, TokenConfig] = {}  # empty: every peer may read everything

    @model_validator(mode="before")
    @classmethod
    def _meta_of_a_cluster(cls, tables: Any) -> Any:
        """With [cluster] positions are kept in ZooKeeper unless the file says otherwise."""
        if (
            isinstance(tables, dict)
            and isinstance(server := tables.get("server", {}), dict)
            and tables.get("cluster") is not None
        ):
            return {**tables, "server": {"meta": "zookeeper", **server}}
        return tables

    @model_validator(mode="after")
    def _meta_that_the_cluster_shares(self) -> Config:
        if self.server.meta in ("zookeeper", "mixed") and self.cluster is None:
            raise ValueError(f'server.meta = "{self.server.meta}" needs [cluster] with zookeeper = ["host:2181", ...]')
        if self.server.meta in ("file", "memory") and self.cluster is not None:
            raise ValueError(
                f'with [cluster] server.meta is "zookeeper" or "mixed", not "{self.server.meta}": others must find it'
            )
        return self

    @model_validator(mode="after")
    def _names_exist(self) -> Config:
        for name, destination in self.destinations.items():
            for source in destination.from_:
                if source not in self.sources:
                    near = difflib.get_close_matches(source, self.sources, 1)
                    hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(self.sources)}"
                    raise ValueError(f"destinations.{name}.from names the source {source!r}, which is not there{hint}")
        for name, token in self.tokens.items():
            if missing := sorted(set(token.destinations) - set(self.destinations)):
                raise ValueError(f"tokens.{name}.destinations names {missing[0]!r}, which is not there")
        return self

    def sources_of(self, destination: str) -> list[str]:
        """Names of the sources that feed a destination, in the config's order."""
        return list(self.destinations[destination].from_ or self.sources)


def load_config(path: str | Path) -> Config:
    """Read and check a config file. Relative data_dir, password_file, tls_ca and files are relative to the working directory.

    Raises:
        ConfigError: missing, not TOML, unknown key (names the nearest known one), wrong type or value; the message has
            one line per fault.
    """
    try:
        text = Path(path).read_bytes().decode()
        return Config.model_validate(tomllib.loads(text))
    except OSError as error:
        raise ConfigError("config file can't be read", file=path, error=error.strerror) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("config file is not TOML", file=path, error=error) from None
    except ValidationError as error:
        faults = "; ".join(_explain(fault) for fault in error.errors())
        raise ConfigError(f"config file is wrong: {faults}", file=path) from None


def _explain(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"] if part not in ("list[str]", "[key]"))
    if fault["type"] == "extra_forbidden":
        known = _keys_at(fault["loc"][:-1])
        near = difflib.get_close_matches(str(fault["loc"][-1]), known, 1, 0.5)
        return f"unknown key {where}" + (f", did you mean {near[0]!r}?" if near else f", known here: {', '.join(known)}")
    if fault["type"] == "missing":
        return f"{where} is missing"
    if fault["type"] == "too_short" and where in ("sources", "destinations"):
        return f"{where} is empty; add at least one [{where}.NAME]"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def _keys_at(location: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = Config
    tables: dict[Any, type[BaseModel]] = {
        "server": ServerConfig,
        "cluster": ClusterConfig,
        "sources": SourceConfig,
        "destinations": DestinationConfig,
        "store": StoreConfig,
        "tokens": TokenConfig,
    }
    for part in location:
        model = tables.get(part, model)
    return [field.alias or name for name, field in model.model_fields.items()]
