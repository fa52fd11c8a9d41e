"""The checker of the chaos run finds what it is there to find."""

from tests.ha.overlap import Step, overlaps, read_served, read_steps

LOG = """\
2026-11-27T03:00:00.500Z INFO engine.cluster: lease destination=orders epoch=1 event=taken from=- reason=first
2026-11-27T03:00:01.000Z INFO engine.cluster: lease destination=orders epoch=1 event=leaving to=b reason=drained
2026-11-27T03:00:01.250Z INFO engine.cluster: lease destination=orders epoch=1 event=released to=b reason=drained
"""
TAKEN = [Step(10.0, "a", "orders", 1, "taken"), Step(20.0, "b", "orders", 2, "taken")]


def steadily(first: float, last: float, epoch: int) -> list[tuple[float, int]]:
    """A consumer that got a batch ten times a second."""
    return [(first + n / 10, epoch) for n in range(round((last - first) * 10) + 1)]


def test_steps_of_a_lease_are_read_from_an_engines_log():
    taken, released = read_steps("a", LOG)
    assert (taken.engine, taken.destination, taken.epoch, taken.event) == ("a", "orders", 1, "taken")
    assert (released.event, released.at - taken.at) == ("released", 0.75)


def test_one_epoch_after_the_other_is_as_it_should_be_also_when_a_batch_is_read_late():
    served = read_served([*steadily(11, 19, 1), *steadily(21, 30, 2)])
    late = read_served([*steadily(11, 19, 1), (25.0, 1)])  # it was asked for at 18.8, whenever it was read
    assert overlaps("orders", TAKEN, [*served, *late]) == []


def test_a_consumer_that_is_served_under_the_old_epoch_after_the_next_one_began_is_found():
    one = read_served(steadily(21, 30, 2))
    other = read_served([*steadily(11, 19, 1), *steadily(21, 22, 1)])
    assert any("still served" in fault for fault in overlaps("orders", TAKEN, [*one, *other]))
    assert overlaps("stock", TAKEN, []) == []


def test_service_before_a_lease_was_taken_or_after_it_was_released_or_under_one_that_nobody_took_is_found():
    early = read_served(steadily(8, 12, 1))
    assert any("before it was taken" in fault for fault in overlaps("orders", TAKEN, early))
    released = Step(15.0, "a", "orders", 1, "released")
    assert any("but was released" in fault for fault in overlaps("orders", [*TAKEN, released], read_served(steadily(11, 19, 1))))
    assert any("which no engine has taken" in fault for fault in overlaps("orders", TAKEN, read_served(steadily(11, 19, 3))))


def test_an_epoch_that_two_engines_took_is_found():
    twice = [*TAKEN, Step(21.0, "a", "orders", 2, "taken")]
    assert any("by b and by a" in fault for fault in overlaps("orders", twice, []))
