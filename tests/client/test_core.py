"""The session as a state machine, without a socket: what it sends for what it is given."""

import gc
import weakref

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import wire
from engine.client.batch import Batch
from engine.client.core import ClientCore, State
from engine.errors import ConfigError, Disconnected, InternalError, ProtocolError, Refused
from engine.record import Kind
from tests.client import streams
from tests.client.peer import batch_of

WELCOME = wire.Welcome(wire.PROTOCOL, "0.1.0", "orders", "default", [0], streams.SOURCES)
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy


def opened(**options) -> ClientCore:
    core = ClientCore(Batch, "orders", **options)
    assert sent(core)[0].type == "hello"
    give(core, WELCOME)
    return core


def sent(core: ClientCore) -> list:
    reader = wire.FrameReader()
    reader.feed(core.take_output())
    return [wire.parse_client_message(payload) for payload in reader.frames()]


def feed(core: ClientCore, data: bytes) -> None:
    while data:
        room = core.get_buffer()
        count = min(len(room), len(data))
        room[:count] = data[:count]
        core.filled(count)
        core.receive()
        data = data[count:]


def give(core: ClientCore, message: wire.Message, records: bytes = b"") -> None:
    feed(core, message.pack_prefix(len(records)) + records)


def give_batches(core: ClientCore, batches: list[list[bytes]], first: int = 1, partition: int = 0) -> None:
    give(core, wire.Schemas(), streams.schema_record())
    for index in range(len(batches)):
        give(core, *batch_of(batches, index, first + index, partition))


def ids(batch: Batch) -> list[int]:
    return [change.key[0] for change in batch]


TWO = [streams.transaction(1, 2), streams.transaction(3, 1)]


def test_the_first_frame_is_hello_with_what_connect_was_given():
    core = ClientCore(Batch, "orders", "cache", partitions=(1, 2), takeover=False)
    assert sent(core) == [wire.Hello(wire.PROTOCOL, "orders", "cache", [1, 2], False)]
    assert core.state is State.OPENING


@pytest.mark.parametrize(
    "options",
    [
        {"consumer": "no/slash"},
        {"partitions": []},
        {"partitions": ["0"]},
        {"prefetch": -1},
        {"batch_rows": 0},
        {"batch_bytes": -1},
        {"takeover": "yes"},
        {"consumer": object()},
    ],
)
def test_arguments_that_the_protocol_does_not_allow_are_refused_before_connecting(options):
    with pytest.raises(ConfigError, match="connect: not what the protocol allows"):
        ClientCore(Batch, "orders", **options)


def test_streaming_keeps_as_many_batches_on_their_way_as_prefetch_says():
    core = opened(prefetch=3, batch_rows=10)
    assert core.next_batch() is None
    assert sent(core) == [wire.Credit(3, 10)]
    assert core.next_batch() is None
    assert sent(core) == []
    give_batches(core, TWO)
    assert sent(core) == []
    assert ids(core.next_batch()) == [1, 2]
    assert sent(core) == [wire.Credit(1, 10)]
    assert ids(core.next_batch()) == [3]
    assert sent(core) == [wire.Credit(1, 10)]


def test_what_is_to_be_said_waits_for_the_ack_only_while_the_server_may_send_without_hearing_it():
    core = opened(prefetch=2)
    core.next_batch()
    sent(core)
    give_batches(core, TWO)
    core.next_batch()
    assert not core.may_wait_for_ack  # the next batch is here, and the server may send none after it
    assert sent(core) == [wire.Credit(1)]
    core.next_batch()
    assert core.may_wait_for_ack  # one more may come meanwhile
    core.want_batch(0)
    assert sent(core) == [wire.Credit(1)]


def test_a_get_asks_for_one_batch_and_no_more():
    core = opened()
    core.want_batch(250)
    core.want_batch(250)
    assert sent(core) == [wire.Get(250)]
    assert core.take_batch() == (False, None)
    give_batches(core, TWO[:1])
    answered, batch = core.take_batch()
    assert answered
    assert ids(batch) == [1, 2]
    assert sent(core) == []


