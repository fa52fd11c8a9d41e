"""What a server is and how it is set up, read once after login with one SHOW; no privilege is needed for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

Query = Callable[..., tuple[tuple[Any, ...], ...]]

VARIABLES = (
    *("version", "server_id", "server_uuid", "server_uid", "log_bin", "log_bin_basename", "binlog_checksum"),
    *("binlog_format", "binlog_row_image", "binlog_row_metadata", "binlog_row_value_options", "log_bin_compress"),
    *("binlog_transaction_compression", "binlog_storage_engine", "gtid_mode", "gtid_strict_mode"),
    *("log_replica_updates", "log_slave_updates", "binlog_expire_logs_seconds", "expire_logs_days"),
)


@dataclass(frozen=True)
class ServerFacts:
    """The settings that matter to a replica; one that this version doesn't have is "" or its only value."""

    flavour: str  # "mysql" or "mariadb"
    version: tuple[int, int, int]
    version_text: str
    server_id: int
    server_uuid: str  # MySQL: server_uuid; MariaDB: server_uid (10.11 and later), else ""
    account: str  # who we are to the server, as GRANT wants it: 'repl'@'%'
    log_bin: bool
    binlog_base: str  # "binlog" of binlog.000012
    binlog_engine: str  # "innodb" where MariaDB 12.3 keeps the binlog in InnoDB, else ""
    checksum: str  # "CRC32" or "NONE"
    binlog_format: str  # "ROW", "MIXED", "STATEMENT"
    row_image: str  # "FULL", "NOBLOB", "MINIMAL"
    row_metadata: str  # "FULL", "MINIMAL", "NO_LOG"; "" where the version has no metadata
    row_value_options: str  # MySQL: "" or "PARTIAL_JSON"
    compression: bool  # MySQL: binlog_transaction_compression; MariaDB: log_bin_compress
    gtid_mode: str  # MySQL: "ON", "ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF"; MariaDB: always "ON"
    gtid_strict: bool  # MariaDB: gtid_strict_mode
    replica_updates: bool  # whether what it replicates gets into its own binlog
    retention_s: float  # how long binlog files are kept; 0: for ever

    @property
    def is_mariadb(self) -> bool:
        return self.flavour == "mariadb"


def read_facts(query: Query) -> ServerFacts:
    """Ask the server. `query(sql)` returns all rows."""
    names = ", ".join(f"'{name}'" for name in VARIABLES)
    shown = query(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
    value = {name.lower(): text for name, text in shown}
    text = value["version"]
    flavour = "mariadb" if "mariadb" in text.lower() else "mysql"
    compression = value.get("log_bin_compress" if flavour == "mariadb" else "binlog_transaction_compression", "OFF")
    updates = value.get("log_replica_updates") or value.get("log_slave_updates", "ON")
    return ServerFacts(
        flavour=flavour,
        version=version_numbers(text),
        version_text=text,
        server_id=int(value["server_id"]),
        server_uuid=value.get("server_uuid" if flavour == "mysql" else "server_uid", ""),
        account=_account(str(query("SELECT CURRENT_USER()")[0][0])),
        log_bin=value.get("log_bin") == "ON",
        binlog_base=PurePath(value.get("log_bin_basename", "")).name,
        binlog_engine=value.get("binlog_storage_engine", ""),
        checksum=value.get("binlog_checksum", "NONE"),
        binlog_format=value.get("binlog_format", "ROW"),
        row_image=value.get("binlog_row_image", "FULL"),
        row_metadata=value.get("binlog_row_metadata", ""),
        row_value_options=value.get("binlog_row_value_options", ""),
        compression=compression == "ON",
        gtid_mode="ON" if flavour == "mariadb" else value.get("gtid_mode", "OFF"),
        gtid_strict=value.get("gtid_strict_mode") == "ON",
        replica_updates=updates == "ON",
        retention_s=_retention_s(value),
    )


def version_numbers(text: str) -> tuple[int, int, int]:
    """`10.11.19-MariaDB-log` → (10, 11, 19); the 5.5.5- that old MariaDB puts in front is not its version."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text.removeprefix("5.5.5-"))
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else (0, 0, 0)


def _account(current_user: str) -> str:
    user, _, host = (part.replace("'", "''") for part in current_user.rpartition("@"))
    return f"'{user}'@'{host}'"


def _retention_s(value: dict[str, str]) -> float:
    seconds = float(value.get("binlog_expire_logs_seconds") or 0)
    return seconds or float(value.get("expire_logs_days") or 0) * 86400
