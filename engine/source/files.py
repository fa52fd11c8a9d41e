"""Binlog files on this machine as input: found, ordered, opened at a place, and fed to a decoder.

A file begins with 4 bytes of magic, then FORMAT_DESCRIPTION. Encrypted files have another magic: MySQL fd 62 69 6e; MariaDB
leaves the magic and puts START_ENCRYPTION second.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from engine.beats import beat
from engine.errors import BinlogError, ConfigError, PositionError, SourceError
from engine.position import join_file_name, split_file_name
from engine.ring import Ring
from engine.source._binlog import NEED_INPUT, Decoder
from engine.source.event_headers import EVERY_TYPE
from engine.source.tables import MemoryKeys, SourceName, TableVersions
from engine.source.xa import PreparedGroups

MAGIC = b"\xfebin"
ENCRYPTED_MAGIC = b"\xfdbin"
HEADER_BYTES = 19
DECODE_RING_BYTES = 8 << 20  # small enough to stay in the cache
DECODE_STEP_BYTES = 1 << 20


class BinlogFile(NamedTuple):
    """One file: where it is, and what its name says."""

    path: Path
    base: str
    number: int


def find_files(patterns: Sequence[str]) -> list[BinlogFile]:
    """The files that globs name, by base name and number (binlog.1000000 after binlog.999999); index files left out.

    Raises:
        ConfigError: a pattern finds nothing, or a file whose name doesn't end in a number.
    """
    found: dict[Path, BinlogFile] = {}
    for pattern in patterns:
        paths = [Path(name) for name in glob.glob(pattern)]
        paths = [path for path in paths if path.suffix not in (".index", ".idx", ".state")]
        if not paths:
            raise ConfigError("no binlog file here", files=pattern, remedy="check the path, and that it may be read")
        for path in paths:
            found[path] = BinlogFile(path, *split_file_name(path.name))
    return sorted(found.values(), key=lambda file: (file.base, file.number))


class FileFeed:
    """Feeds a decoder from a list of files, one after the other."""

    def __init__(self, decoder: Decoder, files: Sequence[BinlogFile], source: str) -> None:
        self._decoder = decoder
        self._files = list(files)
        self._source = source
        self._fd = -1
        self._next = 0

    def open(self, base: str, number: int, offset: int) -> None:
        """Begin at an offset of this file; base "": where the first file begins.

        Raises:
            PositionError: that file isn't there, or is shorter.
        """
        self._next = 0
        if base:
            places = [(file.base, file.number) for file in self._files]
            if (base, number) not in places:
                raise PositionError(
                    "the binlog file to go on in isn't there", source=self._source, file=join_file_name(base, number),
                    offset=offset, remedy="put it back; files may go once all consumers have acked what is in them",
                )  # fmt: skip
            self._next = places.index((base, number))
        self._open_next(offset)

    drained = False  # see Feed

    @property
    def finished(self) -> bool:
        """Everything has been brought in."""
        return self._fd < 0 and self._next >= len(self._files)

    def _open_next(self, offset: int = len(MAGIC)) -> None:
        file = self._files[self._next]
        self._next += 1
        try:
            self._fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise PositionError(
                "a binlog file can't be opened", source=self._source, file=file.path, error=error.strerror,
                remedy="check that it is there and may be read",
            ) from None  # fmt: skip
        magic = os.read(self._fd, len(MAGIC))
        if magic != MAGIC:
            encrypted = magic == ENCRYPTED_MAGIC
            raise BinlogError(
                "an encrypted binlog file" if encrypted else "not a binlog file", source=self._source, file=file.path,
                first_bytes=magic.hex(" "),
                remedy="read it through its server: a file alone can't be read" if encrypted
                else "binlog files begin with fe 62 69 6e",
            )  # fmt: skip
        self._decoder.open(file.base, file.number, len(MAGIC))
        if offset > len(MAGIC):
            self._skip_to(file, offset)

    def _skip_to(self, file: BinlogFile, offset: int) -> None:
        """Read FORMAT_DESCRIPTION, which says how to read the rest, and go on at the offset."""
        size = int.from_bytes(os.pread(self._fd, HEADER_BYTES, len(MAGIC))[9:13], "little")
        description = os.pread(self._fd, min(size, 1 << 16), len(MAGIC))
        room = self._decoder.writable()
        room[: len(description)] = description
        room.release()
        self._decoder.filled(len(description))
        self._decoder.advance(len(description))
        length = os.fstat(self._fd).st_size
        if offset > length:
            raise PositionError(
                "the binlog file ends before the place to go on at", source=self._source, file=file.path, offset=offset,
                file_bytes=length, remedy="put the whole file there, or start the source anew",
            )  # fmt: skip
        os.lseek(self._fd, offset, os.SEEK_SET)
        self._decoder.seek(offset)

    def choose_server_id(self) -> bool:
        """Files have none."""
        return False

    def has_file(self, base: str, number: int) -> bool:
        return (base, number) in self.files()

    def files(self) -> list[tuple[str, int]]:
        """See xa.Rereading."""
        return [(file.base, file.number) for file in self._files]

    def reread(self, base: str, number: int, offset: int, whole: Container[int] = EVERY_TYPE) -> Iterator[tuple[int, memoryview]]:
        """See xa.Rereading."""
        file = next((file for file in self._files if (file.base, file.number) == (base, number)), None)
        if file is None:
            raise PositionError("a binlog file isn't there", source=self._source, file=join_file_name(base, number))
        with open(file.path, "rb") as data:
            at = len(MAGIC)
            length = os.fstat(data.fileno()).st_size
            while True:
                beat()  # whole files may be read in one turn of the source
                data.seek(at)
                head = data.read(HEADER_BYTES)
                size = int.from_bytes(head[9:13], "little")
                if size < HEADER_BYTES or at + size > length:
                    return
                data.seek(at)
                yield at, memoryview(data.read(size if head[4] in whole else HEADER_BYTES))
                at = max(at + size, offset)

    def fill(self) -> int:
        """Bring bytes in, how many; 0: everything has been read.

        Raises:
            BinlogError: a file ends inside an event.
        """
        while self._fd >= 0:
            if (got := self._decoder.recv(self._fd)) > 0:
                return int(got)
            if self._decoder.unread_bytes:
                offset = self._decoder.position[2]
                raise BinlogError(
                    "binlog file ends inside an event", source=self._source, file=self._files[self._next - 1].path,
                    offset=offset, event=self._decoder.unread_event, unread_bytes=self._decoder.unread_bytes,
                    remedy="the file is cut: fetch it again; of a running server's newest file copy what is flushed",
                )  # fmt: skip
            self.close()
            if self._next < len(self._files):
                self._open_next()
        return 0

    def wait(self, timeout_ns: int) -> None:
        """Files don't make one wait; there is only nothing left."""
        time.sleep(timeout_ns / 1e9)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def named_file(path: str | Path, number: int) -> BinlogFile:
    """A file given by name, whatever it is called: without a number in its name it gets this one."""
    path = Path(path)
    with suppress(ConfigError):
        return BinlogFile(path, *split_file_name(path.name))
    return BinlogFile(path, path.name, number)


