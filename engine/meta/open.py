"""Which meta manager a config asks for."""

from __future__ import annotations

from engine.instance import Instance
from engine.meta import Meta
from engine.meta.file import FileMeta
from engine.meta.memory import MemoryMeta


def open_meta(kind: str, instance: Instance) -> Meta:
    """`file` or `memory` ([server] meta) → a meta of this process's own on the engine's common file.

    Raises:
        MetaError: it can't be opened.
    """
    return {"file": FileMeta, "memory": MemoryMeta}[kind](instance.meta_file(kind))
