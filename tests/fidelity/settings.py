"""The settings of the servers under which the stream must stay true: the other rows of docs/fidelity.md."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fidelity.capabilities import CAPABILITIES, supported
from tests.fidelity.column_types import ALL, MARIADB, MARIADB_NEXT, MYSQL
from tests.servers.database import Database

GTID_STEPS = ("OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON")  # MySQL goes from one to the other only step by step


@dataclass(frozen=True)
class Setting:
    """variables: set globally while the statements run; session: statements of the writing session."""

    servers: frozenset[str]
    variables: tuple[tuple[str, str], ...] = ()
    session: tuple[str, ...] = ()
    sparse: bool = False  # images may lack columns
    needs: tuple[str, ...] = ()  # capabilities

    @property
    def supported(self) -> bool:
        return all(map(supported, self.needs))

    @property
    def refusal(self) -> str:
        """A regex of what the error must name while it is not supported."""
        return "|".join(CAPABILITIES[name] for name in self.needs)


def _image(value: str) -> tuple[tuple[str, str], ...]:
    return (("binlog_row_image", value),)


def _metadata(value: str) -> tuple[tuple[str, str], ...]:
    return (("binlog_row_metadata", value),)


NO_CHECKSUM = (("binlog_checksum", "NONE"),)
COMPRESSED_MARIADB = (("log_bin_compress", "ON"), ("log_bin_compress_min_len", "10"))
COMPRESSED_MYSQL = (("binlog_transaction_compression", "ON"),)
PARTIAL = (("binlog_row_value_options", "PARTIAL_JSON"),)

SETTINGS: dict[str, Setting] = {
    "as docs/operations.md asks for": Setting(ALL),
    "row image MINIMAL": Setting(ALL, _image("MINIMAL"), sparse=True),
    "row image NOBLOB": Setting(ALL, _image("NOBLOB"), sparse=True),
    "row image FULL_NODUP": Setting(MARIADB_NEXT, _image("FULL_NODUP"), sparse=True),
    "checksum NONE": Setting(ALL, NO_CHECKSUM),
    "checksum NONE, row image MINIMAL": Setting(ALL, NO_CHECKSUM + _image("MINIMAL"), sparse=True),
    "row metadata MINIMAL": Setting(ALL, _metadata("MINIMAL"), needs=("metadata MINIMAL",)),
    "row metadata NO_LOG": Setting(MARIADB, _metadata("NO_LOG"), needs=("metadata NO_LOG",)),
    "row metadata MINIMAL, row image MINIMAL": Setting(
        ALL, _metadata("MINIMAL") + _image("MINIMAL"), sparse=True, needs=("metadata MINIMAL",)
    ),
    "transaction compression": Setting(MYSQL, COMPRESSED_MYSQL),
    "transaction compression, checksum NONE, row image MINIMAL": Setting(
        MYSQL, COMPRESSED_MYSQL + NO_CHECKSUM + _image("MINIMAL"), sparse=True
    ),
    "log_bin_compress": Setting(MARIADB, COMPRESSED_MARIADB, needs=("log_bin_compress",)),
    "log_bin_compress, checksum NONE, row image NOBLOB": Setting(
        MARIADB, COMPRESSED_MARIADB + NO_CHECKSUM + _image("NOBLOB"), sparse=True, needs=("log_bin_compress",)
    ),
    "partial JSON": Setting(MYSQL, PARTIAL, needs=("partial JSON",)),
    "partial JSON, row image MINIMAL": Setting(MYSQL, PARTIAL + _image("MINIMAL"), sparse=True, needs=("partial JSON",)),
    "partial JSON, transaction compression": Setting(MYSQL, PARTIAL + COMPRESSED_MYSQL, needs=("partial JSON",)),
    "rows-query events": Setting(MYSQL, (("binlog_rows_query_log_events", "ON"),)),
    "annotate events off": Setting(MARIADB, session=("SET SESSION binlog_annotate_row_events = OFF",)),
    "GTID off (anonymous)": Setting(MYSQL, (("gtid_mode", "OFF"),)),
    "GTID tagged": Setting(MYSQL, session=("SET SESSION gtid_next = 'AUTOMATIC:fidelity'",)),
    "GTID domain": Setting(MARIADB, session=("SET SESSION gtid_domain_id = 7",)),
    "mysql56_temporal_format OFF": Setting(MARIADB, (("mysql56_temporal_format", "OFF"),)),
    "mysql56_temporal_format OFF, row metadata NO_LOG": Setting(
        MARIADB, (("mysql56_temporal_format", "OFF"), *_metadata("NO_LOG")), needs=("metadata NO_LOG",)
    ),
    "server's time zone": Setting(ALL, (("time_zone", "+05:30"),)),
    "statement format STATEMENT": Setting(MARIADB, session=("SET SESSION binlog_format = STATEMENT",), needs=("statements",)),
    "statement format MIXED": Setting(MARIADB, session=("SET SESSION binlog_format = MIXED",), needs=("statements",)),
}


def settings_of(server: str) -> list[str]:
    return [name for name, setting in SETTINGS.items() if server in setting.servers]


@contextmanager
def applied(server: Database, setting: Setting) -> Iterator[None]:
    """The server with this setting, on a binlog file of its own; as it was, afterwards."""
    before = {name: str(server.sql(f"SELECT @@GLOBAL.{name}")[0][0]) for name, _ in setting.variables}
    for name, value in setting.variables:
        set_global(server, name, value)
    server.sql("FLUSH BINARY LOGS")
    try:
        yield
    finally:
        for name, value in before.items():
            set_global(server, name, value)
        server.sql("FLUSH BINARY LOGS")


def set_global(server: Database, name: str, value: str) -> None:
    if name == "gtid_mode":
        now = GTID_STEPS.index(str(server.sql("SELECT @@GLOBAL.gtid_mode")[0][0]))
        to = GTID_STEPS.index(value)
        step = 1 if to > now else -1
        for i in range(now + step, to + step, step) if to != now else ():
            server.sql(f"SET GLOBAL gtid_mode = {GTID_STEPS[i]}")
        return
    server.sql(f"SET GLOBAL {name} = {value if value.isdigit() else repr({'1': 'ON', '0': 'OFF'}.get(value, value))}")


def newest_binlog(server: Database) -> Path:
    """The file that is being written."""
    return server.binlog_files()[-1]
