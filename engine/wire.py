# ruff: noqa: RUF009 — `_key` makes a dataclass field, as `field` does
"""Frames and messages: bytes in, checked messages out, and back. No sockets, no clocks; client and server share it.

    u32, big-endian: N  |  N bytes: one msgpack map, the message  |  in `batch` and `schemas` frames: records, up to N

docs/protocol.md is the specification. The names of all messages and of their keys stand here and nowhere else: each
message is a dataclass whose fields are its keys. `parse_client_message` and `parse_server_message` check every key;
`pack` is the way back.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from functools import partial
from typing import Any, ClassVar, Final

import msgpack

from engine.errors import ProtocolError
from engine.frames import PREFIX
from engine.frames import PREFIX_BYTES as PREFIX_BYTES
from engine.frames import FrameReader as FrameReader

try:
    from engine._arriving import HeadReader
except ImportError:  # not compiled here
    HeadReader = None  # type: ignore[assignment, misc]

PROTOCOL: Final = 1

# Limits of what a client may put into a message. The unpacker allocates an array as soon as it has read its length, so
# they bound what a hostile nest of empty arrays can cost (1024 levels of 1024 pointers), too.
_CLIENT_LIMITS: Final = {
    "max_str_len": 4096,
    "max_bin_len": 4096,
    "max_array_len": 1024,
    "max_map_len": 64,
    "max_ext_len": 16,
}
_SERVER_LIMITS: Final = {"max_array_len": 1 << 20, "max_map_len": 1 << 17}
_FIRST_BYTES: Final = 512  # enough for nearly every message; more is fed as needed; by default an Unpacker takes 1 MiB


def pack_message(type: str, /, **keys: Any) -> bytes:
    """A frame that holds one message and no records."""
    payload = msgpack.packb({"type": type, **keys})
    return PREFIX.pack(len(payload)) + payload


def pack_batch_prefix(message: dict[str, Any], record_bytes: int) -> bytes:
    """The beginning of a frame; the caller sends `record_bytes` bytes of records right after, from shared memory."""
    payload = msgpack.packb(message)
    return PREFIX.pack(len(payload) + record_bytes) + payload


def split_message(payload: bytes | memoryview, limits: dict[str, int] | None = None) -> tuple[dict[str, Any], memoryview]:
    """The message of a frame, and the bytes after it (a view: nothing is copied).

    limits are those of msgpack.Unpacker; without any a server's message is expected; its maps may have number keys.

    Raises:
        ProtocolError: the payload doesn't begin with a msgpack map, or is beyond the limits.
    """
    payload = memoryview(payload)
    first = payload[0] if payload else 0xC1
    if first >> 4 != 8 and first not in (0xDE, 0xDF):
        raise ProtocolError(
            "a frame doesn't begin with a msgpack map",
            first_byte=hex(first) if payload else "none",
            bytes=len(payload),
            remedy="see docs/protocol.md, Frames",
        )
    strict, most = limits is not None, _SERVER_LIMITS if limits is None else limits
    begin = payload[:_FIRST_BYTES]
    try:  # a fifth of the time that an Unpacker takes
        return msgpack.unpackb(begin, strict_map_key=strict, **most), payload[len(begin) :]
    except msgpack.ExtraData as more:
        return more.unpacked, payload[len(begin) - len(more.extra) :]
    except (ValueError, TypeError, msgpack.UnpackException):
        pass  # it is longer, or something is wrong with it
    unpacker = msgpack.Unpacker(max_buffer_size=0, read_size=_FIRST_BYTES, strict_map_key=strict, **most)
    fed, step = 0, _FIRST_BYTES
    try:
        while True:
            unpacker.feed(payload[fed : fed + step])
            fed += step
            try:
                return unpacker.unpack(), payload[unpacker.tell() :]
            except msgpack.OutOfData:
                if fed >= len(payload):
                    raise ProtocolError("a message ends in the middle", bytes=len(payload)) from None
                step = fed * 3
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ProtocolError("a message is not valid msgpack", error=str(error) or type(error).__name__) from None


# Checks: each says what it wants, and answers whether a value is that. bool is not a number, although Python's is.


@dataclass(frozen=True)
class _Check:
    wants: str
    accepts: Callable[[Any], bool]
    secret: bool = False  # a wrong value is not shown


def _number(low: int, high: int) -> _Check:
    return _Check(f"a number from {low} to {high}", lambda value: type(value) is int and low <= value <= high)


def _nil_or(check: _Check) -> _Check:
    return _Check(f"nil or {check.wants}", lambda value: value is None or check.accepts(value))


_NAME_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,47}")
_NAME = _Check(
    "a name of 1 to 48 letters, digits, _ . -",
    lambda value: type(value) is str and bool(_NAME_PATTERN.fullmatch(value)),
)
_TOKEN = _Check(
    "nil or a string of at most 1024 characters",
    lambda value: value is None or (type(value) is str and len(value) <= 1024),
    secret=True,
)
_TEXT = _Check("a string", lambda value: type(value) is str)
_BOOL = _Check("true or false", lambda value: type(value) is bool)
_U16 = _number(0, 2**16 - 1)
_U31 = _number(0, 2**31 - 1)
_U64 = _number(0, 2**64 - 1)
_LIMIT = _nil_or(_number(1, 2**32 - 1))
_BATCH = _number(1, 2**64 - 1)
_MAYBE_BATCH = _nil_or(_BATCH)
_CREDIT = _number(1, 2**16 - 1)
_ANY_MAP = _Check("a map", lambda value: type(value) is dict)


def _are_partitions(value: Any) -> bool:
    return (
        type(value) is list
        and 0 < len(value) <= 256
        and all(type(number) is int and 0 <= number < 256 for number in value)
        and len(set(value)) == len(value)
    )


def _are_sources(value: Any) -> bool:
    return type(value) is dict and all(
        _U16.accepts(number) and type(about) is dict and type(about.get("name")) is str and type(about.get("binlog")) is str
        for number, about in value.items()
    )


def _are_transactions(value: Any) -> bool:
    if type(value) is not dict:
        return False
    for number, about in value.items():  # each batch has some: all() of a generator takes twice as long
        if not _U16.accepts(number) or type(about) is not list or len(about) != 1:
            return False
        if about[0] is not None and type(about[0]) is not str:
            return False
    return True


_PARTITIONS = _Check("a list of different numbers from 0 to 255, at least one", _are_partitions)
_MAYBE_PARTITIONS = _nil_or(_PARTITIONS)
_SOURCES = _Check("a map of source number to {name, binlog}", _are_sources)
_TRANSACTIONS = _Check("a map of source number to [gtid or nil]", _are_transactions)


def _key(check: _Check, default: Any = MISSING) -> Any:
    """A field of a message: its check, and its default where the key may be left out."""
    metadata = {"check": check}
    if isinstance(default, dict):
        return field(default_factory=partial(dict, default), metadata=metadata)
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata, repr=not check.secret)


@dataclass(frozen=True, slots=True)
class Message:
    """Root of all messages; `type` is the name on the wire."""

    type: ClassVar[str]

    def pack(self) -> bytes:
        """The whole frame."""
        payload = msgpack.packb(self._map())
        return PREFIX.pack(len(payload)) + payload

    def pack_prefix(self, record_bytes: int) -> bytes:
        """The beginning of a `batch` or `schemas` frame; the caller sends `record_bytes` bytes of records after it."""
        return pack_batch_prefix(self._map(), record_bytes)

    def _map(self) -> dict[str, Any]:
        message: dict[str, Any] = {"type": self.type}
        for name in _NAMES[type(self)]:
            message[name] = getattr(self, name)
        return message


# What a client sends.


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """The first frame of a session."""

    type = "hello"
    protocol: int = _key(_U31)
    destination: str = _key(_TEXT)
    consumer: str = _key(_NAME, "default")
    partitions: list[int] | None = _key(_MAYBE_PARTITIONS, None)
    takeover: bool = _key(_BOOL, True)
    token: str | None = _key(_TOKEN, None)
    wait: bool = _key(_BOOL, False)
    start: str | None = _key(_nil_or(_TEXT), None)


@dataclass(frozen=True, slots=True)
class Get(Message):
    """One batch, please; `empty` after wait_ms without one."""

    type = "get"
    wait_ms: int = _key(_U31, 0)
    rows: int | None = _key(_LIMIT, None)
    bytes: int | None = _key(_LIMIT, None)


@dataclass(frozen=True, slots=True)
class Credit(Message):
    """That many more batches, as they become available."""

    type = "credit"
    batches: int = _key(_CREDIT)
    rows: int | None = _key(_LIMIT, None)
    bytes: int | None = _key(_LIMIT, None)


@dataclass(frozen=True, slots=True)
class Ack(Message):
    """This batch and all before it in its partition are done."""

    type = "ack"
    batch: int = _key(_BATCH)


@dataclass(frozen=True, slots=True)
class Rollback(Message):
    """Hand out again: from this batch on, or (None) everything unacked."""

    type = "rollback"
    batch: int | None = _key(_MAYBE_BATCH, None)


@dataclass(frozen=True, slots=True)
class Status(Message):
    """How far is this consumer?"""

    type = "status"


@dataclass(frozen=True, slots=True)
class Bye(Message):
    """Answer what is outstanding, then close."""

    type = "bye"


# What the server sends.


@dataclass(frozen=True, slots=True)
class Waiting(Message):
    """Another session of this consumer is open. place: how many there are before this one; with none, `welcome` comes."""

    type = "waiting"
    place: int = _key(_U31)


@dataclass(frozen=True, slots=True)
class Welcome(Message):
    """The session is open. sources: number → {"name": ..., "binlog": base name of the binlog files}.

    epoch: in a cluster, of the lease under which the destination is served; it only grows. None: the server is alone.
    """

    type = "welcome"
    protocol: int = _key(_U31)
    engine: str = _key(_TEXT)
    destination: str = _key(_TEXT)
    consumer: str = _key(_TEXT)
    partitions: list[int] = _key(_PARTITIONS)
    sources: dict[int, dict[str, str]] = _key(_SOURCES)
    epoch: int | None = _key(_nil_or(_U64), None)


@dataclass(frozen=True, slots=True)
class Schemas(Message):
    """Schema records follow."""

    type = "schemas"


@dataclass(frozen=True, slots=True)
class BatchHead(Message):
    """Records follow. rows: changes inside; bytes: of the records."""

    type = "batch"
    batch: int = _key(_BATCH)
    partition: int = _key(_U16)
    rows: int = _key(_U64)
    records: int = _key(_U64)
    bytes: int = _key(_U64)
    open: bool = _key(_BOOL, False)
    transactions: dict[int, list[str | None]] = _key(_TRANSACTIONS, {})
    torn: bool = _key(_BOOL, False)


@dataclass(frozen=True, slots=True)
class Empty(Message):
    """The wait of a `get` ended without a record."""

    type = "empty"


@dataclass(frozen=True, slots=True)
class Acked(Message):
    """Durable. again: it had been acked before."""

    type = "acked"
    batch: int = _key(_BATCH)
    again: bool = _key(_BOOL, False)


@dataclass(frozen=True, slots=True)
class RolledBack(Message):
    """What follows is handed out again."""

    type = "rolled_back"
    batch: int | None = _key(_MAYBE_BATCH, None)


@dataclass(frozen=True, slots=True)
class Sources(Message):
    """A source number that the session doesn't know yet."""

    type = "sources"
    sources: dict[int, dict[str, str]] = _key(_SOURCES)


