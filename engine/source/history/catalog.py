"""All tables of a source at one position, and what one statement or answer changes in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgpack

from engine.position import Identity
from engine.source.history.definition import TableDefinition

Name = tuple[str, str]  # schema, table
SHOWN_CHARACTERS = 4000  # of a statement, kept for those who look at the history


class Unknown(NamedTuple):
    """A table that was changed in a way that couldn't be followed: why, and the statement's first words."""

    why: str
    sql: str


Known = TableDefinition | Unknown | None  # None: there is no such table, or nothing is known of it


@dataclass
class Entry:
    """What became different at one position. how: "ddl", "server" (read from it, up to `seen`) or "set" (by the operator).

    tables: None for those that are gone. charsets: schema → its default character set, None for those that are gone.
    seen: file and offset at which the server's binlog ended when it had answered.
    """

    position: Identity
    how: str
    sql: str = ""
    tables: dict[Name, Known] = field(default_factory=dict)
    charsets: dict[str, str | None] = field(default_factory=dict)
    seen: tuple[int, int] | None = None

    def pack(self) -> bytes:
        """For meta; the position stands beside it."""
        rest = {"sql": self.sql[:SHOWN_CHARACTERS], "charsets": self.charsets, "seen": self.seen}
        rest = {name: value for name, value in rest.items() if value}
        packer = msgpack.Packer()
        pack, array = packer.pack, packer.pack_array_header
        pieces = [packer.pack_map_header(2 + len(rest)), pack("how"), pack(self.how), pack("tables"), array(len(self.tables))]
        for name, known in self.tables.items():
            described = known.packed if isinstance(known, TableDefinition) else pack(known and list(known))
            pieces += (array(3), *map(pack, name), described)
        pieces += (pack(part) for pair in rest.items() for part in pair)
        return b"".join(pieces)

    @classmethod
    def unpack(cls, position: Identity, packed: bytes) -> Entry:
        fields = msgpack.unpackb(packed)
        tables = {(schema, table): _known_from_map(known) for schema, table, known in fields["tables"]}
        seen = tuple(fields["seen"]) if "seen" in fields else None
        return cls(position, fields["how"], fields.get("sql", ""), tables, fields.get("charsets", {}), seen)


def _known_from_map(packed: Any) -> Known:
    if packed is None:
        return None
    return Unknown(*packed) if isinstance(packed, list) else TableDefinition.from_map(packed)


class Catalog:
    """Tables by name. case_sensitive: whether `Orders` and `orders` are two tables; None: not known."""

    def __init__(self, case_sensitive: bool | None = None) -> None:
        self.case_sensitive = case_sensitive
        self.tables: dict[Name, Known] = {}
        self.charsets: dict[str, str | None] = {}
        self.seen: dict[Name, tuple[int, int]] = {}
        self._folded: dict[Name, Name] = {}  # lower case → as written, the last one

    def apply(self, entry: Entry) -> None:
        for name, known in entry.tables.items():
            self.seen.pop(name, None)
            if known is None:
                self.tables.pop(name, None)
                if self._folded.get(folded(name)) == name:
                    del self._folded[folded(name)]
                continue
            self.tables[name] = known
            self._folded[folded(name)] = name
            if entry.seen:
                self.seen[name] = entry.seen
        for schema, charset in entry.charsets.items():
            if charset is None:
                self.charsets.pop(schema, None)
            else:
                self.charsets[schema] = charset

    def written(self, name: Name) -> Name:
        """The name under which a table is known, in the letters of its own statement."""
        if name in self.tables or self.case_sensitive:
            return name
        return self._folded.get(folded(name), name)

    def find(self, name: Name) -> Known:
        return self.tables.get(self.written(name)) if self.tables else None

    def charset(self, schema: str) -> str | None:
        if schema in self.charsets or self.case_sensitive:
            return self.charsets.get(schema)
        return next((charset for each, charset in self.charsets.items() if each.lower() == schema.lower()), None)


def folded(name: Name) -> Name:
    return name[0].lower(), name[1].lower()
