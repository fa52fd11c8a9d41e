"""Every row as mysql-replication reads it, against ours: equal wherever it is right; where it is wrong, its fault is named.

Which of the two is right is for test_settings to say, which compares ours with SELECT.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine.client.change import Change
from tests.fidelity.model import Recording
from tests.fidelity.peer_rows import peer_rows, same_as_peer
from tests.fidelity.reading import read_files
from tests.fidelity.settings import newest_binlog
from tests.fidelity.types_under import SCHEMA, readable_types, write_types
from tests.servers.database import Database

pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")  # its own way to call PyMySQL

NO_CODEC = "Python has no codec of that name: bytes come, or text in another charset"
EMPTY_SET = "an empty SET comes as NULL"
NO_ZERO = "zero and invalid dates come as NULL"
EPOCH = "the zero timestamp comes as 1970-01-01"
NEGATIVE = "a fraction is added to a negative TIME instead of taken from it"
FAULTS: dict[str, str] = {
    **dict.fromkeys(("ucs2", "utf16", "utf16le", "swe7"), NO_CODEC),
    **{f"charset {name}": NO_CODEC for name in ("armscii8", "dec8", "eucjpms", "geostd8", "hp8", "keybcs2", "macce")},
    **{f"set of {n}": EMPTY_SET for n in (8, 9, 17, 25, 33, 63, 64)},
    "set": EMPTY_SET,
    "year": "the year 0000 comes as 1900",
    "set with odd labels": EMPTY_SET,
    **{f"datetime({n})": NO_ZERO for n in range(7)},
    **{f"timestamp({n})": EPOCH for n in range(7)},
    **{f"time({n})": NEGATIVE for n in range(1, 7)},
    **dict.fromkeys(("enum in latin1", "enum in utf16"), "labels are read as UTF-8"),
    **dict.fromkeys(("binary", "binary of most bytes", "uuid", "inet4", "inet6"), "zeros at the end of BINARY are lost"),
    **dict.fromkeys(
        ("varbinary", "varbinary of two length bytes", "tinyblob", "blob", "mediumblob", "longblob"), "empty bytes come as text"
    ),
    "json of opaque values": "opaque values come as Python objects or bytes, not as MySQL shows them",
}
RAISES = {  # the reader ends, and all after it is lost
    "mysql": {"date", "latin1", "utf32", "vector", "vector of fifteen"},
    "mariadb": {
        *("date", "latin1", "utf32"),
        *("varchar compressed", "varbinary compressed", "text compressed", "blob compressed"),
    },
}
LEAST_ROWS = 2500


def differing(server: Database, types: dict[str, Any]) -> tuple[set[str], int]:
    """The types of which a value differs, and how many rows were compared."""
    recording = Recording(server)
    server.sql("FLUSH BINARY LOGS")
    first = newest_binlog(server)
    try:
        write_types(recording, types)
    finally:
        recording.close()
    files = [path for path in server.binlog_files() if path.name >= first.name]
    ours = [item for item in read_files(files) if isinstance(item, Change) and item.schema == SCHEMA]
    peers = list(peer_rows(server, SCHEMA, f"{first.name}:4"))
    found = set()
    for change, (op, table, before, after) in zip(ours, peers, strict=True):
        assert (change.op, change.table) == (op, table)
        for mine, theirs in ((change.before, before), (change.after, after)):
            for column in change.columns.columns if mine is not None else ():
                if theirs is None or not same_as_peer(column, mine[column.name], theirs[column.name]):
                    found.add(column.name)
    return found, len(ours)


@pytest.mark.parametrize("kind", [pytest.param(name, marks=getattr(pytest.mark, name)) for name in RAISES])
def test_rows_equal_mysql_replications_but_for_its_named_faults(kind: str, request: pytest.FixtureRequest) -> None:
    make: Callable[..., Database] = request.getfixturevalue(f"make_{kind}")
    types = {name: case for name, case in readable_types(kind).items() if name not in RAISES[kind]}
    found, rows = differing(make(), types)
    assert found == {name for name in FAULTS if name in types}
    assert rows >= LEAST_ROWS


@pytest.mark.parametrize(
    ("kind", "name"),
    [pytest.param(kind, name, marks=getattr(pytest.mark, kind)) for kind in ("mysql",) for name in sorted(RAISES["mysql"])],
)
def test_mysql_replication_ends_with_an_exception_at_values_that_servers_hold(written: Any, kind: str, name: str) -> None:
    with pytest.raises(ValueError, match=r"day|valid MetadataFieldType|codec can't decode"):
        differing(written(kind), {name: readable_types(kind)[name]})