def test_a_get_may_be_answered_by_empty():
    core = opened()
    core.want_batch(0)
    give(core, wire.Empty())
    assert core.take_batch() == (True, None)
    core.want_batch(0)
    assert core.take_batch() == (False, None)


def test_streaming_after_an_unanswered_get_waits_for_its_answer():
    core = opened()
    core.want_batch(1000)
    sent(core)
    assert core.next_batch() is None
    assert sent(core) == []
    give_batches(core, TWO[:1])
    assert ids(core.next_batch()) == [1, 2]
    assert sent(core) == [wire.Credit(2)]


def test_a_get_after_streaming_keeps_the_credit_open():
    core = opened(prefetch=1)
    core.next_batch()
    give_batches(core, TWO[:1])
    core.next_batch()
    give_batches(core, TWO[1:], first=2)
    sent(core)
    core.want_batch(0)
    assert sent(core) == []
    answered, batch = core.take_batch()
    assert (answered, ids(batch), sent(core)) == (True, [3], [wire.Credit(1)])


def test_without_prefetch_each_batch_is_asked_for_when_it_is_wanted():
    core = opened(prefetch=0, batch_rows=5)
    assert core.next_batch() is None
    assert core.next_batch() is None
    assert [(message.type, message.rows) for message in sent(core)] == [("get", 5)]
    give(core, wire.Empty())
    assert core.next_batch() is None
    assert [message.type for message in sent(core)] == ["get"]
    give_batches(core, TWO[:1])
    assert ids(core.next_batch()) == [1, 2]
    assert sent(core) == []


def test_a_get_may_ask_for_less():
    core = opened(batch_rows=100, batch_bytes=5000)
    core.want_batch(0, rows=3)
    assert sent(core) == [wire.Get(0, 3, 5000)]


def test_acks_are_sent_without_waiting_and_become_durable_with_the_answer():
    core = opened()
    core.next_batch()
    give_batches(core, TWO)
    first, second = core.next_batch(), core.next_batch()
    sent(core)
    core.ack(first)
    core.ack(second)
    assert sent(core) == [wire.Ack(1), wire.Ack(2)]
    assert core.outstanding_acks == 2
    give(core, wire.Acked(1))
    assert (first.durable, second.durable, core.outstanding_acks) == (True, False, 1)
    give(core, wire.Acked(2))
    assert (second.durable, second.again, core.outstanding_acks) == (True, False, 0)


def test_one_answer_covers_the_acks_before_it_in_its_partition_only():
    core = opened()
    core.next_batch()
    give_batches(core, TWO)
    first, second = core.next_batch(), core.next_batch()
    give_batches(core, TWO[:1], first=3, partition=1)
    other = core.next_batch()
    for batch in (first, second, other):
        core.ack(batch)
    give(core, wire.Acked(2))
    assert (first.durable, second.durable, other.durable) == (True, True, False)
    give(core, wire.Acked(1))
    assert core.outstanding_acks == 1


def test_a_second_ack_is_told_that_it_was_one():
    core = opened()
    core.next_batch()
    give_batches(core, TWO[:1])
    batch = core.next_batch()
    core.ack(batch)
    give(core, wire.Acked(1))
    core.ack(batch)
    give(core, wire.Acked(1, again=True))
    assert batch.again


def test_a_refused_ack_raises_at_the_next_call_and_the_session_goes_on():
    core = opened()
    core.next_batch()
    give_batches(core, TWO)
    core.ack(core.next_batch())
    give(core, wire.Error(wire.UNKNOWN_BATCH, "no such batch", batch=1))
    assert core.outstanding_acks == 0
    with pytest.raises(Refused, match="no such batch") as refused:
        core.next_batch()
    assert refused.value.facts["code"] == wire.UNKNOWN_BATCH
    assert ids(core.next_batch()) == [3]


