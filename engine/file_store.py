"""The file store: a ring whose data lie in a file on disk, and a journal that says what of them can be trusted.

    /dev/shm/NAME        the ring's header: sequences, readers, notes. Gone with the machine
    STEM.data            the data: the writer writes them, and every process has them mapped as those of a ring in memory are
    STEM.journal         checkpoints of the header, CRC32 of the data (engine/journal.py)

Records are handed out as soon as they are put. A checkpoint syncs the data, then says in the journal how far they go and where
the readers are. As long as the header is there, every process may die: the kernel has all the bytes. Once it is gone (power
cut, reboot) the last checkpoint counts; what came after it is read from the source again. Bytes that the last checkpoint
covers are never overwritten, so it can always be verified and gone back to.
"""

from __future__ import annotations

import fcntl
import logging
import os
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from zlib_ng.zlib_ng import crc32

from engine.errors import RingError, StoreError
from engine.instance import Instance
from engine.journal import BLOCK_BYTES, START_ANEW, Checkpoint, Disk, Identity, Journal, SystemDisk, entries_crc
from engine.ring import MEMORY_DIRECTORY, Ring, RingState, raise_floor, restore, ring_path, state_of, sync_failed, view
from engine.store_error import refused

if TYPE_CHECKING:
    from engine.config import Config

log = logging.getLogger("engine.file_store")

_FS_IOC_GETFLAGS, _FS_IOC_SETFLAGS, _FS_NOCOW = 0x80086601, 0x40086602, 0x00800000
MOST_FREE_BYTES = 1 << 30  # more than is put between two checkpoints
_FAILED_AT, _FAILED_MOST = 24, (1 << 39) - 1
_SYSTEM = SystemDisk()


class StoreFiles(NamedTuple):
    """The files of one store."""

    data: Path
    journal: Path

    @classmethod
    def at(cls, stem: Path) -> StoreFiles:
        return cls(stem.with_name(stem.name + ".data"), stem.with_name(stem.name + ".journal"))


