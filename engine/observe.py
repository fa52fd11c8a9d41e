"""What a running engine does, read from its state file and the headers of its rings; asks none of its processes."""

from __future__ import annotations

import json
import time
from contextlib import closing, suppress
from itertools import pairwise
from typing import Any

from engine.beats import STALLED_S, SUPERVISOR, silences_s
from engine.config import Config
from engine.counters import ConsumerCounter, SourceCounter
from engine.errors import MetaError, RingError
from engine.instance import Instance
from engine.meta import Presence, SourceHistory
from engine.meta.open import open_meta
from engine.owner import is_alive
from engine.position import join_file_name
from engine.retained import oldest_held
from engine.ring import Ring

SLOW_START_S = 30.0  # a stage that takes longer is complained about

PATIENCE_S = 1.0  # for a ZooKeeper that may be away


def observe(config: Config) -> dict[str, Any]:
    """A picture of this moment: `running`, `stages`, `sources` by name, `stores` by destination/partition, `consumers` by
    destination/consumer/partition.

    `healthy`: it runs, and nothing needs anybody's attention; otherwise `complaints` says what does, one line each.
    """
    instance = Instance(config.server.data_dir)
    state = _state(instance)
    silences = silences_s(instance) if state else []
    histories, presence = _from_meta(instance, config) if state else ({}, {})
    stages = [_stage(child, silences) for child in state.get("children", ())]
    sources = {name: seen for name in config.sources if (seen := _source(instance, name, histories))}
    consumers = [
        seen | _absence(config, presence.get(name, {}), seen)
        for name, settings in config.destinations.items()
        for partition in range(settings.partitions)
        for seen in consumers_of(instance, name, partition)
    ]
    stores = [
        seen
        for name, settings in config.destinations.items()
        for partition in range(settings.partitions)
        if (seen := _store(instance, name, partition, histories))
    ]
    complaints = _complaints(config, state, stages, sources, silences)
    complaints += [line for seen in stores if state and (line := _short_reach(config, seen))]
    return {
        "running": bool(state),
        "healthy": bool(state) and not complaints,
        "complaints": complaints,
        "pid": state.get("pid"),
        "version": state.get("version"),
        "listen": state.get("listen", []),
        "destinations": state.get("destinations", []),
        "cluster": state.get("cluster"),
        "stages": stages,
        "sources": sources,
        "stores": {f"{seen['destination']}/{seen['partition']}": seen for seen in stores},
        "consumers": {f"{seen['destination']}/{seen['consumer']}/{seen['partition']}": seen for seen in consumers},
    }


def _state(instance: Instance) -> dict[str, Any]:
    """What the supervisor wrote last; nothing if it is gone, also when another process has its pid now."""
    for path in (instance.spare_state_file, instance.state_file):
        with suppress(OSError, ValueError, KeyError):
            state: dict[str, Any] = json.loads(path.read_text())
            if is_alive(state["pid"], state["start_time"]):
                return state
    return {}


def _stage(child: dict[str, Any], silences: list[float]) -> dict[str, Any]:
    """What the supervisor knows of a stage, and what its heartbeat says, which holds also when the supervisor hangs."""
    silent_s = silences[child["place"]] if child["place"] < len(silences) and child["pid"] else 0.0
    stalled = child["state"] == "running" and silent_s > STALLED_S
    return {
        **child,
        "title": child["role"] if child["role"] == "server" else f"{child['role']} {child['name']}",
        "silent_s": round(silent_s, 3),
        **({"state": "stalled", "reason": "stalled"} if stalled else {}),
    }


def _complaints(
    config: Config, state: dict[str, Any], stages: list[dict[str, Any]], sources: dict[str, dict[str, Any]], silences: list[float]
) -> list[str]:
    if not state:
        return []
    found = []
    if silences and silences[SUPERVISOR] > STALLED_S:
        found.append(f"the supervisor stands still: pid={state['pid']} seconds={silences[SUPERVISOR]:.0f}")
    if (state.get("cluster") or {}).get("trouble"):
        found.append(f"cluster: {state['cluster']['trouble']}")
    for stage in stages:
        facts = f"{stage['title']} is {stage['state']}"
        if stage["state"] == "stalled":
            found.append(f"{facts}: pid={stage['pid']} seconds={stage['silent_s']:.0f}")
        elif stage["state"] not in ("running", "starting") or stage["reason"]:
            found.append(f"{facts}: {stage['reason']}: {stage['error']}")
        elif stage["state"] == "starting" and time.time() - stage["since"] > SLOW_START_S:
            found.append(f"{facts} since {time.time() - stage['since']:.0f} s: pid={stage['pid']}")
        elif stage["role"] == "source" and config.sources[stage["name"]].files is None:
            source = sources.get(stage["name"])
            if stage["state"] == "running" and source is not None and not source["connected"]:
                found.append(f"{stage['title']} is not connected to its server")
    return found


