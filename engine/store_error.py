"""What becomes of an error of the file system that a file store lies on."""

from __future__ import annotations

import errno
import os

from engine.errors import StoreError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def refused(what: str, path: str, error: OSError, **facts: object) -> StoreError:
    """Reason disk_full: it may pass; io_error: somebody has to see to the disk."""
    if error.errno in NO_ROOM:
        return StoreError(
            what, path=path, **facts, error=error.strerror, reason="disk_full",
            remedy="make room on its file system, or the store smaller",
        )  # fmt: skip
    return StoreError(
        what, path=path, **facts, error=error.strerror, reason="io_error",
        remedy="see what the kernel's log says about this disk; nothing acked is lost. Start again when it is mended",
    )  # fmt: skip


def put_refused(path: str, number: int) -> StoreError:
    """The writer can't put: nothing of it is visible, and another writer may go on."""
    error = refused("the store can't be written", path, OSError(number, os.strerror(number)))
    error.retryable = error.reason == "disk_full"
    return error
