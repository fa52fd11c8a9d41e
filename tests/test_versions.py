"""What another version has written, or speaks, is refused by name or made anew; never misread."""

from __future__ import annotations

import sqlite3
import struct

import pytest

from engine.errors import MetaError, RingError
from engine.instance import Instance
from engine.meta.open import open_meta
from engine.ring import Ring, ring_path
from engine.source.note import unpack_note
from tests.running_engine import RunningEngine, command
from tests.test_supervisor import binlog_files_of

OTHERS = [0, 99]  # an older and a newer one
RING_VERSION_AT = 8
SOURCE_NOTE_BYTES = 60


@pytest.mark.parametrize("version", OTHERS)
def test_a_ring_of_another_version_is_not_attached(tmp_path, version):
    name = f"{Instance(tmp_path).prefix}store.orders.0"
    Ring.create(name, 1 << 20).close()
    try:
        with open(ring_path(name), "r+b") as file:
            file.seek(RING_VERSION_AT)
            file.write(struct.pack("<I", version))
        with pytest.raises(RingError, match=rf"foreign ring .*differs=version found={version} expected=\d+.*run the version"):
            Ring.attach(name)
    finally:
        Ring.unlink(name)


@pytest.mark.parametrize("note", [struct.pack("<I", version).ljust(SOURCE_NOTE_BYTES, b"\0") for version in OTHERS] + [b"short"])
def test_a_sources_note_of_another_version_is_refused(note):
    with pytest.raises(RingError, match="the ring's note is of another version"):
        unpack_note(note)


@pytest.mark.parametrize("kind", ["file", "memory"])
@pytest.mark.parametrize("version", [98, 99])
def test_meta_of_a_later_version_is_refused_and_left_as_it_is(tmp_path, kind, version):
    instance = Instance(tmp_path)
    open_meta(kind, instance).close()
    path = instance.meta_file(kind)
    try:
        with sqlite3.connect(path) as db:
            db.execute(f"PRAGMA user_version = {version}")
        db.close()
        before = path.read_bytes()
        with pytest.raises(MetaError, match=rf"another version of binlog-engine .*found={version}"):
            open_meta(kind, instance)
        assert path.read_bytes() == before
    finally:
        for leftover in path.parent.glob(path.name + "*"):
            leftover.unlink()


def test_an_engine_on_meta_of_a_later_version_does_not_start_and_says_why(tmp_path):
    engine = RunningEngine(tmp_path, {"shop": binlog_files_of("mariadb-shop")}, {"all": {}})
    open_meta("file", Instance(tmp_path / "data")).close()
    with sqlite3.connect(tmp_path / "data" / "meta.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    done = command("run", str(engine.config_path))
    assert done.returncode == 1
    assert "meta was written by another version of binlog-engine" in done.stderr
    assert "Traceback" not in done.stderr
