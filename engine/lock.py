"""One engine, or one command that changes what an engine keeps, per data_dir at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import ConfigError
from engine.instance import Instance


@contextmanager
def only_one(instance: Instance, remedy: str) -> Iterator[None]:
    """Holds the lock on data_dir, which is made if it isn't there; it goes with the process, however that ends.

    Raises:
        ConfigError: somebody else has it (reason data_dir_in_use, says `remedy`), or data_dir can't be used.
    """
    try:
        instance.data_dir.mkdir(parents=True, exist_ok=True)
        lock = instance.lock_file.open("a+")
    except OSError as error:
        raise ConfigError(
            "data_dir can't be used", data_dir=instance.data_dir, error=error.strerror,
            remedy="name a directory this account may write to",
        ) from None  # fmt: skip
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise ConfigError(
                "another engine runs with this data_dir", data_dir=instance.data_dir, pid=lock.read().strip(), remedy=remedy,
                reason="data_dir_in_use",
            ) from None  # fmt: skip
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
