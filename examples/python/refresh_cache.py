"""Keeps a dict equal to a table: python examples/python/refresh_cache.py tcp://127.0.0.1:7411/orders"""

import sys

import engine

cache = {}
with engine.connect(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:7411/orders", consumer="cache") as stream:
    for batch in stream:
        for change in batch:
            if change.op == "delete":
                cache.pop((change.table, change.key), None)
            else:
                cache.setdefault((change.table, change.key), {}).update(change.after)
        batch.ack()  # after the work, never before it
        print(f"{len(cache)} rows cached, last change {change.timestamp:%H:%M:%S.%f}" if len(batch) else "nothing changed")
