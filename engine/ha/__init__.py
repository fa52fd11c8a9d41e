"""High availability: several engines share the destinations of one config, each destination with one owner at a time.

session.py  a connection to ZooKeeper, with deadlines and our errors
grant.py    what a stage needs to know of its lease, in shared memory
"""
