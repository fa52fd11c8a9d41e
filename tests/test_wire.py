"""Frames and messages against every way in which bytes can come, and against hostile ones."""

import random

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import wire
from engine._arriving import HeadReader
from engine.errors import ProtocolError

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy

CLIENT_MESSAGES = [
    wire.Hello(1, "orders", "cache", [0, 3], False),
    wire.Hello(1, "orders"),
    wire.Get(500, 10, 4096),
    wire.Get(),
    wire.Credit(2),
    wire.Ack(2**64 - 1),
    wire.Rollback(3),
    wire.Rollback(),
    wire.Status(),
    wire.Bye(),
]
SERVER_MESSAGES = [
    wire.Welcome(1, "0.1.0", "orders", "cache", [0], {1: {"name": "shop", "binlog": "binlog"}}),
    wire.Welcome(1, "0.1.0", "orders", "cache", [0], {}, epoch=7),
    wire.Schemas(),
    wire.BatchHead(1, 0, 2, 4, 0, True, {1: ["0-1-5"], 2: [None]}),
    wire.Empty(),
    wire.Acked(1, True),
    wire.RolledBack(None),
    wire.RolledBack(4),
    wire.Sources({9: {"name": "a", "binlog": "b"}}),
    wire.Heartbeat(),
    wire.StatusAnswer(1, 2, 3, {0: {"held_bytes": 1}}),
    wire.Error("unknown_batch", "no such batch", False, 4),
]


def payload_of(frame: bytes) -> bytes:
    (payload,) = read_all([frame])
    return payload


def read_all(pieces: list[bytes], **options: int) -> list[bytes]:
    reader = wire.FrameReader(**options)
    payloads = []
    for piece in pieces:
        reader.feed(piece)
        payloads += [bytes(payload) for payload in reader.frames()]
    assert reader.pending_bytes == 0
    return payloads


def client_payload(**message: object) -> bytes:
    return msgpack.packb(message)


@pytest.mark.parametrize("message", CLIENT_MESSAGES, ids=lambda m: m.type)
def test_a_client_message_comes_back_as_it_was_packed(message):
    assert wire.parse_client_message(payload_of(message.pack())) == message


@pytest.mark.parametrize("message", SERVER_MESSAGES, ids=lambda m: m.type)
def test_a_server_message_comes_back_as_it_was_packed(message):
    parsed, records = wire.parse_server_message(payload_of(message.pack()))
    assert parsed == message
    assert not records


def test_the_prefix_of_a_batch_covers_the_records_that_are_sent_after_it():
    records = b"record bytes"
    head = wire.BatchHead(1, 0, 1, 1, len(records))
    parsed, rest = wire.parse_server_message(payload_of(head.pack_prefix(len(records)) + records))
    assert (parsed, bytes(rest)) == (head, records)


def test_pack_message_and_split_message_need_no_class():
    frame = wire.pack_message("ack", batch=7)
    message, rest = wire.split_message(payload_of(frame))
    assert message == {"type": "ack", "batch": 7}
    assert not rest
    assert wire.pack_batch_prefix({"type": "schemas"}, 5) == wire.Schemas().pack_prefix(5)


def test_a_message_longer_than_the_first_read_is_split_from_its_records():
    sources = {number: {"name": f"source-{number}", "binlog": "binlog"} for number in range(1000)}
    payload = payload_of(wire.Sources(sources).pack()) + b""
    assert wire.parse_server_message(payload)[0].sources == sources


def test_unknown_keys_are_left_aside():
    assert wire.parse_client_message(client_payload(type="ack", batch=1, later="x")) == wire.Ack(1)


