"""The numbers people watch, kept in the rings' headers: readable from outside, also when a stage hangs.

A ring has 64 for its writer and 8 for each reader; these enums say which is which. All are totals since the ring was made,
unless the sentence says otherwise.
"""

from __future__ import annotations

from enum import IntEnum


class SourceCounter(IntEnum):
    """Writer counters of a source ring."""

    ROWS = 0  # changes written to the ring
    ROWS_UNWANTED = 1  # rows of tables that no destination takes, skipped undecoded (counted in row events)
    TRANSACTIONS = 2  # commits seen in the binlog
    EVENTS = 3  # binlog events read
    BINLOG_BYTES = 4  # bytes of events read
    RECORD_BYTES = 5  # bytes written to the ring
    DDL = 6  # ddl records written
    RING_FULL = 7  # times the source found its ring full
    CONNECTS = 8  # connections made to the server
    FILE = 9  # number of the binlog file now read
    OFFSET = 10  # offset of the next event in it
    COMMIT_TIME_US = 11  # commit time of the last transaction read, µs since 1970
    RECEIVED_NS = 12  # CLOCK_MONOTONIC of the last bytes from the server, heartbeats included
    CONNECTED = 13  # 1 while a dump is running, otherwise 0
    CONNECTED_NS = 14  # CLOCK_MONOTONIC of the last connection made
    STATEMENTS = 15  # changes that the server logged as statements, without rows


class SinkCounter(IntEnum):
    """Writer counters of a store ring."""

    ROWS = 0  # changes put into the store
    RECORD_BYTES = 1  # bytes put into the store
    RECORDS_FILTERED = 2  # records of the source rings that this store doesn't take
    STORE_FULL = 3  # times the sink found the store full
    COMMIT_TIME_US = 4  # commit time of the last record put, µs since 1970
    TABLES_WHOLE = 5  # table versions that lack a column of partition_by: each goes whole into one partition


class ConsumerCounter(IntEnum):
    """Reader counters of a store ring, one set per consumer."""

    ROWS_SENT = 0  # changes handed out, again ones included
    ROWS_ACKED = 1  # changes acked
    BATCHES_SENT = 2  # batches handed out
    BATCHES_ACKED = 3  # batches acked
    ROLLBACKS = 4  # rollbacks, explicit ones and by disconnect
    SESSIONS = 5  # sessions opened
    ACKED_TIME_US = 6  # commit time of the last record acked, µs since 1970
