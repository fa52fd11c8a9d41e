"""sqlglot as MySQL and MariaDB read DDL: a dialect for each sql_mode that changes what a string is, and its limits.

Plain sqlglot takes versioned comments for comments, and knows neither ANSI_QUOTES nor NO_BACKSLASH_ESCAPES. Words are never
put together here (`PRIMARY KEY` is two): comments may stand between them, and what is a keyword depends on the place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from typing import Any

from sqlglot import exp
from sqlglot.dialects.mysql import MySQL
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.tokens import Token, TokenType

from engine.source.history.definition import NotUnderstood
from engine.source.history.grammar import Grammar
from engine.source.statements import ANSI_QUOTES, NO_BACKSLASH_ESCAPES

NEVER = 99999  # what dumps write so that no server reads it; 999999 for MariaDB
NOT_IN_MARIADB = range(50700, 100000)  # MariaDB leaves comments for MySQL 5.7 and later alone

# A statement beyond these isn't parsed: sqlglot takes about 10 µs a token, and the source waits for it.
MOST_CHARACTERS = 1 << 20
MOST_PIECES = 200_000
_PIECES = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|\w+|\s+|.", re.DOTALL)
_VERSION = re.compile(r"\d{5,6}")


class History(MySQL):
    """The servers' DDL without special sql_modes."""

    Parser = Grammar

    class Tokenizer(MySQL.Tokenizer):
        KEYWORDS = {
            **{word: kind for word, kind in MySQL.Tokenizer.KEYWORDS.items() if word.isidentifier()},
            "/*!": TokenType.BLOCK_START, "/*M!": TokenType.BLOCK_START, "*/": TokenType.BLOCK_END,
        }  # fmt: skip
        COMMANDS = set()


class HistoryAnsi(History):
    class Tokenizer(History.Tokenizer):
        QUOTES = ["'"]
        IDENTIFIERS = ["`", '"']
        STRING_ESCAPES = ["'", "\\"]


class HistoryPlain(History):
    """NO_BACKSLASH_ESCAPES."""

    UNESCAPED_SEQUENCES: dict[str, str] = {}

    class Tokenizer(History.Tokenizer):
        STRING_ESCAPES = ["'", '"']


class HistoryAnsiPlain(HistoryPlain):
    class Tokenizer(HistoryAnsi.Tokenizer):
        STRING_ESCAPES = ["'"]


_DIALECTS = {
    0: History, ANSI_QUOTES: HistoryAnsi, NO_BACKSLASH_ESCAPES: HistoryPlain,
    ANSI_QUOTES | NO_BACKSLASH_ESCAPES: HistoryAnsiPlain,
}  # fmt: skip


def parse(text: str, sql_mode: int = 0, *, mariadb: bool = False) -> list[exp.Expr]:
    """The syntax trees of a text: one, or none where it does nothing to tables; more if it has several statements.

    Raises:
        NotUnderstood: it is of no known form, or too long to be looked at.
    """
    _check_size(text)
    with _machines(sql_mode) as (tokenizer, parser):
        found = _readable(tokenizer.tokenize(text), tokenizer, mariadb)
        while found and found[-1].token_type == TokenType.SEMICOLON:
            found.pop()
        first = next((token for token in found if token.token_type != TokenType.SEMICOLON), None)
        if first is None or first.token_type not in Grammar.STATEMENT_PARSERS:
            return []
        return [tree for tree in parser.parse(found, text) if tree is not None]


def column(text: str, *, mariadb: bool) -> exp.ColumnDef:
    """A type with its attributes, as information_schema shows it: `enum('a','b')`.

    Raises:
        NotUnderstood: no server has such a type.
    """
    with _machines(0) as (tokenizer, parser):
        (tree,) = parser.parse_into(exp.ColumnDef, _readable(tokenizer.tokenize(text), tokenizer, mariadb), text)
        return tree


@contextmanager
def _machines(sql_mode: int) -> Iterator[tuple[Any, Any]]:
    """The tokenizer and the parser; whatever they have against a statement means that it isn't followed."""
    tokenizer, parser = _made(sql_mode & (ANSI_QUOTES | NO_BACKSLASH_ESCAPES))
    try:
        yield tokenizer, parser
    except ParseError as error:
        raise NotUnderstood(str(error.errors[0]["description"]) if error.errors else str(error)) from error
    except (SqlglotError, RecursionError) as error:
        raise NotUnderstood(str(error)) from error
    finally:
        tokenizer.tokenize("")  # they would keep the tokens of the last statement
        parser.reset()


@cache
def _made(sql_mode: int) -> tuple[Any, Any]:
    dialect = _DIALECTS[sql_mode]()
    return dialect.tokenizer(), dialect.parser()


def _check_size(text: str) -> None:
    if len(text) > MOST_CHARACTERS or (len(text) > MOST_PIECES and next(islice(_PIECES.finditer(text), MOST_PIECES, None), None)):
        raise NotUnderstood(f"its {len(text)} characters are too many to be parsed")


def _readable(found: list[Token], tokenizer: Any, mariadb: bool) -> list[Token]:
    """Without the marks of versioned comments, and without what stands in those that don't apply."""
    if not any(token.token_type == TokenType.BLOCK_START for token in found):
        return found
    kept: list[Token] = []
    mark, applies = "", True
    for token in list(found):
        if token.token_type in (TokenType.BLOCK_START, TokenType.BLOCK_END):
            mark = token.text if token.token_type == TokenType.BLOCK_START else ""
            applies = not mark or _applies(mark, 0, mariadb)
            continue
        version = _VERSION.match(token.text) if mark else None  # it stands directly behind the mark
        if version is None:
            kept += [token] if applies else []
        else:
            applies = _applies(mark, int(version[0]), mariadb)
            behind = token.text[version.end() :]  # of /*!80023INVISIBLE */
            kept += tokenizer.tokenize(behind) if behind and applies else []
        mark = ""
    return kept


def _applies(mark: str, version: int, mariadb: bool) -> bool:
    if version in (NEVER, 10 * NEVER + 9):
        return False
    if mariadb:
        return "M" in mark or version not in NOT_IN_MARIADB
    return "M" not in mark and version < NEVER