@patient
@given(st.lists(st.binary(min_size=1, max_size=3000), max_size=8), st.data())
def test_frames_come_whole_however_the_bytes_are_cut(payloads, data):
    stream = b"".join(len(payload).to_bytes(4, "big") + payload for payload in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read_all(pieces, chunk_bytes=64) == payloads


def test_frames_come_whole_byte_by_byte():
    frames = [message.pack() for message in CLIENT_MESSAGES]
    pieces = [bytes([byte]) for byte in b"".join(frames)]
    assert [wire.parse_client_message(payload) for payload in read_all(pieces, chunk_bytes=64)] == CLIENT_MESSAGES


def test_a_payload_stays_as_it_is_while_more_frames_arrive():
    reader = wire.FrameReader(chunk_bytes=64)
    kept = []
    for number in range(100):
        reader.feed(wire.Ack(number + 1).pack())
        kept += reader.frames()
    assert [wire.parse_client_message(payload).batch for payload in kept] == list(range(1, 101))


def test_payloads_that_are_in_use_stay_as_they_are_whatever_memory_is_filled_again():
    rng = random.Random(5)
    reader = wire.FrameReader(chunk_bytes=64)
    kept: list[tuple[memoryview, bytes]] = []
    for number in range(3000):
        payload = bytes([number % 251]) * rng.choice([1, 20, 60, 300, 1500])
        frame = memoryview(len(payload).to_bytes(4, "big") + payload)
        while frame:
            room = reader.get_buffer()
            count = min(len(room), len(frame), rng.randrange(1, 400))
            room[:count] = frame[:count]
            reader.filled(count)
            frame = frame[count:]
            kept += [(got, payload) for got in reader.frames()]
        assert all(got == payload for got, payload in kept)
        while kept and rng.random() < 0.6:
            del kept[rng.randrange(len(kept))]
    assert reader.pending_bytes == 0


def test_large_frames_that_nobody_keeps_come_into_the_same_memory():
    reader = wire.FrameReader(chunk_bytes=4096)
    frame = (50_000).to_bytes(4, "big") + b"x" * 50_000
    places = set()
    for _ in range(50):
        reader.feed(frame)
        (payload,) = reader.frames()
        places.add(np.frombuffer(payload, np.uint8).__array_interface__["data"][0])
        del payload
    assert len(places) <= 5


def test_room_for_a_large_frame_ends_with_it():
    reader = wire.FrameReader(chunk_bytes=64)
    reader.feed((1000).to_bytes(4, "big") + b"x" * 800)
    assert reader.missing_bytes == 200
    assert len(reader.get_buffer()) <= 200
    assert wire.FrameReader().missing_bytes == 0


def test_a_payload_is_read_only():
    reader = wire.FrameReader()
    reader.feed(wire.Bye().pack())
    (payload,) = reader.frames()
    with pytest.raises(TypeError):
        payload[0] = 0


def test_reading_into_the_buffer_is_the_same_as_feeding():
    reader = wire.FrameReader(chunk_bytes=64)
    stream = memoryview(b"".join(message.pack() for message in CLIENT_MESSAGES))
    parsed = []
    while stream:
        room = reader.get_buffer()
        count = min(len(room), len(stream), 7)
        room[:count] = stream[:count]
        reader.filled(count)
        stream = stream[count:]
        parsed += [wire.parse_client_message(payload) for payload in reader.frames()]
    assert parsed == CLIENT_MESSAGES


def test_a_frame_larger_than_the_limit_is_refused_as_soon_as_its_length_is_known():
    reader = wire.FrameReader(max_frame=100)
    reader.feed((101).to_bytes(4, "big"))
    with pytest.raises(ProtocolError, match=r"too large.*bytes=101 max_frame=100"):
        list(reader.frames())
    with pytest.raises(ProtocolError, match="too large"):
        reader.get_buffer()


def test_a_frame_as_large_as_the_limit_passes():
    assert read_all([(100).to_bytes(4, "big") + b"x" * 100], max_frame=100) == [b"x" * 100]


def test_an_announced_length_alone_allocates_next_to_nothing():
    reader = wire.FrameReader(chunk_bytes=4096)
    reader.feed((1 << 31).to_bytes(4, "big") + b"x" * 5000)
    assert len(reader.get_buffer()) <= 4 * 8192


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"", "doesn't begin with a msgpack map"),
        (b"\xc1", "first_byte=0xc1"),
        (b"GET / HTTP/1.1\r\n\r\n", "first_byte=0x47"),
        (b"\x81", "ends in the middle"),
        (b"\x81\xa4type", "ends in the middle"),
        (b"\x81\xa4type\xc1", "not valid msgpack"),
        (b"\x81\xa4type\xa1\xff", "not valid msgpack"),
        (b"\x81\x01\x02", "not valid msgpack"),
        (b"\x81\x81\x01\x02\x03", "not valid msgpack"),
        (b"\xdf\xff\xff\xff\xff", "not valid msgpack"),
        (b"\x81\xa4type\xdd\xff\xff\xff\xff", "not valid msgpack"),
        (b"\x81\xa4type\xdb\xff\xff\xff\xff", "ends in the middle"),
        (b"\x81\xa4type" + b"\x91" * 3000 + b"\x01", "not valid msgpack"),
        (b"\x81\xa4type" + b"\xdc\x04\x00" * 3000, "not valid msgpack"),
        (b"\x81\xa4type\xd4\xff\x00", "not valid msgpack"),
        (b"\x80", "unknown type"),
        (client_payload(type=7), "type=7"),
        (client_payload(type=["a"] * 1000), "type=list"),
        (client_payload(type="x" * 1000), "…"),
        (client_payload(type="welcome"), "unknown type"),
        (client_payload(type="bye") + b"\x00", "bytes follow a message"),
        (client_payload(type="hello", protocol=1), "the key destination is missing"),
        (client_payload(type="hello", protocol="1", destination="a"), "the key protocol has a wrong value"),
        (client_payload(type="hello", protocol=True, destination="a"), "the key protocol has a wrong value"),
        (client_payload(type="hello", protocol=1, destination=b"a"), "the key destination has a wrong value"),
        (client_payload(type="hello", protocol=1, destination="a", consumer="../x"), "the key consumer"),
        (client_payload(type="hello", protocol=1, destination="a", consumer="x" * 49), "the key consumer"),
        (client_payload(type="hello", protocol=1, destination="a", partitions=[]), "the key partitions"),
        (client_payload(type="hello", protocol=1, destination="a", partitions=[1, 1]), "the key partitions"),
        (client_payload(type="hello", protocol=1, destination="a", partitions=[-1]), "the key partitions"),
        (client_payload(type="hello", protocol=1, destination="a", partitions=[256]), "the key partitions"),
        (client_payload(type="hello", protocol=1, destination="a", takeover=1), "the key takeover"),
        (client_payload(type="get", wait_ms=-1), "the key wait_ms"),
        (client_payload(type="get", wait_ms=1.5), "the key wait_ms"),
        (client_payload(type="get", rows=0), "the key rows"),
        (client_payload(type="credit"), "the key batches is missing"),
        (client_payload(type="credit", batches=0), "the key batches"),
        (client_payload(type="credit", batches=1 << 40), "the key batches"),
        (client_payload(type="ack", batch=0), "the key batch"),
        (client_payload(type="ack", batch=None), "the key batch"),
        (client_payload(type="rollback", batch="1"), "the key batch"),
    ],
)
def test_a_hostile_client_frame_is_refused_by_name(payload, told):
    with pytest.raises(ProtocolError) as refused:
        wire.parse_client_message(payload)
    assert told in str(refused.value)
    assert len(str(refused.value)) < 400


