"""`bench decode FILE...`: binlog files → ring, on one core, checksums verified."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from engine.cli.bench.result import Result, check_equal


def decode(
    files: Annotated[list[Path], typer.Argument(help="Binlog files, in order.", metavar="FILE...")],
    rows: Annotated[int | None, typer.Option(help="How many changes they hold, to be checked.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """How fast binlog files are decoded into a ring: CRC32 verified, every value converted."""
    from engine.source.files import decode_files

    for file in files:  # the disk is not what is measured
        file.read_bytes()
    # The checked pass: walk every record. The measured pass: decode only, records dropped unread.
    counted, hashed = _walk(files)
    if rows is not None:
        check_equal("changes decoded", counted, rows)
    start = time.perf_counter()
    record_bytes = sum(len(records) for records, _ in decode_files(files))
    seconds = time.perf_counter() - start
    size = sum(file.stat().st_size for file in files)
    Result(
        "decode", counted, size, seconds, {"record_bytes": record_bytes, "checksum": f"{hashed:016x}"}
    ).show(json)  # fmt: skip


def _walk(files: list[Path]) -> tuple[int, int]:
    """Changes in the files and a checksum of their content."""
    import zlib

    from engine.record import CHANGES, unpack_head
    from engine.ring import iter_records
    from engine.source.files import decode_files

    counted = checksum = 0
    for records, _ in decode_files(files):
        checksum = zlib.crc32(records, checksum)
        counted += sum(unpack_head(record).kind in CHANGES for record in iter_records(records))
    return counted, checksum
