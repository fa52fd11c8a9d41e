"""Keeps a dict equal to a table: python examples/python/refresh_cache.py tcp://127.0.0.1:7411/orders"""

import sys

import engine

cache = {}
with engine.connect(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:7411/orders", consumer="cache") as stream:
    for batch in stream:
        for change in batch:
            row = {} if change.op == "insert" else cache.pop((change.table, change.old_key), {})
            if change.op != "delete":
                cache[change.table, change.key] = row | change.after
        batch.ack()  # after the work, never before it
        print(f"{len(cache)} rows cached, last change {change.timestamp:%H:%M:%S.%f}" if len(batch) else "nothing changed")