@dataclass(frozen=True, slots=True)
class Heartbeat(Message):
    """The session is idle and alive. A client answers it with another, which the server does not answer."""

    type = "heartbeat"


@dataclass(frozen=True, slots=True)
class StatusAnswer(Message):
    """partitions: number → {"held_bytes", "lag_bytes", "outstanding"}; the three beside it are their sums."""

    type = "status"
    held_bytes: int = _key(_U64)
    lag_bytes: int = _key(_U64)
    outstanding: int = _key(_U64)
    partitions: dict[int, dict[str, int]] = _key(_ANY_MAP)


@dataclass(frozen=True, slots=True)
class Error(Message):
    """code is one of those below; the connection ends after a fatal one. batch: what an ack or rollback had named.

    address: with `not_active` and `moved`, where the destination is served now, if that is known. retryable: with `internal`:
    another try may succeed without anyone's help.
    """

    type = "error"
    code: str = _key(_TEXT)
    message: str = _key(_TEXT)
    fatal: bool = _key(_BOOL, False)
    batch: int | None = _key(_MAYBE_BATCH, None)
    address: str | None = _key(_nil_or(_TEXT), None)
    retryable: bool = _key(_BOOL, False)


ClientMessage = Hello | Get | Credit | Ack | Rollback | Status | Bye | Heartbeat
ServerMessage = (
    Waiting | Welcome | Schemas | BatchHead | Empty | Acked | RolledBack | Sources | Heartbeat | StatusAnswer | Error
)  # fmt: skip

