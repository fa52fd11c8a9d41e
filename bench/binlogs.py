"""The workloads' binlogs: recorded once on a real server, kept as files, served again by a real server.

recorded() ─▶ cache/workloads/mariadb-inserts-2000000-<digest>/{binlog.000001, …, about.json} ─▶ serving()
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.workloads import Workload
from engine.cli.bench.decode import decoded_content
from tests.servers.database import Database
from tests.servers.install import cache
from tests.servers.mariadb import MariaDB
from tests.servers.mysql import MySQL

FLAVOURS: dict[str, type[Database]] = {"mariadb": MariaDB, "mysql": MySQL}
_OPTIONS = {"max_binlog_size": "1G", "innodb_buffer_pool_size": "512M"}
_REDO = {"mariadb": {"innodb_log_file_size": "256M"}, "mysql": {"innodb_redo_log_capacity": "512M"}}
_READ_BYTES = 1 << 20
# A server that commits thousands of times a second: logs and memory of an ordinary size, and on MySQL no waiting by spinning,
# which takes from two cores what somebody else needs, and GTIDs off, as MySQL comes. docs/performance.md says what each does.
_MYSQL = {"innodb_sync_spin_loops": 0, "innodb_spin_wait_delay": 0, "gtid_mode": "OFF", "enforce_gtid_consistency": "OFF"}
ORDINARY: dict[str, dict[str, Any]] = {
    "mariadb": {**_OPTIONS, **_REDO["mariadb"]},
    "mysql": {**_OPTIONS, **_REDO["mysql"], **_MYSQL},
}
_ROTATE = 4  # type of the event that ends a file


@dataclass(frozen=True)
class Recording:
    """Binlog files in order, and what is in them: all changes, those of wanted tables, and the checksum of the latter."""

    workload: str
    server: str
    version: str
    rows: int
    wanted_rows: int
    checksum: str
    files: tuple[str, ...]
    bytes: int
    folder: str

    @property
    def paths(self) -> list[Path]:
        return [Path(self.folder) / name for name in self.files]


def recorded(workload: Workload, server: str, rows: int | None = None) -> Recording:
    """The workload's binlog of this kind of server; made, which may take minutes, if it isn't kept yet.

    Raises:
        Missing: the server can't be had here.
    """
    rows = rows or workload.rows
    digest = hashlib.sha256(Path(sys.modules[Workload.__module__].__file__ or "").read_bytes()).hexdigest()[:8]
    folder = cache() / "workloads" / f"{server}-{workload.name}-{rows}-{digest}"
    about = folder / "about.json"
    if not about.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        for old in folder.parent.glob(f"{server}-{workload.name}-{rows}-*"):  # of an earlier version of the workload
            shutil.rmtree(old)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            _record(workload, FLAVOURS[server], rows, Path(scratch) / "new")
            (Path(scratch) / "new").rename(folder)
    fields = json.loads(about.read_text())
    recording = Recording(**{**fields, "files": tuple(fields["files"]), "folder": str(folder)})
    for path in recording.paths:
        _read_anew(path)
    return recording


def _read_anew(path: Path) -> None:
    """Have the file in the page cache as one read of it leaves it.

    The pages of a file that has been there for hours may lie scattered: reading them takes twice as long, which is no matter of
    the engine's, and not the same from run to run.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)  # what isn't on the disk yet can't be dropped
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        while os.read(file, _READ_BYTES):
            pass
    finally:
        os.close(file)


def _record(workload: Workload, make: type[Database], rows: int, folder: Path) -> None:
    begun = time.monotonic()
    print(f"recording {workload.name} on {make.name}, {rows:,} rows", file=sys.stderr)
    folder.mkdir()
    with make(**_OPTIONS, **_REDO[make.name]) as server, server.connect() as connection, connection.cursor() as cursor:

        def sql(*statements: str) -> None:
            for statement in statements:  # there may be many: a connection for each would take longer than they do
                cursor.execute(statement)

        workload.prepare(sql, rows)
        server.sql("FLUSH BINARY LOGS")
        first = len(server.binlog_files()) - 1
        changes = workload.fill(sql, rows)
        server.sql("FLUSH BINARY LOGS")
        version = str(server.sql("SELECT VERSION()")[0][0])
        names = []
        for number, path in enumerate(server.binlog_files()[first:-1], 1):
            names.append(f"binlog.{number:06}")
            shutil.copyfile(path, folder / names[-1])
            _cut_rotate(folder / names[-1])
    paths = [folder / name for name in names]
    wanted, checksum = decoded_content(paths, workload.include)
    expected = round(changes * workload.wanted_share)
    if wanted != expected:
        raise SystemExit(f"{workload.name} on {make.name}: {wanted:,} changes decoded, {expected:,} made")
    recording = Recording(
        workload.name, make.name, version, changes, wanted, f"{checksum % 2**64:016x}", tuple(names),
        sum(path.stat().st_size for path in paths), "",
    )  # fmt: skip
    (folder / "about.json").write_text(json.dumps(asdict(recording), indent=1))
    print(f"recorded in {time.monotonic() - begun:.0f} s", file=sys.stderr)


def _cut_rotate(path: Path) -> None:
    """Take off the event that names the next file: where the files are served they have other neighbours."""
    data = path.read_bytes()
    size = 19 + 8 + len("binlog.000001") + 4  # header, position, name, CRC32
    event = data[-size:]
    assert event[4] == _ROTATE, f"{path} doesn't end with the event that names the next file"
    assert int.from_bytes(event[9:13], "little") == size
    os.truncate(path, len(data) - size)


@contextmanager
def serving(recording: Recording, repeat: int = 1) -> Iterator[Database]:
    """A server of the same kind whose binlog begins with these files, `repeat` times one after the other.

    Its tables are not there: consumers have to do with the metadata in the binlog.
    """
    make = FLAVOURS[recording.server]
    with_files = make(**_OPTIONS)
    try:
        shutil.copytree(make.template(), with_files.data_dir)
        index = []
        for round_ in range(repeat):
            for path in recording.paths:
                index.append(f"./binlog.{len(index) + 1:06}\n")
                target = with_files.data_dir / index[-1].strip()
                if round_:
                    os.link(with_files.data_dir / path.name, target)  # the server only reads them
                else:
                    shutil.copyfile(path, target)
        (with_files.data_dir / "binlog.index").write_text("".join(index))
        yield with_files.start()
    finally:
        with_files.close()


@contextmanager
def held_back(server: Database) -> Iterator[Callable[[int], AbstractContextManager[None]]]:
    """The server is stopped until what this gives is entered, as `streamed` wants it: an engine that has started waits for it."""

    @contextmanager
    def flow(_supervisor: int) -> Iterator[None]:
        os.kill(server.process.pid, signal.SIGCONT)
        yield

    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield flow
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
