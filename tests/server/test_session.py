"""A consumer's session, from hello to bye, over a real socket."""

import msgpack
import pytest

from engine.errors import Refused
from engine.meta import Place
from engine.record import Kind, unpack_head
from engine.ring import iter_records
from engine.wire import (
    Ack,
    Acked,
    Bye,
    Credit,
    Empty,
    Error,
    Get,
    Hello,
    Rollback,
    RolledBack,
    Schemas,
    Sources,
    Status,
    StatusAnswer,
    Welcome,
)
from tests.histories import History, put
from tests.server.conftest import MIB, SCHEMA


@pytest.fixture
def history(server):
    return History(1, server.table)


def drain_schemas(peer):
    message, records = peer.receive()
    assert isinstance(message, Schemas), message
    return records


@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_hello_is_answered_by_welcome(server, over):
    peer = server.connect(over)
    welcome = peer.hello()
    assert isinstance(welcome, Welcome)
    assert (welcome.protocol, welcome.destination, welcome.consumer) == (1, "orders", "default")
    assert welcome.partitions == [0]
    assert welcome.sources == {1: {"name": "shop", "binlog": "binlog"}}


def test_get_hands_out_schemas_once_and_the_stores_bytes_as_they_are(server, history):
    records = [*history.transaction(2), *history.transaction(1)]
    put(server.ring, records)
    peer = server.consumer()
    peer.send(Get())
    schema = drain_schemas(peer)
    head = unpack_head(schema)
    assert (head.kind, head.table, head.source, head.length) == (Kind.SCHEMA, server.table, 1, len(schema))
    fields = msgpack.unpackb(schema)
    assert len(fields) == 13
    assert SCHEMA.from_map(fields[12]) == SCHEMA
    batch, content = peer.batch()
    assert content == b"".join(records)
    assert (batch.batch, batch.partition, batch.rows, batch.records, batch.open) == (1, 0, 3, 7, False)
    more = history.transaction(1)
    put(server.ring, more)
    peer.send(Get())
    batch, content = peer.batch()
    assert (batch.batch, content) == (2, b"".join(more))


def test_get_without_records_is_answered_by_empty(server):
    peer = server.consumer()
    peer.send(Get(), Get(wait_ms=20))
    peer.expect(Empty)
    peer.expect(Empty)


def test_a_waiting_get_is_answered_when_records_come(server, history):
    peer = server.consumer()
    peer.send(Get(wait_ms=60_000), Status())
    peer.expect(StatusAnswer)
    put(server.ring, history.transaction(1))
    drain_schemas(peer)
    assert peer.batch()[0].rows == 1


def test_credit_streams_as_many_batches_as_it_says(server, history):
    peer = server.consumer()
    peer.send(Credit(2, rows=1))
    put(server.ring, *(history.transaction(1) for _ in range(3)))
    drain_schemas(peer)
    assert [peer.batch()[0].rows for _ in range(2)] == [1, 1]
    peer.send(Status())
    assert peer.expect(StatusAnswer).outstanding == 2
    peer.send(Credit(1))
    assert peer.batch()[0].batch == 3


def test_rows_and_bytes_of_a_get_lower_the_limits(server, history):
    put(server.ring, *(history.transaction(1) for _ in range(10)))
    peer = server.consumer()
    peer.send(Get(rows=3))
    drain_schemas(peer)
    assert peer.batch()[0].rows == 3
    peer.send(Get(bytes=1))
    assert peer.batch()[0].rows == 1


def test_an_ack_is_durable_in_meta_and_frees_the_ring_before_it_is_answered(server, history):
    put(server.ring, history.transaction(1))
    peer = server.consumer()
    peer.send(Get())
    drain_schemas(peer)
    _, content = peer.batch()
    peer.send(Ack(1))
    assert peer.expect(Acked) == Acked(1, False)
    last = list(iter_records(content))[-1]
    assert server.meta.acked() == {Place("orders", "default", 0, 1): unpack_head(last).identity}
    reader = server.ring.reader("default")
    assert reader.held_bytes == 0


def test_acking_twice_says_again_and_an_unknown_batch_says_so_and_both_do_no_harm(server, history):
    put(server.ring, history.transaction(1))
    peer = server.consumer()
    peer.send(Get(), Ack(1), Ack(1), Ack(7), Rollback(7), Get())
    drain_schemas(peer)
    peer.batch()
    answers = [peer.receive()[0] for _ in range(5)]
    assert [a for a in answers if isinstance(a, Acked)] == [Acked(1, False), Acked(1, True)]
    errors = [a for a in answers if isinstance(a, Error)]
    assert [(error.code, error.fatal) for error in errors] == [("unknown_batch", False)] * 2
    assert isinstance(answers[-1], Empty) or Empty() in answers


