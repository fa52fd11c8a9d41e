"""`bench drain URL`: the raw socket of a dump, read and thrown away: the limit of everything else."""

from __future__ import annotations

import statistics
import time
from typing import NamedTuple

from engine.cli.bench.binlog_end import end_of_binlog
from engine.cli.bench.result import Limit, Result
from engine.cli.bench.server_url import FromOption, JsonOption, RepeatOption, Tls, TlsOption, UrlArgument, source_config
from engine.errors import ConnectionLost
from engine.position import parse_start

_PIECE_BYTES = 4 << 20
_END_OF_STREAM = 0xFE
_SILENCE_S = 10.0
_LIMIT_RUNS = 3  # a run takes a tenth of a second


class Drained(NamedTuple):
    """Bytes of a dump, the seconds from the first ones to the last, and whether they were encrypted."""

    bytes: int
    seconds: float
    tls: bool

    @property
    def mb_per_s(self) -> float:
        return self.bytes / self.seconds / 1e6


def drain(
    url: UrlArgument,
    from_: FromOption = "earliest",
    tls: TlsOption = Tls.PREFERRED,
    repeat: RepeatOption = 3,
    json: JsonOption = False,
) -> None:
    """Read the server's dump up to where its binlog ends now, without decoding anything."""
    end = end_of_binlog(url)
    runs = [drained(url, from_, tls) for _ in range(repeat)]
    more = {"server": end.server, "tls": runs[0].tls}
    Result("drain", 0, runs[0].bytes, [run.seconds for run in runs], more).show(json)


def drain_limit(url: str, start: str, wanted: bool) -> Limit | None:
    """The drain as the limit of something else; None if nobody wants to know."""
    return middle([drained(url, start) for _ in range(_LIMIT_RUNS)]) if wanted else None


def middle(runs: list[Drained]) -> Limit | None:
    """The limit that the run in the middle sets; None if there was none."""
    return Limit("bench drain, the raw socket", statistics.median(run.mb_per_s for run in runs)) if runs else None


def drained(url: str, start: str, tls: Tls = Tls.PREFERRED) -> Drained:
    """The dump, read and thrown away.

    MariaDB keeps a dump waiting, 0.1 s or more, while one that nobody reads any more comes to its end.
    """
    from engine.source.connection import Connection

    connection = Connection(source_config(url, start, tls), "bench")
    connection.connect()
    try:
        connection.dump(connection.resolve_start(parse_start(start)), to_end=True)
        piece = memoryview(bytearray(_PIECE_BYTES))
        begun = 0.0
        total = 0
        ended = False
        while not ended:
            n = connection.recv_into(piece)
            if not n:
                if not connection.wait_readable(_SILENCE_S):
                    raise ConnectionLost("the server stopped sending", after_bytes=total)
                continue
            begun = begun or time.perf_counter()
            total += n
            # The server ends such a dump with an EOF packet of 5 bytes, the last ones of the stream.
            ended = n >= 9 and piece[n - 5] == _END_OF_STREAM and bytes(piece[n - 9 : n - 6]) == b"\x05\0\0"
        return Drained(total, time.perf_counter() - begun, connection.tls)
    finally:
        connection.close()
