"""What a MySQL or MariaDB server's error numbers mean to us: whose move it is, and what mends it.

Numbers are the servers' own (MySQL: "Server Error Message Reference", MariaDB: "MariaDB Error Codes"); those from 2000
to 2999 are the client library's. A dump that breaks off has one number for many faults, 1236, whose texts tell them apart.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

from engine.errors import ConnectionLost, PositionError, ServerSetupError, SourceError

TLS_NOT_OFFERED = 2026  # PyMySQL's number for: TLS is wanted, the server has none
SYNTAX_ERROR = 1064
# Reasons of errors that the source knows how to go on after.
DUPLICATE_ID = "duplicate_server_id"
TRUNCATED = "binlog_truncated"
ACCESS_DENIED = frozenset({1044, 1045, 1142, 1227, 1370})
LOGIN_DENIED = ACCESS_DENIED | {1130, 1698, 1820, 1862, 3118, 3159, 4151}

# The server or the network went away, or the server has no room just now: the same again later may do.
LOST = frozenset({
    1040,  # too many connections
    1053,  # shutdown in progress
    1077, 1079,  # normal shutdown, shutdown complete
    1152, 1184,  # aborted connection
    1158, 1159, 1160, 1161,  # reading or writing packets failed or timed out
    1203, 1226,  # this account has its most connections
    1317, 1927, 3169,  # interrupted, connection or session killed
    1129,  # host blocked after too many failed connections
    2002, 2003, 2005, 2006, 2012, 2013, 2055,  # client: refused, unknown host, gone away, lost
    4031,  # MySQL closed an idle connection
})  # fmt: skip

_REMEDY = {
    1040: "the server has no connection left: raise max_connections or end idle clients",
    1129: "the server blocks this host after too many failed connections: run FLUSH HOSTS or mariadb-admin flush-hosts",
    1203: "this account has its most connections: ALTER USER ... WITH MAX_USER_CONNECTIONS 0, or end other clients",
    1226: "this account has its most connections: ALTER USER ... WITH MAX_USER_CONNECTIONS 0, or end other clients",
    1045: "check the user in the source's url and its password (password_env, password_file or MYSQL_PWD), "
          "and that the account may come from this host",
    1130: "no account may come from this host: CREATE USER 'repl'@'%' IDENTIFIED BY '...'",
    1524: "the account's authentication plugin is not loaded in the server: "
          "ALTER USER ... IDENTIFIED WITH caching_sha2_password BY '...'",
    1251: "the account's authentication method is not known here: "
          "use caching_sha2_password (MySQL) or mysql_native_password (MariaDB)",
    1820: "the account's password has expired: ALTER USER USER() IDENTIFIED BY '...'",
    1862: "the account's password has expired: ALTER USER ... IDENTIFIED BY '...' PASSWORD EXPIRE NEVER",
    3118: "unlock it: ALTER USER ... ACCOUNT UNLOCK",
    3159: 'set tls = "required" (or "preferred") for this source; the server takes no connection without TLS',
    4151: "unlock it: ALTER USER ... ACCOUNT UNLOCK",
}  # fmt: skip

_GONE = 'begin with start = "earliest" or "latest"; what is not in the binlog any more has to be copied from the tables'
_OTHER_HISTORY = "it was purged, or this server was reset or restored, or lags behind the one that the GTID comes from"

# Texts of error 1236, and of MariaDB's numbers for the same: part of the text, class, reason, remedy. The first match counts.
_DUMP_FAULTS: list[tuple[str, type[SourceError], str, str]] = [
    (
        "same server_uuid/server_id",
        ServerSetupError,
        DUPLICATE_ID,
        "remove server_id from this source's config, or give every replica of this server a number of its own",
    ),
    (
        "first log file name in binary log index",
        PositionError,
        "position_purged",
        f"the file was purged or never was there: {_GONE}",
    ),
    (
        "position > file size",
        PositionError,
        "binlog_reset",
        f"a server that was reset or restored has another history under the same file names: {_GONE}",
    ),
    (
        "from impossible position",
        PositionError,
        "position_unknown",
        f"no event begins here; take an offset that SHOW BINLOG EVENTS lists, or {_GONE}",
    ),
    ("purged required binary logs", PositionError, "position_purged", f"transactions after this GTID set were purged: {_GONE}"),
    ("have been purged", PositionError, "position_purged", f"transactions after this GTID were purged: {_GONE}"),
    ("more GTIDs than the", PositionError, "server_behind", f"the GTID set holds what this server doesn't: {_OTHER_HISTORY}"),
    ("not in the master's binlog", PositionError, "server_behind", f"this server doesn't hold the GTID: {_OTHER_HISTORY}"),
    (
        "binlog on the master is missing the GTID",
        PositionError,
        "position_purged",
        f"the binlog has a hole where the GTID stood: {_GONE}",
    ),
    ("AUTO_POSITION mode", ServerSetupError, "", "set gtid_mode=ON on the server, or start from a file and offset"),
    ("server id was not set", ServerSetupError, "", "SET GLOBAL server_id=1 (any number but 0) on the server"),
    ("server_id was not set", ServerSetupError, "", "SET PERSIST server_id=1 (any number but 0) on the server"),
    (
        "exceeded max_allowed_packet",
        SourceError,
        "position_unknown",
        "no event begins at this offset, or one is larger than the server lets through: check the start position, "
        "SET GLOBAL max_allowed_packet=1073741824 on the server",
    ),
    ("Failed to replace GTID event", SourceError, "", "MariaDB must not hide GTID events from us; please report this"),
    (
        "replication events with the checksum",
        ServerSetupError,
        "",
        "SET GLOBAL binlog_checksum=CRC32 on the server, then FLUSH BINARY LOGS",
    ),
    ("truncated in the middle", SourceError, TRUNCATED, "the server's disk is full or its binlog file is damaged"),
    ("crc check", SourceError, "binlog_damaged", "the server's binlog file is damaged on disk: start after the damage"),
    (
        "bogus data in log event",
        PositionError,
        "position_unknown",
        f"no event begins at this offset, or the file is damaged: {_GONE}",
    ),
    ("inary log is not open", ServerSetupError, "", "turn the binlog on: log_bin in the server's my.cnf, and restart"),
]


def dump_error(code: int, message: str, **facts: Any) -> SourceError:
    """The error of an 0xFF packet in a dump's stream, 1236's subcases told apart.

    code, message: as the server sent them, without the SQL state. facts: name=value pairs to show, such as source,
    file and offset.
    """
    if code in LOST:
        return ConnectionLost(f"the server ended the dump: {message}", code=code, **facts, remedy=_REMEDY.get(code, ""))
    for text, kind, reason, remedy in _DUMP_FAULTS:
        if text in message:
            return kind(f"the server ended the dump: {message}", reason=reason, code=code, **facts, remedy=remedy)
    if code in ACCESS_DENIED:
        return missing_grant("REPLICATION SLAVE", message, code=code, **facts)
    return SourceError(
        f"the server ended the dump: {message}", code=code, **facts, remedy="see the server's error log for the cause"
    )


def missing_grant(grant: str, message: str, account: str = "'repl'@'%'", **facts: Any) -> ServerSetupError:
    """The account lacks a global privilege; `account` as GRANT wants it: `'repl'@'%'`."""
    return ServerSetupError(
        f"the account lacks {grant}: {message}", reason="access_denied", **facts, remedy=f"GRANT {grant} ON *.* TO {account};"
    )


def query_error(error: Exception, **facts: Any) -> SourceError:
    """The error of a statement on an open connection."""
    code, message = number_and_text(error)
    if code in LOST or isinstance(error, OSError):
        return ConnectionLost(f"the connection was lost: {message}", code=code or None, **facts)
    return ServerSetupError(f"the server refuses: {message}", code=code, **facts, remedy=_REMEDY.get(code, ""))


def login_error(error: Exception, *, host: str, port: int, user: str, tls_ca: object = None) -> SourceError:
    """The error of making a connection: PyMySQL's, the socket's or TLS's."""
    where = f"{host}:{port}"
    code, message = number_and_text(error)
    cause = getattr(error, "original_exception", error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return ServerSetupError(
            f"the server's certificate is not trusted: {cause.verify_message}",
            server=where,
            tls_ca=tls_ca,
            remedy="tls_ca must name the certificate authority that signed the server's certificate",
        )
    if isinstance(cause, ssl.SSLError):
        return ServerSetupError(
            f"TLS can't be agreed on: {cause.reason or cause}",
            server=where,
            remedy="check the server's tls_version and certificates (ssl_cert, ssl_key)",
        )
    if code == TLS_NOT_OFFERED:
        return ServerSetupError(
            "the server offers no TLS",
            server=where,
            remedy='give the server ssl_cert and ssl_key, or set tls = "preferred" for this source',
        )
    if isinstance(error, RuntimeError) and "pynacl" in message.lower():
        return ServerSetupError(
            "the account logs in by ed25519, which needs the package PyNaCl",
            server=where,
            user=user,
            remedy="install PyNaCl beside the engine, "
            "or ALTER USER ... IDENTIFIED VIA mysql_native_password USING PASSWORD('...')",
        )
    if code in (2059, 2061) or isinstance(error, RuntimeError):
        return ServerSetupError(
            f"the account's authentication plugin is not known here: {message}",
            server=where,
            user=user,
            remedy="ALTER USER ... to caching_sha2_password (MySQL), ed25519 or mysql_native_password (MariaDB)",
        )
    if isinstance(cause, OSError):
        return ConnectionLost(
            f"no connection to the server: {cause.strerror or cause}",
            reason="dns_failure" if isinstance(cause, socket.gaierror) else "",
            server=where,
            remedy="check host and port in the source's url, that the server runs, and the firewall between",
        )
    if code in LOST:
        return ConnectionLost(
            f"no connection to the server: {message}",
            server=where,
            code=code,
            remedy=_REMEDY.get(code, "check that a MySQL or MariaDB server listens on this port"),
        )
    return ServerSetupError(
        f"login refused: {message}", reason="access_denied" if code in LOGIN_DENIED else "",
        server=where, user=user, code=code or None, remedy=_REMEDY.get(code, ""),
    )  # fmt: skip


def number_and_text(error: Exception) -> tuple[int, str]:
    """(1045, "Access denied ...") of a PyMySQL error; number 0 for any other."""
    arguments: tuple[Any, ...] = error.args
    if len(arguments) > 1 and isinstance(arguments[0], int):
        return arguments[0], str(arguments[1])
    return 0, str(error) or type(error).__name__