def test_after_a_rollback_batches_on_their_way_are_void_until_it_is_answered():
    core = opened(prefetch=4)
    core.next_batch()
    give_batches(core, [*TWO, TWO[0]])
    assert ids(core.next_batch()) == [1, 2]
    core.rollback()
    assert wire.Rollback() in sent(core)
    give(core, *batch_of(TWO, 0, 4, 0))
    assert core.next_batch() is None
    give(core, wire.RolledBack())
    give_batches(core, TWO, first=5)
    assert [ids(core.next_batch()) for _ in TWO] == [[1, 2], [3]]


def test_void_batches_use_up_credit_which_is_given_again():
    core = opened(prefetch=2)
    core.next_batch()
    sent(core)
    core.rollback()
    give_batches(core, TWO)
    assert core.next_batch() is None
    assert sent(core) == [wire.Rollback(), wire.Credit(2)]


def test_rolling_back_a_batch_leaves_other_partitions_alone():
    core = opened(prefetch=4)
    core.next_batch()
    give_batches(core, TWO)
    give_batches(core, [streams.transaction(9, 1)], first=3, partition=1)
    first = core.next_batch()
    core.rollback(first)
    assert ids(core.next_batch()) == [9]
    assert core.next_batch() is None
    give(core, wire.RolledBack(1))
    give_batches(core, TWO, first=4)
    assert [ids(core.next_batch()) for _ in TWO] == [[1, 2], [3]]


def test_an_acked_batch_cannot_be_rolled_back_and_nothing_is_thrown_away_for_it():
    core = opened()
    core.next_batch()
    give_batches(core, TWO)
    first = core.next_batch()
    core.ack(first)
    sent(core)
    with pytest.raises(Refused, match="acked already"):
        core.rollback(first)
    assert sent(core) == []
    assert ids(core.next_batch()) == [3]


def test_a_rolled_back_batch_cannot_be_acked_nor_does_its_ack_touch_what_is_before_it():
    core = opened(prefetch=4)
    core.next_batch()
    give_batches(core, TWO)
    first, second = core.next_batch(), core.next_batch()
    core.rollback(second)
    give(core, wire.RolledBack(2))
    sent(core)
    with pytest.raises(Refused, match="rolled back already"):
        core.ack(second)
    assert sent(core) == []
    core.rollback(first)


def test_a_rollback_that_the_server_refuses_ends_the_session():
    core = opened()
    core.next_batch()
    give_batches(core, TWO)
    core.rollback(core.next_batch())
    give(core, wire.Error(wire.UNKNOWN_BATCH, "no such batch", batch=1))
    with pytest.raises(Refused):
        core.next_batch()
    assert core.state is State.ENDED


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (wire.UNKNOWN_DESTINATION, Refused),
        (wire.CONSUMER_BUSY, Refused),
        (wire.TAKEN_OVER, Refused),
        (wire.TOO_MANY_SESSIONS, Refused),
        (wire.VERSION_MISMATCH, Refused),
        (wire.PROTOCOL_FAULT, ProtocolError),
        (wire.SHUTTING_DOWN, Disconnected),
        (wire.INTERNAL, InternalError),
    ],
)
def test_a_fatal_error_ends_the_session_with_the_servers_words(code, error):
    core = opened()
    give(core, wire.Error(code, "what the server said", fatal=True))
    core.end()
    for _ in range(2):
        with pytest.raises(error, match="what the server said"):
            core.next_batch()


def test_the_end_of_the_connection_says_where_it_came():
    core = opened()
    core.end()
    with pytest.raises(Disconnected, match="ended by the server"):
        core.check()
    core = opened()
    feed(core, wire.Heartbeat().pack()[:-1])
    core.end()
    with pytest.raises(Disconnected, match="in the middle of a frame") as error:
        core.check()
    assert error.value.retryable


def test_leaving_says_bye_and_takes_answers_but_no_batches():
    core = opened()
    core.next_batch()
    give_batches(core, TWO[:1])
    batch = core.next_batch()
    core.ack(batch)
    core.leave()
    assert sent(core)[-1] == wire.Bye()
    give_batches(core, TWO[1:], first=2)
    give(core, wire.Acked(1))
    core.end()
    core.raise_unanswered()
    assert batch.durable
    with pytest.raises(Disconnected, match="closed"):
        core.next_batch()


