"""Where the binlog of a live server ends: how far a measurement reads."""

from __future__ import annotations

from typing import NamedTuple

from engine.cli.bench.server_url import source_config


class End(NamedTuple):
    """Where the server's binlog ends, and which server it is."""

    place: tuple[int, int]  # number of the file, offset
    server: str  # as it calls itself


def end_of_binlog(url: str) -> End:
    """Where the server's binlog ends now."""
    from engine.position import parse_start, split_file_name
    from engine.source.connection import Connection

    connection = Connection(source_config(url, "latest"), "bench")
    facts = connection.connect()
    try:
        end = connection.resolve_start(parse_start("latest"))
    finally:
        connection.close()
    return End((split_file_name(end.file)[1], end.offset), f"{facts.flavour} {facts.version_text}")