def test_a_rollback_hands_out_again_with_new_numbers(server, history):
    transactions = [history.transaction(1) for _ in range(3)]
    put(server.ring, *transactions)
    peer = server.consumer()
    peer.send(Credit(3, rows=1))
    drain_schemas(peer)
    contents = [peer.batch()[1] for _ in range(3)]
    peer.send(Rollback(2))
    peer.expect(RolledBack)
    peer.send(Credit(2, rows=1))
    again = [peer.batch() for _ in range(2)]
    assert [head.batch for head, _ in again] == [4, 5]
    assert [content for _, content in again] == contents[1:]
    peer.send(Rollback(), Get())
    peer.expect(RolledBack)
    assert peer.batch()[1] == b"".join(map(b"".join, transactions))


def test_credit_left_over_stays_through_a_rollback(server, history):
    put(server.ring, history.transaction(1))
    peer = server.consumer()
    peer.send(Credit(2))
    drain_schemas(peer)
    peer.batch()
    peer.send(Rollback())
    peer.expect(RolledBack)
    assert peer.batch()[0].batch == 2


def test_what_a_consumer_left_unacked_comes_again_in_its_next_session(server, history):
    first, second = history.transaction(1), history.transaction(1)
    put(server.ring, first, second)
    peer = server.consumer()
    peer.send(Credit(2, rows=1))
    drain_schemas(peer)
    peer.batch()
    peer.batch()
    peer.send(Ack(1))
    peer.expect(Acked)
    peer.close()
    peer = server.consumer()
    peer.send(Get())
    drain_schemas(peer)
    batch, content = peer.batch()
    assert (batch.batch, content) == (1, b"".join(second))


def test_consumers_of_one_destination_do_not_know_of_each_other(server, history):
    put(server.ring, history.transaction(1))
    one = server.consumer()
    one.send(Get())
    drain_schemas(one)
    one.batch()
    other = server.consumer(consumer="audit")
    other.send(Get())
    drain_schemas(other)
    assert other.batch()[0].rows == 1
    assert set(server.ring.readers()) == {"default", "audit"}


def test_takeover_ends_the_older_session(server, history):
    put(server.ring, history.transaction(1))
    old = server.consumer()
    old.send(Get())
    drain_schemas(old)
    old.batch()
    new = server.consumer()
    error = old.expect(Error)
    assert (error.code, error.fatal) == ("taken_over", True)
    assert old.at_end()
    new.send(Get())
    drain_schemas(new)
    assert new.batch()[0].rows == 1


def test_without_takeover_the_newer_session_is_refused_while_the_older_lives(server):
    old = server.consumer()
    new = server.connect()
    new.send(Hello(1, "orders", takeover=False))
    error = new.expect(Error)
    assert (error.code, error.fatal) == ("consumer_busy", True)
    assert new.at_end()
    old.send(Bye())
    assert old.at_end()
    assert isinstance(server.connect().hello(takeover=False), Welcome)


def test_bye_answers_what_is_outstanding_and_closes(server, history):
    put(server.ring, history.transaction(1))
    peer = server.consumer()
    peer.send(Get())
    drain_schemas(peer)
    peer.batch()
    peer.send(Ack(1), Get(wait_ms=60_000), Bye())
    peer.expect(Acked)
    peer.expect(Empty)
    assert peer.at_end()


def test_status_tells_what_is_held_and_what_is_left(server, history):
    put(server.ring, history.transaction(1), history.transaction(1))
    peer = server.consumer()
    peer.send(Get(rows=1), Status())
    drain_schemas(peer)
    batch, _ = peer.batch()
    status = peer.expect(StatusAnswer)
    assert status.held_bytes == server.ring.put
    assert status.lag_bytes == server.ring.put - batch.bytes
    assert status.partitions == {0: {"held_bytes": status.held_bytes, "lag_bytes": status.lag_bytes, "outstanding": 1}}


def test_an_unknown_destination_is_refused_with_the_names_of_those_there_are(server):
    peer = server.connect()
    peer.send(Hello(1, "oders"))
    error = peer.expect(Error)
    assert (error.code, error.fatal) == ("unknown_destination", True)
    assert "oders" in error.message
    assert "this server has orders" in error.message
    assert peer.at_end()


def test_an_unknown_partition_is_refused(server):
    peer = server.connect()
    peer.send(Hello(1, "orders", partitions=[0, 1]))
    assert peer.expect(Error).code == "unknown_partition"


def test_another_version_of_the_protocol_is_refused(server):
    peer = server.connect()
    peer.send(Hello(2, "orders"))
    error = peer.expect(Error)
    assert (error.code, error.fatal) == ("version", True)


def test_a_source_number_that_came_up_later_is_told_before_its_batch(server, history):
    peer = server.consumer()
    number = server.meta.source_number("shop", "other-bin")
    newer = History(number, server.table)
    put(server.ring, newer.transaction(1))
    peer.send(Get())
    assert peer.expect(Sources).sources[number] == {"name": "shop", "binlog": "other-bin"}
    drain_schemas(peer)
    assert peer.batch()[0].rows == 1