PROTOCOL_FAULT: Final = "protocol"
VERSION_MISMATCH: Final = "version"
UNKNOWN_DESTINATION: Final = "unknown_destination"
UNKNOWN_PARTITION: Final = "unknown_partition"
CONSUMER_BUSY: Final = "consumer_busy"
TAKEN_OVER: Final = "taken_over"
UNKNOWN_START: Final = "unknown_start"
EXPIRED: Final = "expired"
UNKNOWN_BATCH: Final = "unknown_batch"
NOT_ACTIVE: Final = "not_active"
MOVED: Final = "moved"
TOO_MANY_SESSIONS: Final = "too_many_sessions"
UNAUTHORIZED: Final = "unauthorized"
FORBIDDEN: Final = "forbidden"
IDLE: Final = "idle"
SHUTTING_DOWN: Final = "shutting_down"
INTERNAL: Final = "internal"


def _keys_of(kind: type[Message]) -> list[tuple[_Check, str, Callable[[Any], bool], bool]]:
    keys = []
    for entry in fields(kind):
        check: _Check = entry.metadata["check"]
        keys.append((check, entry.name, check.accepts, entry.default is MISSING and entry.default_factory is MISSING))
    return keys


_CLIENT: Final = {kind.type: (kind, _keys_of(kind)) for kind in (Hello, Get, Credit, Ack, Rollback, Status, Bye, Heartbeat)}
_SERVER: Final = {
    kind.type: (kind, _keys_of(kind))
    for kind in (Waiting, Welcome, Schemas, BatchHead, Empty, Acked, RolledBack, Sources, Heartbeat, StatusAnswer, Error)
}
_NAMES: Final[dict[type[Message], list[str]]] = {
    kind: [key for _, key, _, _ in keys] for kind, keys in (*_CLIENT.values(), *_SERVER.values())
}


