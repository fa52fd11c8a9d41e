"""Going back in a store: to the oldest record held, a binlog place or a time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise

import msgpack
import pytest

from engine import lookback
from engine.errors import RingError
from engine.lookback import EPOCH, back_to_whole_change, start_at
from engine.meta import SourceHistory
from engine.record import HEAD_BYTES, unpack_head
from engine.ring import FULL, Ring
from tests.histories import History

MIB = 1 << 20
UUID, OTHER = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "00010203-0405-0607-0809-0a0b0c0d0e0f"
HISTORIES = {1: SourceHistory("shop", "binlog"), 2: SourceHistory("depot", "other")}


@pytest.fixture
def ring():
    ring = Ring.create(None, MIB)
    ring.open_writer()
    ring.add_reader("cache").open()
    yield ring
    ring.close()


def fill(ring: Ring, transactions: int) -> list[bytes]:
    """Puts, gets and acks so many transactions of about 3 KB; returns their begins."""
    history, begins = History(), []
    reader = ring.reader("cache")
    reader.open()
    for _ in range(transactions):
        records = history.transaction(3, "x" * 1000)
        begins.append(records[0])
        for record in records:
            assert ring.try_put(record) != FULL
        reader.advance(sum(map(len, records)))
        reader.ack_to(reader.get)
    return begins


def started(ring: Ring, wanted: str, executed: Iterable[str] = ()) -> bytes:
    """The first record from there on; b"": the end."""
    reader = ring.reader("cache")
    reader.open()
    start_at(ring, reader, wanted, HISTORIES, executed)
    assert reader.get == reader.ack
    view = bytes(reader.view())
    return view[: unpack_head(view).length] if view else b""


def time_of(record: bytes) -> str:
    return (EPOCH + timedelta(microseconds=unpack_head(record).time_us)).isoformat()


def test_the_oldest_is_a_begin_and_half_of_the_store_at_least_is_still_there(ring) -> None:
    begins = fill(ring, 1000)
    oldest = started(ring, "oldest")
    assert oldest in begins
    assert ring.put - ring.reader("cache").ack > MIB // 2


def test_every_transaction_that_is_held_is_found_by_its_place_and_by_its_time(ring) -> None:
    begins = fill(ring, 1000)
    held = begins[begins.index(started(ring, "oldest")) :]
    assert len(held) > 150
    for begin in held[::10]:
        place = unpack_head(begin)
        assert started(ring, f"binlog.000001:{place.start}") == begin
        if begin is not held[0]:
            assert started(ring, f"binlog.000001:{place.start - 1}") == begin
            assert started(ring, time_of(begin)) == begin


def test_a_later_place_than_all_is_the_end_and_so_is_the_latest(ring) -> None:
    fill(ring, 20)
    assert started(ring, "binlog.000002:4") == b""
    assert started(ring, "2030-01-01T00:00:00Z") == b""
    assert started(ring, "latest") == b""


@pytest.mark.parametrize("wanted", ["binlog.000001:4", "1970-01-01T00:00:00Z"])
def test_what_is_overwritten_is_refused_with_what_is_there_and_the_reader_stays(ring, wanted) -> None:
    fill(ring, 1000)
    before = ring.reader("cache").ack
    with pytest.raises(RingError, match=r"no longer holds this start .*oldest=binlog\.000001:\d+") as caught:
        started(ring, wanted)
    assert caught.value.reason == "start_gone"
    assert ring.reader("cache").ack == before


def gtid_of(begin: bytes) -> str:
    return msgpack.unpackb(begin[HEAD_BYTES + 1 :])[0]


def put_transactions(ring: Ring, gtids: list[str | None]) -> dict[str | None, bytes]:
    """One transaction each; returns their begins."""
    history, begins = History(), {}
    for gtid in gtids:
        begins[gtid] = history.begin(gtid)
        for record in (begins[gtid], history.change(), history.commit()):
            assert ring.try_put(record) != FULL
    return begins


def test_after_a_gtid_set_comes_the_first_transaction_that_is_not_in_it(ring) -> None:
    begins = fill(ring, 1000)
    held = begins[begins.index(started(ring, "oldest")) :]
    for before, after in list(pairwise(held))[::20]:
        assert started(ring, f"gtid:{gtid_of(before)}") == after
    assert started(ring, f"gtid:{gtid_of(held[-1])}") == b""


def test_a_gtid_set_that_ends_before_what_is_held_is_refused_with_what_it_lacks(ring) -> None:
    begins = fill(ring, 1000)
    oldest = begins.index(started(ring, "oldest"))
    with pytest.raises(RingError, match=r"no longer holds this start .*lacking=0-1-\d+") as caught:
        started(ring, f"gtid:{gtid_of(begins[oldest - 2])}")
    assert caught.value.reason == "start_gone"


def test_no_transaction_of_a_domain_that_is_behind_is_left_out(ring) -> None:
    begins = put_transactions(ring, ["0-1-7", "5-2-3", "0-1-8", "5-2-4", "0-1-9"])
    assert started(ring, "gtid:0-1-8,5-2-2") == begins["5-2-3"]
    assert started(ring, "gtid:0-1-8,5-2-3") == begins["5-2-4"]
    assert started(ring, "gtid:0-1-6,5-2-2") == begins["0-1-7"]
    for behind in ("gtid:0-1-8,5-2-1", "gtid:0-1-8"):
        with pytest.raises(RingError, match="lacking=5-2-2"):
            started(ring, behind)


def test_gaps_and_servers_of_a_set_of_mysql_count(ring) -> None:
    begins = put_transactions(ring, [f"{UUID}:{n}" for n in range(5, 12)])
    assert started(ring, f"gtid:{UUID}:1-7") == begins[f"{UUID}:8"]
    assert started(ring, f"gtid:{UUID}:1-6:8-9") == begins[f"{UUID}:7"]
    assert started(ring, f"gtid:{UUID}:1-20,{OTHER}:1-5") == b""
    with pytest.raises(RingError, match=f"lacking={UUID}:3"):
        started(ring, f"gtid:{UUID}:1-2:4-8")


def test_what_was_executed_and_is_not_held_has_to_be_in_the_set(ring) -> None:
    begins = put_transactions(ring, [f"{UUID}:{n}" for n in range(5, 12)])
    executed = [f"{UUID}:1-9,{OTHER}:1-5"]
    assert started(ring, f"gtid:{UUID}:1-7,{OTHER}:1-5", executed) == begins[f"{UUID}:8"]
    with pytest.raises(RingError, match=f"lacking={OTHER}:5"):
        started(ring, f"gtid:{UUID}:1-7,{OTHER}:1-4", executed)


@pytest.mark.parametrize("gtid", [None, f"{UUID}:5"])
def test_a_set_says_nothing_of_transactions_without_such_a_gtid(ring, gtid) -> None:
    put_transactions(ring, [gtid])
    with pytest.raises(RingError, match="a transaction without such a GTID") as caught:
        started(ring, "gtid:0-1-5")
    assert caught.value.reason == "start_unknown"


def test_a_place_of_one_source_among_several_leaves_no_record_of_it_out(ring) -> None:
    one, other = History(1), History(2)
    begins = []
    for _ in range(30):
        for history in (one, other):
            records = history.transaction(2)
            begins.append(records[0])
            for record in records:
                assert ring.try_put(record) != FULL
    wanted = begins[20]
    start = started(ring, f"binlog.000001:{unpack_head(wanted).start}")
    assert begins.index(start) == 19  # the other's, which stands after the last one left out
    assert started(ring, "oldest") == begins[0]


def fill_with_parts(ring: Ring, n_fragments: int) -> tuple[int, list[bytes]]:
    """A change in fragments, all but the last of them acked as there was no room otherwise; where it begins, and they."""
    fill(ring, 500)
    history, reader = History(), ring.reader("cache")
    reader.open()
    history.start = 10_000_000
    begin, fragments = history.begin(), history.fragments(n_fragments, 100_000)
    first = ring.put + len(begin)
    for record in (begin, *fragments[:-1]):
        assert ring.try_put(record) != FULL
        reader.advance(len(record))
        reader.set_note(b"open", reader.get)
        reader.ack_to(reader.get)
    assert ring.try_put(fragments[-1]) != FULL
    return first, fragments


@pytest.mark.parametrize("n_fragments", [2, 6])
def test_a_reader_that_acked_part_of_a_change_goes_back_to_its_first_fragment(ring, n_fragments) -> None:
    first, fragments = fill_with_parts(ring, n_fragments)
    reader = ring.reader("cache")
    reader.open()
    back_to_whole_change(ring, reader)
    assert (reader.get, reader.ack, reader.note()) == (first, first, b"open")
    assert bytes(reader.view()) == b"".join(fragments)


def test_it_stays_where_it_is_if_the_first_fragment_is_overwritten(ring) -> None:
    fill_with_parts(ring, 15)
    reader = ring.reader("cache")
    reader.open()
    ack = reader.ack
    back_to_whole_change(ring, reader)
    assert (reader.ack, reader.note()) == (ack, b"open")


def test_a_search_that_takes_too_long_is_refused_and_the_reader_stays(ring, monkeypatch) -> None:
    begins = fill(ring, 1000)
    before = ring.reader("cache").ack
    monkeypatch.setattr(lookback, "LONGEST_LOOK_S", -1.0)
    monkeypatch.setattr(lookback, "LOOKS_AT_A_TIME", 10)
    with pytest.raises(RingError, match="too much to be searched") as caught:
        started(ring, f"gtid:{gtid_of(begins[-1])}")
    assert caught.value.reason == "start_unknown"
    assert ring.reader("cache").ack == before


def test_a_reader_between_two_changes_stays_where_it_is(ring) -> None:
    fill(ring, 5)
    for record in History().transaction(1):
        assert ring.try_put(record) != FULL
    reader = ring.reader("cache")
    reader.open()
    ack = reader.ack
    back_to_whole_change(ring, reader)
    assert reader.ack == ack
