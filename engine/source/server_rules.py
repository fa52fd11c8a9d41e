"""What a server's settings must be for its binlog to be read: one rule a function, each with what mends it.

The connection refuses a server that breaks an `error` rule; `check` shows them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from engine.source.server_facts import ServerFacts

DAY_S = 86400
METADATA_SINCE = {"mysql": (8, 0, 1), "mariadb": (10, 5, 0)}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `remedy` is SQL or a setting, empty when all is well."""

    level: Literal["ok", "warning", "error"]
    what: str
    found: str
    remedy: str = ""


def setting_findings(facts: ServerFacts, *, statements: str = "refuse") -> list[Finding]:
    """Every rule about settings, in the order in which they are worth mending.

    statements: what the source's config says of a server that logs changes as statements, "refuse" or "deliver".
    """
    if not facts.log_bin:
        return [_log_bin(facts)]  # the others say nothing about a server without a binlog
    return [*(rule(facts) for rule in _RULES), _format(facts, delivered=statements == "deliver")]


def _set(facts: ServerFacts, name: str, value: str) -> str:
    """The statement that changes a global setting for now and after a restart."""
    if facts.is_mariadb:
        literal = value if value.isdigit() else f"'{value}'"
        return f"SET GLOBAL {name}={literal}; and in my.cnf under [mariadb]: {name}={value}"
    return f"SET PERSIST {name}={value};" if value else f"SET PERSIST {name}='';"


def _log_bin(facts: ServerFacts) -> Finding:
    if facts.log_bin:
        return Finding("ok", "log_bin", "ON")
    section = "mariadb" if facts.is_mariadb else "mysqld"
    return Finding(
        "error",
        "log_bin",
        "OFF: the server writes no binlog",
        f"in my.cnf under [{section}]: log_bin=binlog and server_id=1, without skip-log-bin; then restart the server",
    )


def _binlog_engine(facts: ServerFacts) -> Finding:
    if not facts.binlog_engine:
        return Finding("ok", "binlog files", facts.binlog_base)
    return Finding(
        "error",
        "binlog_storage_engine",
        f"{facts.binlog_engine}: a binlog inside a storage engine can't be read yet",
        "in my.cnf remove binlog_storage_engine; then restart the server",
    )


def _server_id(facts: ServerFacts) -> Finding:
    if facts.server_id:
        return Finding("ok", "server_id", str(facts.server_id))
    return Finding("error", "server_id", "0: a server without a number refuses replicas", _set(facts, "server_id", "1"))


def _format(facts: ServerFacts, *, delivered: bool) -> Finding:
    """A server that logs nothing but statements has no changes to give: it is refused unless the config wants the statements."""
    if facts.binlog_format == "ROW":
        return Finding("ok", "binlog_format", "ROW")
    mixed = facts.binlog_format == "MIXED"
    how = "some changes are" if mixed else "changes are"
    what = f"{how} logged, and so delivered, as statements" if mixed or delivered else f"{how} logged as statements"
    remedy = f"{_set(facts, 'binlog_format', 'ROW')} (sessions that are open keep the old value until they reconnect)"
    if not mixed and not delivered:
        remedy += '; or let the source give the statements themselves: statements = "deliver"'
    return Finding(
        "warning" if mixed or delivered else "error", "binlog_format", f"{facts.binlog_format}: {what}, not as rows", remedy
    )


def _row_image(facts: ServerFacts) -> Finding:
    if facts.row_image == "FULL":
        return Finding("ok", "binlog_row_image", "FULL")
    return Finding(
        "warning",
        "binlog_row_image",
        f"{facts.row_image}: rows are logged, and so delivered, without some of their columns",
        f"{_set(facts, 'binlog_row_image', 'FULL')} (sessions that are open keep the old value until they reconnect)",
    )


def _row_metadata(facts: ServerFacts) -> Finding:
    """Without FULL the schema history knows the columns, from the DDL in the binlog and from the server's tables."""
    if facts.row_metadata == "FULL":
        return Finding("ok", "binlog_row_metadata", "FULL")
    cost = "the binlog has no column names: they come from its DDL and from the tables as they are, which takes SELECT on them"
    if not facts.row_metadata:
        needed = ".".join(map(str, METADATA_SINCE[facts.flavour]))
        found = f"unknown to {facts.version_text}: {cost}"
        return Finding("warning", "binlog_row_metadata", found, f"upgrade the server to {needed} or later")
    found = f"{facts.row_metadata}: {cost}"
    return Finding("warning", "binlog_row_metadata", found, _set(facts, "binlog_row_metadata", "FULL"))


def _compression(facts: ServerFacts) -> Finding:
    name = "log_bin_compress" if facts.is_mariadb else "binlog_transaction_compression"
    return Finding("ok", name, "ON" if facts.compression else "OFF")


def _row_value_options(facts: ServerFacts) -> Finding:
    if not facts.row_value_options or facts.row_image == "FULL":
        return Finding("ok", "binlog_row_value_options", facts.row_value_options or "none")
    return Finding(
        "error",
        "binlog_row_value_options",
        f"{facts.row_value_options} without the whole row before: updated JSON documents can't be put together",
        _set(facts, "binlog_row_value_options", ""),
    )


def _checksum(facts: ServerFacts) -> Finding:
    if facts.checksum != "NONE":
        return Finding("ok", "binlog_checksum", facts.checksum)
    return Finding(
        "warning",
        "binlog_checksum",
        "NONE: damage on disk or on the way can't be noticed",
        _set(facts, "binlog_checksum", "CRC32"),
    )


def _replica_updates(facts: ServerFacts) -> Finding:
    name = "log_slave_updates" if facts.is_mariadb else "log_replica_updates"
    return Finding("ok", name, "ON" if facts.replica_updates else "OFF, and the server is no replica")


def _retention(facts: ServerFacts) -> Finding:
    if facts.retention_s == 0:
        return Finding("ok", "binlog retention", "for ever")
    hours = facts.retention_s / 3600
    if facts.retention_s >= DAY_S:
        return Finding("ok", "binlog retention", f"{hours / 24:.1f} days")
    has_seconds = not facts.is_mariadb or facts.version >= (10, 6, 1)
    remedy = _set(facts, *(("binlog_expire_logs_seconds", "604800") if has_seconds else ("expire_logs_days", "7")))
    found = f"{hours:.1f} hours: an engine that is down longer loses changes"
    return Finding("warning", "binlog retention", found, remedy)


def _gtid(facts: ServerFacts) -> Finding:
    if facts.is_mariadb:
        return Finding("ok", "gtid_strict_mode", "ON" if facts.gtid_strict else "OFF")
    return Finding("ok", "gtid_mode", facts.gtid_mode)


_RULES: list[Callable[[ServerFacts], Finding]] = [
    _log_bin,
    _binlog_engine,
    _server_id,
    _row_image,
    _row_metadata,
    _compression,
    _row_value_options,
    _checksum,
    _replica_updates,
    _retention,
    _gtid,
]
