"""Which tables a destination takes: one answer per table key, kept in an array that is looked up by the thousand."""

from __future__ import annotations

from collections.abc import Callable

import msgpack
import numpy as np
from numpy.typing import NDArray

from engine.errors import MetaError
from engine.record import SCHEMA_AT
from engine.schema import TableSchema
from engine.sink._heads import Heads
from engine.sink._selection import Targets
from engine.table_filter import TableFilter

# Targets of a record: the number of a store of this sink (a lane), or one of these.
NOWHERE = 0xFFFF
BY_HASH = 0xFFFE
UNKNOWN = 0xFFFD


class TableTargets:
    """Table key → target, learnt once per key from its schema record or from meta.

    `place` says where the records of a wanted table go: a lane, NOWHERE or BY_HASH.
    """

    def __init__(
        self,
        table_filter: TableFilter,
        place: Callable[[int, bytes], int],
        packed_schema: Callable[[int], bytes | None],
    ) -> None:
        self._filter = table_filter
        self._place = place
        self._packed_schema = packed_schema
        self.targets = Targets(UNKNOWN)
        self.targets[0] = NOWHERE  # records without a table
        self._wanted: set[int] = set()

    def learn(self, key: int, packed_schema: bytes) -> bool:
        """Settle where a table key goes; returns whether the destination takes it."""
        if self.targets[key] == UNKNOWN:
            wanted = self._filter.wants(TableSchema.unpack_name(packed_schema))
            self.targets[key] = self._place(key, packed_schema) if wanted else NOWHERE
            if wanted:
                self._wanted.add(key)
        return key in self._wanted

    def look_up(self, heads: Heads, a: int, b: int) -> NDArray[np.uint16]:
        """The targets of the records [a, b).

        Raises:
            MetaError: neither the ring nor meta has the schema of a key.
        """
        found, has_unknown = self.targets.look_up(heads, a, b)
        if has_unknown:
            for key in np.unique(heads.table[a:b][found == UNKNOWN]).tolist():
                packed = self._packed_schema(key)
                if packed is None:
                    raise MetaError(
                        "no schema is kept for a table key", table_key=key,
                        remedy="the data_dir is not the one the records were made with; start with an empty one",
                    )  # fmt: skip
                self.learn(key, packed)
            found, _ = self.targets.look_up(heads, a, b)
        return found

    def wants_schema(self, record: bytes, key: int) -> bool:
        """Whether the destination takes the table that a schema record describes."""
        return self.learn(key, record[SCHEMA_AT:])

    def wants_ddl(self, record: bytes) -> bool:
        """Whether a ddl record concerns the destination: it names a wanted table, or no table at all.

        It stands there as the statement has it; servers with lower_case_table_names write it to TABLE_MAPs in lower case.
        """
        names = [f"{schema}.{table}" for schema, table in msgpack.unpackb(record)[12][3]]
        return not names or any(self._filter.wants(name) or self._filter.wants(name.lower()) for name in names)
