"""Servers on a file system that doesn't tell upper from lower case, as lower_case_table_names=2 wants it: NTFS in a file."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.database import ACCOUNTS, Database
from tests.servers.install import SBIN
from tests.servers.missing import Missing

IMAGE_BYTES = 1 << 30  # sparse


@contextmanager
def caseless_folder(beside: Path) -> Iterator[Path]:
    """A folder under `beside` in which `a` and `A` are one file.

    Raises:
        Missing: it takes root, /dev/fuse and Debian's package ntfs-3g; the kernels at hand have no casefold for ext4 or XFS.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), *SBIN])
    make, mount, unmount = (shutil.which(tool, path=path) for tool in ("mkntfs", "lowntfs-3g", "umount"))
    if make is None or mount is None or unmount is None or os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        raise Missing("no file system without letter case: it takes root, /dev/fuse and the package ntfs-3g")
    image, folder = beside / "caseless.img", beside / "caseless"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    subprocess.run([make, "-Q", "-F", "-q", image], check=True, capture_output=True, timeout=60)
    mounted = subprocess.run([mount, "-o", "ignore_case,big_writes", image, folder], capture_output=True, text=True, timeout=60)
    if mounted.returncode:
        image.unlink()
        raise Missing(f"no file system without letter case: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([unmount, "-l", folder], check=True, timeout=60)
        image.unlink()


def start_in(server: Database, folder: Path) -> None:
    """Start a server with its data in this folder; the data dir is made there, since it remembers what it was made on."""
    accounts = server.process.folder / "accounts.sql"
    accounts.write_text(ACCOUNTS)
    server.data_dir = folder / "data"
    type(server).initialise(server.data_dir, accounts)
    server.start()
