"""Error 1236 and its kin: the texts that stand in the servers' programs, each told apart by class, reason and remedy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.errors import BinlogError, PositionError, ServerSetupError, SourceError
from engine.source.server_errors import dump_error
from engine.source.server_facts import ServerFacts
from engine.source.server_rules import setting_findings
from tests.source.decoding import decode_packets
from tests.source.made_binlog import MadeBinlog, packet, rotate_event

OTHER = "{} with the same server_uuid/server_id as this {} has connected to the {}"


FIRST_NAME = "Could not find first log file name in binary log index file"
OLDEST = " while looking for the oldest binary log that contains any GTID that is not in the given gtid set"
PURGED = "Cannot replicate because the source purged required binary logs."
HOLE = "The binlog on the master is missing the GTID 0-1-7 requested by the slave, and GTID strict mode is enabled"
NOT_THERE = "Error: connecting slave requested to start from GTID 0-1-9, which is not in the master's binlog"
MORE = "Replica has more GTIDs than the source has, using the source's SERVER_UUID."
LARGE = "log event entry exceeded max_allowed_packet; Increase max_allowed_packet on source"
HIDDEN = "Failed to replace GTID event with backwards-compatible event: "
SUMS = "Slave can not handle replication events with the checksum that master is configured to log"
NO_GTIDS = "The replication sender thread cannot start in AUTO_POSITION mode: this server has GTID_MODE = OFF instead of ON."
CUT = "binlog truncated in the middle of event; consider out of disk space on source"
IMPOSSIBLE = "Client requested master to start replication from impossible position"
BEYOND = "Client requested source to start replication from position > file size"


@pytest.mark.parametrize(
    ("message", "kind", "reason", "remedy"),
    [
        (FIRST_NAME, PositionError, "position_purged", "earliest"),
        (FIRST_NAME + OLDEST, PositionError, "position_purged", "earliest"),
        (PURGED, PositionError, "position_purged", "purged"),
        (HOLE, PositionError, "position_purged", "hole"),
        (NOT_THERE, PositionError, "server_behind", "doesn't hold the GTID"),
        (MORE, PositionError, "server_behind", "GTID set"),
        (IMPOSSIBLE, PositionError, "position_unknown", "offset"),
        (BEYOND, PositionError, "binlog_reset", "reset"),
        (LARGE, SourceError, "position_unknown", "max_allowed_packet=1073741824"),
        ("bogus data in log event", PositionError, "position_unknown", "damaged"),
        (OTHER.format("A slave", "slave", "master"), ServerSetupError, "duplicate_server_id", "number of its own"),
        (OTHER.format("A replica", "replica", "source"), ServerSetupError, "duplicate_server_id", "number of its own"),
        (HIDDEN + "currupt event.", SourceError, "failed", "report this"),
        (HIDDEN + "corrupt event.", SourceError, "failed", "report this"),
        (SUMS, ServerSetupError, "server_setup", "binlog_checksum=CRC32"),
        (NO_GTIDS, ServerSetupError, "server_setup", "gtid_mode=ON"),
        (CUT, SourceError, "binlog_truncated", "disk"),
        ("event read from binlog did not pass crc check", SourceError, "binlog_damaged", "damaged"),
        ("Binary log is not open", ServerSetupError, "server_setup", "log_bin"),
        ("something that no server says today", SourceError, "failed", "error log"),
    ],
)
def test_each_reason_for_which_a_server_ends_a_dump_is_told_apart(
    message: str, kind: type[SourceError], reason: str, remedy: str
) -> None:
    error = dump_error(1236, message, source="shop", file="binlog.000001", offset=4)
    assert type(error) is kind
    assert error.reason == reason
    assert remedy in error.remedy
    assert message in str(error)
    assert "source=shop" in str(error)


def test_a_binlog_inside_a_storage_engine_is_refused_by_name() -> None:
    """MariaDB 12.3: without files, and with positions of zero in its events."""
    facts = ServerFacts(
        "mariadb", (12, 3, 0), "12.3.0-MariaDB", 1, "", "'repl'@'%'", True, "binlog", "", "CRC32", "ROW", "FULL", "FULL", "",
        False, "ON", True, True, 0,
    )  # fmt: skip
    assert not [finding for finding in setting_findings(facts) if finding.level == "error"]
    [finding] = [one for one in setting_findings(replace(facts, binlog_engine="innodb")) if one.level == "error"]
    assert "can't be read" in finding.found
    assert "remove binlog_storage_engine" in finding.remedy


@pytest.mark.parametrize("first", ["rotate", "nothing"])
def test_a_stream_that_does_not_say_its_format_first_is_refused_and_not_guessed_at(first: str) -> None:
    """As MariaDB 12.3 may begin one."""
    made = MadeBinlog()
    made.transaction([(1, b"x")])
    events = [packet(b"\0" + event) for event in made.events[1:]]
    rotate = packet(b"\0" + rotate_event("binlog.000001", 4, True))
    with pytest.raises(BinlogError, match="FORMAT_DESCRIPTION"):
        decode_packets(b"".join([rotate, *events] if first == "rotate" else events))
