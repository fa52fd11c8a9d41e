"""What each store takes of a view, chosen natively; random streams are in test_route.py."""

import os

import numpy as np
import pytest

from engine.errors import InternalError
from engine.record import HEAD_BYTES, Kind
from engine.ring import Ring
from engine.sink._heads import Heads
from engine.sink._selection import EVERYWHERE, PART_OF_ALL, Selector
from engine.sink._track import Track
from engine.sink._turn import Front
from engine.store_note import NOWHERE_YET, place_of
from tests.sink.rig import Origin, make_table, to_fragments

NOWHERE = 0xFFFF


@pytest.fixture
def origin() -> Origin:
    origin = Origin()
    origin.table(1, make_table("shop.orders"))
    return origin


@pytest.fixture
def view():
    """Makes a view of records; its ring goes with the test."""
    name = f"test-selection.{os.getpid()}"
    ring = Ring.create(name, 1 << 20)
    reader = ring.add_reader("sink")
    ring.open_writer()
    reader.open()

    def look(*records: bytes) -> Heads:
        for record in records:
            assert ring.try_claim(record) >= 0
        ring.publish()
        heads = Heads(reader)
        heads.scan(0, 2**64 - 1, 1 << 20)
        return heads

    yield look
    ring.close()
    Ring.unlink(name)


def choose(heads: Heads, lanes: list[int], number: int, is_open: list[bool] | None = None, **more: list[int]) -> list[list[int]]:
    selector = Selector(number)
    arrays = {name: np.array(value, np.uint8 if name == "marked" else np.uint16) for name, value in more.items()}
    selector.select(heads, 0, heads.count, np.array(lanes, np.uint16), is_open or [False] * number, **arrays)
    return [selector.indices(lane).tolist() for lane in range(number)]


def test_begin_and_commit_go_where_a_change_of_theirs_goes(origin, view):
    heads = view(
        origin.begin(), origin.insert(1, [1, 2, "a"]), origin.insert(1, [2, 2, "a"]), origin.commit(),
        origin.begin(), origin.insert(1, [3, 2, "a"]), origin.commit(),
        origin.begin(), origin.commit(),
    )  # fmt: skip
    assert choose(heads, [0, 0, 1, 0, 0, 1, 0, 0, 0], 2) == [[0, 1, 3], [0, 2, 3, 4, 5, 6]]


def test_begin_comes_before_a_schema_record_that_went_everywhere_first(origin, view):
    schema = origin.table(2, make_table("shop.items"))
    heads = view(origin.begin(), schema, origin.insert(1, [1, 2, "a"]), origin.commit())
    assert choose(heads, [NOWHERE, 1, 1, 0], 2, marked=[0, EVERYWHERE, 0, 0]) == [[1], [0, 1, 2, 3]]


def test_what_is_part_of_all_brings_begin_and_commit_to_every_store(origin, view):
    statement = origin.record(Kind.STATEMENT, after=["db", "UPDATE t", None, []])
    heads = view(origin.begin(), statement, origin.commit())
    assert choose(heads, [0, 0, 0], 2, marked=[0, EVERYWHERE | PART_OF_ALL, 0]) == [[0, 1, 2], [0, 1, 2]]
    assert choose(heads, [0, 0, 0], 2) == [[], []]


def test_an_update_that_moves_goes_to_both_stores(origin, view):
    heads = view(origin.begin(), origin.update(1, [1, 2, "a"], [2, 2, "a"]), origin.commit())
    assert choose(heads, [0, 0, 0], 2, second=[NOWHERE, 1, NOWHERE]) == [[0, 1, 2], [0, 1, 2]]


def test_the_rest_of_a_transaction_needs_its_begin_only_where_it_is_not(origin, view):
    heads = view(origin.insert(1, [1, 2, "a"]), origin.insert(1, [2, 2, "a"]), origin.commit())
    selector = Selector(3)
    selector.select(heads, 0, 3, np.array([0, 1, 0], np.uint16), [True, False, True])
    assert [selector.indices(lane).tolist() for lane in range(3)] == [[0, 2], [1, 2], [2]]
    assert selector.needs_begin == [False, True, False]


def test_a_choice_is_used_again_for_more_records_than_before(origin, view):
    heads = view(origin.begin(), *(origin.insert(1, [i, 2, "a"]) for i in range(1000)), origin.commit())
    selector = Selector(1)
    for end in (1, 64, 65, 1002):
        selector.select(heads, 0, end, np.zeros(end, np.uint16), [False])
        assert selector.indices(0).tolist() == list(range(end if end > 1 else 0))


def test_wrong_lengths_are_refused(origin, view):
    heads = view(origin.begin(), origin.insert(1, [1, 2, "a"]), origin.commit())
    selector = Selector(1)
    for a, b, lanes in ((0, 4, 4), (-1, 2, 3), (2, 1, 0), (0, 3, 2)):
        with pytest.raises(InternalError):
            selector.select(heads, a, b, np.zeros(lanes, np.uint16), [False])
    with pytest.raises(InternalError):
        selector.select(heads, 0, 3, np.zeros(3, np.uint16), [False, False])
    with pytest.raises(InternalError):
        selector.select(heads, 0, 3, np.zeros(3, np.uint16), [False], np.zeros(2, np.uint8))
    with pytest.raises(InternalError):
        selector.indices(1)


def test_what_is_finished_leaves_its_last_begin_and_boundary(origin, view):
    records = [
        origin.begin(),
        origin.insert(1, [1, 2, "a"]),
        origin.commit(),
        origin.heartbeat(),
        origin.begin(),
        origin.insert(1, [2, 2, "a"]),
    ]
    front = Front(view(*records).reader)
    assert front.look()
    found = []
    for end in range(7):
        front.finish(end)
        found.append((front.begin, front.boundary))
    first, second = records[0], records[4]
    commit, heartbeat = records[2][:HEAD_BYTES], records[3][:HEAD_BYTES]
    assert found == [
        (None, None), (first, None), (first, None), (None, commit), (None, heartbeat), (second, heartbeat), (second, heartbeat),
    ]  # fmt: skip
    assert front.sequence == front.reader.ack == sum(map(len, records))
    assert front.boundary_sequence == sum(map(len, records[:3]))
    with pytest.raises(InternalError):
        front.finish(7)


def test_the_last_place_leaves_an_incomplete_change_out(origin, view):
    large = to_fragments(origin.insert(1, [1, 2, "x" * 300_000]))
    heads = view(origin.begin(), *large, origin.commit())
    begin, end = place_of(heads.head(0)), place_of(heads.head(len(large) + 1))
    for a, b, place, parts in (
        (0, 1, begin, 0),
        (0, 3, begin, 2),
        (2, 3, NOWHERE_YET, 2),
        (0, len(large) + 1, place_of(heads.head(len(large))), 0),
        (0, len(large) + 2, end, 0),
    ):
        track = Track()
        track.move(heads, a, b)
        assert (track.place, track.parts) == (place, parts)
    track.move(heads, 0, 2)
    assert (track.place, track.parts) == (end, 1), "it never goes back"
