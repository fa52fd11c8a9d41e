"""get, ack and rollback of one consumer in one partition."""

from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine._scan import PIECE, SEAM, WHOLE, Scanner
from engine.counters import ConsumerCounter
from engine.errors import InternalError, Refused
from engine.file_store import Checkpoints, make_store
from engine.position import Identity
from engine.record import TORN, Kind, unpack_head
from engine.ring import Ring, iter_records
from engine.store import BatchNumbers, Cursor
from tests.histories import History, put

MIB = 1 << 20


@pytest.fixture(params=["memory", "file"])
def ring(request, tmp_path):
    """A store of either kind."""
    ring = Ring.create(None, MIB) if request.param == "memory" else make_store("r", tmp_path / "r", MIB, 1, str(tmp_path))
    ring.open_writer()
    ring.add_reader("cache")
    yield ring
    ring.close()


@pytest.fixture
def cursor(ring):
    cursor = open_cursor(ring)
    yield cursor
    cursor.close()


@pytest.fixture
def free(ring):
    """Gives the writer the room of what is acked, as checkpoints do; a store in memory needs none."""
    if not ring.data_path:
        yield lambda: None
        return
    with closing(Checkpoints(ring)) as checkpoints:
        yield checkpoints.write


def open_cursor(ring, acked=None, numbers=None):
    return Cursor(ring.reader("cache"), ring.capacity, acked or {}, numbers)


def content(batch):
    return b"".join(bytes(piece) for piece in batch.pieces)


def kinds(batch):
    return [Kind(unpack_head(record).kind) for piece in batch.pieces for record in iter_records(piece)]


# -- where a batch ends --


def test_an_empty_store_gives_nothing(cursor):
    assert cursor.next_batch(100, MIB) is None
    assert not cursor.held_back


def test_a_batch_is_what_is_there_as_it_is(ring, cursor):
    history = History()
    records = [*history.transaction(3), history.schema(), *history.transaction(2)]
    put(ring, records)
    batch = cursor.next_batch(100, MIB)
    assert content(batch) == b"".join(records)
    assert (batch.number, batch.rows, batch.records, batch.open) == (1, 5, 10, False)
    assert batch.bytes == len(content(batch))
    assert batch.tables == [(7, 1)]
    assert batch.positions == {1: unpack_head(records[-1]).identity}
    assert batch.time_us == unpack_head(records[-1]).time_us
    assert cursor.next_batch(100, MIB) is None


def test_a_batch_ends_at_the_last_transaction_within_the_row_limit(ring, cursor):
    history = History()
    put(ring, history.transaction(3), history.transaction(3), history.transaction(3))
    assert cursor.next_batch(8, MIB).rows == 6
    assert cursor.next_batch(8, MIB).rows == 3


def test_a_transaction_that_just_fits_goes_with_its_commit(ring, cursor):
    history = History()
    put(ring, history.transaction(3), history.transaction(3))
    batch = cursor.next_batch(3, MIB)
    assert kinds(batch)[-1] == Kind.COMMIT
    assert (batch.rows, batch.open) == (3, False)


