"""The tables of one source at every position of its binlog.

Everything that changes what is known is an entry with the position at which it counts: a DDL statement, an answer of the
server, an edit by the operator. Entries are kept in meta, in one list here, and the catalog is what they make of it up to the
position that is being read. Going back to an earlier position (a restart, another connection) builds the catalog anew, and a
statement that is read again has its entry already: so each position is always read with the same tables.
"""

from __future__ import annotations

import logging
from bisect import bisect_right, insort_right
from collections.abc import Callable
from typing import NamedTuple, Protocol

from engine.errors import SourceError
from engine.position import ORIGIN, Identity
from engine.source.history.catalog import SHOWN_CHARACTERS, Catalog, Entry, Known, Name, Unknown, folded
from engine.source.history.definition import NotUnderstood, TableDefinition
from engine.source.history.draft import Draft, Session
from engine.source.history.snapshot import Answer

log = logging.getLogger("engine.source")
ASKED_ALONE = 8  # tables of a schema; with the next one all of it is asked for


class Moment(NamedTuple):
    """Where the decoder stands: source number, base name of the binlog files, identity of the event."""

    source: int
    base: str
    at: Identity


class Keeper(Protocol):
    """The part of Meta that the history needs."""

    def keep_history(self, source: int, position: Identity, entry: bytes, *, later: bool = ...) -> None: ...

    def sync(self) -> None: ...

    def history(self, source: int) -> list[tuple[Identity, bytes]]: ...


class Server(Protocol):
    """snapshot.ServerTables, or what stands in for it."""

    case_sensitive: bool | None

    def read(self, names: tuple[str, ...] = (), wants: Callable[[Name], bool] = ...) -> Answer: ...


