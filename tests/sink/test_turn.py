"""The ordinary turn, which takes one call, leaves everything as the long way does."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.counters import SinkCounter
from engine.sink._turn import NOT_ORDINARY
from engine.store_note import unpack_note
from tests.sink.rig import Origin, Rig, make_table
from tests.sink.test_route import destinations, make_records, streams


class LongWay:
    """In place of a sink's turn: nothing is ordinary."""

    def __init__(self, intake) -> None:
        self._intake = intake

    def take(self) -> int:
        return NOT_ORDINARY if self._intake.look() else 0


def state(rig: Rig) -> list:
    """What would be there after a death, and what people see."""
    rig.collect()
    reader = rig.sources[0].reader("d.0")
    notes = [[progress._replace(ring_id=0) for progress in unpack_note(store.note())] for store in rig.stores]
    return [reader.get, reader.ack, reader.note(), rig.kept, notes, [list(store.counters) for store in rig.stores]]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(stream=streams, destination=destinations, sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_the_ordinary_turn_and_the_long_way_leave_the_same(stream, destination, sizes):
    rigs = [Rig(source_bytes=8 << 20, store_bytes=2 << 20, **destination) for _ in range(2)]
    try:
        records = make_records(Origin(), stream)
        sinks = [rig.sink() for rig in rigs]
        sinks[1]._turn = LongWay(sinks[1]._intakes[0])
        at = 0
        while at < len(records):
            size = sizes[at % len(sizes)]
            for rig, sink in zip(rigs, sinks, strict=True):
                rig.put(*records[at : at + size])
                rig.run(sink)
            assert state(rigs[0]) == state(rigs[1])
            at += size
    finally:
        for rig in rigs:
            rig.close()


def test_a_full_store_is_gone_round_the_long_way_and_the_next_turn_is_ordinary_again(make_rig):
    rig, origin = make_rig(source_bytes=8 << 20, store_bytes=1 << 20), Origin()
    sink = rig.sink()
    records = [origin.table(1, make_table("shop.orders"))]
    rig.put(*records)
    rig.run(sink)
    taken = []
    turn, sink._turn = sink._turn, None

    class Counted:
        def take(self) -> int:
            taken.append(turn.take())
            return taken[-1]

    sink._turn = Counted()
    for i in range(40):
        more = [origin.begin(), *(origin.insert(1, [i, j, "x" * 1000]) for j in range(100)), origin.commit()]
        rig.put(*more)
        records += more
        while sink.do_work(0):
            pass
    assert NOT_ORDINARY in taken
    assert rig.stores[0].counters[SinkCounter.STORE_FULL] == 1
    rig.run(sink)
    assert rig.kept[0] == records
    taken.clear()
    rig.put(origin.begin(), origin.insert(1, [1, 2, "x"]), origin.commit())
    assert sink.do_work(0)
    assert NOT_ORDINARY not in taken
    assert taken[0] > 0
