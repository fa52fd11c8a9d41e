"""What `check` finds on a live server: all that the engine needs of it, and the SQL that mends it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from engine.errors import ConnectionLost, EngineError, ServerSetupError, SourceError
from engine.position import parse_start
from engine.source.connection import Connection, replica_ids
from engine.source.dump_command import DumpPosition
from engine.source.event_headers import read_headers
from engine.source.server_facts import ServerFacts
from engine.source.server_rules import Finding, setting_findings

if TYPE_CHECKING:
    from engine.config import SourceConfig

__all__ = ["Finding", "check_server"]

READ_BINLOG = "REPLICATION SLAVE"
SEE_POSITIONS = {"mysql": "REPLICATION CLIENT", "mariadb": "BINLOG MONITOR"}

# Either name of a privilege: MariaDB 10.5 gave some of them new ones, and shows only those.
_SAME_GRANT = {
    "REPLICATION SLAVE": {"REPLICATION SLAVE", "REPLICATION REPLICA"},
    "REPLICATION CLIENT": {"REPLICATION CLIENT", "SUPER"},
    "BINLOG MONITOR": {"BINLOG MONITOR", "REPLICATION CLIENT", "SUPER"},
}


def check_server(config: SourceConfig, name: str) -> list[Finding]:
    """Look at a source's server without changing anything on it; the running engine isn't disturbed.

    Whatever is wrong comes back as a finding of level "error", never as an exception. Ends early where nothing further
    can be seen: no server, or no login.
    """
    connection = Connection(config, name)
    try:
        try:
            facts = connection.login()
        except ConnectionLost as error:
            return [_finding("reachable", error)]
        except ServerSetupError as error:
            return [Finding("ok", "reachable", connection.where), _finding("login", error)]
        findings = [
            Finding("ok", "reachable", connection.where),
            Finding("ok", "login", facts.account),
            Finding("ok", "version", f"{'MariaDB' if facts.is_mariadb else 'MySQL'} {facts.version_text}"),
            _tls(connection, facts),
            *setting_findings(facts, statements=connection.config.statements),
            *_grants(connection, facts),
            *_replica(connection, facts),
            *_own_server_id(connection, facts),
        ]
        if facts.log_bin:
            findings.append(_start(connection))
        return findings
    except EngineError as error:  # whatever breaks off in the middle
        return [_finding("check", error)]
    finally:
        connection.close()


def _finding(what: str, error: EngineError) -> Finding:
    facts = " ".join(f"{name}={value}" for name, value in error.facts.items() if value is not None and name != "source")
    return Finding("error", what, error.what + (f" [{facts}]" if facts else ""), error.remedy)


def _tls(connection: Connection, facts: ServerFacts) -> Finding:
    if connection.tls:
        verified = "certificate verified" if connection.config.tls_ca else "certificate not verified: no tls_ca"
        return Finding("ok", "TLS", f"on, {verified}")
    return Finding("ok", "TLS", "off" if connection.config.tls == "disabled" else "off: the server offers none")


def _grants(connection: Connection, facts: ServerFacts) -> list[Finding]:
    """The two privileges that the engine can't do without."""
    held = _global_privileges(connection)
    findings = []
    for privilege in (READ_BINLOG, SEE_POSITIONS[facts.flavour]):
        if held & (_SAME_GRANT[privilege] | {"ALL PRIVILEGES"}):
            findings.append(Finding("ok", f"grant {privilege}", f"held by {facts.account}"))
        else:
            findings.append(
                Finding(
                    "error",
                    f"grant {privilege}",
                    f"{facts.account} doesn't have it",
                    f"GRANT {privilege} ON *.* TO {facts.account};",
                )
            )
    return findings


def _global_privileges(connection: Connection) -> set[str]:
    """What is granted ON *.* to the account, and by its active roles: `GRANT A, B ON *.* TO ...` → {"A", "B"}."""
    held: set[str] = set()
    for (text,) in connection.query("SHOW GRANTS"):
        if match := re.match(r"GRANT (.+?) ON \*\.\* TO ", str(text)):
            held |= {privilege.strip().upper() for privilege in match[1].split(",")}
    return held


def _replica(connection: Connection, facts: ServerFacts) -> list[Finding]:
    """A replica that doesn't log what it replicates has an incomplete binlog."""
    if facts.replica_updates:
        return []
    if facts.is_mariadb:  # readable without SLAVE MONITOR, which SHOW REPLICA STATUS needs
        replicates = bool(connection.query("SELECT @@GLOBAL.gtid_slave_pos")[0][0])
    else:
        try:
            replicates = bool(connection.query_either("SHOW REPLICA STATUS", "SHOW SLAVE STATUS"))
        except ServerSetupError:
            return []  # the missing grant has a finding of its own
    if not replicates:
        return []
    name = "log_slave_updates" if facts.is_mariadb else "log_replica_updates"
    section = "mariadb" if facts.is_mariadb else "mysqld"
    return [
        Finding(
            "error",
            f"{name} on a replica",
            "OFF: changes that the server replicates are not in its binlog",
            f"in my.cnf under [{section}]: {name}=ON; then restart the server",
        )
    ]


def _own_server_id(connection: Connection, facts: ServerFacts) -> list[Finding]:
    """A configured server_id that is taken: only a warning, since it may be an engine on this config that holds it."""
    own = connection.config.server_id
    remedy = "remove server_id from this source's config: a free one is then chosen"
    if own is None:
        return []
    if own == facts.server_id:
        return [Finding("error", "our server_id", f"{own} is the server's own", remedy)]
    if own in replica_ids(connection):
        found = f"{own} is in use by a replica; unless that is this engine, the two will throw each other out"
        return [Finding("warning", "our server_id", found, remedy)]
    return [Finding("ok", "our server_id", f"{own}, free")]


def _start(connection: Connection) -> Finding:
    """Resolve the configured start, and dump from there until the first packet comes: nothing less proves it."""
    start = connection.config.start
    try:
        position = connection.resolve_start(parse_start(start))
        with connection.beside() as second:
            second.dump(position, to_end=True)
            next(read_headers(second, second.config.read_timeout_s), None)
    except SourceError as error:
        return _finding("start", error)
    return Finding("ok", "start", f"{start} → {_shown(position)}")


def _shown(position: DumpPosition) -> str:
    return f"{position.file}:{position.offset}" if position.gtid is None else f"after {position.gtid}"