def test_acks_that_nobody_confirmed_are_told_at_the_end():
    core = opened()
    core.next_batch()
    give_batches(core, TWO[:1])
    core.ack(core.next_batch())
    core.leave()
    with pytest.raises(Disconnected, match=r"confirm all acks \[batches=\[1\]\]"):
        core.raise_unanswered()


@pytest.mark.parametrize(
    "message",
    [
        wire.Empty(),
        wire.Acked(1),
        wire.Welcome(2, "9.9", "orders", "default", [0], {}),
    ],
)
def test_before_welcome_only_welcome_will_do(message):
    core = ClientCore(Batch, "orders")
    give(core, message)
    with pytest.raises(ProtocolError):
        core.check()


def test_a_batch_that_nobody_asked_for_is_a_protocol_error():
    core = opened()
    give_batches(core, TWO)
    with pytest.raises(ProtocolError, match="nobody asked for"):
        core.check()


def test_answers_to_unknown_acks_and_heartbeats_change_nothing():
    core = opened()
    give(core, wire.Heartbeat())
    give(core, wire.Acked(77))
    give(core, wire.RolledBack(5))
    core.check()
    assert core.state is State.OPEN


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n" * 99, b"\x00\x00\x00\x01\xc1", b"\x00" * 9])
def test_garbage_ends_the_session_with_a_protocol_error(garbage):
    core = ClientCore(Batch, "orders")
    feed(core, garbage)
    core.end()
    with pytest.raises((ProtocolError, Disconnected)):
        core.check()


def test_new_sources_are_known_from_their_message_on():
    core = opened()
    core.next_batch()
    give(core, wire.Sources({2: {"name": "other", "binlog": "mysql-bin"}}))
    record = streams.insert(1, source=2)
    give(core, wire.Schemas(), streams.schema_record())
    give(core, wire.BatchHead(1, 0, 1, 1, len(record)), record)
    (change,) = core.next_batch()
    assert (change.source, change.position) == ("other", "mysql-bin.000001:1234")


def test_a_change_in_a_later_batch_of_its_transaction_has_the_gtid_from_the_head():
    whole = streams.transaction(1, 4)
    core = opened()
    core.next_batch()
    give_batches(core, [whole[:3], whole[3:]])
    first, second = core.next_batch(), core.next_batch()
    assert first.open
    assert not second.open
    assert [c.gtid for c in second] == [streams.GTID] * 2
    assert [c.gtid for c in first] == [streams.GTID] * 2
    assert ids(second) == ids(second) == [3, 4]


def test_a_batch_is_true_and_knows_its_length():
    core = opened()
    core.next_batch()
    give_batches(core, [[streams.heartbeat()], TWO[0]])
    empty, two = core.next_batch(), core.next_batch()
    assert bool(empty)
    assert (len(empty), len(two), two.number, two.partition) == (0, 2, 2, 0)
    assert list(empty) == []
    assert [type(item).__name__ for item in two.read()] == ["Begin", "Change", "Change", "Commit"]
    assert len(two.changes()) == 2
    assert [record[1] for record in two.records()] == [4, 1, 1, 5]
    assert bytes(two.raw) == b"".join(TWO[0])
    assert [row[0] for row in two.rows()] == ["insert", "insert"]


def test_connect_decides_whether_iteration_yields_ddl_and_transaction_marks():
    records = [*TWO[0], streams.ddl()]
    for options, ops in [
        ({}, ["insert"] * 2),
        ({"ddl": True}, ["insert"] * 2 + ["ddl"]),
        ({"transactions": True}, ["begin", "insert", "insert", "commit"]),
    ]:
        core = opened(**options)
        core.next_batch()
        give_batches(core, [records])
        assert [item.op for item in core.next_batch()] == ops


