"""Binlog files as input: found, ordered, cut, and foreign ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgpack
import pytest

from engine.errors import BinlogError, ConfigError, PositionError
from engine.record import CHANGES, Kind
from engine.source.files import decode_files, find_files
from tests.source.decoding import AFTER, FILE, KIND, Record
from tests.source.made_binlog import MadeBinlog

SHOP = Path(__file__).parent.parent / "data" / "mysql-shop" / "binlog.000001"


def records(*paths: Path, **options: object) -> list[Record]:
    found: list[Record] = []
    for view, _ in decode_files(paths, **options):  # type: ignore[arg-type]
        unpacker = msgpack.Unpacker(max_buffer_size=0)
        unpacker.feed(view)
        found += list(unpacker)
    return found


def made(path: Path, *rows: int) -> Path:
    binlog = MadeBinlog()
    binlog.transaction([(i, b"v") for i in rows])
    path.write_bytes(binlog.data)
    return path


def test_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    files = [made(tmp_path / "binlog.000009", 1), made(tmp_path / "binlog.000010", 2)]
    rows = [r for r in records(*files) if r[KIND] in CHANGES]
    assert [(r[FILE], r[AFTER][0]) for r in rows] == [(9, 1), (10, 2)]


def test_the_ring_may_be_far_smaller_than_the_file() -> None:
    whole = records(SHOP)
    assert sum(r[KIND] in CHANGES for r in whole) == 209
    assert records(SHOP, ring_bytes=1 << 20) == whole


def test_only_what_is_wanted_comes_out() -> None:
    names = {r[AFTER]["table"] for r in records(SHOP, wants=lambda name: name == "shop.orders") if r[KIND] == Kind.SCHEMA}
    assert names == {"orders"}


def test_source_numbers_are_explained_beside_the_records(tmp_path: Path) -> None:
    a, b = made(tmp_path / "binlog.000001", 1), made(tmp_path / "copy-of-a-binlog", 2)
    ((_, sources), *_) = list(decode_files([a, b], source="archive"))
    assert {n: tuple(s) for n, s in sources.items()} == {1: ("archive", "binlog"), 2: ("archive", "copy-of-a-binlog")}


def test_globs_find_files_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("binlog.999999", "binlog.1000000", "binlog.000002", "binlog.index"):
        (tmp_path / name).write_bytes(b"")
    found = find_files([str(tmp_path / "binlog.*"), str(tmp_path / "binlog.000002")])
    assert [file.number for file in found] == [2, 999999, 1000000]
    with pytest.raises(ConfigError, match="no binlog file here"):
        find_files([str(tmp_path / "nothing*")])


def test_a_cut_file_is_an_error_unless_it_is_cut_between_events(tmp_path: Path) -> None:
    binlog = MadeBinlog()
    binlog.transaction([(1, b"a")])
    path = tmp_path / "binlog.000001"
    at, between = 4, {4}
    while at < len(binlog.data):
        at += int.from_bytes(binlog.data[at + 9 : at + 13], "little")
        between.add(at)
    for end in range(4, len(binlog.data) + 1):
        path.write_bytes(binlog.data[:end])
        if end in between:
            records(path)
        else:
            with pytest.raises(BinlogError, match="binlog file ends inside an event"):
                records(path)


def test_the_active_file_of_a_running_server_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    data = bytearray(SHOP.read_bytes())
    data[4 + 17] |= 1  # LOG_EVENT_BINLOG_IN_USE, which the checksum leaves out
    path = tmp_path / "binlog.000001"
    path.write_bytes(data)
    assert len(records(path)) == len(records(SHOP))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not a binlog file"), (b"hello", "not a binlog file"), (b"\xfdbin...", "encrypted binlog file")],
)
def test_what_is_no_binlog_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "binlog.000001"
    path.write_bytes(content)
    with pytest.raises(BinlogError, match=rf"{message}.*{path}"):
        records(path)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(PositionError, match=r"can't be opened.*No such file"):
        records(tmp_path / "binlog.000001")


def test_the_records_before_a_fault_come_first(tmp_path: Path) -> None:
    path = tmp_path / "binlog.000001"
    shutil.copy(SHOP, path)
    with path.open("ab") as file:
        file.write(b"rubbish")
    got = 0
    batches = decode_files([path])
    with pytest.raises(BinlogError):  # noqa: PT012
        for view, _ in batches:
            got += len(view)
    assert got == sum(len(view) for view, _ in decode_files([SHOP]))
