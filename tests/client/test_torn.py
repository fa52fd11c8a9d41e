"""A transaction whose server died in the middle of it: its changes are not handed out, whatever way a batch is read."""

from __future__ import annotations

from engine.client.torn import without_torn
from engine.record import TORN, Kind, pack_record
from engine.wire import BatchHead
from tests.client.streams import TIME_US, begin, commit, fragments, heartbeat, insert, place, schema_record, transaction


def torn_commit(source: int = 1) -> bytes:
    return pack_record(Kind.COMMIT, source=source, identity=place(event=9), time_us=TIME_US, flags=TORN, after=["0-1-5", None])


def left(*records: bytes) -> tuple[BatchHead, bytes]:
    data = b"".join(records)
    head, kept = without_torn(BatchHead(3, 0, 99, len(records), len(data), torn=True), memoryview(data))
    return head, bytes(kept)


def test_a_torn_transaction_leaves_nothing_of_itself():
    whole = transaction(10, 2)
    head, kept = left(begin(), insert(1), insert(2), torn_commit(), *whole)
    assert kept == b"".join(whole)
    assert (head.rows, head.records, head.bytes, head.batch) == (2, 4, len(kept), 3)


def test_what_belongs_to_no_transaction_stays():
    assert left(begin(), schema_record(), insert(1), heartbeat(), torn_commit())[1] == schema_record() + heartbeat()


def test_other_sources_are_not_touched():
    other = [begin(source=2), insert(5, source=2)]
    assert left(begin(), other[0], insert(1), other[1], torn_commit())[1] == b"".join(other)


def test_the_commit_tells_when_the_begin_was_in_an_earlier_batch():
    head, kept = left(insert(1), insert(2), torn_commit(), begin(), insert(3), commit())
    assert kept == torn_commit() + begin() + insert(3) + commit()
    assert head.rows == 1


def test_fragments_go_with_their_transaction_and_count_as_one_change_where_they_stay():
    pieces = fragments(insert(1), 3)
    assert left(begin(), *pieces, torn_commit())[1] == b""
    assert left(begin(), *pieces, commit())[0].rows == 1