@patient
@given(st.binary(max_size=300))
def test_random_bytes_are_a_message_or_a_protocol_error(payload):
    for parse in (wire.parse_client_message, wire.parse_server_message):
        try:
            parse(payload)
        except ProtocolError:
            continue


@patient
@given(
    st.dictionaries(
        st.sampled_from(["protocol", "destination", "consumer", "partitions", "batch", "rows", "takeover", "sources"]),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5) | st.binary(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        ),
    ),
    st.sampled_from([*(m.type for m in CLIENT_MESSAGES), *(m.type for m in SERVER_MESSAGES)]),
)
def test_keys_of_any_type_are_a_message_or_a_protocol_error(keys, name):
    payload = msgpack.packb({"type": name, **keys})
    for parse in (wire.parse_client_message, wire.parse_server_message):
        try:
            parse(payload)
        except ProtocolError:
            continue


@pytest.mark.parametrize(
    ("message", "records", "told"),
    [
        ({"type": "batch", "batch": 1, "partition": 0, "rows": 1, "records": 1, "bytes": 9}, b"x", "bytes is not"),
        ({"type": "acked", "batch": 1}, b"x", "bytes follow the message"),
        ({"type": "sources", "sources": {1: "shop"}}, b"", "the key sources"),
        ({"type": "sources", "sources": {"shop": {"name": "shop", "binlog": "b"}}}, b"", "the key sources"),
        (
            {"type": "batch", "batch": 1, "partition": 0, "rows": 1, "records": 1, "bytes": 0, "transactions": {1: []}},
            b"",
            "the key transactions",
        ),
    ],
)
def test_a_wrong_server_frame_is_refused_by_name(message, records, told):
    with pytest.raises(ProtocolError, match=told):
        wire.parse_server_message(msgpack.packb(message) + records)


def test_frames_may_be_taken_long_after_they_were_fed():
    frames = [message.pack() for message in CLIENT_MESSAGES * 50]
    assert [wire.parse_client_message(p) for p in read_all([b"".join(frames)], chunk_bytes=64)] == CLIENT_MESSAGES * 50


@patient
@given(
    head=st.builds(
        wire.BatchHead, batch=st.integers(1, 2**64 - 1), partition=st.integers(0, 2**16 - 1), rows=st.integers(0, 2**64 - 1),
        records=st.integers(0, 2**64 - 1), bytes=st.integers(0, 300), open=st.booleans(), torn=st.booleans(),
        transactions=st.sampled_from([{}, {1: ["a-1"]}, {2: [None]}]),
    ),
    at=st.integers(0, 130), byte=st.integers(0, 255), cut=st.integers(0, 3),
)  # fmt: skip
def test_a_head_that_is_read_natively_is_the_one_that_every_key_is_checked_of(head, at, byte, cut):
    reader = HeadReader(wire.BatchHead, wire.packed_keys(wire.BatchHead))
    records = bytes(head.bytes)
    payload = (head.pack_prefix(head.bytes) + records)[wire.PREFIX_BYTES :]
    found = reader.read(payload)
    assert (found is None) == bool(head.torn or head.transactions)
    if found:
        assert (found[0], payload[found[1] :]) == (head, records)
    other = bytearray(payload[: len(payload) - cut])
    other[min(at, len(other) - 1)] = byte
    if found := reader.read(other):
        message, rest = wire.split_message(bytes(other))
        assert wire.BatchHead(**{key: message[key] for key in message if key != "type"}) == found[0]
        assert message["type"] == "batch"
        assert rest == other[found[1] :]


@given(st.integers(1, 2**64 - 1))
def test_an_ack_packed_in_one_go_says_the_same(number):
    reader = wire.FrameReader()
    reader.feed(wire.pack_ack(number))
    assert [wire.parse_client_message(payload) for payload in reader.frames()] == [wire.Ack(number)]
