"""QUERY events: what a statement in the binlog is, and which tables a DDL statement concerns.

    u32 thread | u32 seconds | u8 schema bytes | u16 error | u16 status bytes | status variables | schema | 0 | statement

Only what changes tables is parsed, and of that only the names; nobody's GRANT must ever stop the stream. Status variables:
MySQL's class Query_event (libs/mysql/binlog/event/statement_events.h); unknown ones end the reading, not the stream.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, NamedTuple

import msgpack

from engine.errors import BinlogError
from engine.record import Kind as Record
from engine.source.charsets import charset_of_collation, decode_text

log = logging.getLogger("engine.source")

ANSI_QUOTES = 4
NO_BACKSLASH_ESCAPES = 1 << 20
SHOWN_CHARACTERS = 120
WARN_EVERY_S = 60.0

# Bytes that a status variable takes behind its code; None: told by a length byte in front (twice for INVOKERS, 11).
_STATUS_BYTES = {0: 4, 1: 8, 3: 4, 4: 6, 5: None, 6: None, 7: 2, 8: 2, 9: 8, 10: 4, 13: 3}

_UTF8 = {"utf8mb4", "utf8mb3", "binary"}


class Statement(NamedTuple):
    """One QUERY event. schema is the session's default one, None without; text is Unicode.

    server_collation: id of collation_server, which databases are made with that name no character set; 0: not told.
    """

    schema: str | None
    text: str
    sql_mode: int = 0
    server_collation: int = 0


class Kind(Enum):
    """What a statement is to a source."""

    DDL = "changes tables"
    ROWS = "changes rows, and was logged as a statement"
    XA = "XA"
    OTHER = "administration; nothing of it concerns a table's rows"


def parse_query(body: bytes, post_header_bytes: int) -> Statement:
    """The body of a QUERY event, whose lengths the decoder has checked; post_header_bytes from FORMAT_DESCRIPTION."""
    status_at = post_header_bytes
    schema_at = status_at + int.from_bytes(body[11:13], "little")
    text_at = schema_at + body[8] + 1
    sql_mode, collation, server_collation = _status(body[status_at:schema_at])
    schema = body[schema_at : text_at - 1].decode("utf-8", "replace")
    return Statement(schema or None, _decode(body[text_at:], collation), sql_mode, server_collation)


def _status(status: bytes) -> tuple[int, int, int]:
    """(sql_mode, collation ids of the client's character set and of the server; 0: not told)."""
    sql_mode = collation = server_collation = at = 0
    while at < len(status):
        code, at = status[at], at + 1
        if code not in _STATUS_BYTES:
            break  # the ones of interest come first
        size = _STATUS_BYTES[code]
        if size is None:
            size = 1 + (status[at] if at < len(status) else 0)
        value = int.from_bytes(status[at : at + size], "little")
        if code == 1:
            sql_mode = value
        elif code == 4:
            collation, server_collation = value & 0xFFFF, value >> 32
        at += size
    return sql_mode, collation, server_collation


def _decode(text: bytes, collation: int) -> str:
    """As the server reads it; 0 and the collations that we don't know are of utf8mb4."""
    try:
        charset = charset_of_collation(collation) if collation else "utf8mb4"
    except BinlogError:
        charset = "utf8mb4"
    return text.decode("utf-8", "replace") if charset in _UTF8 else decode_text(charset, text)


def _token_pattern(strings: str) -> re.Pattern[str]:
    return re.compile(
        r"""(?P<space>\s+|--(?=\s|$)[^\n]*|\#[^\n]*|/\*(?!!|M!).*?(?:\*/|$))
          | (?P<open>/\*M?!\d*) | (?P<close>\*/)
          | `(?P<quoted>(?:[^`]|``)*)`
          | (?P<string>STRINGS)
          | (?P<word>[^\s`'"();,.*/=<>+\-!|&^%~@:{}\[\]?\#]+)
          | (?P<other>.)""".replace("STRINGS", strings),
        re.VERBOSE | re.DOTALL,
    )


_TOKEN = _token_pattern(r"""'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" """)
_PLAIN_TOKEN = _token_pattern(r"""'(?:[^']|'')*' | "(?:[^"]|"")*" """)  # NO_BACKSLASH_ESCAPES


class _Token(NamedTuple):
    text: str
    name: bool  # may be an identifier
    keyword: str  # upper case; "" when it was quoted


def _tokens(statement: Statement) -> Iterator[_Token]:
    """Words and marks; comments left out, what stands in versioned comments (/*! */) kept."""
    pattern = _PLAIN_TOKEN if statement.sql_mode & NO_BACKSLASH_ESCAPES else _TOKEN
    for match in pattern.finditer(statement.text):
        kind = match.lastgroup
        if kind == "quoted":
            yield _Token(match["quoted"].replace("``", "`"), True, "")
        elif kind == "string":
            text = match["string"]
            ansi = text[0] == '"' and bool(statement.sql_mode & ANSI_QUOTES)
            yield _Token(text[1:-1].replace('""', '"') if ansi else text, ansi, "")
        elif kind == "word":
            yield _Token(match["word"], True, match["word"].upper())
        elif kind == "other":
            yield _Token(match["other"], False, match["other"])


_ROW_VERBS = {"INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "WITH", "SELECT", "CALL", "DO", "HANDLER", "MERGE"}
_DDL_VERBS = {"CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE"}
_DDL_OBJECTS = {"TABLE", "TABLES", "DATABASE", "SCHEMA", "VIEW", "INDEX"}
# Between the verb and what it is about: CREATE OR REPLACE ALGORITHM=MERGE DEFINER=`root`@`%` SQL SECURITY DEFINER VIEW ...
_OTHER_OBJECTS = {
    "USER", "ROLE", "PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "SERVER", "TABLESPACE", "LOGFILE", "SEQUENCE", "PACKAGE",
    "INSTANCE", "RESOURCE", "LIBRARY", "UNDO", "SPATIAL_REFERENCE", "REFERENCE", "PREPARE",
}  # fmt: skip
_LONGEST_PREFIX = 40


def classify(statement: Statement) -> tuple[Kind, list[tuple[str, str]]]:
    """What it is, and for DDL the (schema, table) pairs that it concerns; [] where they can't be told (DROP DATABASE)."""
    tokens = _tokens(statement)
    first = next((token for token in tokens if token.keyword not in ("(", ";")), None)
    if first is None:
        return Kind.OTHER, []
    verb = first.keyword
    if verb == "XA":
        return Kind.XA, []
    if verb in _ROW_VERBS:
        return Kind.ROWS, []
    if verb not in _DDL_VERBS:
        return Kind.OTHER, []
    rest = list(tokens)
    if verb == "TRUNCATE":
        return Kind.DDL, _names(rest, 1 if rest and rest[0].keyword == "TABLE" else 0, statement, several=False)
    for i, token in enumerate(rest[:_LONGEST_PREFIX]):
        if token.keyword == "TEMPORARY" or token.keyword in _OTHER_OBJECTS:
            return Kind.OTHER, []  # a session's own table is never in the binlog's rows
        if token.keyword in _DDL_OBJECTS:
            return Kind.DDL, _affected(verb, token.keyword, rest, i + 1, statement)
    return Kind.OTHER, []


def _affected(verb: str, what: str, rest: list[_Token], at: int, statement: Statement) -> list[tuple[str, str]]:
    if what in ("DATABASE", "SCHEMA"):
        return []
    if what == "INDEX":
        on = next((i for i in range(at, len(rest)) if rest[i].keyword == "ON"), len(rest))
        return _names(rest, on + 1, statement, several=False)
    found = _names(rest, at, statement, several=verb in ("DROP", "RENAME"), pairs=verb == "RENAME")
    if verb == "ALTER":
        for i in range(at, len(rest) - 1):
            if rest[i].keyword == "RENAME" and rest[i + 1].keyword not in ("COLUMN", "INDEX", "KEY"):
                skip = 2 if rest[i + 1].keyword in ("TO", "AS", "=") else 1
                found += _names(rest, i + skip, statement, several=False)
    return found


def _names(rest: list[_Token], at: int, statement: Statement, *, several: bool, pairs: bool = False) -> list[tuple[str, str]]:
    """Table names from `at` on: one, a list with commas, or (pairs) `a TO b, c TO d`."""
    found: list[tuple[str, str]] = []
    while at < len(rest):
        while at < len(rest) and rest[at].keyword in ("IF", "NOT", "EXISTS"):
            at += 1
        if at >= len(rest) or not rest[at].name:
            break
        schema, table, at = statement.schema or "", rest[at].text, at + 1
        if at + 1 < len(rest) and rest[at].keyword == "." and rest[at + 1].name:
            schema, table, at = table, rest[at + 1].text, at + 2
        found.append((schema, table))
        while pairs and at < len(rest) and rest[at].keyword in ("WAIT", "NOWAIT"):
            at += 1 + (rest[at].keyword == "WAIT")
        if not several or at >= len(rest) or rest[at].keyword not in ((",", "TO") if pairs else (",",)):
            break
        at += 1
    return list(dict.fromkeys(found))


XA = 255  # in place of a record's kind


def record_of_statement(
    body: bytes, post_header_bytes: int, gtid: str | None, fail: Callable[..., Exception]
) -> tuple[int, bytes]:
    """The kind of record that a statement becomes, and its packed `after` (docs/protocol.md); (0, b"") where it is none.

    body: of QUERY or EXECUTE_LOAD_QUERY, whose statement is LOAD DATA as it was given. XA statements give XA and their text.
    """
    statement = parse_query(body, post_header_bytes)
    kind, tables = classify(statement)
    if kind is Kind.DDL:
        return Record.DDL, msgpack.packb([statement.schema, statement.text, gtid, [list(table) for table in tables]])
    if kind is Kind.ROWS:
        return Record.STATEMENT, msgpack.packb([statement.schema, statement.text, gtid, []])
    if kind is Kind.XA:
        return XA, statement.text.encode()
    return 0, b""


class StatementLog:
    """Warns of changes that came as statements: the first one, and once a minute how many there were since."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._count = 0
        self._next_s = 0.0

    def warn(self, packed: bytes, where: dict[str, Any]) -> None:
        """packed: the record's `after`."""
        self._count += 1
        if time.monotonic() < self._next_s:
            return
        schema, text, _, _ = msgpack.unpackb(packed)
        log.warning(
            "a change was logged as a statement, its rows aren't known; it is delivered as such: source=%s file=%s offset=%s "
            "statements=%d schema=%s statement=%s (SET GLOBAL binlog_format=ROW on the server, and reconnect its clients)",
            self._source, where["file"], where["offset"], self._count, schema, " ".join(text[:SHOWN_CHARACTERS].split()),
        )  # fmt: skip
        self._count = 0
        self._next_s = time.monotonic() + WARN_EVERY_S
