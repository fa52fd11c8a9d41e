"""What sessions are told beside the records: schema records of table keys, and what source numbers stand for."""

from __future__ import annotations

from engine.errors import InternalError
from engine.meta import Meta
from engine.record import pack_schema_record


class Catalogue:
    """Looks things up in meta once; what stands there never changes."""

    def __init__(self, meta: Meta) -> None:
        self._meta = meta
        self._records: dict[tuple[int, int], bytes] = {}

    def schema_records(self, tables: list[tuple[int, int]]) -> list[bytes]:
        """Whole schema records of these table keys, with these source numbers in their heads.

        Raises:
            InternalError: meta doesn't know a key.
        """
        if lacking := [table for table in tables if table not in self._records]:
            packed = self._meta.packed_schemas([key for key, _ in lacking])
            for key, source in lacking:
                if key not in packed:
                    raise InternalError("a record has a table key that meta doesn't know", table_key=key, source=source)
                self._records[key, source] = pack_schema_record(source, key, packed[key])
        return [self._records[table] for table in tables]

    def sources(self, names: list[str]) -> dict[int, dict[str, str]]:
        """Source number → {"name", "binlog"} of all numbers that the sources of these names have by now."""
        return {
            number: {"name": history.source, "binlog": history.binlog}
            for number, history in self._meta.histories().items()
            if history.source in names
        }
