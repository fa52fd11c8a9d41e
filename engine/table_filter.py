"""Which tables somebody takes: regular expressions on `schema.table`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence


class TableFilter:
    """Takes a table if an `include` and no `exclude` matches its whole name (anchored at both ends)."""

    def __init__(self, include: Iterable[str], exclude: Iterable[str] = ()) -> None:
        include, exclude = [*include], [*exclude]
        self._takes_all = ".*" in include and not exclude  # as by default
        self._include = [re.compile(text, re.DOTALL).fullmatch for text in include]
        self._exclude = [re.compile(text, re.DOTALL).fullmatch for text in exclude]

    def wants(self, name: str) -> bool:
        """name: `schema.table`, as the binlog writes it."""
        if self._takes_all:
            return True
        for included in self._include:
            if included(name):
                return not self._exclude or not any(excluded(name) for excluded in self._exclude)
        return False


def wanted_by_any(filters: Sequence[TableFilter]) -> Callable[[str], bool]:
    """`schema.table` → does any of them take it."""
    if len(filters) == 1:
        return filters[0].wants
    return lambda name: any(each.wants(name) for each in filters)