def test_a_batch_ends_at_the_last_transaction_within_the_byte_limit(ring, cursor):
    history = History()
    transactions = [history.transaction(3) for _ in range(4)]
    put(ring, *transactions)
    size = sum(map(len, transactions[0]))
    batch = cursor.next_batch(1000, 2 * size + size // 2)
    assert batch.bytes == 2 * size
    assert not batch.open


def test_a_transaction_larger_than_the_limit_is_cut_after_whole_changes_and_says_so(ring, cursor):
    history = History()
    put(ring, history.transaction(5))
    first, second, third = (cursor.next_batch(2, MIB) for _ in range(3))
    assert [first.rows, second.rows, third.rows] == [2, 2, 1]
    assert [first.open, second.open, third.open] == [True, True, False]
    assert first.transactions == {}
    assert second.transactions == third.transactions == {1: history.gtid}
    assert cursor.next_batch(2, MIB) is None


def test_a_transaction_that_is_not_all_there_is_held_back(ring, cursor):
    history = History()
    put(ring, history.transaction(1), history.begin(), history.change())
    assert cursor.next_batch(100, MIB).rows == 1
    assert cursor.next_batch(100, MIB) is None
    assert cursor.held_back
    assert cursor.seen_put == ring.put
    put(ring, history.change(), history.commit())
    assert cursor.next_batch(100, MIB).rows == 2


def test_when_patience_is_over_the_unfinished_transaction_is_handed_out_open(ring, cursor):
    history = History()
    put(ring, history.begin(), history.change())
    batch = cursor.next_batch(100, MIB, patience_over=True)
    assert (batch.rows, batch.open) == (1, True)
    put(ring, history.commit())
    batch = cursor.next_batch(100, MIB)
    assert (batch.rows, batch.open, batch.transactions) == (0, False, {1: history.gtid})


def test_a_filling_ring_hands_out_what_there_is_so_that_the_writer_can_go_on(ring, cursor):
    history = History()
    put(ring, history.begin())
    while ring.put <= MIB // 2:
        put(ring, history.change("x" * 1000))
    batch = cursor.next_batch(1 << 30, 1 << 30)
    assert batch.open
    assert batch.end == ring.put


def test_a_change_in_fragments_is_one_row_and_stays_together_beyond_the_limits(ring, cursor):
    history = History()
    put(ring, history.begin(), history.change(), history.fragments(5, 50_000), history.change(), history.commit())
    first, second, third = (cursor.next_batch(1000, 60_000) for _ in range(3))
    assert kinds(first) == [Kind.BEGIN, Kind.INSERT]
    assert kinds(second) == [Kind.FRAGMENT] * 5
    assert kinds(third) == [Kind.INSERT, Kind.COMMIT]
    assert [first.rows, second.rows, third.rows] == [1, 1, 1]
    assert [first.open, second.open, third.open] == [True, True, False]


def test_half_a_fragmented_change_is_never_handed_out_while_the_ring_has_room_for_the_rest(ring, cursor):
    history = History()
    pieces = history.fragments(4, 50_000)
    put(ring, history.begin(), history.change(), pieces[:2])
    assert cursor.next_batch(1000, MIB) is None
    batch = cursor.next_batch(1000, MIB, patience_over=True)
    assert kinds(batch) == [Kind.BEGIN, Kind.INSERT]
    assert cursor.next_batch(1000, MIB, patience_over=True) is None
    put(ring, pieces[2:], history.commit())
    assert cursor.next_batch(1000, MIB).rows == 1


def test_a_change_larger_than_half_the_ring_comes_in_parts(ring, cursor, free):
    history = History()
    begin, pieces = history.begin(), history.fragments(12, 128 * 1024)
    expected = [begin, *pieces, history.commit()]
    received, waiting = b"", list(expected)
    while waiting or cursor.reader.lag_bytes:
        while waiting and ring.try_put(waiting[0]) >= 0:
            waiting.pop(0)
        if batch := cursor.next_batch(1000, MIB):
            received += content(batch)
            cursor.ack(batch.number)
            assert batch.positions == {} or waiting == [] or batch.positions[1] < unpack_head(pieces[0]).identity
            cursor.settle()
        free()
    assert received == b"".join(expected)


def test_ddl_outside_a_transaction_ends_a_batch(ring, cursor):
    history = History()
    put(ring, history.transaction(1), history.ddl(), history.begin(), history.change())
    batch = cursor.next_batch(100, MIB)
    assert kinds(batch) == [Kind.BEGIN, Kind.INSERT, Kind.COMMIT, Kind.DDL]


def test_interleaved_transactions_of_two_sources_end_where_none_of_them_is_open(ring, cursor):
    one, two = History(1), History(2)
    put(ring, one.begin(), two.begin(), one.change(), two.change(), one.commit(), two.change())
    assert cursor.next_batch(100, MIB) is None
    put(ring, two.commit(), one.begin(), one.change())
    batch = cursor.next_batch(100, MIB)
    assert batch.rows == 3
    assert batch.positions.keys() == {1, 2}
    assert batch.open_after == {}


def test_a_source_that_stands_still_inside_a_transaction_does_not_hold_the_others_back(ring, cursor):
    dead, alive = History(1), History(2)
    put(ring, dead.begin(), dead.change(), alive.transaction(1))
    assert cursor.next_batch(100, MIB) is None
    assert cursor.next_batch(100, MIB, patience_over=True).open
    put(ring, alive.transaction(2))
    batch = cursor.next_batch(100, MIB)
    assert (batch.rows, batch.open) == (2, False)
    assert batch.transactions == batch.open_after == {1: dead.gtid}


@given(
    sources=st.lists(st.integers(0, 1), min_size=1, max_size=12), rows=st.integers(1, 5), looks=st.sets(st.integers(1, 60)),
    most=st.sampled_from([(4, MIB), (100, 900), (100, MIB)]), how=st.sampled_from([WHOLE, SEAM, PIECE]), skips=st.booleans(),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_a_scan_that_goes_on_finds_what_one_from_the_start_finds(sources, rows, looks, most, how, skips):
    histories = [History(1), History(2)]
    records = [history.begin() for history in histories]
    for source in sources:
        history = histories[source]
        records += [history.change() for _ in range(rows)] + history.fragments(3, 50)
        records += [history.commit(), history.heartbeat(), history.begin()]
    acked = {1: unpack_head(records[len(records) // 2]).identity} if skips else {}
    going_on, open_before = Scanner(acked), {}
    for end in sorted({min(look, len(records)) for look in looks}):
        seen = b"".join(records[:end])
        found = [
            (scanner.scan(seen, open_before, *most, how, 7), scanner.full, scanner.open, scanner.end, scanner.rows, scanner.bytes,
             scanner.telling, scanner.pieces(), scanner.table_keys(), scanner.positions(), scanner.open_at_first(),
             scanner.open_after())
            for scanner in (going_on, Scanner(acked))
        ]  # fmt: skip
        assert found[0] == found[1]


def test_every_table_key_is_named_once_however_many_there_are(ring, cursor):
    history = History()
    keys = [*range(1, 700), *range(1, 700)]
    put(ring, history.begin(), [history.change("", table=key) for key in keys], history.commit())
    assert cursor.next_batch(10_000, MIB).tables == [(key, 1) for key in range(1, 700)]


def test_with_only_full_a_batch_waits_for_the_limits(ring, cursor):
    history = History()
    put(ring, history.transaction(3))
    assert cursor.next_batch(5, MIB, only_full=True) is None
    assert cursor.held_back
    put(ring, history.transaction(3))
    assert cursor.next_batch(5, MIB, only_full=True).rows == 3
    assert cursor.next_batch(5, MIB, only_full=True) is None
    assert cursor.next_batch(5, MIB).rows == 3


def test_bytes_that_are_no_record_are_our_bug_and_said_so(ring, cursor):
    put(ring, History().transaction(1))
    broken = bytearray(History().change())
    with pytest.raises(InternalError, match="no record"):
        cursor._scanner.scan(bytes(broken[:-1]), {}, 10, MIB)
    broken[5] = 3
    with pytest.raises(InternalError, match="no record"):
        cursor._scanner.scan(bytes(broken), {}, 10, MIB)


# -- what needs no consumer --


def test_heartbeats_and_schemas_alone_are_acked_in_silence(ring, cursor):
    history = History()
    put(ring, history.heartbeat(), history.schema(), history.heartbeat())
    assert cursor.next_batch(100, MIB) is None
    assert cursor.unsaved == {1: Identity(1, history.start, 0, 0)}
    cursor.settle()
    assert cursor.reader.held_bytes == 0


def test_heartbeats_after_an_outstanding_batch_are_acked_with_it(ring, cursor):
    history = History()
    put(ring, history.transaction(1))
    batch = cursor.next_batch(100, MIB)
    put(ring, history.heartbeat())
    assert cursor.next_batch(100, MIB) is None
    assert cursor.unsaved is None
    cursor.ack(batch.number)
    assert cursor.unsaved == {1: Identity(1, history.start, 0, 0)}
    cursor.settle()
    assert cursor.reader.held_bytes == 0


def test_heartbeats_before_an_unfinished_transaction_do_not_wait_for_it(ring, cursor):
    history = History()
    put(ring, history.heartbeat(), history.begin(), history.change())
    assert cursor.next_batch(100, MIB) is None
    assert cursor.unsaved is not None


def test_what_an_earlier_life_has_acked_is_not_handed_out_again(ring):
    history = History()
    seen = history.transaction(3)
    new = history.transaction(2)
    put(ring, seen, new)
    cursor = open_cursor(ring, {1: unpack_head(seen[-1]).identity})
    batch = cursor.next_batch(100, MIB)
    assert content(batch) == b"".join(new)
    assert batch.start == 0
    cursor.close()


def test_what_was_acked_alone_is_acked_in_the_ring_without_a_batch(ring):
    history = History()
    seen = history.transaction(3)
    put(ring, seen)
    cursor = open_cursor(ring, {1: unpack_head(seen[-1]).identity})
    assert cursor.next_batch(100, MIB) is None
    cursor.settle()
    assert cursor.reader.held_bytes == 0
    cursor.close()


def test_an_ack_in_the_middle_of_a_transaction_is_gone_on_from_with_its_gtid(ring):
    history = History()
    records = history.transaction(4)
    put(ring, records)
    cursor = open_cursor(ring, {1: unpack_head(records[2]).identity})
    batch = cursor.next_batch(100, MIB)
    assert content(batch) == b"".join(records[3:])
    assert batch.transactions == {1: history.gtid}  # its begin was passed over inside this batch
    cursor.rollback()
    assert cursor.next_batch(100, MIB).transactions == {1: history.gtid}
    cursor.close()


def test_a_batch_says_whether_it_holds_the_end_of_a_torn_transaction(ring, cursor):
    history = History()
    begin, change, commit = history.transaction(1)
    torn = bytearray(commit)
    torn[10] = TORN
    put(ring, begin, change, bytes(torn))
    assert cursor.next_batch(100, MIB).torn
    put(ring, history.transaction(1))
    assert not cursor.next_batch(100, MIB).torn


def test_each_source_is_skipped_up_to_its_own_position(ring):
    one, two = History(1), History(2)
    seen, fresh, new = one.transaction(1), two.transaction(1), one.transaction(1)
    put(ring, seen[:2], fresh[:2], seen[2:], fresh[2:], new)
    cursor = open_cursor(ring, {1: unpack_head(seen[-1]).identity})
    batch = cursor.next_batch(100, MIB)
    assert len(batch.pieces) == 2
    assert content(batch) == b"".join(fresh + new)
    assert batch.positions == {1: unpack_head(new[-1]).identity, 2: unpack_head(fresh[-1]).identity}
    cursor.close()


def test_a_cut_before_skipped_records_skips_them_next_time(ring):
    one, two = History(1), History(2)
    seen = one.transaction(1)
    put(ring, two.transaction(1), seen, two.transaction(1))
    cursor = open_cursor(ring, {1: unpack_head(seen[-1]).identity})
    for _ in range(2):
        batch = cursor.next_batch(1, MIB)
        assert {unpack_head(record).source for piece in batch.pieces for record in iter_records(piece)} == {2}
    assert cursor.next_batch(1, MIB) is None
    cursor.close()


# -- ack and rollback --


def two_batches(ring, cursor):
    history = History()
    put(ring, history.transaction(2), history.transaction(3))
    return cursor.next_batch(2, MIB), cursor.next_batch(3, MIB)


def test_an_ack_frees_the_ring_once_it_is_settled(ring, cursor):
    first, second = two_batches(ring, cursor)
    assert cursor.ack(first.number) is False
    assert cursor.reader.ack == 0
    assert cursor.unsaved == first.positions
    cursor.settle()
    assert cursor.reader.ack == first.end
    assert cursor.unsaved is None
    assert list(cursor.outstanding) == [second.number]


def test_acking_a_later_batch_acks_the_earlier_ones(ring, cursor):
    first, second = two_batches(ring, cursor)
    cursor.ack(second.number)
    cursor.settle()
    assert cursor.reader.ack == second.end
    assert cursor.ack(first.number) is True


def test_acking_twice_is_harmless_and_says_so(ring, cursor):
    first, _ = two_batches(ring, cursor)
    assert [cursor.ack(first.number), cursor.ack(first.number)] == [False, True]


@pytest.mark.parametrize("number", [3, 99, 0, 2**63])
def test_an_unknown_batch_can_neither_be_acked_nor_rolled_back(ring, cursor, number):
    two_batches(ring, cursor)
    with pytest.raises(Refused, match=f"batch={number}"):
        cursor.ack(number)
    with pytest.raises(Refused, match=f"batch={number}"):
        cursor.rollback(number)
    assert len(cursor.outstanding) == 2


def test_a_rolled_back_batch_comes_again_with_a_new_number(ring, cursor):
    first, second = two_batches(ring, cursor)
    cursor.rollback()
    again = cursor.next_batch(2, MIB)
    assert again.number == 3
    assert content(again) == content(first)
    with pytest.raises(Refused):
        cursor.ack(second.number)
    assert not cursor.ack(again.number)


def test_a_rollback_to_a_batch_leaves_the_earlier_ones_outstanding(ring, cursor):
    first, second = two_batches(ring, cursor)
    cursor.rollback(second.number)
    assert list(cursor.outstanding) == [first.number]
    assert content(cursor.next_batch(3, MIB)) == content(second)


def test_a_rollback_does_not_undo_an_ack_that_is_not_settled_yet(ring, cursor):
    first, second = two_batches(ring, cursor)
    cursor.ack(first.number)
    cursor.rollback()
    assert content(cursor.next_batch(3, MIB)) == content(second)


def test_a_rollback_into_an_open_transaction_knows_its_gtid_again(ring, cursor):
    history = History()
    put(ring, history.transaction(3))
    cursor.next_batch(1, MIB)
    second = cursor.next_batch(1, MIB)
    cursor.next_batch(1, MIB)
    cursor.rollback(second.number)
    assert cursor.next_batch(1, MIB).transactions == {1: history.gtid}


def test_batch_numbers_run_over_all_partitions_of_a_session(ring):
    numbers = BatchNumbers()
    cursor = open_cursor(ring, numbers=numbers)
    put(ring, History().transaction(1))
    numbers.next()
    assert cursor.next_batch(10, MIB).number == 2
    cursor.close()


# -- a new owner --


def test_a_new_cursor_starts_again_at_the_ack(ring, cursor):
    first, second = two_batches(ring, cursor)
    cursor.ack(first.number)
    cursor.settle()
    cursor.close()
    successor = open_cursor(ring)
    assert content(successor.next_batch(10, MIB)) == content(second)
    successor.close()


def test_a_new_cursor_knows_the_transaction_that_is_open_at_the_ack(ring, cursor):
    history = History()
    put(ring, history.transaction(3))
    batch = cursor.next_batch(1, MIB)
    cursor.ack(batch.number)
    cursor.settle()
    cursor.close()
    successor = open_cursor(ring)
    batch = successor.next_batch(10, MIB)
    assert batch.transactions == {1: history.gtid}
    successor.ack(batch.number)
    successor.settle()
    successor.close()
    put(ring, history.transaction(1))
    last = open_cursor(ring)
    assert last.next_batch(10, MIB).transactions == {}
    last.close()


def test_the_open_transactions_of_very_many_sources_are_remembered_as_far_as_the_note_reaches(ring, cursor):
    histories = [History(source) for source in range(1, 60)]
    for history in histories:
        put(ring, history.begin(f"3e11fa47-71ca-11e1-9e33-c80aa9429562:{history.source}"), history.change())
    batch = cursor.next_batch(100, MIB, patience_over=True)
    assert len(batch.open_after) == 59
    cursor.ack(batch.number)
    cursor.settle()
    cursor.close()
    successor = open_cursor(ring)
    put(ring, [history.commit() for history in histories])
    transactions = successor.next_batch(100, MIB).transactions
    assert len(transactions) > 20
    assert transactions.keys() <= batch.open_after.keys()
    successor.close()


def test_the_counters_tell_what_happened(ring, cursor):
    first, _ = two_batches(ring, cursor)
    cursor.ack(first.number)
    cursor.settle()
    cursor.rollback()
    cursor.next_batch(100, MIB)
    cursor.count_session()
    counters = cursor.reader.counters
    assert list(counters[:7]) == [8, 2, 3, 1, 1, 1, first.time_us]
    assert counters[ConsumerCounter.ROWS_SENT] == 8
    counters.release()
