"""High availability: several engines share the destinations of one config, each destination with one owner at a time.

session.py    a connection to ZooKeeper, with deadlines and our errors
layout.py     what lies where in ZooKeeper
leases.py     the steps of a lease, each a transaction
keeper.py     the thread that takes leases, proves them, and gives them away
grant.py      what a stage needs to know of its lease, in shared memory
conductor.py  runs what this engine has the lease of
"""