def _from_meta(instance: Instance, config: Config) -> tuple[dict[int, SourceHistory], dict[str, dict[str, Presence]]]:
    """The sources' histories, oldest first; and by destination, who has been away how long."""
    try:
        meta = open_meta(config.server.meta, instance, config.cluster, PATIENCE_S)
    except MetaError:  # as below; on a full disk, too
        return {}, {}
    try:
        return dict(sorted(meta.histories().items())), {name: meta.presence(name) for name in config.destinations}
    except MetaError:  # a picture without file names is better than none
        return {}, {}
    finally:
        meta.close()


def _absence(config: Config, presence: dict[str, Presence], seen: dict[str, Any]) -> dict[str, Any]:
    """`expires_in_s`: when a consumer that the config doesn't list will be dropped if it stays away; None: never."""
    settings = config.destinations[seen["destination"]]
    if seen["consumer"] in settings.consumers or settings.consumer_expiry is None:
        return {"away_s": None, "expires_in_s": None}
    away_s = 0.0 if seen["present"] else presence.get(seen["consumer"], Presence(0.0)).away_s
    return {"away_s": away_s, "expires_in_s": max(settings.consumer_expiry - away_s, 0.0)}


def _servers(histories: dict[int, SourceHistory], source: str) -> dict[str, Any]:
    """`server`: the one in use, or last in use, since `server_since`; `failover`: the last change from one to another."""
    from engine.source.server_identity import Turn

    turns = [turn for one in histories.values() if one.source == source and (turn := Turn.unpack(one.identity))]
    failover = None
    for left, now in pairwise(turns):
        if left.where != now.where:
            failover = {
                "from": left.where, "to": now.where, "at": now.since, "reason": now.reason, "by": now.by, "why": now.why,
            }  # fmt: skip
    newest = turns[-1] if turns else None
    return {"server": newest and newest.where, "server_since": newest and newest.since, "failover": failover}


def _source(instance: Instance, name: str, histories: dict[int, SourceHistory]) -> dict[str, Any] | None:
    base = next((one.binlog for one in reversed(histories.values()) if one.source == name), None)
    try:
        ring = Ring.attach(instance.source_ring(name))
    except RingError:
        return None
    counters = ring.counters
    commit_us = counters[SourceCounter.COMMIT_TIME_US]
    seen = {
        "position": f"{join_file_name(base, counters[SourceCounter.FILE])}:{counters[SourceCounter.OFFSET]}" if base else "-",
        "connected": bool(counters[SourceCounter.CONNECTED]) and ring.writer_alive(),  # not what a killed one has left there
        "last_change_s": max(time.time() - commit_us / 1e6, 0.0) if commit_us else None,
        "held_bytes": ring.held_bytes,
        **_servers(histories, name),
        **{counter.name.lower(): counters[counter] for counter in SourceCounter if counter != SourceCounter.CONNECTED},
    }
    counters.release()
    ring.close()
    return seen


def _store(instance: Instance, destination: str, partition: int, histories: dict[int, SourceHistory]) -> dict[str, Any] | None:
    """What a consumer could go back to: the `oldest` place with its time and GTID, and how many seconds ago that was.

    kept_bytes: from there to the end. overwritten: there has been more before it.
    """
    try:
        ring = Ring.attach(instance.store_ring(destination, partition))
    except RingError:
        return None
    with closing(ring):
        oldest = oldest_held(ring)
        return {
            "destination": destination,
            "partition": partition,
            "capacity_bytes": ring.capacity,
            "held_bytes": ring.held_bytes,
            "kept_bytes": ring.put - ring.floor,
            "overwritten": ring.floor > 0,
            "reaches_back_s": max(time.time() - oldest.head.time_us / 1e6, 0.0) if oldest else None,
            **(oldest.facts(histories) if oldest else {"oldest": None, "oldest_time": None, "oldest_gtid": None}),
        }


def _short_reach(config: Config, seen: dict[str, Any]) -> str | None:
    """A complaint about a store that reaches back less than wanted."""
    retain, reach = config.destinations[seen["destination"]].store.retain, seen["reaches_back_s"]
    if retain is None or reach is None or reach >= retain or not seen["overwritten"]:
        return None
    return (
        f"the store of {seen['destination']}/{seen['partition']} reaches back {reach:.0f} s: retain={retain:.0f} "
        f"oldest={seen['oldest']} size={seen['capacity_bytes']} — make store.size larger"
    )


def consumer_in_store(instance: Instance, destination: str, consumer: str, partition: int) -> dict[str, Any] | None:
    """What one consumer holds of one partition, and its counters; None: it isn't there, or nothing runs."""
    return next((seen for seen in consumers_of(instance, destination, partition) if seen["consumer"] == consumer), None)


def consumers_of(instance: Instance, destination: str, partition: int) -> list[dict[str, Any]]:
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
                "present": reader.owner_alive(),
                **{counter.name.lower(): counters[counter] for counter in ConsumerCounter},
            }
        )
        counters.release()
    ring.close()
    return seen
