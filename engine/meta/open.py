"""Which meta manager a config asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import ConfigError
from engine.instance import Instance
from engine.meta import Meta
from engine.meta.file import FileMeta
from engine.meta.memory import MemoryMeta

if TYPE_CHECKING:
    from engine.config import ClusterConfig


def open_meta(kind: str, instance: Instance, cluster: ClusterConfig | None = None, patience_s: float = 30.0) -> Meta:
    """`file`, `memory`, `zookeeper` or `mixed` ([server] meta) → a meta of this process's own.

    For the last two: cluster, and how long calls wait while ZooKeeper is away.

    Raises:
        MetaError: it can't be opened.
    """
    if kind in ("file", "memory"):
        return {"file": FileMeta, "memory": MemoryMeta}[kind](instance.meta_file(kind))
    if cluster is None:
        raise ConfigError("meta in ZooKeeper needs [cluster]", meta=kind)
    from engine.meta.mixed import MixedMeta
    from engine.meta.zookeeper import ZooKeeperMeta

    return (ZooKeeperMeta if kind == "zookeeper" else MixedMeta)(cluster, instance, patience_s)
