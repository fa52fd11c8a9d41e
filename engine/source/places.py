"""Where a start lies in a source's binlog, as file and offset: for those who move consumers there without reading on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ConfigError, PositionError
from engine.position import Start, split_file_name
from engine.source.connection import Connection
from engine.source.dump_command import DumpPosition
from engine.source.event_headers import TRANSACTION_STARTS, read_headers
from engine.source.files import find_files

if TYPE_CHECKING:
    from engine.config import SourceConfig

FIRST_OFFSET = 4


def locate(settings: SourceConfig, source: str, start: Start) -> tuple[str, int, int]:
    """Base name, file number and offset of the first transaction that a reader from `start` gets, or of the binlog's end.

    Asks the server, so what isn't there is refused.

    Raises:
        PositionError: no such place. ConnectionLost, ServerSetupError: the server can't be asked.
        ConfigError: a start that binlog files can't be searched for.
    """
    if settings.files:
        return _in_files(settings.files, source, start)
    connection = Connection(settings, source)
    try:
        connection.connect()
        position = connection.resolve_start(start)
        if position.gtid is not None:
            position = _after_set(connection, position)
    finally:
        connection.close()
    return (*split_file_name(position.file), position.offset)


def _after_set(connection: Connection, position: DumpPosition) -> DumpPosition:
    """The first transaction that isn't in the GTID set. What the server leaves out before it hides where that begins: its end
    is found first, then, in the file itself, the event that ends there."""
    timeout_s = connection.config.read_timeout_s
    with connection.beside() as dump:
        dump.dump(position, to_end=True)
        first = next((e for e in read_headers(dump, timeout_s) if not e.made_up and e.type in TRANSACTION_STARTS), None)
    if first is None:
        return connection.resolve_start(Start("latest"))
    with connection.beside() as dump:
        dump.dump(DumpPosition(first.file, FIRST_OFFSET), to_end=True, annotations=True)
        for event in read_headers(dump, timeout_s):
            if (event.file, event.end) == (first.file, first.end) and not event.made_up:
                return DumpPosition(event.file, event.start)
    raise PositionError(
        "the transaction after this GTID set can't be found in its file", source=connection.name, gtid=position.gtid,
        file=first.file, end=first.end, remedy="name the place by file and offset",
    )  # fmt: skip


def _in_files(patterns: list[str], source: str, start: Start) -> tuple[str, int, int]:
    files = find_files(patterns)
    if start.kind == "earliest":
        return files[0].base, files[0].number, FIRST_OFFSET
    if start.kind == "latest":
        return files[-1].base, files[-1].number, Path(files[-1].path).stat().st_size
    if start.kind != "file":
        raise ConfigError(
            "binlog files can't be searched for this start", source=source, start=start.kind,
            remedy='use "earliest", "latest" or a place such as "binlog.000012:4"',
        )  # fmt: skip
    base, number = split_file_name(start.file)
    found = [file for file in files if (file.base, file.number) == (base, number)]
    if not found or start.offset > Path(found[0].path).stat().st_size:
        raise PositionError("no such place in the source's files", source=source, position=f"{start.file}:{start.offset}")
    return base, number, start.offset
