"""The config in a stage's process: plain data with the names of engine.config, as the supervisor has checked it.

Checking takes pydantic, and that 17 MB of each process that has it: stages name engine.config's types for the type checker alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import unquote, urlsplit

from engine.errors import ConfigError

if TYPE_CHECKING:
    from engine.config import Config, DestinationConfig, SourceConfig

_PATHS = {"data_dir", "tls_cert", "tls_key", "tls_client_ca", "tls_ca", "token_file", "password_file", "dir"}


class Settings:
    """One table of the config."""

    def __init__(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(self, name, Path(value) if name in _PATHS and value is not None else value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and vars(self) == vars(other)

    def model_copy(self, *, update: dict[str, Any]) -> Self:
        """As pydantic's."""
        return type(self)({**vars(self), **update})


class SourceSettings(Settings):
    def account(self) -> dict[str, Any]:
        return account_of(cast("SourceConfig", self))


class StoreSettings(Settings):
    sync: str

    @property
    def sync_s(self) -> float:
        return sync_s(self.sync)


class ConfigSettings(Settings):
    sources: dict[str, SourceConfig]
    destinations: dict[str, DestinationConfig]

    def sources_of(self, destination: str) -> list[str]:
        return list(self.destinations[destination].from_ or self.sources)


def plain_config(tables: dict[str, Any]) -> Config:
    """What Config.model_dump_json(by_alias=True) wrote."""
    destinations = {}
    for name, table in tables["destinations"].items():
        rest = {key: value for key, value in table.items() if key not in ("from", "store")}
        destinations[name] = Settings({**rest, "from_": table["from"], "store": StoreSettings(table["store"])})
    found = {
        "server": Settings(tables["server"]),
        "sources": {name: SourceSettings(table) for name, table in tables["sources"].items()},
        "destinations": destinations,
        "cluster": tables["cluster"] and Settings(tables["cluster"]),
        "tokens": {name: Settings(table) for name, table in tables["tokens"].items()},
    }
    return cast("Config", ConfigSettings(found))


def parse_address(text: str) -> tuple[str, str, int]:
    """`tcp://host:port` → ("tcp", host, port), and so with `tls`; `unix:///path` → ("unix", path, 0).

    Raises:
        ValueError: neither.
    """
    parts = urlsplit(text)
    if parts.scheme in ("tcp", "tls") and parts.hostname and parts.port is not None and parts.path in ("", "/"):
        return parts.scheme, parts.hostname, parts.port
    if parts.scheme == "unix" and parts.path:
        return "unix", parts.path, 0
    raise ValueError(
        f'not an address: {text!r}; write "tcp://127.0.0.1:7411", "tls://0.0.0.0:7412" or "unix:///run/binlog-engine.sock"'
    )


def sync_s(text: str) -> float:
    """`100ms` → 0.1; `batch` → 0."""
    return 0.0 if text == "batch" else int(text.removesuffix("ms")) / 1000


def account_of(source: SourceConfig, environ: dict[str, str] | os._Environ[str] = os.environ) -> dict[str, Any]:
    """host, port, user and password, the password from the URL, password_file, password_env or MYSQL_PWD.

    Raises:
        ConfigError: password_env names a variable that is not set, or password_file can't be read.
    """
    parts = urlsplit(source.url or (source.urls or [""])[0])
    password = unquote(parts.password) if parts.password is not None else None
    if password is None and source.password_file is not None:
        try:
            password = source.password_file.read_text().rstrip("\r\n")
        except OSError as error:
            raise ConfigError(
                "password_file can't be read",
                file=source.password_file,
                error=error.strerror,
                remedy="name a file this account may read",
            ) from None
    if password is None and source.password_env is not None:
        if source.password_env not in environ:
            raise ConfigError(
                "password_env names a variable that is not set",
                variable=source.password_env,
                remedy=f"export {source.password_env}=... before starting the engine",
            )
        password = environ[source.password_env]
    if password is None:
        password = environ.get("MYSQL_PWD", "")
    return {
        "host": parts.hostname or "127.0.0.1",
        "port": parts.port or 3306,
        "user": unquote(parts.username or ""),
        "password": password,
    }