def decode_files(
    paths: Sequence[str | Path],
    *,
    ring_bytes: int = DECODE_RING_BYTES,
    wants: Callable[[str], bool] = lambda name: True,
    source: str = "file",
) -> Iterator[tuple[memoryview, dict[int, SourceName]]]:
    """The records of binlog files, in batches of whole records, each valid until the next one is asked for.

    Beside each batch: what the source numbers in it stand for.

    Raises:
        BinlogError: bytes that are damaged or not understood, after the records before them. PositionError: a file can't be
            opened. ServerSetupError: the server doesn't log what is needed.
    """
    keys = MemoryKeys(source)
    ring = Ring.create(None, ring_bytes)
    ring.open_writer()
    reader = ring.add_reader("decode")
    reader.open()
    decoder = Decoder(ring, TableVersions(source, wants, keys), source=source, packets=False, number_of=keys.source_number)
    feed = FileFeed(decoder, [named_file(path, i + 1) for i, path in enumerate(paths)], source)
    decoder.prepared = PreparedGroups(feed, source)
    failure: SourceError | None = None
    try:
        feed.open("", 0, 0)
        while not feed.finished or reader.lag_bytes:
            try:
                if not failure and decoder.advance(DECODE_STEP_BYTES) == NEED_INPUT:
                    feed.fill()
            except SourceError as error:
                failure = error
            while view := reader.view():
                size = len(view)
                yield view, keys.sources
                view.release()
                reader.advance(size)
                reader.ack_to(reader.get)
            if failure:
                raise failure
    finally:
        feed.close()
        ring.close()
