"""Is this still the binlog that a history was read from, and can another server go on with it? Named states where not.

Reasons: position_purged (the place is gone), binlog_reset (other files under the same names), binlog_renamed, server_changed
(another server at this address), server_behind (it lacks transactions that were delivered), gtids_unknown (nothing to go by).
The source stops there: it never jumps on its own.
"""

from __future__ import annotations

from engine.errors import PositionError
from engine.position import join_file_name, split_file_name
from engine.source.connection import Connection
from engine.source.gtid_set import Gtids, MariadbGtids, MysqlGtids
from engine.source.server_facts import ServerFacts
from engine.source.server_identity import Turn, read_file_mark, server_name
from engine.source.start_position import files

CHOICES = (
    'the engine never jumps by itself: point the url to the server that has it; or choose "binlog-engine source CONFIG begin '
    'SOURCE earliest|latest|TIME|FILE:OFFSET" and copy what is missing from the tables'
)


def check_history(
    connection: Connection, turn: Turn | None, base: str, number: int, offset: int, mark: str | None, executed: Gtids | None
) -> str:
    """Raises unless the server still has this place of the same binlog. Returns the file's mark.

    Raises:
        PositionError: with the reason why not, what is missing and the choices. ConnectionLost: the server went away.
    """
    facts = connection.known_facts
    file = join_file_name(base, number)
    told = {"source": connection.name, "server": connection.where, "file": file, "offset": offset}
    if turn is not None and not facts.is_mariadb and turn.server != server_name(facts):
        raise PositionError(
            "another server answers at this address: its binlog files are others under the same names",
            reason="server_changed", **told, server_uuid=facts.server_uuid, was=turn.server, remedy=CHOICES,
        )  # fmt: skip
    listed = {split_file_name(name): size for name, size in files(connection)}
    first, last = min(listed), max(listed)
    told |= {"first": join_file_name(*first), "last": join_file_name(*last)}
    if base not in {name for name, _ in listed}:
        raise PositionError(
            f"the server's binlog files are not called {base} any more", reason="binlog_renamed", **told, remedy=CHOICES
        )
    if (base, number) not in listed:
        if number < first[1]:
            raise PositionError(
                "the server has purged the place to go on at", reason="position_purged", **told,
                missing=f"{file}:{offset} up to {join_file_name(*first)}", remedy=CHOICES,
            )  # fmt: skip
        raise _reset("the server's binlog was begun anew: it has no such file yet", told)
    if offset > listed[base, number]:
        raise _reset("the server's binlog file ends before the place to go on at", {**told, "size": listed[base, number]})
    found = read_file_mark(connection, file)
    if mark is not None and mark != found:
        changed = turn is not None and facts.is_mariadb and turn.server != server_name(facts)
        raise PositionError(
            "another server answers at this address, with other binlog files under the same names" if changed
            else "the server's binlog was begun anew: this file is another one of the same name",
            reason="server_changed" if changed else "binlog_reset", **told, begun=found, was=mark, remedy=CHOICES,
        )  # fmt: skip
    if executed is not None and (lacking := _lacking(connection, executed)):
        raise _reset(
            "the server's binlog was begun anew: it lacks transactions that were read from it", {**told, "missing": lacking}
        )
    return found


def _reset(what: str, told: dict[str, object]) -> PositionError:
    return PositionError(what, reason="binlog_reset", **told, remedy=CHOICES)


def speaks_gtids(facts: ServerFacts, executed: Gtids | None) -> bool:
    """Whether this server can be told by GTID what was executed."""
    return executed is not None and isinstance(executed, MariadbGtids) == facts.is_mariadb and facts.gtid_mode == "ON"


def check_takeover(connection: Connection, executed: Gtids | None) -> Gtids:
    """Raises unless the server can go on after `executed`: it has all of it, and has purged nothing that comes after.

    Raises:
        PositionError: server_behind (it may catch up), position_purged, gtids_unknown.
    """
    facts = connection.known_facts
    told = {"source": connection.name, "server": connection.where}
    if executed is None or not speaks_gtids(facts, executed):
        raise PositionError(
            "the position can't be carried over to this server by GTID", reason="gtids_unknown", **told,
            executed=executed, gtid_mode=facts.gtid_mode,
            remedy="turn GTIDs on on all servers of the source, or let it go on by time: failover_overlap_s",
        )  # fmt: skip
    if lacking := _lacking(connection, executed):
        raise PositionError(
            "this server lacks transactions that were delivered already", reason="server_behind", **told, missing=lacking,
            remedy="it is asked again, and so are the others: a replica may still apply them. " + CHOICES,
        )  # fmt: skip
    if not facts.is_mariadb:
        purged = _one_line(connection.query("SELECT GTID_SUBTRACT(@@GLOBAL.gtid_purged, %s)", str(executed))[0][0])
        if purged:
            raise PositionError(
                "this server has purged transactions that were not delivered yet", reason="position_purged", **told,
                missing=purged, remedy=CHOICES,
            )  # fmt: skip
    return executed


def _lacking(connection: Connection, executed: Gtids) -> str:
    """What of `executed` the server doesn't have."""
    if isinstance(executed, MysqlGtids):
        if connection.known_facts.gtid_mode == "OFF":
            return ""
        return _one_line(connection.query("SELECT GTID_SUBTRACT(%s, @@GLOBAL.gtid_executed)", str(executed))[0][0])
    has = MariadbGtids.parse(str(connection.query("SELECT @@GLOBAL.gtid_binlog_pos")[0][0] or ""))
    return str(executed.subtract(has))


def _one_line(gtid: object) -> str:
    return "".join(str(gtid or "").split())
