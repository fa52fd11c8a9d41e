"""A transaction whose server died in the middle of it: its changes are not handed out, whatever way a batch is read."""

from __future__ import annotations

import pytest

from engine.client.batch import Batch
from engine.client.change import ChangeReader
from engine.client.torn import without_torn
from engine.record import TORN, Kind, pack_record
from engine.wire import BatchHead, Schemas
from tests.client.streams import TIME_US, begin, commit, fragments, heartbeat, insert, place, schema_record, transaction
from tests.client.test_core import give, opened


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


def test_what_earlier_batches_had_of_a_torn_transaction_is_told_by_the_batch():
    session = ChangeReader({1: ("shop", "binlog")})
    session.learn(schema_record())
    head, kept = left(insert(2), torn_commit(), begin(), insert(3), commit())
    marks = {"ddl": False, "transactions": False, "history": False}
    batch = Batch(head, memoryview(kept), session.at({1: "0-1-5"}, {}), marks)
    (void,) = batch.torn
    assert (void.torn, void.gtid, void.position, void.to_json()["torn"]) == (True, "0-1-5", batch.changes()[0].position, True)
    assert len(batch.rows()) == 1
    assert Batch(BatchHead(1, 0, 1, 1, len(insert(2))), memoryview(insert(2)), session.at({}, {}), marks).torn == []


def test_fragments_of_a_change_that_was_torn_are_forgotten():
    session = ChangeReader({1: ("shop", "binlog")})
    session.learn(schema_record())
    first, second, _ = fragments(insert(1), 3)
    list(session.read(first + second))
    assert session.partial
    list(session.read(torn_commit()))
    assert not session.partial


@pytest.mark.parametrize("asked", [False, True])
def test_who_did_not_ask_for_transactions_reads_of_it_in_the_log(asked, caplog):
    core = opened(transactions=asked)
    core.want_batch(0)
    give(core, Schemas(), schema_record())
    records = insert(2) + torn_commit()
    give(core, BatchHead(1, 0, 1, 2, len(records), transactions={1: ["0-1-5"]}, torn=True), records)
    _, batch = core.take_batch()
    assert len(batch.torn) == 1
    assert ("see Batch.torn" in caplog.text) is not asked