BIG = streams.change(Kind.INSERT, None, streams.row(5, photo=b"p" * 1000), streams.place(ordinal=5))
SPREAD = [
    [streams.begin(), streams.insert(4), *streams.fragments(BIG, 5)[:2]],
    streams.fragments(BIG, 5)[2:4],
    [streams.fragments(BIG, 5)[4], streams.insert(6), streams.commit()],
]


@pytest.mark.parametrize("reading", ["list", "rows", "records", "nothing", "a part"])
def test_a_fragmented_change_belongs_to_the_batch_of_its_last_fragment_however_the_others_are_read(reading):
    core = opened(prefetch=5)
    core.next_batch()
    give_batches(core, SPREAD)
    for expected in ([4], []):
        batch = core.next_batch()
        match reading:
            case "list":
                assert ids(batch) == expected
            case "rows":
                assert [row[3][0] for row in batch.rows()] == expected
            case "records":
                assert batch.records()
            case "a part":
                next(iter(batch), None)
    last = core.next_batch()
    assert ids(last) == ids(last) == [5, 6]
    assert last.changes()[0].after["photo"] == b"p" * 1000


@pytest.mark.parametrize("back_to", [None, 1, 2, 3])
def test_a_rollback_into_a_fragmented_change_goes_on_with_the_right_fragments(back_to):
    core = opened(prefetch=9)
    core.next_batch()
    give_batches(core, SPREAD)
    taken = [core.next_batch() for _ in SPREAD]
    core.rollback(taken[back_to - 1] if back_to else None)
    give(core, wire.RolledBack(back_to))
    core.next_batch()
    start = (back_to or 1) - 1
    for index in range(start, 3):
        give(core, *batch_of(SPREAD, index, 4 + index, 0))
    again = [ids(core.next_batch()) for _ in range(start, 3)]
    assert again == [[4], [], [5, 6]][start:]


def test_the_fragments_of_an_acked_batch_are_still_there_after_a_rollback():
    core = opened(prefetch=9)
    core.next_batch()
    give_batches(core, SPREAD)
    core.ack(core.next_batch())
    core.next_batch()
    core.rollback()
    give(core, wire.RolledBack())
    core.next_batch()
    for index in (1, 2):
        give(core, *batch_of(SPREAD, index, 4 + index, 0))
    assert [ids(core.next_batch()) for _ in range(2)] == [[], [5, 6]]


def test_a_handed_out_batch_is_not_kept_alive_by_the_session():
    class Watched(Batch):
        __slots__ = ("__weakref__",)

    core = ClientCore(Watched, "orders")
    give(core, WELCOME)
    core.next_batch()
    give_batches(core, TWO)
    kept = weakref.ref(core.next_batch())
    core.next_batch()
    gc.collect()
    assert kept() is None


@patient
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.data())
def test_a_session_gives_the_same_however_its_bytes_are_cut(sizes, data):
    batches, first = [], 1
    for size in sizes:
        batches.append(streams.transaction(first, size))
        first += size
    core = ClientCore(Batch, "orders", prefetch=len(batches))
    core.take_output()
    give(core, WELCOME)
    core.next_batch()
    stream = wire.Schemas().pack_prefix(len(streams.schema_record())) + streams.schema_record()
    for index in range(len(batches)):
        head, records = batch_of(batches, index, index + 1, 0)
        stream += head.pack_prefix(len(records)) + records + wire.Heartbeat().pack()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=30)))
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        feed(core, stream[start:end])
    seen = []
    for _ in batches:
        seen += ids(core.next_batch())
    assert seen == list(range(1, first))


def test_a_session_works_byte_by_byte():
    core = ClientCore(Batch, "orders")
    core.next_batch()
    stream = WELCOME.pack()
    for byte in stream:
        feed(core, bytes([byte]))
    core.next_batch()
    head, records = batch_of(TWO, 0, 1, 0)
    stream = wire.Schemas().pack_prefix(len(streams.schema_record())) + streams.schema_record()
    stream += head.pack_prefix(len(records)) + records
    for byte in stream:
        feed(core, bytes([byte]))
    assert ids(core.next_batch()) == [1, 2]
