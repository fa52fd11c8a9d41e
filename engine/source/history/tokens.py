"""A statement as a list of words: comments left out, versioned ones (`/*!80013 ... */`, `/*M! ... */`) read where they apply."""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

ANSI_QUOTES = 1 << 2
NO_BACKSLASH_ESCAPES = 1 << 20
ANY_MYSQL = 99998  # versions that name a real MySQL are below, MariaDB's begin with 100000
ANY_MARIADB = 999999
NOT_IN_MARIADB = range(50700, 100000)  # MariaDB leaves comments for MySQL 5.7 and later alone

_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "%": "\\%", "_": "\\_"}
_PATTERN = re.compile(
    r"""(?P<space>\s+|--(?=[\s\x00]|$)[^\n]*|\#[^\n]*|/\*(?!!|M!).*?(?:\*/|\Z))
      | /\*(?P<brand>M?)!(?P<version>\d{5,6})?
      | (?P<close>\*/)
      | `(?P<name>(?:[^`]|``)*)`
      | (?P<literal>[xXbB]'[0-9a-fA-F]*'|0x[0-9a-fA-F]+(?![\w$]))
      | (?P<quote>['"])
      | (?P<word>[\w$]+)
      | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_BODY = {
    ("'", True): re.compile(r"((?:[^'\\]|''|\\.)*)'", re.DOTALL), ("'", False): re.compile(r"((?:[^']|'')*)'", re.DOTALL),
    ('"', True): re.compile(r'((?:[^"\\]|""|\\.)*)"', re.DOTALL), ('"', False): re.compile(r'((?:[^"]|"")*)"', re.DOTALL),
}  # fmt: skip


class NotUnderstood(Exception):
    """A statement that this side can't follow; never leaves the history."""


class Is(Enum):
    """Kinds of tokens."""

    WORD = "keyword or unquoted name"
    NAME = "quoted name"
    STRING = "string"
    BYTES = "x'..', 0x.. or b'..'"
    MARK = "one other character"


class Token(NamedTuple):
    """One word. keyword: upper case of an unquoted word or a mark, otherwise empty."""

    kind: Is
    text: str
    keyword: str = ""


def tokens(text: str, sql_mode: int = 0, *, mariadb: bool = False) -> list[Token]:
    """All words of a statement.

    Raises:
        NotUnderstood: a string or comment without an end.
    """
    escapes = not sql_mode & NO_BACKSLASH_ESCAPES
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _PATTERN.match(text, at)
        assert match is not None  # mark takes any character
        at = match.end()
        if match["version"] is not None or match["brand"] is not None:
            if not _applies(match["brand"], int(match["version"] or 0), mariadb):
                end = text.find("*/", at)
                at = len(text) if end < 0 else end + 2
        elif match["name"] is not None:
            found.append(Token(Is.NAME, match["name"].replace("``", "`")))
        elif quote := match["quote"]:
            ansi = quote == '"' and bool(sql_mode & ANSI_QUOTES)
            body = _BODY[quote, escapes and not ansi].match(text, at)
            if body is None:
                raise NotUnderstood("a string without an end")
            at = body.end()
            content = body[1].replace(quote * 2, quote) if ansi or not escapes else _unescaped(body[1], quote)
            found.append(Token(Is.NAME if ansi else Is.STRING, content))
        elif word := match["word"]:
            found.append(Token(Is.WORD, word, word.upper()))
        elif literal := match["literal"]:
            found.append(Token(Is.BYTES, literal))
        elif mark := match["mark"]:
            found.append(Token(Is.MARK, mark, mark))
    return found


def _applies(brand: str, version: int, mariadb: bool) -> bool:
    if mariadb:
        return version <= ANY_MARIADB and not (not brand and version in NOT_IN_MARIADB)
    return not brand and version <= ANY_MYSQL


def _unescaped(body: str, quote: str) -> str:
    if "\\" not in body and quote not in body:
        return body
    return re.sub(rf"\\(.)|{quote}{quote}", lambda m: quote if m[1] is None else _ESCAPES.get(m[1], m[1]), body, flags=re.DOTALL)


class Cursor:
    """Walks over tokens. Words are compared in upper case; quoted names are never keywords."""

    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._tokens)

    def word(self, ahead: int = 0) -> str:
        """The keyword or mark that comes, "" for anything else."""
        at = self._at + ahead
        return self._tokens[at].keyword if at < len(self._tokens) else ""

    def peek(self) -> Token | None:
        return self._tokens[self._at] if self else None

    def take(self) -> Token:
        if not self:
            raise NotUnderstood("the statement ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def accept(self, *words: str) -> bool:
        """Go past these words, if all of them come in this order."""
        if any(self.word(i) != word for i, word in enumerate(words)):
            return False
        self._at += len(words)
        return True

    def accept_one(self, *words: str) -> str:
        """Go past one of these words, if it comes; which one."""
        found = self.word()
        if found and found in words:
            self._at += 1
            return found
        return ""

    def expect(self, *words: str) -> None:
        if not self.accept(*words):
            raise NotUnderstood(f"{' '.join(words)} expected")

    def name(self) -> str:
        """An identifier.

        Raises:
            NotUnderstood: something else comes.
        """
        token = self.take()
        if token.kind not in (Is.WORD, Is.NAME):
            raise NotUnderstood("a name expected")
        return token.text

    def qualified(self, schema: str | None) -> tuple[str, str]:
        """`table`, `.table` or `schema.table`; without a schema in the default one."""
        self.accept(".")
        first = self.name()
        if self.accept("."):
            return first, self.name()
        if not schema:
            raise NotUnderstood("no default schema")
        return schema, first

    def group(self) -> Cursor:
        """What stands between the parenthesis that comes and its partner."""
        self.expect("(")
        begin, depth = self._at, 1
        while depth:
            mark = self.take().keyword
            depth += (mark == "(") - (mark == ")")
        return Cursor(self._tokens[begin : self._at - 1])

    def skip(self) -> None:
        """Past one token, or one group in parentheses."""
        if self.word() == "(":
            self.group()
        else:
            self.take()

    def elements(self) -> list[Cursor]:
        """What commas separate, from here to the end."""
        found: list[Cursor] = []
        begin = self._at
        while self:
            if self.word() == ",":
                found.append(Cursor(self._tokens[begin : self._at]))
                self._at += 1
                begin = self._at
            else:
                self.skip()
        found.append(Cursor(self._tokens[begin : self._at]))
        return found
