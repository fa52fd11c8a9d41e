"""A node of ZooKeeper that lags behind the others answers reads from what it knows."""

import threading
import uuid
from pathlib import Path

from engine.config import ClusterConfig
from engine.instance import Instance
from engine.meta.zookeeper import ZooKeeperMeta


def test_a_table_key_that_was_given_a_moment_ago_is_known_to_who_reads_from_a_node_that_lags(parting_ensemble, tmp_path: Path):
    root = f"/test/{uuid.uuid4().hex}"
    leader = parting_ensemble.leader()
    lagging = next(node for node in parting_ensemble.nodes if node is not leader)
    others = [node for node in parting_ensemble.nodes if node is not lagging]
    writer = ZooKeeperMeta(ClusterConfig(zookeeper=[leader.hosts], root=root), Instance(tmp_path))
    reader = ZooKeeperMeta(ClusterConfig(zookeeper=[lagging.hosts], root=root), Instance(tmp_path))
    found: list[bytes | None] = []
    try:
        assert reader.packed_schema(writer.table_key(b"one")) == b"one"
        for other in others:
            parting_ensemble.part(lagging, other)
        key = writer.table_key(b"another")
        reading = threading.Thread(target=lambda: found.append(reader.packed_schema(key)))
        reading.start()
        reading.join(0.5)  # the node answers that there is none, and nothing more
        for other in others:
            parting_ensemble.rejoin(lagging, other)
        reading.join(30)
        assert found == [b"another"]
    finally:
        writer.close()
        reader.close()
