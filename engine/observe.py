"""What a running engine does, read from its state file and the headers of its rings; asks none of its processes."""

from __future__ import annotations

import json
import time
from typing import Any

from engine.config import Config
from engine.counters import ConsumerCounter, SourceCounter
from engine.errors import RingError
from engine.instance import Instance
from engine.meta.open import open_meta
from engine.owner import is_alive
from engine.position import join_file_name
from engine.ring import Ring


def observe(config: Config) -> dict[str, Any]:
    """A picture of this moment: `running`, `stages`, `sources` by name, `consumers` by destination/consumer/partition."""
    instance = Instance(config.server.data_dir)
    state = _state(instance)
    bases = _binlog_bases(instance, config) if state else {}
    stages = [
        {**child, "title": child["role"] if child["role"] == "server" else f"{child['role']} {child['name']}"}
        for child in state.get("children", ())
    ]
    return {
        "running": bool(state),
        "pid": state.get("pid"),
        "version": state.get("version"),
        "listen": state.get("listen", []),
        "destinations": state.get("destinations", []),
        "cluster": state.get("cluster"),
        "stages": stages,
        "sources": {name: seen for name in config.sources if (seen := _source(instance, name, bases.get(name)))},
        "consumers": {
            f"{seen['destination']}/{seen['consumer']}/{seen['partition']}": seen
            for name, settings in config.destinations.items()
            for partition in range(settings.partitions)
            for seen in _consumers(instance, name, partition)
        },
    }


def _state(instance: Instance) -> dict[str, Any]:
    """What the supervisor wrote last; nothing if it is gone, also when another process has its pid now."""
    try:
        state = json.loads(instance.state_file.read_text())
        return state if is_alive(state["pid"], state["start_time"]) else {}
    except (OSError, ValueError, KeyError):
        return {}


def _binlog_bases(instance: Instance, config: Config) -> dict[str, str]:
    """Base name of each source's binlog files, where one is known already."""
    meta = open_meta(config.server.meta, instance, config.cluster)
    try:
        return {history.source: history.binlog for _, history in sorted(meta.histories().items())}
    finally:
        meta.close()


def _source(instance: Instance, name: str, base: str | None) -> dict[str, Any] | None:
    try:
        ring = Ring.attach(instance.source_ring(name))
    except RingError:
        return None
    counters = ring.counters
    commit_us = counters[SourceCounter.COMMIT_TIME_US]
    seen = {
        "position": f"{join_file_name(base, counters[SourceCounter.FILE])}:{counters[SourceCounter.OFFSET]}" if base else "-",
        "connected": bool(counters[SourceCounter.CONNECTED]),
        "last_change_s": max(time.time() - commit_us / 1e6, 0.0) if commit_us else None,
        "held_bytes": ring.held_bytes,
        **{counter.name.lower(): counters[counter] for counter in SourceCounter},
    }
    counters.release()
    ring.close()
    return seen


def _consumers(instance: Instance, destination: str, partition: int) -> list[dict[str, Any]]:
    try:
        ring = Ring.attach(instance.store_ring(destination, partition))
    except RingError:
        return []
    seen = []
    for name in ring.readers():
        reader = ring.reader(name)
        counters = reader.counters
        seen.append(
            {
                "destination": destination,
                "consumer": name,
                "partition": partition,
                "held_bytes": reader.held_bytes,
                "unsent_bytes": reader.lag_bytes,
                **{counter.name.lower(): counters[counter] for counter in ConsumerCounter},
            }
        )
        counters.release()
    ring.close()
    return seen
