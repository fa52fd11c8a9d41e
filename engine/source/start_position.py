"""Where a source begins to read: latest, earliest, a file and offset, a GTID or a time → a place in the binlog.

What is found is always the begin of a transaction (or of what stands between two): nothing is read without its context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from engine.errors import ConfigError, PositionError, ServerSetupError
from engine.position import Start, split_file_name
from engine.source.dump_command import DumpPosition, check_gtid
from engine.source.event_headers import (
    FORMAT_DESCRIPTION,
    GTID,
    GTID_TAGGED,
    ROTATE,
    TRANSACTION_STARTS,
    EventHeader,
    Stream,
    read_headers,
    read_located,
)
from engine.source.gtid import parse_tagged_gtid
from engine.source.gtid_set import Gtids, MysqlGtids, parse_gtids

if TYPE_CHECKING:
    from engine.source.connection import Connection

PREVIOUS_GTIDS = 35
_EXECUTED = {PREVIOUS_GTIDS, GTID, GTID_TAGGED}  # events that say what was executed
FIRST_OFFSET = 4  # after the file's magic bytes

# Events that stand between transactions: a dump may begin at any of them.
_BETWEEN = TRANSACTION_STARTS | {
    3,  # STOP
    ROTATE,
    FORMAT_DESCRIPTION,
    26,  # INCIDENT
    PREVIOUS_GTIDS,
    161,  # MariaDB BINLOG_CHECKPOINT
    163,  # MariaDB GTID_LIST
    164,  # MariaDB START_ENCRYPTION
}


def resolve(connection: Connection, start: Start) -> DumpPosition:
    """The place to dump from.

    Raises:
        PositionError: the server doesn't have it; says what it has.
        ConnectionLost, ServerSetupError: the server went away, or lacks a privilege or a binlog.
    """
    if start.kind == "latest":
        return latest(connection)
    if start.kind == "earliest":
        return DumpPosition(files(connection)[0][0], FIRST_OFFSET)
    if start.kind == "gtid":
        return _by_gtid(connection, start.gtid)
    if start.kind == "file":
        return _by_file(connection, start.file, start.offset)
    assert start.time is not None
    return _by_time(connection, start.time)


def latest(connection: Connection) -> DumpPosition:
    """Where the binlog ends now."""
    rows = connection.query_either("SHOW BINARY LOG STATUS", "SHOW MASTER STATUS", "SHOW BINLOG STATUS")
    if not rows:
        raise _no_binlog(connection)
    return DumpPosition(str(rows[0][0]), int(rows[0][1]))


def executed_before(connection: Connection, position: DumpPosition) -> Gtids | None:
    """What was executed before this place; None: the binlog has no GTIDs, or its first events will say it."""
    facts = connection.known_facts
    if position.gtid is not None:
        return parse_gtids(facts.flavour, position.gtid)
    if position.offset == FIRST_OFFSET or facts.gtid_mode != "ON":
        return None
    if facts.is_mariadb:
        found = connection.query("SELECT BINLOG_GTID_POS(%s, %s)", position.file, position.offset)[0][0]
        return None if found is None else parse_gtids(facts.flavour, str(found))
    return _mysql_executed(connection, position)


def _mysql_executed(connection: Connection, position: DumpPosition) -> Gtids | None:
    """Reads the file's events up to the place, or asks the server where that is the binlog's end."""
    row = connection.query_either("SHOW BINARY LOG STATUS", "SHOW MASTER STATUS")[0]
    if (str(row[0]), int(row[1])) == (position.file, position.offset):
        return parse_gtids("mysql", str(row[4]))
    with connection.beside() as second:
        second.dump(DumpPosition(position.file, FIRST_OFFSET), to_end=True)
        return executed_in_file(second, second.config.read_timeout_s, position.offset)


def executed_in_file(dump: Stream, timeout_s: float, offset: int) -> MysqlGtids | None:
    """What was executed before this offset of the file that the dump begins with; None: the file doesn't say."""
    executed: MysqlGtids | None = None
    for event, packet in read_located(dump, timeout_s, _EXECUTED):
        if event.made_up:
            continue
        if event.start >= offset or event.type == ROTATE:
            break
        body = bytes(packet[20:])
        if event.type == PREVIOUS_GTIDS:
            executed = MysqlGtids.decode(body)
        elif event.type in _EXECUTED and executed is not None:
            if event.type == GTID:
                uuid, tag, number = body[1:17], "", int.from_bytes(body[17:25], "little")
            else:
                tagged = parse_tagged_gtid(body, PositionError)
                uuid, tag, number = tagged.uuid, tagged.tag.decode(), tagged.number
            executed.add((str(UUID(bytes=uuid)), tag), number, number)
    return executed


