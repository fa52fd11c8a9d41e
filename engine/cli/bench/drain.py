"""`bench drain URL`: the raw socket of a dump, read and thrown away: the limit of everything else."""

from __future__ import annotations

import time

from engine.cli.bench.binlog_end import end_of_binlog
from engine.cli.bench.result import Limit, Result
from engine.cli.bench.server_url import FromOption, JsonOption, RepeatOption, UrlArgument, source_config
from engine.errors import ConnectionLost
from engine.position import parse_start

_PIECE_BYTES = 4 << 20
_END_OF_STREAM = 0xFE
_SILENCE_S = 10.0


def drain(url: UrlArgument, from_: FromOption = "earliest", repeat: RepeatOption = 3, json: JsonOption = False) -> None:
    """Read the server's dump up to where its binlog ends now, without decoding anything."""
    end = end_of_binlog(url)
    runs = [drained(url, from_) for _ in range(repeat)]
    Result("drain", 0, runs[0][0], [seconds for _, seconds in runs], {"server": end.server}).show(json)


def drain_limit(url: str, start: str, wanted: bool) -> Limit | None:
    """The drain as the limit of something else; None if nobody wants to know."""
    if not wanted:
        return None
    total, seconds = drained(url, start)
    return Limit("bench drain, the raw socket", total / seconds / 1e6)


def drained(url: str, start: str) -> tuple[int, float]:
    """Bytes of the dump, and the seconds that they took."""
    from engine.source.connection import Connection

    connection = Connection(source_config(url, start), "bench")
    connection.connect()
    try:
        connection.dump(connection.resolve_start(parse_start(start)), to_end=True)
        piece = memoryview(bytearray(_PIECE_BYTES))
        begun = time.perf_counter()
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
        return total, time.perf_counter() - begun
    finally:
        connection.close()
