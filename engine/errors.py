"""Every error the engine raises on purpose. The first level says whose move it is.

EngineError
├── ConfigError               the operator: mend the config file or the command line
├── SourceError               MySQL's side
│   ├── ConnectionLost        network or server away; retryable
│   ├── ServerSetupError      binlog off, wrong format, missing grant, wrong password
│   ├── PositionError         the wanted place in the binlog is not to be had
│   └── BinlogError           bytes that can't be read or are not understood (file, offset, event type)
├── PeerError                 the other end of a consumer's connection
│   ├── ProtocolError         bytes that are not the protocol
│   ├── Refused               unknown destination, no right, consumer taken over
│   └── Disconnected          the connection ended; retryable
├── RingError                 shared memory: missing, foreign version, live second writer
├── StoreError                files of a file store: no room, can't be written, damaged, another version
├── MetaError                 positions or table keys can't be read or kept
│   ├── MetaAway              ZooKeeper can't be reached; retryable
│   ├── MetaFull              no room on the disk; nothing was kept; retryable
│   └── LeaseLost             another engine of the cluster owns the destination now: nothing was kept; retryable
└── InternalError             ours: a bug, please report

A message says what happened, then `name=value` facts, then what to do.
"""

from __future__ import annotations


class EngineError(Exception):
    """Root of the tree.

    retryable: whether the same call may succeed later without anyone's help. reason: a snake_case word that names the state
    of a stage that this error stops (`status --json`); programs may rely on it, the message is for people.
    """

    retryable = False
    reason = "failed"

    def __init__(self, what: str, *, remedy: str = "", reason: str = "", **facts: object) -> None:
        self.what = what
        if reason:
            self.reason = reason
        self.facts = facts
        self.remedy = remedy
        shown = " ".join(f"{name}={value}" for name, value in facts.items() if value is not None)
        super().__init__(what + (f" [{shown}]" if shown else "") + (f" — {remedy}" if remedy else ""))


class ConfigError(EngineError):
    """The config file or a command-line argument is wrong."""


class SourceError(EngineError):
    """MySQL's or MariaDB's side."""


class ConnectionLost(SourceError):
    """The server or the network went away."""

    retryable = True
    reason = "connection_lost"


class ServerSetupError(SourceError):
    """The server answers, but isn't set up for replication, or refuses this account."""

    reason = "server_setup"


class PositionError(SourceError):
    """The server no longer has, or never had, the place to start from."""

    reason = "position_unknown"


class BinlogError(SourceError):
    """Bytes of the binlog that are damaged or not understood; carries file, offset and event type as facts."""

    reason = "binlog_damaged"


class PeerError(EngineError):
    """The other end of a consumer's connection."""


class ProtocolError(PeerError):
    """The peer sent bytes that are not the protocol."""


class Refused(PeerError):
    """The server refuses: unknown destination, missing right, consumer taken over by a newer session."""


class Disconnected(PeerError):
    """The connection ended."""

    retryable = True


class RingError(EngineError):
    """A ring can't be made, attached to or taken over."""


class StoreError(EngineError):
    """A file store can't be made, read, written or trusted; names the file, and the offset where it is damaged."""


class MetaError(EngineError):
    """Positions or table keys can't be read or kept."""


class MetaAway(MetaError):
    """ZooKeeper can't be reached, or doesn't answer: whether a write was carried out is not known."""

    retryable = True
    reason = "zookeeper_away"


class MetaFull(MetaError):
    """There is no room on the disk for what was to be kept: nothing of it was kept."""

    retryable = True
    reason = "disk_full"


class LeaseLost(MetaError):
    """Another engine of the cluster owns, or has owned, the destination: what came too late was not kept."""

    retryable = True
    reason = "lease_lost"


class InternalError(EngineError):
    """A bug of ours."""
