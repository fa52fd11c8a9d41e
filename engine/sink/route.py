"""Where records go: from heads to the records each store of this sink takes.

targets            of every record its lane (number of a store of this sink), or NOWHERE
splits             updates whose key moves to another partition: a delete there, an insert here
select             per lane the indices of its records, with the begin and commit of every transaction it has a part in
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError
from engine.record import KEY_CHANGED, Kind
from engine.schema import TableSchema
from engine.sink._heads import Heads, finish_hash, table_seed
from engine.sink._selection import EVERYWHERE, PART_OF_ALL, Selector, spread
from engine.sink.filter import BY_HASH, NOWHERE

log = logging.getLogger("engine.sink")

Indices = NDArray[np.int64]
# Python 3.11 looks an enum's member up slowly
INSERT, UPDATE, DELETE, DDL, SCHEMA = Kind.INSERT, Kind.UPDATE, Kind.DELETE, Kind.DDL, Kind.SCHEMA
FRAGMENT, STATEMENT = Kind.FRAGMENT, Kind.STATEMENT


class Split(NamedTuple):
    """An update whose old and new key lie in two partitions: index of the record, lanes (or NOWHERE) and key hashes."""

    record: int
    old_lane: int
    new_lane: int
    old_hash: int
    new_hash: int


class Half(NamedTuple):
    """What a lane gets of a split update: at which place of its selection, as delete or insert, with which hash."""

    at: int
    kind: Kind
    key_hash: int


@dataclass
class Selection:
    """What one lane takes of a chunk."""

    indices: Indices
    needs_begin: bool = False  # of the transaction that was open at the chunk's start; the lane has had no part in it yet
    halves: list[Half] = field(default_factory=list)


class KeyColumns:
    """Which columns are hashed, per table key, as arrays that native code reads."""

    def __init__(self) -> None:
        self._seed = np.zeros(1024, np.uint64)
        self._first = np.zeros(1024, np.int32)
        self._number = np.zeros(1024, np.int32)
        self._columns = np.zeros(1, np.int32)  # ends with a spare 0, so that an empty list has an address too

    def add(self, key: int, schema: TableSchema, columns: list[int]) -> None:
        if key >= len(self._seed):
            size = max(key + 1, 2 * len(self._seed))
            for name in ("_seed", "_first", "_number"):
                old = getattr(self, name)
                setattr(self, name, np.concatenate((old, np.zeros(size - len(old), old.dtype))))
        self._seed[key] = table_seed(schema.schema, schema.table)
        self._first[key], self._number[key] = len(self._columns) - 1, len(columns)
        self._columns = np.concatenate((self._columns[:-1], np.array([*columns, 0], np.int32)))

    def hash(self, heads: Heads, indices: Indices, *, new: bool) -> NDArray[np.uint64]:
        """Hashes of the records `indices`: of the row as it was, or (new) as it is afterwards.

        Raises:
            ConfigError: a row image doesn't hold one of the columns.
        """
        out = np.empty(len(indices), np.uint64)
        failed = heads.hash_rows(indices, new, self._seed, self._first, self._number, self._columns, out)
        if failed >= 0:
            raise ConfigError(
                "a row image lacks a column that its partition depends on",
                table_key=int(heads.table[failed]), sequence=heads.start + int(heads.offset[failed]),
                remedy="set binlog_row_image=FULL and keep it in the first 128 KiB of a row, or change partition_by",
            )  # fmt: skip
        return out


class Router:
    """Partition of every record, for one sink of a destination."""

    def __init__(
        self, partitions: int, partition_by: str | list[str], owned: list[int], on_whole_table: Callable[[], None]
    ) -> None:
        self._partitions = partitions
        self._by = partition_by
        self._on_whole_table = on_whole_table
        self.lanes = np.full(partitions, NOWHERE, np.uint16)  # of each partition
        self.lanes[owned] = np.arange(len(owned))
        self._primary, self._chosen = KeyColumns(), KeyColumns()
        self._unsplit: set[int] = set()

    @property
    def by_columns(self) -> bool:
        """Whether records are spread by other columns than the primary key's."""
        return self._partitions > 1 and isinstance(self._by, list)

    def place(self, key: int, packed_schema: bytes) -> int:
        """Where the records of a wanted table go: one lane for all, NOWHERE (another sink's) or BY_HASH."""
        if self._partitions == 1:
            return int(self.lanes[0])
        schema = TableSchema.unpack(packed_schema)
        whole = int(self.lanes[finish_hash(table_seed(schema.schema, schema.table)) % self._partitions])
        if self._by == "table":
            return whole
        self._primary.add(key, schema, list(schema.primary_key))
        if isinstance(self._by, list):
            names = [column.name.lower() for column in schema.columns]
            lacking = [name for name in self._by if name.lower() not in names]
            if lacking:
                self._on_whole_table()
                log.warning("table goes whole into one partition, it lacks columns of partition_by: table=%s lacks=%s",
                            schema.name, ",".join(lacking))  # fmt: skip
                return whole
            self._chosen.add(key, schema, [names.index(name.lower()) for name in self._by])
        return BY_HASH

    def route(
        self, heads: Heads, a: int, b: int, targets: NDArray[np.uint16], rest_lane: int
    ) -> tuple[NDArray[np.uint16], list[Split], int]:
        """Lanes of the records [a, b), whose table keys have `targets`.

        rest_lane is the lane of a fragmented change whose first fragments came before `a`. Returns lanes, splits, and the
        same for what comes after `b`.
        """
        if self._partitions == 1 or self._by == "table":
            return targets, [], rest_lane
        if isinstance(self._by, list):
            by_hash = targets == BY_HASH
            return self._route_by_columns(heads, a, b, targets, by_hash, rest_lane) if by_hash.any() else (targets, [], rest_lane)
        lanes, flags = spread(heads, a, targets, BY_HASH, self.lanes)
        if not flags & KEY_CHANGED:
            return lanes, [], NOWHERE
        moved = np.flatnonzero((targets == BY_HASH) & (heads.flags[a:b] & KEY_CHANGED != 0))
        for index in moved[heads.kind[moved + a] == FRAGMENT].tolist():
            self._warn_unsplit(int(heads.table[a + index]))
        moved = moved[heads.kind[moved + a] == UPDATE] + a
        return (
            lanes,
            self._splits(heads, a, lanes, moved, heads.key_hash[moved], self._primary.hash(heads, moved, new=True)),
            NOWHERE,
        )

    def _route_by_columns(
        self, heads: Heads, a: int, b: int, targets: NDArray[np.uint16], by_hash: NDArray[np.bool_], rest_lane: int
    ) -> tuple[NDArray[np.uint16], list[Split], int]:
        kind = heads.kind[a:b]
        lanes = targets.copy()
        rows = np.flatnonzero(by_hash & (kind != SCHEMA) & (kind != FRAGMENT))
        old = self._chosen.hash(heads, rows + a, new=False)
        lanes[rows] = self._lanes_of(old)
        for index in np.flatnonzero(by_hash & (kind == FRAGMENT)).tolist():
            number, count = heads.fragment_place(a + index)
            if number == 0:
                first = np.array([a + index], np.int64)
                rest_lane = int(self._lanes_of(self._chosen.hash(heads, first, new=False))[0])
                if heads.flags[a + index] & KEY_CHANGED:
                    self._warn_unsplit(int(heads.table[a + index]))
            lanes[index] = rest_lane
            if number + 1 == count:
                rest_lane = NOWHERE
        updates = kind[rows] == UPDATE
        moved = rows[updates] + a
        new = self._chosen.hash(heads, moved, new=True)
        return lanes, self._splits(heads, a, lanes, moved, old[updates], new), rest_lane

    def _splits(
        self, heads: Heads, a: int, lanes: NDArray[np.uint16], moved: Indices, old: NDArray[np.uint64], new: NDArray[np.uint64]
    ) -> list[Split]:
        """Of the updates `moved` with these partition hashes before and after, those that change partition."""
        apart = np.flatnonzero(self._partitions_of(old) != self._partitions_of(new))
        if not len(apart):
            return []
        moved, new_lanes = moved[apart], self._lanes_of(new[apart])
        old_keys = heads.key_hash[moved]
        rekeyed = (heads.flags[moved] & KEY_CHANGED) != 0
        new_keys = old_keys.copy()
        new_keys[rekeyed] = self._primary.hash(heads, moved[rekeyed], new=True)
        return [
            Split(*row)
            for row in zip(
                moved.tolist(), lanes[moved - a].tolist(), new_lanes.tolist(), old_keys.tolist(), new_keys.tolist(), strict=True
            )
        ]

    def _partitions_of(self, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        divisor = np.uint64(self._partitions)
        return hashes - hashes // divisor * divisor  # several times faster than %: NumPy vectorises only the division

    def _lanes_of(self, hashes: NDArray[np.uint64]) -> NDArray[np.uint16]:
        return self.lanes[self._partitions_of(hashes)]

    def _warn_unsplit(self, key: int) -> None:
        if key not in self._unsplit:
            self._unsplit.add(key)
            log.warning(
                "an update too large for one record changes its key; it stays whole in the old key's partition: table_key=%d", key
            )


def select(
    selector: Selector, heads: Heads, a: int, b: int, lanes: NDArray[np.uint16], splits: list[Split], is_open: list[bool],
    takes: Callable[[int, int], bool],
) -> list[Selection]:  # fmt: skip
    """Per lane what it takes of the records [a, b).

    lanes: of each record its lane or NOWHERE (only changes and fragments count). is_open: per lane, whether it holds the
    begin of the transaction that is open at `a`. takes(index, kind): whether a ddl, statement or schema record is wanted; it
    then goes to every lane, as do the fragments of one. Begin and commit go where a change or statement of theirs goes.
    """
    marked = _marked(heads, a, b, takes) if heads.described else None
    second = None
    if splits:
        second = np.full(b - a, NOWHERE, np.uint16)
        second[[split.record - a for split in splits]] = [split.new_lane for split in splits]
    selector.select(heads, a, b, lanes, is_open, marked, second)
    selections = [Selection(selector.indices(lane), needs) for lane, needs in enumerate(selector.needs_begin)]
    for split in splits:
        if split.old_lane != NOWHERE:
            _add_half(selections[split.old_lane], split.record, DELETE, split.old_hash)
        if split.new_lane != NOWHERE:
            _add_half(selections[split.new_lane], split.record, INSERT, split.new_hash)
    return selections


def _marked(heads: Heads, a: int, b: int, takes: Callable[[int, int], bool]) -> NDArray[np.uint8]:
    """Which of the records concern all lanes, see Selector.select."""
    marked = np.zeros(b - a, np.uint8)
    kinds = heads.kind[a:b]
    for index in np.flatnonzero((kinds == DDL) | (kinds == SCHEMA) | (kinds == STATEMENT)).tolist():
        kind = int(kinds[index])
        if takes(a + index, kind):
            marked[index] = EVERYWHERE | (PART_OF_ALL if kind == STATEMENT else 0)
    marked[(heads.table[a:b] == 0) & (kinds == FRAGMENT)] = EVERYWHERE | PART_OF_ALL  # of a statement too long for one record
    return marked


def _add_half(selection: Selection, record: int, kind: Kind, key_hash: int) -> None:
    selection.halves.append(Half(int(np.searchsorted(selection.indices, record)), kind, key_hash))
