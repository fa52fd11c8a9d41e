"""`bench drain URL`: the raw socket of a dump, read and thrown away: the limit of everything else."""

from __future__ import annotations

import time

from engine.cli.bench.result import Result
from engine.cli.bench.server_url import FromOption, JsonOption, UrlArgument, source_config
from engine.errors import ConnectionLost
from engine.position import parse_start

_PIECE_BYTES = 4 << 20
_END_OF_STREAM = 0xFE
_SILENCE_S = 10.0


def drain(url: UrlArgument, from_: FromOption = "earliest", json: JsonOption = False) -> None:
    """Read the server's dump up to where its binlog ends now, without decoding anything."""
    from engine.source.connection import Connection

    connection = Connection(source_config(url, from_), "bench")
    connection.connect()
    try:
        connection.dump(connection.resolve_start(parse_start(from_)), to_end=True)
        piece = memoryview(bytearray(_PIECE_BYTES))
        start = time.perf_counter()
        total = 0
        ended = False
        while not ended:
            n = connection.recv_into(piece)
            if not n:
                if not connection.wait_readable(_SILENCE_S):
                    raise ConnectionLost("the server stopped sending", after_bytes=total)
                continue
            total += n
            # The server ends such a dump with an EOF packet of 5 bytes, the last ones of the stream.
            ended = n >= 9 and piece[n - 5] == _END_OF_STREAM and bytes(piece[n - 9 : n - 6]) == b"\x05\0\0"
        seconds = time.perf_counter() - start
    finally:
        connection.close()
    Result("drain", 0, total, seconds).show(json)