def files(connection: Connection) -> list[tuple[str, int]]:
    """(name, size in bytes) of the server's binlog files, oldest first; never empty."""
    if not connection.known_facts.log_bin:
        raise _no_binlog(connection)
    listed = [(str(row[0]), int(row[1])) for row in connection.query("SHOW BINARY LOGS")]
    if not listed:
        raise _no_binlog(connection)
    return listed


def _no_binlog(connection: Connection) -> ServerSetupError:
    return ServerSetupError(
        "the server writes no binlog",
        source=connection.name,
        server=connection.where,
        remedy="in my.cnf: log_bin=binlog and server_id=1, without skip-log-bin; then restart the server",
    )


def _by_file(connection: Connection, file: str, offset: int) -> DumpPosition:
    """A file and offset from outside: looked at first, since servers answer a wrong one late and in riddles."""
    listed = files(connection)
    name, size = next(((name, size) for name, size in listed if _same_file(name, file)), ("", 0))
    facts = {
        "first": f"{listed[0][0]}:{FIRST_OFFSET}",
        "last": f"{listed[-1][0]}:{listed[-1][1]}",
        "server": connection.where,
    }
    if not name:
        raise PositionError(
            f"the server has no binlog file {file}",
            source=connection.name,
            **facts,
            remedy='it was purged or belongs to another server; start from one between first and last, or "earliest"',
        )
    if offset > size:
        raise PositionError(
            f"{name} ends before offset {offset}",
            source=connection.name,
            size=size,
            **facts,
            remedy="take an offset up to the file's size",
        )
    if offset in (FIRST_OFFSET, size):
        return DumpPosition(name, offset)
    for event in _events(connection, name, offset):
        if not event.made_up and event.file == name:
            if event.type in _BETWEEN:
                return DumpPosition(name, offset)
            break
    return DumpPosition(name, _transaction_around(connection, name, offset))


def _same_file(one: str, other: str) -> bool:
    """binlog.1000000 and binlog.01000000 are one file: numbers are compared as numbers."""
    try:
        return split_file_name(one) == split_file_name(other)
    except ConfigError:
        return one == other


def _transaction_around(connection: Connection, file: str, offset: int) -> int:
    """The begin of the transaction that has an event at this offset: reads the file's headers from its begin."""
    begin = FIRST_OFFSET
    for event in _events(connection, file, FIRST_OFFSET):
        if event.made_up:
            continue
        if event.file != file or event.start > offset:
            break
        if event.type in _BETWEEN:
            begin = event.start
        if event.start == offset:
            return begin
    raise PositionError(
        f"no event of {file} begins at offset {offset}",
        source=connection.name,
        nearest_before=f"{file}:{begin}",
        remedy="take an offset that a consumer or SHOW BINLOG EVENTS names",
    )


