"""Meta that lives as long as the engine: the same tables in a file in shared memory, so that all processes see it."""

from __future__ import annotations

from engine.meta.file import FileMeta


class MemoryMeta(FileMeta):
    """FileMeta on a path in /dev/shm: outlives processes, not the engine, which removes it at its end."""

    survives_power_cut = False
