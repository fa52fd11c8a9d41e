"""What the history knows of a table: its columns, its keys, its default character set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import msgpack

from engine.source.charsets import ALIASES, COLLATIONS

TEXT_TYPES = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext"}
CHARSET_TYPES = TEXT_TYPES | {"enum", "set"}
BLOBS = {"tinytext", "text", "mediumtext", "longtext", "tinyblob", "blob", "mediumblob", "longblob"}


class NotUnderstood(Exception):
    """A statement that this side can't follow; never leaves the history."""


@dataclass(frozen=True)
class ColumnDefinition:
    """One column. type: in lower case without size, such as `bigint`, `varchar`, `uuid`; size: the numbers behind it.

    charset: of text and of labels, None where it isn't known or there is none. system: "start" or "end" for the columns of
    MariaDB's system versioning.
    """

    name: str
    type: str
    size: tuple[int, ...] = ()
    unsigned: bool = False
    charset: str | None = None
    labels: tuple[str, ...] = ()
    nullable: bool = True
    visible: bool = True
    system: str = ""

    def to_map(self) -> dict[str, Any]:
        """As entries and `schema set --columns` have it: name and type always, the rest where it says something."""
        entry: dict[str, Any] = {"name": self.name, "type": self.type}
        for field in ("size", "unsigned", "charset", "labels", "system"):
            if value := getattr(self, field):
                entry[field] = list(value) if isinstance(value, tuple) else value
        for field in ("nullable", "visible"):
            if not getattr(self, field):
                entry[field] = False
        return entry

    @classmethod
    def from_map(cls, entry: dict[str, Any]) -> ColumnDefinition:
        tuples: dict[str, Any] = {field: tuple(entry[field]) for field in ("size", "labels") if field in entry}
        return cls(**{**entry, **tuples})


@dataclass(frozen=True)
class Key:
    """An index: columns with the characters of their prefix, 0 for the whole one. Others than unique ones only have names."""

    name: str
    columns: tuple[tuple[str, int], ...]
    unique: bool = True

    @property
    def primary(self) -> bool:
        return self.name == PRIMARY

    def renamed(self, old: str, new: str) -> Key:
        return replace(self, columns=tuple((new if same(name, old) else name, prefix) for name, prefix in self.columns))


PRIMARY = "PRIMARY"


@dataclass(frozen=True)
class TableDefinition:
    """One table. keys: in the order in which they were declared."""

    columns: tuple[ColumnDefinition, ...]
    keys: tuple[Key, ...] = ()
    charset: str | None = None

    def position(self, column: str) -> int:
        """Index of a column by name; -1 if there is none."""
        return next((i for i, each in enumerate(self.columns) if same(each.name, column)), -1)

    def primary_key(self) -> tuple[int, ...]:
        """As the servers see it: the declared one, or else the first unique key over whole columns that are never NULL."""
        key = next((key for key in self.keys if key.primary), None)
        if key is None:
            key = next((key for key in self.keys if self._identifies(key)), None)
        if key is None:
            return ()
        columns = [self.position(name) for name, _ in key.columns]
        # MariaDB puts the end of a row's life behind each unique key of a system-versioned table
        columns += [i for i, column in enumerate(self.columns) if column.system == "end" and i not in columns]
        return tuple(columns)

    def _identifies(self, key: Key) -> bool:
        columns = [(self.columns[self.position(name)], prefix) for name, prefix in key.columns]
        return key.unique and all(
            not column.nullable and column.type not in BLOBS and (not prefix or column.size[:1] == (prefix,))
            for column, prefix in columns
        )

    def settled(self) -> TableDefinition:
        """The same with what follows from it: no column of a primary key is NULL, no key has columns that are gone.

        A prefix as long as its column is none.
        """
        keys = []
        for key in self.keys:
            columns = tuple(
                (name, prefix if (prefix,) != self.columns[self.position(name)].size[:1] else 0)
                for name, prefix in key.columns
                if self.position(name) >= 0 or not name
            )
            if columns and all(name for name, _ in columns):
                keys.append(replace(key, columns=columns))
        primary = {self.position(name) for key in keys if key.primary for name, _ in key.columns}
        columns_ = tuple(replace(c, nullable=False) if i in primary else c for i, c in enumerate(self.columns))
        return replace(self, columns=columns_, keys=tuple(keys))

    @cached_property
    def packed(self) -> bytes:
        """The map in msgpack."""
        return msgpack.packb(self.to_map())

    def to_map(self) -> dict[str, Any]:
        return {
            "columns": [column.to_map() for column in self.columns],
            "keys": [[key.name, [list(part) for part in key.columns], *([] if key.unique else [False])] for key in self.keys],
            "charset": self.charset,
        }

    @classmethod
    def from_map(cls, entry: dict[str, Any]) -> TableDefinition:
        """The reverse of to_map; what isn't there has its default.

        Raises:
            KeyError, TypeError, ValueError: it isn't what to_map makes.
        """
        columns = tuple(ColumnDefinition.from_map(column) for column in entry["columns"])
        keys = tuple(Key(name, tuple((p[0], p[1]) for p in parts), *rest) for name, parts, *rest in entry.get("keys", ()))
        return cls(columns, keys, entry.get("charset")).settled()


def same(one: str, other: str) -> bool:
    """Whether two column or key names are one: the servers don't tell upper from lower case in them."""
    return one.lower() == other.lower()


def known_charset(name: str) -> str:
    """`UTF8` → `utf8mb3`."""
    name = name.lower()
    return ALIASES.get(name, name)


def charset_of_collation_name(collation: str) -> str | None:
    """`utf8mb4_0900_ai_ci` → `utf8mb4`; None for MariaDB's short names, which leave the character set as it is."""
    charset = known_charset(collation.split("_")[0])
    return charset if charset in COLLATIONS else None