class SchemaHistory:
    """keeper: None keeps nothing. server: None where only files are read. wants: `schema.table` -> does anybody want it."""

    def __init__(
        self, keeper: Keeper | None = None, server: Server | None = None, wants: Callable[[str], bool] = lambda name: True
    ) -> None:
        self._keeper = keeper
        self._server = server
        self._wants = wants
        self.asks_server = server is not None
        self.knows_nothing = keeper is None and server is None  # nor will at any moment, until something is learned
        self._source = 0
        self._entries: list[Entry] = []
        self._applied = 0
        self._at = ORIGIN
        self._catalog = Catalog()
        self._answer = Answer({}, {}, ("", 0, 0))
        self._asked: dict[str, int] = {}  # schema → of how many of its tables the server was asked
        # what it said of all wanted tables of a schema at once, its tables found by _letters; None: it couldn't
        self._schemas: dict[str, Answer | None] = {}
        self._refused: set[tuple[Name, int]] = set()  # asked for in vain, for maps that tell the names themselves

    # ---- along with the binlog -------------------------------------------------------------------------------------

    def definition(self, name: Name, moment: Moment) -> Known:
        """What is known of a table at this moment."""
        self._move_to(moment)
        return self._catalog.find(name)

    def learn(self, text: str, session: Session, tables: list[Name], moment: Moment) -> frozenset[str]:
        """A DDL statement; `schema.table` in lower case of what it changes. tables: those it names, as far as they can be told.

        A statement that can't be followed makes the tables that it names unknown, and nothing more.
        """
        self._move_to(moment)
        self._forget_answers()
        for entry in self._entries_at(moment.at):
            if entry.how == "ddl":
                return _lower_names(entry)
        from engine.source.history import ddl  # with sqlglot, 15 MB that a source without DDL doesn't need

        entry = Entry(moment.at, "ddl", text[:SHOWN_CHARACTERS])
        draft = Draft(self._catalog, entry)
        try:
            ddl.apply(text, session, draft)
        except (NotUnderstood, ValueError, LookupError, ArithmeticError) as error:
            self._lose(entry, draft, tables, f"a statement can't be followed: {error}", moment)
        self._doubt_what_is_newer(entry)
        if entry.tables or entry.charsets:
            self._add(entry, moment)
        return _lower_names(entry)

    def _lose(self, entry: Entry, draft: Draft, tables: list[Name], why: str, moment: Moment) -> None:
        entry.tables.clear()
        entry.charsets.clear()
        shown = _shown(entry.sql)
        for name in tables:
            draft.put(name, Unknown(why, shown))
        if wanted := [".".join(name) for name in tables if self._wants(".".join(name))]:
            log.warning("%s: %s [statement=%s at=%s]", ", ".join(wanted), why, shown, moment.at)

    def _doubt_what_is_newer(self, entry: Entry) -> None:
        """The server may have answered after this statement: then its answer has the change already."""
        for name, known in entry.tables.items():
            seen = self._catalog.seen.get(name)
            if seen and (entry.position.file, entry.position.start) < seen and isinstance(known, TableDefinition):
                why = "the server's table was read after this statement"
                entry.tables[name] = Unknown(why, _shown(entry.sql))
                log.warning(
                    "%s: the server's table of %s was taken for positions before this statement;"
                    " earlier rows may have been read with the columns that it made [statement=%s at=%s]",
                    ".".join(name), seen, _shown(entry.sql), entry.position,
                )  # fmt: skip

    def begin(self, moment: Moment) -> None:
        """Reading begins where the binlog ends now: take all wanted tables as they are. What can't be had is asked for later.

        What is taken is durable when this returns.
        """
        if self._server is None:
            return
        self._move_to(moment)
        try:
            answer = self._read((), self._is_wanted)
        except SourceError as error:
            log.warning("the tables can't be read from the server now: %s", error)
            return
        self._take(answer, moment)
        if self._keeper is not None:
            self._keeper.sync()

    def _is_wanted(self, name: Name) -> bool:
        """A table of the server that is being asked, which may show its name in other letters than its TABLE_MAPs have it in:
        those are in lower case with lower_case_table_names=2."""
        shown = ".".join(name)
        lower = self._server is not None and self._server.case_sensitive is False
        return self._wants(shown) or (lower and self._wants(shown.lower()))

    def ask(self, name: Name, moment: Moment, *, alone: bool = False) -> TableDefinition | None:
        """The table as the server has it now, not yet believed; None: it has none, or shows none to this account.

        Where several tables of a schema had to be asked for, the next one is asked for together with all others of it, and
        those are answered from that, as it was, until a statement changes some table. alone: it is asked for again, by itself.

        Raises:
            ConnectionLost, ServerSetupError: the server can't be asked.
        """
        if self._server is None:
            return None
        schema = name[0]
        if self._asked.get(schema, 0) >= ASKED_ALONE and schema not in self._schemas:
            self._schemas[schema] = self._ask_for_all(schema)
        if (answer := self._schemas.get(schema)) and not alone:
            self._answer = answer
            return answer.tables.get(self._letters(name))
        self._asked[schema] = self._asked.get(schema, 0) + 1
        self._answer = self._read(name)
        tables = self._answer.tables
        return tables.get(name) or next(iter(tables.values()), None)

    def _ask_for_all(self, schema: str) -> Answer | None:
        """Of a schema. What takes too long, or is refused, is left: each of its tables is asked for alone, as before."""
        try:
            answer = self._read((schema,), self._is_wanted)
        except SourceError as error:
            log.debug("the tables of %s can't be read from the server at once: %s", schema, error)
            return None
        return answer._replace(tables={self._letters(name): table for name, table in answer.tables.items()})

    def _read(self, names: tuple[str, ...], wants: Callable[[Name], bool] = lambda name: True) -> Answer:
        """From the server, which may take its time: nobody waits meanwhile to write to meta."""
        assert self._server is not None
        if self._keeper is not None:
            self._keeper.sync()
        answer = self._server.read(names, wants)
        self._catalog.case_sensitive = self._server.case_sensitive
        return answer

    def _letters(self, name: Name) -> Name:
        """By which a table is found among those of the server's answer."""
        return name if self._catalog.case_sensitive else folded(name)

    def _forget_answers(self) -> None:
        self._asked.clear()
        self._schemas.clear()

    def ask_once(self, name: Name, moment: Moment) -> TableDefinition | None:
        """As ask, for what is only good to know: never an error, and not again until the table changes."""
        if (answer := self._schemas.get(name[0])) is not None and self._letters(name) not in answer.tables:
            return None  # as of thousands of tables that there were once
        if (name, self._applied) in self._refused:
            return None
        try:
            found = self.ask(name, moment)
        except SourceError as error:
            log.debug("the table %s can't be read from the server: %s", ".".join(name), error)
            found = None
        if found is None:
            self._refused.add((name, self._applied))
        return found

    def refuse(self, name: Name) -> None:
        """What ask_once found doesn't agree with the binlog: don't ask again until something changes."""
        self._refused.add((name, self._applied))

    def believe(self, name: Name, found: TableDefinition, moment: Moment) -> None:
        """What `ask` has just found agrees with the binlog: it holds from here on."""
        self._take(self._answer._replace(tables={name: found}), moment)

    def _take(self, answer: Answer, moment: Moment) -> None:
        tables: dict[Name, Known] = {**answer.tables}
        base, file, offset = answer.end
        entry = Entry(moment.at, "server", "", tables, dict(answer.charsets), (file, offset) if base == moment.base else None)
        self._add(entry, moment)

    # ---- entries ---------------------------------------------------------------------------------------------------

    def _move_to(self, moment: Moment) -> None:
        if moment.source != self._source:
            self._source = moment.source
            kept = self._keeper.history(moment.source) if self._keeper else []
            self._entries = [Entry.unpack(position, packed) for position, packed in kept]
            self._restart()
        if moment.at < self._at:
            self._restart()
        self._at = moment.at
        while self._applied < len(self._entries) and self._entries[self._applied].position <= self._at:
            self._catalog.apply(self._entries[self._applied])
            self._applied += 1

    def _restart(self) -> None:
        self._applied = 0
        self._at = ORIGIN
        self._refused.clear()
        self._forget_answers()
        self._catalog = Catalog(self._catalog.case_sensitive)

    def _entries_at(self, at: Identity) -> list[Entry]:
        end = bisect_right(self._entries, at, key=lambda entry: entry.position)
        begin = end
        while begin and self._entries[begin - 1].position == at:
            begin -= 1
        return self._entries[begin:end]

    def _add(self, entry: Entry, moment: Moment) -> None:
        """Keep it first: what is in force must be there after a restart. TableVersions.sync makes it durable before a record
        can be seen that it was used for."""
        if self._keeper is not None:
            self._keeper.keep_history(moment.source, entry.position, entry.pack(), later=True)
        self.knows_nothing = False
        insort_right(self._entries, entry, key=lambda each: each.position)
        self._move_to(moment)


def _lower_names(entry: Entry) -> frozenset[str]:
    return frozenset(".".join(name).lower() for name in entry.tables)


def _shown(sql: str) -> str:
    return " ".join(sql.split())[:120]
