"""What is known of a table: its columns as the binlog describes them, and the map a schema record carries."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import msgpack


@dataclass(frozen=True)
class Column:
    """One column of one table version.

    type is MySQL's spelling without attributes, such as `bigint`, `varchar(32)`, `decimal(12,2)`, `enum`, `datetime(3)`;
    charset is the server's character set name (None for columns that are not text; `binary` for byte strings);
    labels are those of ENUM and SET; geometry is the declared subtype, if any; system is "start" or "end" for the begin and
    the end of a row's life in a system-versioned table, which the server sets by itself.
    """

    name: str
    type: str
    unsigned: bool = False
    charset: str | None = None
    labels: tuple[str, ...] = ()
    nullable: bool = True
    visible: bool = True
    system: str = ""

    def to_map(self) -> dict[str, Any]:
        """The column as docs/protocol.md describes it: `name` and `type` always, the rest only where it says something."""
        entry: dict[str, Any] = {"name": self.name, "type": self.type}
        if self.unsigned:
            entry["unsigned"] = True
        if self.charset is not None:
            entry["charset"] = self.charset
        if self.labels:
            entry["labels"] = list(self.labels)
        if not self.nullable:
            entry["nullable"] = False
        if not self.visible:
            entry["visible"] = False
        if self.system:
            entry["system"] = self.system
        return entry


_pack = msgpack.Packer().pack
_MAP_OF_TWO, _MAP_OF_FIVE = b"\x82", b"\x85"
_SOURCE, _SCHEMA, BEFORE_TABLE = _pack("source"), _pack("schema"), _pack("table")
_BEFORE_SOURCE = _MAP_OF_FIVE + _SOURCE


def before_schema_name(source: str) -> bytes:
    """What `pack_schema` has before the schema's name; BEFORE_TABLE is what it has before the table's."""
    return b"".join((_BEFORE_SOURCE, _pack(source), _SCHEMA))


def pack_schema(source: str, schema: str, table: str, packed_columns: bytes) -> bytes:
    """TableSchema.pack, with the columns packed before."""
    return b"".join((before_schema_name(source), _pack(schema), BEFORE_TABLE, _pack(table), packed_columns))


@dataclass(frozen=True)
class TableSchema:
    """One version of one table of one source; what a table key stands for."""

    source: str
    schema: str
    table: str
    columns: tuple[Column, ...]
    primary_key: tuple[int, ...] = field(default=())

    @property
    def name(self) -> str:
        """`schema.table`, as the regexes of a destination see it."""
        return f"{self.schema}.{self.table}"

    def pack(self) -> bytes:
        """The canonical msgpack map of a schema record; equal schemas give equal bytes, so it is the fingerprint too."""
        return pack_schema(self.source, self.schema, self.table, self.packed_columns())

    def packed_columns(self) -> bytes:
        """What `pack` has behind the names: the same for all tables with these columns and this key."""
        columns = {"columns": [column.to_map() for column in self.columns], "primary_key": list(self.primary_key)}
        return msgpack.packb(columns)[1:]  # without the map's head

    @classmethod
    def unpack(cls, packed: bytes) -> TableSchema:
        """The reverse of `pack`; fields that it doesn't know are left aside."""
        unpacker = msgpack.Unpacker()
        unpacker.feed(packed)
        fields = unpacker.read_map_header()
        names = [unpacker.unpack() for _ in range(6)]
        if fields != 5 or names[::2] != ["source", "schema", "table"]:
            return cls.from_map(msgpack.unpackb(packed))
        source, schema, table = names[1::2]
        return cls(source, schema, table, *_columns(packed[unpacker.tell() :]))

    @staticmethod
    def unpack_name(packed: bytes) -> str:
        """`schema.table` of what `pack` has made; the columns behind are left aside."""
        if not packed.startswith(_BEFORE_SOURCE):
            return TableSchema.unpack(packed).name
        _, at = _text(packed, len(_BEFORE_SOURCE))
        schema, at = _text(packed, at + len(_SCHEMA))
        table, _ = _text(packed, at + len(BEFORE_TABLE))
        return f"{schema}.{table}"

    @classmethod
    def from_map(cls, body: dict[str, Any]) -> TableSchema:
        """From the map a schema record carries."""
        return cls(body["source"], body["schema"], body["table"], *_columns_from(body))


def _text(packed: bytes, at: int) -> tuple[str, int]:
    """The msgpack str at this place, of less than 64 KiB, and where it ends."""
    size, at = packed[at], at + 1
    if size == 0xD9:
        size, at = packed[at], at + 1
    elif size == 0xDA:
        size, at = packed[at] << 8 | packed[at + 1], at + 2
    else:
        size &= 0x1F
    return packed[at : at + size].decode(), at + size


@lru_cache(maxsize=1024)
def _columns(packed: bytes) -> tuple[tuple[Column, ...], tuple[int, ...]]:
    """From what `packed_columns` makes: many tables have it in common."""
    return _columns_from(msgpack.unpackb(_MAP_OF_TWO + packed))


def _columns_from(body: dict[str, Any]) -> tuple[tuple[Column, ...], tuple[int, ...]]:
    return tuple(_column_from(entry) for entry in body["columns"]), tuple(body["primary_key"])


def _column_from(entry: dict[str, Any]) -> Column:
    if labels := tuple(entry.get("labels", ())):  # there may be thousands, too many to be kept
        return replace(_column_from({**entry, "labels": ()}), labels=labels)
    return _column(
        entry["name"], entry["type"], entry.get("unsigned", False), entry.get("charset"), entry.get("nullable", True),
        entry.get("visible", True), entry.get("system", ""),
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _column(name: str, type_: str, unsigned: bool, charset: str | None, nullable: bool, visible: bool, system: str) -> Column:
    """Many tables have columns in common, which are made and held once."""
    return Column(name, type_, unsigned, charset, (), nullable, visible, system)
