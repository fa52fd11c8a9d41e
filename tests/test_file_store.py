"""The file store's files: made, opened again after every kind of end, and refused where they can't be trusted."""

from __future__ import annotations

import errno
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import StoreError
from engine.file_store import has_lost_data, lock_store, make_store, settle_store
from engine.journal import BLOCK_BYTES, SLOT_BYTES, SLOTS_AT
from engine.ring import FULL, Ring, move_to, places, view
from tests.ring.records import record
from tests.stored import MIB, Stored, take


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path)


def fill(stored: Stored, ring: Ring, up_to: int) -> None:
    while ring.put < up_to:
        assert stored.put(ring, 10_000)


def damage(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def test_a_store_whose_processes_all_died_is_settled_with_everything_that_was_put(stored: Stored) -> None:
    with stored.opened() as ring:
        ring.add_reader("cache").open()
        fill(stored, ring, 100_000)
        ring.set_note(b"as far as this")
        reader = ring.reader("cache")
        reader.open()
        take(reader, 4)
        reader.set_note(b"open", reader.ack)
    settle_store(stored.name, str(stored.folder))
    assert not (stored.folder / stored.name).exists()
    with stored.opened() as ring:
        assert (ring.put, ring.note()) == (100_000, b"as far as this")
        assert bytes(view(ring, 0, 100_000)) == stored.stream
        assert (ring.reader("cache").ack, ring.reader("cache").note()) == (40_000, b"open")


def test_settling_what_is_not_there_does_nothing(stored: Stored) -> None:
    settle_store(stored.name, str(stored.folder))


def test_the_writer_waits_for_a_checkpoint_before_it_overwrites_what_is_acked(stored: Stored) -> None:
    with stored.opened() as ring:
        reader = ring.add_reader("cache")
        reader.open()
        while stored.put(ring, 10_000):
            take(reader)
        assert ring.floor == 0
        assert stored.checkpoints.could_free()
        stored.checkpoints.write()
        assert ring.floor > MIB // 4
        assert stored.put(ring, 10_000)


def test_what_is_acked_can_be_read_again_until_its_room_is_needed_also_after_a_power_cut(stored: Stored) -> None:
    with stored.opened() as ring:
        reader = ring.add_reader("cache")
        reader.open()
        for _ in range(300):
            assert stored.put(ring, 10_000)
            take(reader)
            if ring.put % 100_000 == 0:
                stored.checkpoints.write()
        stored.checkpoints.write()
    stored.lose_memory()
    with stored.opened() as ring:
        oldest = places(ring)[0]
        assert ring.put - oldest > MIB // 2
        assert all(place % 10_000 == 0 for place in places(ring))
        reader = ring.reader("cache")
        reader.open()
        move_to(reader, oldest)
        assert bytes(reader.view()) == stored.stream[oldest:]


def test_a_reader_that_goes_back_holds_floor_where_it_is(stored: Stored) -> None:
    with stored.opened() as ring:
        reader = ring.add_reader("cache")
        reader.open()
        while stored.put(ring, 10_000):
            take(reader)
        move_to(reader, 20_000)
        assert not stored.checkpoints.could_free()
        stored.checkpoints.write()
        assert ring.floor == 0
        assert not stored.put(ring, 10_000)
        assert stored.checkpoints.synced == ring.put


def test_damage_in_what_is_not_acked_is_refused_by_file_and_offset(stored: Stored) -> None:
    with stored.opened() as ring:
        ring.add_reader("cache")
        fill(stored, ring, 300_000)
        stored.checkpoints.write()
    stored.lose_memory()
    for offset in (0, 70_000, 299_999):
        damage(stored.files.data, offset)
        at = offset // BLOCK_BYTES * BLOCK_BYTES
        with pytest.raises(StoreError, match=rf"not acked \[path=.*orders\.0\.data offset={at} blocks=1.*move") as caught:
            make_store(stored.name, stored.stem, MIB, 1, str(stored.folder))
        assert caught.value.reason == "store_damaged"
        damage(stored.files.data, offset)  # and mended
    make_store(stored.name, stored.stem, MIB, 1, str(stored.folder)).close()


def test_damage_in_what_all_have_acked_costs_only_the_going_back(stored: Stored, caplog: pytest.LogCaptureFixture) -> None:
    with stored.opened() as ring:
        reader = ring.add_reader("cache")
        reader.open()
        fill(stored, ring, 300_000)
        take(reader, 25)
        stored.checkpoints.write()
    stored.lose_memory()
    damage(stored.files.data, 70_000)
    with stored.opened() as ring:
        assert places(ring)[0] > 2 * BLOCK_BYTES
        assert ring.reader("cache").ack == 250_000
        assert bytes(view(ring, 250_000, 300_000)) == stored.stream[250_000:]
    assert f"offset={BLOCK_BYTES}" in caplog.text


def test_a_damaged_checkpoint_is_never_read_and_without_any_the_store_is_refused(stored: Stored) -> None:
    with stored.opened() as ring:
        fill(stored, ring, 50_000)
        stored.checkpoints.write()
        fill(stored, ring, 90_000)
        stored.checkpoints.write()
    stored.lose_memory()
    damage(stored.files.journal, SLOTS_AT + 30)  # serial 2
    with stored.opened() as ring:
        assert ring.put == 50_000
    stored.lose_memory()
    damage(stored.files.journal, SLOTS_AT + SLOT_BYTES + 30)
    with pytest.raises(StoreError, match="no whole checkpoint"):
        make_store(stored.name, stored.stem, MIB, 1, str(stored.folder))


@pytest.mark.parametrize(
    ("offset", "reason", "what"),
    [(0, "store_damaged", "not the journal"), (8, "store_version", "another version"), (20, "store_damaged", "damaged")],
)
def test_a_journal_of_another_kind_is_refused_by_name(stored: Stored, offset: int, reason: str, what: str) -> None:
    make_store(stored.name, stored.stem, MIB, 1, str(stored.folder)).close()
    damage(stored.files.journal, offset)
    with pytest.raises(StoreError, match=what) as caught:
        make_store(stored.name, stored.stem, MIB, 1, str(stored.folder))
    assert caught.value.reason == reason


@pytest.mark.parametrize(("capacity", "partitions", "what"), [(2 * MIB, 1, "size"), (MIB, 2, "partitions")])
def test_a_store_that_the_config_has_otherwise_is_refused(stored: Stored, capacity: int, partitions: int, what: str) -> None:
    make_store(stored.name, stored.stem, MIB, 1, str(stored.folder)).close()
    with pytest.raises(StoreError, match=f"made with another {what} .*found=.* wanted=.*set {what} back"):
        make_store(stored.name, stored.stem, capacity, partitions, str(stored.folder))


def test_a_missing_data_file_is_named(stored: Stored) -> None:
    make_store(stored.name, stored.stem, MIB, 1, str(stored.folder)).close()
    stored.files.data.unlink()
    with pytest.raises(StoreError, match=r"missing \[path=.*orders\.0\.data"):
        make_store(stored.name, stored.stem, MIB, 1, str(stored.folder))


def test_a_creation_that_died_in_the_middle_is_begun_again(stored: Stored) -> None:
    make_store(stored.name, stored.stem, MIB, 1, str(stored.folder)).close()
    stored.files.journal.rename(stored.files.journal.with_name("orders.0.journal.new"))  # died between the two renames
    make_store(stored.name, stored.stem, MIB, 1, str(stored.folder)).close()
    assert sorted(path.name for path in stored.stem.parent.iterdir()) == ["orders.0.data", "orders.0.journal"]


def test_a_second_engine_is_kept_from_the_store(stored: Stored) -> None:
    lock_store(stored.stem)
    with pytest.raises(StoreError, match="another engine uses this file store"):
        lock_store(stored.stem)


# -- full disks and I/O errors --


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting a file system takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_known_when_the_store_is_made_and_leaves_nothing_behind(small_disk: Path) -> None:
    (small_disk / "stores").mkdir()
    with pytest.raises(StoreError, match=r"can't be made \[path=.* bytes=4194304 error=No space") as caught:
        make_store("r", small_disk / "stores" / "orders.0", 4 * MIB, 1, str(small_disk))
    assert caught.value.reason == "disk_full"
    assert list((small_disk / "stores").iterdir()) == []


def test_a_disk_that_fills_up_after_the_store_was_made_does_not_matter_to_it(small_disk: Path) -> None:
    stored = Stored(small_disk)
    with stored.opened() as ring:
        with pytest.raises(OSError, match="No space"):
            (small_disk / "filler").write_bytes(bytes(3 * MIB))
        assert shutil.disk_usage(small_disk).free == 0
        reader = ring.add_reader("cache")
        reader.open()
        for _ in range(300):
            if not stored.put(ring, 10_000):
                stored.checkpoints.write()
            take(reader)
    stored.lose_memory()
    with stored.opened() as ring:
        assert bytes(view(ring, ring.floor, ring.put)) == stored.stream[ring.floor : ring.put]


def test_a_limit_on_file_sizes_is_a_full_disk_too(stored: Stored) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB // 2, hard))
    try:
        with pytest.raises(StoreError, match="File too large") as caught:
            make_store(stored.name, stored.stem, MIB, 1, str(stored.folder))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.reason == "disk_full"


def test_what_finds_no_room_when_it_is_put_is_not_there_and_can_be_put_again(stored: Stored) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with stored.opened() as ring:
        fill(stored, ring, 400_000)
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB // 2, hard))  # as a thin volume, or a file system that copies on write
        try:
            with pytest.raises(StoreError, match=r"can't be written \[path=.*orders\.0\.data error=File too large") as caught:
                fill(stored, ring, 600_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (caught.value.reason, caught.value.retryable) == ("disk_full", True)
        assert ring.put == len(stored.stream) < MIB // 2
        assert bytes(view(ring, 0, ring.put)) == stored.stream
    with stored.opened_again() as ring:  # another writer
        fill(stored, ring, 900_000)
        assert bytes(view(ring, 0, ring.put)) == stored.stream


def test_small_and_large_records_claimed_together_are_there_as_they_were_put_all_around_the_ring(stored: Stored) -> None:
    sizes = [100, 200_000, 70, 131_073, 131_072, 60_000, 220_000, 3000]  # some are written at once, others are put together first
    with stored.opened() as ring:
        reader = ring.add_reader("cache")
        reader.open()
        for n in range(0, 120, 2):
            claimed = [record(n + i, sizes[(n + i) % len(sizes)]) for i in range(2)]
            for one in claimed:
                while ring.try_claim(one) == FULL:
                    stored.checkpoints.write()
            assert not reader.view()
            ring.publish()
            assert bytes(reader.view()) == b"".join(claimed)
            take(reader)
        assert ring.put > 8 * MIB


@pytest.mark.parametrize(("number", "reason"), [(errno.EIO, "io_error"), (errno.ENOSPC, "disk_full")])
def test_data_that_could_not_be_synced_are_written_again_before_a_sync_is_believed(stored: Stored, number, reason) -> None:
    with stored.opened() as ring:
        fill(stored, ring, 50_000)
        stored.checkpoints.write()
        fill(stored, ring, 80_000)
        stored.disk.failing = [OSError(number, "no")]
        with pytest.raises(StoreError) as caught:
            stored.checkpoints.write()
        assert caught.value.reason == reason
        assert stored.checkpoints.synced == 50_000
    with stored.opened_again() as ring:  # another writer, which must know
        stored.disk.changes.clear()
        stored.checkpoints.write()
        rewritten, synced = stored.disk.changes[0], stored.disk.changes[2]
        assert (rewritten.offset, rewritten.data, rewritten.journal) == (50_000, stored.stream[50_000:80_000], False)
        assert (synced.data, synced.journal) == (None, False)
    stored.lose_memory()
    with stored.opened() as ring:
        assert bytes(view(ring, 0, 80_000)) == stored.stream


def test_data_that_the_disk_did_not_take_and_the_kernel_dropped_are_read_from_the_source_again(stored: Stored, caplog) -> None:
    with stored.opened() as ring:
        fill(stored, ring, 50_000)
        stored.checkpoints.write()
        fill(stored, ring, 80_000)
        stored.disk.failing = [OSError(errno.EIO, "no")]
        with pytest.raises(StoreError):
            stored.checkpoints.write()
        damage(stored.files.data, 70_000)  # seen through the mapping, as the page would be that is read from the disk again
        with pytest.raises(StoreError, match="is gone from memory, too") as caught:
            stored.checkpoints.write()
        assert caught.value.reason == "io_error"
        assert has_lost_data(ring)
    settle_store(stored.name, str(stored.folder))
    assert "has lost what its disk did not take" in caplog.text
    with stored.opened() as ring:
        assert ring.put == 50_000
        assert not has_lost_data(ring)


def test_a_journal_that_could_not_be_synced_leaves_the_checkpoint_before_it(stored: Stored) -> None:
    with stored.opened() as ring:
        fill(stored, ring, 50_000)
        stored.checkpoints.write()
        fill(stored, ring, 80_000)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stored.disk, "pwrite", lambda fd, data, offset: (_ for _ in ()).throw(OSError(errno.EIO, "no")))
            with pytest.raises(StoreError, match=r"path=.*orders\.0\.journal error=no"):
                stored.checkpoints.write()
    stored.lose_memory()
    with stored.opened() as ring:
        assert ring.put == 50_000
