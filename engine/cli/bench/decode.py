"""`bench decode FILE...`: binlog files → ring, on one core, checksums verified."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from engine.cli.bench.result import Limit, Result, check_content, check_equal
from engine.cli.bench.server_url import ChecksumOption, JsonOption, RepeatOption, RowsOption

_PIECE_BYTES = 1 << 20


def decode(
    files: Annotated[list[Path], typer.Argument(help="Binlog files, in order.", metavar="FILE...")],
    rows: RowsOption = None,
    checksum: ChecksumOption = None,
    include: Annotated[str, typer.Option(help="Regular expression on schema.table: which tables are wanted.")] = ".*",
    repeat: RepeatOption = 3,
    json: JsonOption = False,
) -> None:
    """How fast binlog files are decoded into a ring: CRC32 verified, every value converted."""
    from engine.source.files import decode_files
    from engine.table_filter import TableFilter

    wants = TableFilter([include], []).wants
    limit = _read_and_checked(files)
    # The checked pass looks at every record. The measured ones decode only, their records are dropped unread.
    counted, hashed = decoded_content(files, include)
    text = check_content(hashed, checksum)
    if rows is not None:
        check_equal("changes decoded", counted, rows)
    samples = []
    for _ in range(repeat):
        start = time.perf_counter()
        record_bytes = sum(len(records) for records, _ in decode_files(files, wants=wants))
        samples.append(time.perf_counter() - start)
    size = sum(file.stat().st_size for file in files)
    Result("decode", counted, size, samples, {"record_bytes": record_bytes, "checksum": text}, limit).show(json)


def decoded_content(files: list[Path], include: str = ".*") -> tuple[int, int]:
    """Changes in the files and the checksum of what they say."""
    from engine._content import content
    from engine.source.files import decode_files
    from engine.table_filter import TableFilter

    counted = checksum = 0
    for records, _ in decode_files(files, wants=TableFilter([include], []).wants):
        changes, part = content(records)
        counted += changes
        checksum += part
    return counted, checksum


def _read_and_checked(files: list[Path]) -> Limit:
    """Reading the files and taking the CRC32 of every byte, which any decoder has to; the second time, from memory."""
    from zlib_ng import zlib_ng

    piece = bytearray(_PIECE_BYTES)
    seconds = 0.0
    size = sum(file.stat().st_size for file in files)
    for _ in range(2):
        begun = time.perf_counter()
        for file in files:
            with file.open("rb", buffering=0) as data:
                while n := data.readinto(piece):
                    zlib_ng.crc32(memoryview(piece)[:n])
        seconds = time.perf_counter() - begun
    return Limit("the files read, and CRC32 of every byte", size / max(seconds, 1e-9) / 1e6)