def packed_keys(kind: type[Message]) -> list[bytes]:
    """A message as it is packed, without the values: what stands before each of them."""
    names = [msgpack.packb(name) for name in _NAMES[kind]]
    begin = bytes([0x80 | len(names) + 1]) + msgpack.packb("type") + msgpack.packb(kind.type)
    return [begin + names[0], *names[1:]]


_ACK_BEGIN: Final = packed_keys(Ack)[0]
_ACK_FRAME: Final = struct.Struct(f">I{len(_ACK_BEGIN)}sBQ")
_HEADS: Final = HeadReader(BatchHead, packed_keys(BatchHead)) if HeadReader is not None else None


def pack_ack(batch: int) -> bytes:
    """The frame of an `ack`, its number always in eight bytes: a fifth of the time that `Ack.pack` takes."""
    return _ACK_FRAME.pack(len(_ACK_BEGIN) + 9, _ACK_BEGIN, 0xCF, batch)


def _checked(message: dict[str, Any], kinds: dict[str, Any]) -> Any:
    name = message.get("type")
    if not isinstance(name, str) or name not in kinds:
        raise ProtocolError("a message of unknown type", type=_shown(name), remedy=f"known here: {', '.join(kinds)}")
    kind, keys = kinds[name]
    values = {}
    for check, key, accepts, required in keys:
        if key in message:
            value = values[key] = message[key]
            if not accepts(value):
                shown = None if check.secret else _shown(value)
                raise ProtocolError(f"{name}: the key {key} has a wrong value", value=shown, wanted=check.wants)
        elif required:
            raise ProtocolError(f"{name}: the key {key} is missing", wanted=check.wants)
    return kind(**values)


def _shown(value: Any) -> str:
    """A hostile value, cut short for a message; containers are only named, since even their repr may be huge."""
    if value is None or type(value) in (bool, int, float):
        return repr(value)
    if type(value) is str or type(value) is bytes:
        return repr(value[:40]) + ("…" if len(value) > 40 else "")
    return type(value).__name__


def parse_client_message(payload: bytes | memoryview) -> ClientMessage:
    """A client's frame, every key checked; keys that aren't known are left aside. Made for hostile bytes.

    Raises:
        ProtocolError: not a message; names the type and the key that is wrong.
    """
    message, rest = split_message(payload, _CLIENT_LIMITS)
    if rest:
        raise ProtocolError("bytes follow a message", bytes=len(rest), remedy="a client's frame holds one map, no more")
    return _checked(message, _CLIENT)


def parse_server_message(payload: bytes | memoryview) -> tuple[ServerMessage, memoryview]:
    """A server's frame, every key checked, and its records (empty for all but `batch` and `schemas`).

    Raises:
        ProtocolError: not a message; names the type and the key that is wrong.
    """
    if _HEADS is not None and (found := _HEADS.read(payload)):
        return found[0], memoryview(payload)[found[1] :]
    message, records = split_message(payload)
    parsed = _checked(message, _SERVER)
    if records and not isinstance(parsed, BatchHead | Schemas):
        raise ProtocolError(f"{parsed.type}: bytes follow the message", bytes=len(records))
    if isinstance(parsed, BatchHead) and parsed.bytes != len(records):
        raise ProtocolError("batch: the key bytes is not the size of the records", value=parsed.bytes, wanted=len(records))
    return parsed, records
