"""Random interleavings of everything that can happen to a ring, run on it and on the plain-Python model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from engine.errors import RingError
from engine.record import MIN_RING_BYTES
from engine.ring import Ring, iter_records
from tests.ring import model as ring_model
from tests.ring.records import LEAST_BYTES, record

MAX_RECORD = MIN_RING_BYTES // 4
SIZES = st.one_of(
    st.integers(LEAST_BYTES, 1000),
    st.integers(LEAST_BYTES, MAX_RECORD + 100),
    st.sampled_from([70_001, 200_003, MAX_RECORD - 1, MAX_RECORD, MAX_RECORD + 1]),  # five fill the smallest ring
)
NAMES = st.sampled_from(["sink", "cache", "audit"])


def same(real: Callable[[], Any], model: Callable[[], Any]) -> Any:
    """Both answer the same, or both refuse."""
    try:
        expected = model()
    except ring_model.Misuse:
        with pytest.raises(RingError):
            real()
        return None
    answer = real()
    if isinstance(answer, memoryview):
        answer = answer.tobytes()
    assert answer == expected
    return answer


class RingMachine(RuleBasedStateMachine):
    readers = Bundle("readers")

    def __init__(self) -> None:
        super().__init__()
        self.ring = Ring.create(None, MIN_RING_BYTES)
        self.model = ring_model.Ring(MIN_RING_BYTES)
        self.ring.open_writer()
        self.number = 0

    def teardown(self) -> None:
        self.ring.close()

    def next_record(self, size: int) -> bytes:
        self.number += 1
        return record(self.number, size)

    def near(self, reader: ring_model.Reader) -> st.SearchStrategy[int]:
        """Where records begin, from a little before its ack to what is claimed: inside, at and beyond its bounds."""
        starts = [at for at, _ in self.model.records if at >= reader.ack - 1000]
        return st.sampled_from([*starts, self.model.claimed])

    @rule(size=SIZES)
    def put(self, size: int) -> None:
        written = self.next_record(size)
        same(lambda: self.ring.try_put(written), lambda: self.model.try_put(written))

    @rule(size=SIZES)
    def claim(self, size: int) -> None:
        written = self.next_record(size)
        same(lambda: self.ring.try_claim(written), lambda: self.model.try_claim(written))

    @rule(note=st.binary(max_size=40))
    def set_note(self, note: bytes) -> None:
        self.ring.set_note(note)
        self.model.set_note(note)

    @rule()
    def publish(self) -> None:
        same(self.ring.publish, self.model.publish)

    @rule(how=st.sampled_from(["died", "closed", "finished"]))
    def next_writer(self, how: str) -> None:
        """What is claimed and not published goes with the writer, whichever way it went."""
        if how != "died":
            self.ring.close_writer(finished=how == "finished")
            assert self.ring.writer_finished == (how == "finished")
        self.ring.open_writer()
        self.model.open_writer()

    @rule(target=readers, name=NAMES, latest=st.booleans())
    def add_reader(self, name: str, latest: bool) -> Any:
        if name in self.model.readers:
            same(lambda: self.ring.add_reader(name), lambda: self.model.add_reader(name, latest))
            return multiple()
        reader, expected = self.ring.add_reader(name, latest=latest), self.model.add_reader(name, latest)
        reader.open()
        return reader, expected

    @rule(pair=consumes(readers))
    def drop_reader(self, pair: Any) -> None:
        reader, expected = pair
        self.ring.drop_reader(expected.name)
        self.model.drop_reader(expected.name)
        with pytest.raises(RingError, match="dropped"):
            reader.view()

    @rule(pair=readers, max_bytes=st.one_of(st.just(0), st.integers(1, MIN_RING_BYTES)), advance=st.booleans())
    def get(self, pair: Any, max_bytes: int, advance: bool) -> None:
        reader, expected = pair
        batch = same(lambda: reader.view(max_bytes), lambda: expected.view(max_bytes))
        assert b"".join(iter_records(batch)) == batch
        if advance:
            reader.advance(len(batch))
            expected.advance(len(batch))

    @rule(pair=readers, data=st.data())
    def look_back(self, pair: Any, data: Any) -> None:
        reader, expected = pair
        start = data.draw(self.near(expected))
        same(lambda: reader.view(0, start), lambda: expected.view(0, start))

    @rule(pair=readers, n_bytes=st.integers(1, MIN_RING_BYTES))
    def advance_too_far(self, pair: Any, n_bytes: int) -> None:
        reader, expected = pair
        too_far = self.model.put - expected.get + n_bytes
        same(lambda: reader.advance(too_far), lambda: expected.advance(too_far))

    @rule(pair=readers, data=st.data(), note=st.none() | st.binary(max_size=40))
    def ack(self, pair: Any, data: Any, note: bytes | None) -> None:
        reader, expected = pair
        to = data.draw(self.near(expected))
        if note is not None:
            reader.set_note(note, to)
            expected.notes.write(expected.ack, to, note)
        same(lambda: reader.ack_to(to), lambda: expected.ack_to(to))

    @rule(pair=readers)
    def ack_all(self, pair: Any) -> None:
        reader, expected = pair
        same(lambda: reader.ack_to(reader.get), lambda: expected.ack_to(expected.get))

    @rule(pair=readers, data=st.data())
    def rollback(self, pair: Any, data: Any) -> None:
        reader, expected = pair
        to = data.draw(st.none() | self.near(expected))
        same(lambda: reader.rollback(to), lambda: expected.rollback(to))

    @rule(pair=readers, released=st.booleans())
    def next_owner(self, pair: Any, released: bool) -> None:
        reader, expected = pair
        if released:
            reader.release()
        reader.open()
        expected.open()

    @invariant()
    def agree(self) -> None:
        ring, model = self.ring, self.model
        assert (ring.put, ring.tail, ring.claim) == (model.put, model.tail, model.claimed - model.put)
        assert ring.held_bytes == model.put - model.slowest_ack() <= ring.capacity
        assert ring.note() == model.notes.valid
        assert set(ring.readers()) == set(model.readers)
        for name, expected in model.readers.items():
            reader = ring.reader(name)
            assert (reader.get, reader.ack, reader.note()) == (expected.get, expected.ack, expected.notes.valid)
            assert (reader.lag_bytes, reader.held_bytes) == (model.put - reader.get, model.put - reader.ack)


@pytest.mark.timeout(60)
def test_every_interleaving_does_to_the_ring_what_it_does_to_the_model() -> None:
    run_state_machine_as_test(
        RingMachine,
        settings=settings(max_examples=120, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)),
    )
