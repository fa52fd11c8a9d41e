"""Random interleavings of put, get, ack, rollback and restarts, beside an oracle of plain lists."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine.errors import Refused
from engine.record import CHANGES, Kind, unpack_head
from engine.ring import Ring, iter_records
from engine.store import Cursor
from tests.histories import History

MIB = 1 << 20


class StoreMachine(RuleBasedStateMachine):
    """The oracle knows the records in order, how many of them are acked and handed out, and what every batch held."""

    @initialize()
    def make(self):
        self.ring = Ring.create(None, MIB)
        self.ring.open_writer()
        self.ring.add_reader("cache")
        self.histories = [History(1), History(2)]
        self.records: list[bytes] = []
        self.acked = 0  # records: by the consumer
        self.got = 0
        self.given: dict[int, tuple[int, int]] = {}  # outstanding: number → first record, behind the last
        self.done: set[int] = set()  # numbers acked
        self.kept: dict = {}  # what meta would hold
        self.cursor = Cursor(self.ring.reader("cache"), MIB, {})

    def teardown(self):
        if hasattr(self, "cursor"):
            self.cursor.close()
            self.ring.close()

    @rule(
        source=st.integers(0, 1), rows=st.integers(1, 6), size=st.integers(0, 400),
        extra=st.sampled_from(["", "heartbeat", "schema", "ddl"]),
    )  # fmt: skip
    def put(self, source, rows, size, extra):
        history = self.histories[source]
        records = history.transaction(rows, "x" * size)
        if extra == "schema":  # a table's first row brings it along, so it stands before it
            records.insert(1, history.schema())
        elif extra:
            records.append(getattr(history, extra)())
        if self.ring.put - self.cursor.reader.ack + sum(map(len, records)) > MIB // 2:
            return
        for record in records:
            assert self.ring.try_put(record) >= 0
        self.records += records

    @rule(rows=st.integers(1, 8), size=st.sampled_from([1, 500, 2000, MIB]))
    def get(self, rows, size):
        batch = self.cursor.next_batch(rows, size)
        if batch is None:
            rest = self.records[self.got :]
            assert all(unpack_head(r).kind in (Kind.HEARTBEAT, Kind.SCHEMA) or self.was_acked(r) for r in rest)
            self.pass_over(len(self.records))
            return
        content = [bytes(record) for piece in batch.pieces for record in iter_records(piece)]
        while self.size(self.got) < batch.start:  # from there on what was acked in an earlier life is left out of the batch
            assert self.was_silent(self.records[self.got])
            self.pass_over(self.got + 1)
        expected = [r for r in self.records[self.got :] if not self.was_acked(r)]
        assert content == expected[: len(content)]
        end = self.got + len(content)
        skipped = [r for r in self.records[self.got :] if self.was_acked(r)]
        if skipped:
            end = self.records.index(content[-1]) + 1
        while self.size(end) < batch.end:
            end += 1
        assert self.size(end) == batch.end
        changes = sum(unpack_head(record).kind in CHANGES for record in content)
        assert changes == batch.rows
        assert changes <= rows
        assert batch.bytes == sum(map(len, content))
        depth = 0
        for record in self.records[:end]:
            depth += {Kind.BEGIN: 1, Kind.COMMIT: -1}.get(unpack_head(record).kind, 0)
        assert batch.open == (depth > 0)
        if batch.open:  # only where the transaction alone is beyond the limits
            begins = [i for i, r in enumerate(self.records[:end]) if unpack_head(r).kind == Kind.BEGIN]
            assert begins[-1] <= self.got or all(self.was_silent(r) for r in self.records[self.got : begins[-1]])
        self.given[batch.number] = (self.got, end)
        self.got = end

    def size(self, n):
        return sum(map(len, self.records[:n]))

    def was_acked(self, record):
        head = unpack_head(record)
        return head.source in self.skipping and head.identity <= self.skipping[head.source]

    skipping: dict = {}  # noqa: RUF012

    def was_silent(self, record):
        return unpack_head(record).kind in (Kind.HEARTBEAT, Kind.SCHEMA) or self.was_acked(record)

    def pass_over(self, to):
        if self.given:
            number = max(self.given)
            self.given[number] = (self.given[number][0], to)
        else:
            self.acked = to
        self.got = to

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def ack(self, data):
        number = data.draw(st.sampled_from(sorted(self.given)))
        assert self.cursor.ack(number) is False
        for earlier in [n for n in self.given if n <= number]:
            self.acked = self.given.pop(earlier)[1]
            self.done.add(earlier)

    @rule(number=st.integers(1, 40))
    def ack_anything(self, number):
        if number in self.given:
            return
        try:
            again = self.cursor.ack(number)
        except Refused:
            assert number not in self.done
        else:
            assert again
            assert number in self.done

    @rule(data=st.data())
    def rollback(self, data):
        number = data.draw(st.sampled_from([None, *sorted(self.given)]))
        self.cursor.rollback(number)
        back = [n for n in self.given if number is None or n >= number]
        if back:
            self.got = self.given[min(back)][0]
        for later in back:
            del self.given[later]

    @rule()
    def settle(self):
        if self.cursor.unsaved is not None:
            for source, identity in self.cursor.unsaved.items():
                assert identity >= self.kept.get(source, identity)
                self.kept[source] = identity
            self.cursor.settle()

    @rule(after_a_crash=st.booleans(), before_the_ring=st.booleans())
    def restart(self, after_a_crash, before_the_ring):
        """A new server: either everything was settled, or it died before, or between meta and the ring."""
        if not after_a_crash:
            self.settle()
        elif before_the_ring and self.cursor.unsaved:
            self.kept |= self.cursor.unsaved
        self.cursor.close()
        self.skipping = dict(self.kept)
        self.cursor = Cursor(self.ring.reader("cache"), MIB, dict(self.kept))
        self.given, self.done = {}, set()
        self.got = next(n for n in range(len(self.records) + 1) if self.size(n) == self.cursor.reader.ack)
        if not after_a_crash:
            assert self.got == self.acked
        self.acked = self.got

    @invariant()
    def nothing_unacked_is_lost(self):
        if hasattr(self, "cursor"):
            assert self.cursor.reader.ack <= self.size(self.acked)
            assert list(self.cursor.outstanding) == sorted(self.given)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