class Checkpoints:
    """Writes the checkpoints of one file store, of whose ring this process is the writer.

    synced: up to where the data are on the disk.
    """

    def __init__(self, ring: Ring, disk: Disk = _SYSTEM) -> None:
        self._ring = ring
        self._disk = disk
        self._data_path = ring.data_path
        journal_path = self._data_path.removesuffix(".data") + ".journal"
        self._data_fd = _open(self._data_path)
        try:
            fd = _open(journal_path)
            try:
                self._journal = Journal.open(fd, journal_path, disk)
                if self._journal.identity.ring_id != ring.ring_id:
                    raise StoreError(
                        "the journal belongs to another store", path=journal_path, reason="store_damaged",
                        remedy=f"restore the file that belongs to {self._data_path}, or {START_ANEW}",
                    )  # fmt: skip
                self._last = self._journal.latest()
            except BaseException:
                os.close(fd)
                raise
        except BaseException:
            os.close(self._data_fd)
            raise
        self._tail_crc = self._last.tail_crc

    @property
    def synced(self) -> int:
        return self._last.state.put

    @property
    def due(self) -> bool:
        """There are records that no checkpoint covers."""
        return self._ring.put > self.synced

    def stale(self) -> bool:
        """The last checkpoint shows other acks than there are now, or floor could go up."""
        return state_of(self._ring).readers != self._last.state.readers

    def could_free(self) -> bool:
        """A checkpoint now would give the writer room."""
        return self._floor(state_of(self._ring)) > self._ring.floor

    def write(self) -> None:
        """Write a checkpoint; what was put before the call is durable when it returns.

        Raises:
            StoreError: the file system has refused (disk_full, io_error). Nothing is lost or overwritten, and it may be
                called again.
        """
        state = state_of(self._ring)
        path = self._data_path
        try:
            if sync_failed(self._ring):  # the kernel has forgotten that these pages are not on the disk
                self._check_whole()
                with view(self._ring, self.synced, state.put) as data:
                    self._rewrite(data)
            self._disk.sync(self._data_fd)
            sync_failed(self._ring, 0)
            floor = self._floor(state)
            first_new, entries, tail_crc = self._sum(floor, state.put)
            path = self._journal.path
            checkpoint = Checkpoint(self._last.serial + 1, floor, state, first_new, entries_crc(entries), tail_crc)
            self._journal.write(checkpoint, entries)
        except OSError as error:
            sync_failed(self._ring, _failure(self._ring, self.synced, state.put))
            raise refused("the store can't be written", path, error) from error
        self._last, self._tail_crc = checkpoint, tail_crc
        raise_floor(self._ring, floor)

    def is_whole(self) -> bool:
        """Whether what the disk did not take is still in memory as it was when that was noticed.

        The kernel may drop it then, and give back what the disk has in its place.
        """
        failure = sync_failed(self._ring)
        end = self.synced + (failure >> _FAILED_AT & _FAILED_MOST)
        return not failure or (end <= self._ring.put and failure == _failure(self._ring, self.synced, end))

    def close(self) -> None:
        os.close(self._data_fd)
        os.close(self._journal.fd)

    def _floor(self, state: RingState) -> int:
        """What all have acked goes as far as the writer needs it: room up to the next checkpoint is kept free."""
        capacity = self._ring.capacity
        free = min(capacity // 4, MOST_FREE_BYTES) + 2 * BLOCK_BYTES
        wanted = min(state.slowest, max(state.put + free - capacity, 0))
        return max(self._ring.floor, wanted // BLOCK_BYTES * BLOCK_BYTES)

    def _sum(self, floor: int, put: int) -> tuple[int, list[int], int]:
        """First block with a new entry, the entries of the blocks complete by `put`, and the sum of the one after them."""
        at, crc, entries = self.synced, self._tail_crc, []
        first_new = at // BLOCK_BYTES
        with view(self._ring, at, put) as data:
            while at < put:
                end = min(at // BLOCK_BYTES * BLOCK_BYTES + BLOCK_BYTES, put)
                crc = crc32(data[at - self.synced : end - self.synced], crc)
                if end % BLOCK_BYTES == 0:
                    entries.append(crc)
                    crc = 0
                at = end
        skipped = max(floor // BLOCK_BYTES - first_new, 0)
        return first_new + skipped, entries[skipped:], crc

    def _check_whole(self) -> None:
        if not self.is_whole():
            raise StoreError(
                "what the disk did not take is gone from memory, too", path=self._data_path, reason="io_error",
                remedy="start the engine again: it goes on from what is on the disk, and reads the rest from the source again",
            )  # fmt: skip

    def _rewrite(self, data: memoryview) -> None:
        at, capacity = self.synced % self._ring.capacity, self._ring.capacity
        self._disk.pwrite(self._data_fd, data[: capacity - at], at)
        self._disk.pwrite(self._data_fd, data[capacity - at :], 0)


def _failure(ring: Ring, synced: int, put: int) -> int:
    """How the header remembers a failed sync: how many bytes were not on the disk, and the lower 24 bits of their CRC32."""
    n_bytes = min(put - synced, _FAILED_MOST)
    with view(ring, synced, synced + n_bytes) as data:
        return 1 << 63 | n_bytes << _FAILED_AT | crc32(data) & (1 << _FAILED_AT) - 1


# ---- made, opened, closed: by the supervisor, which holds the lock on the store ------------------------------------


def lock_store(stem: Path) -> int:
    """A descriptor that keeps other engines from the store at `stem` until it is closed.

    Raises:
        StoreError: another engine has it, or the folder can't be used.
    """
    path = stem.with_name(stem.name + ".lock")
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise refused("the store's folder can't be used", str(stem.parent), error) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise StoreError(
            "another engine uses this file store", path=path, reason="store_in_use",
            remedy="give each engine a data_dir and a dir for its stores of its own",
        ) from None  # fmt: skip
    return fd


def make_store(name: str, stem: Path, capacity: int, partitions: int, directory: str = MEMORY_DIRECTORY) -> Ring:
    """The ring `name` of the store at `stem`, as its last checkpoint has it; a new store if there is none.

    capacity, partitions: as the config has them now.

    Raises:
        StoreError: no room for a new one; the one that is there is damaged where it matters, or of another version or size.
    """
    files = StoreFiles.at(stem)
    capacity = -(-capacity // BLOCK_BYTES) * BLOCK_BYTES
    if not files.journal.exists():
        _create(files, capacity, partitions)
    fd = _open(str(files.journal))
    try:
        journal = Journal.open(fd, str(files.journal), _SYSTEM)
        for what, found, wanted in (
            ("size", journal.identity.capacity, capacity), ("partitions", journal.identity.partitions, partitions)
        ):  # fmt: skip
            if found != wanted:
                raise StoreError(
                    f"the file store was made with another {what}", path=files.journal, found=found, wanted=wanted,
                    reason="store_changed", remedy=f"set {what} back in the config, or {START_ANEW}",
                )  # fmt: skip
        checkpoint = verify(journal, files)
        draft = name + ".new"
        Ring.unlink(draft, directory=directory)
        ring = Ring.create(draft, capacity, directory=directory, data=str(files.data.resolve()))
        restore(ring, journal.identity.ring_id, checkpoint.floor, checkpoint.state)
        ring.close()
        os.replace(ring_path(draft, directory), ring_path(name, directory))
    finally:
        os.close(fd)
    return Ring.attach(name, directory=directory)


def settle_store(name: str, directory: str = MEMORY_DIRECTORY) -> None:
    """Unlink a ring that nobody uses any more; of a file store, after its last checkpoint. None there: nothing to do.

    Raises:
        StoreError: it can't be written; the header stays, and so does all that it knows.
    """
    try:
        ring = Ring.attach(name, directory=directory)
    except RingError as error:
        if os.path.exists(ring_path(name, directory)):  # not to be understood; or its data are out of reach
            log.warning("%s is removed as it is; a file store goes on from its last checkpoint: %s", name, error)
        Ring.unlink(name, directory=directory)
        return
    with closing(ring):
        if ring.data_path:
            ring.open_writer()
            with closing(Checkpoints(ring)) as checkpoints:
                if checkpoints.is_whole():
                    checkpoints.write()
                else:
                    log.warning("%s has lost what its disk did not take; it goes on from its last checkpoint", ring.data_path)
    Ring.unlink(name, directory=directory)


def has_lost_data(ring: Ring) -> bool:
    """Whether a file store's ring holds something else than was put into it: its disk had failed, and not in memory either.

    Raises:
        StoreError: its journal can't be trusted.
    """
    with closing(Checkpoints(ring)) as checkpoints:
        return not checkpoints.is_whole()


def forget_stores(config: Config, instance: Instance, destination: str) -> None:
    """Remove the files of a destination's stores, if they are in files: all is read from the sources again, after the acks."""
    settings = config.destinations[destination]
    if settings.store.kind != "file":
        return
    for partition in range(settings.partitions):
        stem = instance.store_stem(destination, partition, settings.store.dir)
        if stem.parent.is_dir():
            lock = lock_store(stem)
            Ring.unlink(instance.store_ring(destination, partition))
            for file in reversed(StoreFiles.at(stem)):  # the journal first: without it there is no store
                file.unlink(missing_ok=True)
            os.close(lock)


def verify(journal: Journal, files: StoreFiles) -> Checkpoint:
    """The last checkpoint, its data checked against their CRC32. Damage in what all have acked costs only the going back there.

    Raises:
        StoreError: damage in what somebody has not acked yet; says where.
    """
    checkpoint = journal.latest()
    floor, state = checkpoint.floor, checkpoint.state
    first, last = floor // BLOCK_BYTES, state.put // BLOCK_BYTES
    sums = [*journal.entries(first, last), checkpoint.tail_crc]
    fd = _open(str(files.data))
    try:
        if os.fstat(fd).st_size != journal.identity.capacity:
            raise StoreError(
                "the data of a file store have another size", path=files.data, found=os.fstat(fd).st_size,
                wanted=journal.identity.capacity, reason="store_damaged", remedy=f"restore the file, or {START_ANEW}",
            )  # fmt: skip
        damaged = [block for block, wanted in enumerate(sums, first) if _sum_block(fd, journal, block, state.put) != wanted]
    except OSError as error:
        raise refused("the store can't be read", str(files.data), error) from error
    finally:
        os.close(fd)
    if not damaged:
        return checkpoint
    offsets = ",".join(str(block % journal.blocks * BLOCK_BYTES) for block in damaged[:10])
    if (damaged[-1] + 1) * BLOCK_BYTES > state.slowest:
        raise StoreError(
            "a file store is damaged in what consumers have not acked", path=files.data, offset=offsets, blocks=len(damaged),
            block_bytes=BLOCK_BYTES, reason="store_damaged", remedy=f"restore the file, or {START_ANEW}",
        )  # fmt: skip
    log.warning("%s is damaged in what all consumers have acked: none can go back there: offset=%s", files.data, offsets)
    floor = (damaged[-1] + 1) * BLOCK_BYTES
    kept = state._replace(places=[place for place in state.places if place >= floor])
    return checkpoint._replace(floor=floor, state=kept)


def _sum_block(fd: int, journal: Journal, block: int, put: int) -> int:
    return crc32(os.pread(fd, min(BLOCK_BYTES, put - block * BLOCK_BYTES), block % journal.blocks * BLOCK_BYTES))


def _create(files: StoreFiles, capacity: int, partitions: int) -> None:
    """All bytes are allocated now: an error here, not a SIGBUS later. The journal comes last: it makes it a store."""
    drafts = StoreFiles(*(file.with_name(file.name + ".new") for file in files))
    files.data.unlink(missing_ok=True)  # of a creation that did not come to its end
    try:
        for file, size in zip(drafts, (capacity, Journal.size(capacity)), strict=True):
            file.unlink(missing_ok=True)
            fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _write_in_place(fd)
                os.posix_fallocate(fd, 0, size)
                if file is drafts.journal:
                    identity = Identity(capacity, int.from_bytes(os.urandom(8), "little") | 1, partitions)
                    _SYSTEM.pwrite(fd, identity.pack(), 0)
                    state = RingState(0, None, 0, 0, [0], [])
                    Journal(fd, str(file), identity, _SYSTEM).write(Checkpoint(0, 0, state, 0, entries_crc([]), 0), [])
                os.fsync(fd)
            finally:
                os.close(fd)
        for draft, file in zip(drafts, files, strict=True):
            draft.rename(file)
        folder = os.open(files.data.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        for draft in drafts:
            draft.unlink(missing_ok=True)
        raise refused("the file store can't be made", str(files.data), error, bytes=capacity) from error


def _write_in_place(fd: int) -> None:
    """On btrfs: no copy on write, so that the room allocated now is the room that is written to. Elsewhere: nothing."""
    with suppress(OSError):
        flags = int.from_bytes(fcntl.ioctl(fd, _FS_IOC_GETFLAGS, bytes(8)), "little")
        fcntl.ioctl(fd, _FS_IOC_SETFLAGS, (flags | _FS_NOCOW).to_bytes(8, "little"))


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise StoreError(
            "a file of the store is missing", path=path, reason="store_damaged", remedy=f"restore the file, or {START_ANEW}"
        ) from None
    except OSError as error:
        raise refused("the store can't be opened", path, error) from error