def test_an_open_batch_and_the_next_one_name_the_transaction(server, history):
    put(server.ring, history.transaction(3))
    peer = server.consumer()
    peer.send(Credit(2, rows=2))
    drain_schemas(peer)
    first, second = peer.batch()[0], peer.batch()[0]
    assert (first.open, first.transactions) == (True, {})
    assert (second.open, second.transactions) == (False, {1: [history.gtid]})


def test_a_consumer_gets_all_partitions_and_acks_each_by_itself(make_engine):
    server = make_engine(orders={"from": ["shop"], "store": {"size": "1MiB"}, "partitions": 3, "sinks": 1})
    server.start()
    histories = [History(1, server.table) for _ in range(3)]
    for partition, history in enumerate(histories):
        put(server.rings["orders", partition], *(history.transaction(1) for _ in range(2)))
    peer = server.connect()
    assert peer.hello().partitions == [0, 1, 2]
    peer.send(Credit(6, rows=1))
    drain_schemas(peer)
    batches = [peer.batch()[0] for _ in range(6)]
    assert [head.partition for head in batches] == [0, 1, 2, 0, 1, 2]
    last = {head.partition: head.batch for head in batches}
    peer.send(Ack(last[1]))
    peer.expect(Acked)
    assert {place.partition for place in server.meta.acked()} == {1}
    assert [server.rings["orders", n].reader("default").held_bytes for n in range(3)].count(0) == 1


def test_two_sessions_may_share_the_partitions_of_a_consumer(make_engine):
    server = make_engine(orders={"from": ["shop"], "store": {"size": "1MiB"}, "partitions": 2})
    server.start()
    one = server.consumer(partitions=[0])
    two = server.consumer(partitions=[1], takeover=False)
    put(server.rings["orders", 1], History(1, server.table).transaction(1))
    one.send(Get())
    one.expect(Empty)
    two.send(Get(wait_ms=10_000))
    drain_schemas(two)
    assert two.batch()[0].partition == 1


def test_a_batch_waits_to_fill_as_long_as_the_destination_says(make_engine):
    server = make_engine(orders={"from": ["shop"], "store": {"size": "1MiB"}, "batch_wait_ms": 300, "batch_rows": 4})
    server.start()
    history = History(1, server.table)
    peer = server.consumer()
    peer.send(Credit(2), Status())
    peer.expect(StatusAnswer)
    put(server.ring, history.transaction(2))
    peer.send(Status())
    assert peer.expect(StatusAnswer).outstanding == 0
    put(server.ring, history.transaction(2), history.transaction(1))
    drain_schemas(peer)
    assert peer.batch()[0].rows == 4
    assert peer.batch()[0].rows == 1  # when the time is up


def test_a_batch_goes_when_the_get_that_waits_for_it_is_over(make_engine):
    server = make_engine(orders={"from": ["shop"], "store": {"size": "1MiB"}, "batch_wait_ms": 3_600_000})
    server.start()
    put(server.ring, History(1, server.table).transaction(2))
    peer = server.consumer()
    peer.send(Get(wait_ms=50))
    drain_schemas(peer)
    assert peer.batch()[0].rows == 2


def test_heartbeats_of_the_source_move_the_kept_position_without_a_batch(server, history):
    peer = server.consumer()
    peer.send(Get(wait_ms=50))
    put(server.ring, history.heartbeat())
    peer.expect(Empty)
    assert server.meta.acked()[Place("orders", "default", 0, 1)].start == history.start


def test_a_large_batch_passes_whole_to_a_reader_that_takes_its_time(server, history):
    records = history.transaction(40, "y" * 20_000)
    put(server.ring, records)
    peer = server.consumer()
    peer.send(Get())
    drain_schemas(peer)
    batch, content = peer.batch()
    assert content == b"".join(records)
    assert batch.bytes == len(content) > MIB // 2


def test_the_client_library_gets_acks_and_resumes(server, history):
    engine = pytest.importorskip("engine.client.sync")
    del engine
    import engine as library

    host, port = next(a for a in server.stage.addresses if not isinstance(a, str))
    put(server.ring, history.transaction(2), history.transaction(3))
    with library.connect(f"tcp://{host}:{port}/orders", consumer="default") as stream:
        batch = stream.get(wait_ms=5000)
        assert len(list(batch)) == 5
        batch.ack()
    put(server.ring, history.transaction(1))
    with library.connect(f"tcp://{host}:{port}/orders", consumer="default") as stream:
        assert len(list(stream.get(wait_ms=5000))) == 1
    with pytest.raises(Refused, match="no such destination"):
        library.connect(f"tcp://{host}:{port}/nothing")
