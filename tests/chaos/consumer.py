"""A consumer, whatever fails: `python -m tests.chaos.consumer ADDRESS,ADDRESS,... DESTINATION CONSUMER FILE`."""

import sys
from pathlib import Path

import engine
from tests.chaos.kept_replica import KeptReplica

addresses, destination, consumer, file = sys.argv[1:]
replica = KeptReplica(Path(file))
with engine.connect(addresses.split(","), destination=destination, consumer=consumer) as stream:
    for batch in stream:
        replica.apply(batch, stream.epoch)
        batch.ack()
        replica.confirm()
