"""One statement's changes to a catalog, gathered before they count, and the session that it ran in."""

from __future__ import annotations

from typing import NamedTuple

from engine.errors import BinlogError
from engine.source.charsets import charset_of_collation
from engine.source.history.catalog import Catalog, Entry, Known, Name, Unknown, folded
from engine.source.history.definition import TableDefinition, same


class Session(NamedTuple):
    """What a statement's meaning depends on beside its text. collation: the server's default one, 0 if not told."""

    schema: str | None
    sql_mode: int = 0
    collation: int = 0
    mariadb: bool = False


class Draft:
    """A catalog with the changes of one statement upon it; `entry` has them."""

    def __init__(self, catalog: Catalog, entry: Entry) -> None:
        self.catalog = catalog
        self.entry = entry

    def find(self, name: Name) -> Known:
        written = self.written(name)
        return self.entry.tables[written] if written in self.entry.tables else self.catalog.find(written)

    def written(self, name: Name) -> Name:
        if name in self.entry.tables:
            return name
        written = self.catalog.written(name)
        if written == name and name not in self.catalog.tables and not self.catalog.case_sensitive:
            return next((each for each in self.entry.tables if folded(each) == folded(name)), name)
        return written

    def put(self, name: Name, known: TableDefinition | Unknown) -> None:
        """A table of this name is made, or is different now."""
        if self.catalog.case_sensitive is False:
            name = self.written(name)
        self.entry.tables[name] = known

    def change(self, name: Name, known: TableDefinition | Unknown) -> None:
        """A table that is there is different now."""
        self.entry.tables[self.written(name)] = known

    def drop(self, name: Name) -> None:
        self.entry.tables[self.written(name)] = None

    def names_in(self, schema: str) -> list[Name]:
        names = [*self.catalog.tables, *self.entry.tables]
        return [name for name in names if name[0] == schema or (not self.catalog.case_sensitive and same(name[0], schema))]

    def charset(self, schema: str) -> str | None:
        return self.entry.charsets.get(schema) or self.catalog.charset(schema)

    def set_charset(self, schema: str, charset: str | None) -> None:
        self.entry.charsets[schema] = charset

    def rename(self, old: Name, new: Name) -> None:
        """A table that isn't known is not known under its new name either."""
        known = self.find(old)
        self.drop(old)
        if known is None:
            self.drop(new)
        else:
            self.put(new, known)

    def default_charset(self, schema: str, session: Session) -> str | None:
        """Of the schema, or else of the server."""
        charset = self.charset(schema)
        if charset is None and session.collation:
            try:
                charset = charset_of_collation(session.collation)
            except BinlogError:
                return None
        return charset