def _by_gtid(connection: Connection, gtid: str) -> DumpPosition:
    """After the transactions of this set. MySQL's purged ones are looked at now; MariaDB tells when the dump begins."""
    facts = connection.known_facts
    gtid = "".join(gtid.split())
    check_gtid(facts.flavour, gtid)
    if facts.is_mariadb:
        return DumpPosition("", FIRST_OFFSET, gtid)
    if facts.gtid_mode not in ("ON", "ON_PERMISSIVE"):
        raise ServerSetupError(
            f"a GTID start needs gtid_mode=ON, it is {facts.gtid_mode}",
            source=connection.name,
            server=connection.where,
            remedy="turn GTIDs on (gtid_mode, enforce_gtid_consistency), or start from a file and offset",
        )
    missing = connection.query("SELECT GTID_SUBTRACT(@@GLOBAL.gtid_purged, %s), @@GLOBAL.gtid_purged", gtid)[0]
    if missing[0]:
        raise PositionError(
            "the server has purged transactions that come after this GTID set",
            source=connection.name,
            server=connection.where,
            gtid=gtid,
            missing=_one_line(missing[0]),
            purged=_one_line(missing[1]),
            remedy='start with "earliest", and copy what is not in the binlog any more from the tables',
        )
    return DumpPosition("", FIRST_OFFSET, gtid)


def _one_line(gtid: object) -> str:
    return "".join(str(gtid).split())


def _by_time(connection: Connection, wanted: datetime) -> DumpPosition:
    """The first transaction of the wanted second or later, by the times in event headers: the statement's start."""
    second = int(wanted.timestamp())
    listed, oldest = _files_since(connection)
    if oldest > second:
        raise PositionError(
            "the server's binlog begins after the wanted time",
            source=connection.name,
            server=connection.where,
            wanted=_utc(second),
            oldest=_utc(oldest),
            first=f"{listed[0]}:{FIRST_OFFSET}",
            remedy='start with "earliest", or with a time from oldest on',
        )
    return _first_since(connection, listed, second, lambda event: event.timestamp >= second)


def by_origin(connection: Connection, origin_us: int) -> DumpPosition:
    """The first transaction that was made at `origin_us` or later, wherever that was: what a source goes on with by time.

    Raises:
        PositionError: position_purged: the binlog begins later, so something may be missing.
    """
    second = origin_us // 1_000_000
    listed, oldest = _files_since(connection)
    if oldest > second:
        raise PositionError(
            "this server's binlog begins after the time to go on from",
            reason="position_purged",
            source=connection.name,
            server=connection.where,
            missing=f"{_utc(second)} up to {_utc(oldest)}",
            remedy="it is asked again, and so are the others; a shorter failover_overlap_s needs less of its binlog",
        )
    return _first_since(connection, listed, second, lambda event: event.origin_us >= origin_us)


def _files_since(connection: Connection) -> tuple[list[str], int]:
    """The binlog's files, and when the oldest was begun, in seconds since 1970."""
    listed = [name for name, _ in files(connection)]
    return listed, _created(connection, listed[0])


def _first_since(connection: Connection, listed: list[str], second: int, reached: Callable[[EventHeader], bool]) -> DumpPosition:
    """The first transaction that `reached` says yes to, or the binlog's end.

    Bisects over the files' first events, then reads headers within one file; a file is left out only if the next one is
    older than the wanted second too.
    """
    low, high = 0, len(listed)  # listed[low] is older than the wanted second, or the first; listed[high] is not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _created(connection, listed[middle]) < second else (low, middle)
    end = DumpPosition(listed[low], FIRST_OFFSET)
    for event in _events(connection, listed[low], FIRST_OFFSET):
        if event.made_up:
            continue
        if event.type in TRANSACTION_STARTS and reached(event):
            return DumpPosition(event.file, event.start)
        end = DumpPosition(event.file, event.end)
    return end


def _created(connection: Connection, file: str) -> int:
    """When the server began this file, in seconds since 1970: the time of its FORMAT_DESCRIPTION event."""
    for event in _events(connection, file, FIRST_OFFSET):
        if event.type == FORMAT_DESCRIPTION:
            return event.timestamp
    raise PositionError("a binlog file has no FORMAT_DESCRIPTION event", source=connection.name, file=file)


def _events(connection: Connection, file: str, offset: int) -> Iterator[EventHeader]:
    """Headers from here to the binlog's end, over a connection of its own that ends with the loop."""
    with connection.beside() as second:
        second.dump(DumpPosition(file, offset), to_end=True, annotations=True)
        yield from read_headers(second, second.config.read_timeout_s)


def _utc(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
