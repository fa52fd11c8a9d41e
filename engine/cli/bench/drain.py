"""`bench drain URL`: the raw socket of a dump, read and thrown away: the limit of everything else."""

from __future__ import annotations

import time

from engine.cli.bench.result import Result
from engine.cli.bench.server_url import FromOption, JsonOption, UrlArgument, source_config
from engine.position import parse_start

_PIECE_BYTES = 4 << 20
_END_OF_STREAM = 0xFE


def drain(url: UrlArgument, from_: FromOption = "earliest", json: JsonOption = False) -> None:
    """Read the server's dump up to where its binlog ends now, without decoding anything."""
    from engine.source.connection import Connection

    connection = Connection(source_config(url, from_), "bench")
    connection.connect()
    try:
        connection.dump(connection.resolve_start(parse_start(from_)), blocking=False)
        piece = memoryview(bytearray(_PIECE_BYTES))
        start = time.perf_counter()
        total = 0
        # Without blocking the server ends the dump with an EOF packet: 5 bytes, the last ones of the stream.
        while True:
            n = connection.recv_into(piece)
            total += n
            if n == 0 or (n >= 9 and piece[n - 5] == _END_OF_STREAM and bytes(piece[n - 9 : n - 6]) == b"\x05\0\0"):
                break
        seconds = time.perf_counter() - start
    finally:
        connection.close()
    Result("drain", 0, total, seconds).show(json)
