"""A consumer of a cluster, whatever fails: `python -m tests.ha.consumer ADDRESS,ADDRESS,... DESTINATION FILE`."""

import sys
from pathlib import Path

import engine
from tests.chaos.consumer import KeptReplica

addresses, destination, file = sys.argv[1:]
replica, unconfirmed = KeptReplica(Path(file)), []
with engine.connect(addresses.split(","), destination=destination, consumer="default") as stream:
    for batch in stream:
        ends = replica.apply(batch)
        batch.ack()
        unconfirmed.append((batch, ends))
        while unconfirmed and unconfirmed[0][0].durable:
            replica.confirm(unconfirmed.pop(0)[1])
